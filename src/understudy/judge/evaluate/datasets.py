"""Rows of a task: a whole set in its public layout from a folder, or the sample in the package.

A folder is searched, and in it the folder of the task's name (`eval fetch` writes there), for the
files that `LAYOUTS` lists.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from understudy.errors import InputError, MissingError
from understudy.judge.evaluate.layouts import LAYOUTS

SAMPLES = Path(__file__).parent / "data"
_SHARED = {
    "rag": ("corpus", "documents", "rag_corpora.json"),
    "roleplay": ("character", "card", "roleplay_cards.json"),
}


@dataclass(frozen=True, slots=True)
class RowSet:
    """Rows with where they are from: `source` is "sample" or the files' names, `sha256` that of
    their bytes one after the other."""

    rows: list[dict[str, Any]]
    source: str
    sha256: str

    def facts(self) -> dict[str, Any]:
        return {"source": self.source, "sha256": self.sha256, "rows": len(self.rows)}


def load_rows(name: str, folder: Path | None = None, *, is_whole: bool = False) -> RowSet:
    """A task's rows.

    Args:
        folder: where whole sets lie; a task without a file there is taken from the sample, which
        the report says.
        is_whole: no samples: a task without a file is an error.

    Raises:
        MissingError: no such folder, or no file of the task in it, with `is_whole`.
        InputError: a file that is not of its layout.
    """
    if folder is not None and not folder.is_dir():
        raise MissingError(
            "no such folder of sets", where=folder, do="understudy eval fetch --data FOLDER"
        )
    found = _whole(name, folder) if folder is not None else None
    if found is None and is_whole:
        wanted = " | ".join(
            [
                f"{name}.jsonl",
                *(pattern for layout in LAYOUTS.get(name, ()) for pattern in layout.patterns),
            ]
        )
        raise MissingError(
            "no data for this task",
            where=folder or SAMPLES,
            expected=wanted,
            do=f"understudy eval fetch {name} --data FOLDER",
        )
    if found is None:
        path = SAMPLES / f"{name}.jsonl"
        found = RowSet(
            [_resolved(name, row) for row in read_rows(path)], "sample", digest_of([path])
        )
    if not found.rows:
        raise InputError("a set without rows", where=name, found=found.source)
    return found


def _whole(name: str, folder: Path) -> RowSet | None:
    for place in (folder / name, folder):
        for path in (place / f"{name}.jsonl", place / f"{name}.jsonl.gz"):
            if path.is_file():
                return RowSet(
                    [_resolved(name, row) for row in read_rows(path)], path.name, digest_of([path])
                )
        for layout in LAYOUTS.get(name, ()):
            paths = sorted(
                path
                for pattern in layout.patterns
                for path in place.glob(pattern)
                if path.is_file()
            )
            if paths:
                return RowSet(
                    _read(layout.read, paths),
                    ", ".join(path.name for path in paths[:4]),
                    digest_of(paths),
                )
    return None


def _read(read: Any, paths: Sequence[Path]) -> list[dict[str, Any]]:
    try:
        return [dict(row) for row in read(paths)]
    except (ValueError, KeyError, TypeError, IndexError, OSError) as error:
        found = f"{type(error).__name__}: {error}"
        raise InputError("not of the layout its name says", where=paths[0], found=found) from error


def read_rows(path: Path) -> list[dict[str, Any]]:
    """JSON objects, one a line; InputError names the line that is none."""
    return list(_objects(path))


def _objects(path: Path) -> Iterator[dict[str, Any]]:
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError) as error:
        raise InputError("cannot be read", where=path, found=str(error)) from error
    for number, line in enumerate(content.splitlines(), 1):
        try:
            row = json.loads(line) if line.strip() else None
        except ValueError as error:
            raise InputError(
                "not a line of JSON", where=f"{path}:{number}", found=str(error)
            ) from error
        if row is not None and not isinstance(row, dict):
            raise InputError("not a JSON object", where=f"{path}:{number}")
        if row is not None:
            yield row


def digest_of(paths: Sequence[Path]) -> str:
    """SHA-256 of the files' bytes one after the other."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _resolved(name: str, row: Mapping[str, Any]) -> dict[str, Any]:
    """A row with the documents or the card that it names put in."""
    key, entry, file = _SHARED.get(name, ("", "", ""))
    if not key or key not in row or entry in row:
        return dict(row)
    shared = json.loads((SAMPLES / file).read_text("utf-8"))
    if row[key] not in shared:
        raise InputError(f"no such {key}", where=name, expected=", ".join(shared), found=row[key])
    return {**row, entry: shared[row[key]]}
