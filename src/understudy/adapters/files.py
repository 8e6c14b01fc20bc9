"""An adapter by its path, whichever kind of file it is."""

from __future__ import annotations

from pathlib import Path

from understudy.adapters import gguf, peft
from understudy.adapters.adapter import Adapter
from understudy.errors import FormatError, MissingError
from understudy.spec import ModelSpec


def read_adapter(path: str | Path, spec: ModelSpec, name: str | None = None) -> Adapter:
    """Reads a folder of PEFT, a file in one, or a GGUF, and holds it to the model.

    Args:
        name: what to call it; default the name of the file or folder.

    Raises:
        MissingError: there is nothing, or no adapter.
        FormatError: damaged, or made for another model.
        UnsupportedError: a kind of adapter that is not implemented, named.
    """
    path = Path(path)
    if not path.exists():
        raise MissingError("no such file or folder", where=path)
    if path.is_dir():
        adapter = peft.read(path, name)
    elif path.suffix == ".gguf":
        adapter = gguf.read(path, spec, name)
    elif path.name in (peft.CONFIG, *peft.WEIGHTS):
        adapter = peft.read(path.parent, name)
    else:
        raise FormatError("not an adapter", where=path, expected="a folder of PEFT, or a GGUF")
    adapter.check(spec)
    return adapter


def is_adapter(path: Path) -> bool:
    """Whether a path looks like an adapter's: a folder of PEFT, or a GGUF that says so."""
    return (path / peft.CONFIG).exists() if path.is_dir() else gguf.is_adapter(path)
