"""The packed models that the cache folder keeps: listed, cleared, held under a limit.

The limit stands in the file `limit` of the folder, in bytes; what was used longest ago goes first.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from pathlib import Path

from understudy.atomic import written_aside
from understudy.formats.packed import cache_folder, packed_source


@dataclass(frozen=True, slots=True)
class CachedModel:
    """One packed file; `source` is the checkpoint it was made of, None where the file is
    damaged.
    """

    path: Path
    num_bytes: int
    last_used: float  # seconds since 1970
    source: Path | None


def cached_models() -> list[CachedModel]:
    """The packed files, the one used last first."""
    found = []
    for path in cache_folder().glob("*.pack"):
        with contextlib.suppress(OSError):
            stat = path.stat()
            found.append(CachedModel(path, stat.st_size, stat.st_mtime, packed_source(path)))
    return sorted(found, key=lambda model: -model.last_used)


def limit() -> int | None:
    """Bytes that packed models may take together; None: no limit was set, or it cannot be read."""
    try:
        return int(json.loads(_limit_file().read_text("utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def set_limit(num_bytes: int | None) -> None:
    """Raises UnderstudyError where the cache folder cannot be written."""
    with written_aside(_limit_file()) as aside:
        aside.write_text(json.dumps(num_bytes), "utf-8")


def apply_limit(keep: Path | None = None) -> list[CachedModel]:
    """Removes what was used longest ago until the rest is within the limit; `keep` stays.

    Returns what went.

    A file that a running program has mapped goes from the folder and stays in that program.
    """
    most, total, gone = limit(), 0, []
    if most is None:
        return []
    models = cached_models()
    for model in sorted(models, key=lambda model: model.path != keep):
        total += model.num_bytes
        if total > most and model.path != keep and remove(model):
            total -= model.num_bytes
            gone.append(model)
    return gone


def remove(model: CachedModel) -> bool:
    """Whether the file could be removed."""
    try:
        model.path.unlink(missing_ok=True)
    except OSError:
        return False
    return True


def _limit_file() -> Path:
    return cache_folder() / "limit"
