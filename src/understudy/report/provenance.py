"""Which model a run was made of, by which command, version and machine: the record that every
stored run carries.

    record = describe_run(model.path)
    {"model": "model.gguf", "model_sha256": …, "model_bytes": …, "command": …, "version": …,
     "date": …, "machine": …}

A model is known by its content, not by where it lies: the same file elsewhere is the same model.
"""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from understudy import __version__
from understudy.errors import MissingError

COMMAND: ContextVar[str | None] = ContextVar(
    "command", default=None
)  # set by the command line, None in a program
_MODEL_FILES = (
    ".safetensors",
    ".bin",
    ".gguf",
    ".json",
    ".model",
    ".jinja",
    ".yaml",
    ".ckpt",
    ".nemo",
)


def describe_run(model: Path, adapters: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
    """The record of a run that begins now, on the model at `model`.

    Args:
        adapters: what acts on it: name, sha256, scale and lineage of each. With them it is another
            model by content.
    """
    name = " + ".join([model.name, *(str(adapter["name"]) for adapter in adapters)])
    record = _record(name, adapted_sha256(model_sha256(model), adapters), model_bytes(model))
    return record | ({"adapters": [dict(adapter) for adapter in adapters]} if adapters else {})


def adapted_sha256(sha256: str, adapters: Sequence[Mapping[str, Any]]) -> str:
    """Of a model with adapters: that of its own and of theirs, with their scales, a line each."""
    if not adapters:
        return sha256
    lines = [f"{adapter['sha256']} * {adapter['scale']:g}" for adapter in adapters]
    return hashlib.sha256("\n".join([sha256, *lines]).encode()).hexdigest()


def describe_served(name: str) -> dict[str, Any]:
    """As `describe_run`, of a model behind an address: its content is not to be seen."""
    return _record(name, None, None)


def _record(name: str, sha256: str | None, num_bytes: int | None) -> dict[str, Any]:
    return {
        "model": name,
        "model_sha256": sha256,
        "model_bytes": num_bytes,
        "command": COMMAND.get(),
        "version": __version__,
        "date": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "machine": machine(),
    }


def model_files(model: Path) -> list[Path]:
    """The files that are the model: itself, or what a folder holds of weights, configuration and
    tokenizer, by name."""
    if not model.exists():
        raise MissingError("no such file or folder", where=model)
    if not model.is_dir():
        return [model]
    files = (
        model.iterdir() if (model / "config.json").exists() else model.rglob("*")
    )  # .nemo folders are nested
    return [file for file in sorted(files) if file.is_file() and file.suffix in _MODEL_FILES]


def model_bytes(model: Path) -> int:
    return sum(file.stat().st_size for file in model_files(model))


def model_sha256(model: Path) -> str:
    """Of a file its sha256; of a folder that of the lines `sha256  name` of its model files."""
    files = model_files(model)
    if not model.is_dir():
        return file_sha256(model)
    lines = "".join(
        f"{file_sha256(file)}  {file.relative_to(model).as_posix()}\n" for file in files
    )
    return hashlib.sha256(lines.encode("utf-8", "surrogateescape")).hexdigest()


def file_sha256(path: Path) -> str:
    """The sha256 of a file's bytes, remembered for as long as its size and time of change stay."""
    state = path.stat()
    return _sha256(os.fspath(path.resolve()), state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=1024)
def _sha256(path: str, _size: int, _changed_ns: int) -> str:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def machine(
    read: Callable[[], str] = lambda: Path("/proc/cpuinfo").read_text("utf-8", "replace"),
) -> str:
    """Processor, its count and the system, as in `Intel Xeon, 2 processors, Linux x86_64`."""
    try:
        lines = [line for line in read().splitlines() if line.startswith("model name")]
        name = lines[0].partition(":")[2].strip() if lines else platform.processor()
    except OSError:
        name = platform.processor()
    return (
        f"{name or 'unknown processor'}, {os.cpu_count()} "
        f"processors, {platform.system()} {platform.machine()}"
    )
