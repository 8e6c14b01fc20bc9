"""Collections of documents: one index file each, in the state folder; without one as long as the
server.
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from understudy.rag.index import Index
from understudy.serve.errors import ApiError


class Collections:
    """The indexes of a folder by name, opened when they are asked for."""

    def __init__(self, folder: Path | None, embedder: str) -> None:
        self._own = tempfile.TemporaryDirectory(prefix="understudy-") if folder is None else None
        self.folder = (
            Path(self._own.name)
            if self._own is not None
            else folder / "collections"
            if folder is not None
            else Path()
        )
        self.folder.mkdir(parents=True, exist_ok=True)
        self.embedder = embedder
        self.lock = asyncio.Lock()  # of changes
        self._open: dict[str, Index] = {}

    @property
    def names(self) -> list[str]:
        return sorted(path.stem for path in self.folder.glob("*.index"))

    def path(self, name: str) -> Path:
        return self.folder / f"{name}.index"

    def get(self, name: str) -> Index:
        if name not in self.names:
            raise ApiError(404, f"there is no collection {name[:80]!r}", code="not_found")
        if name not in self._open:
            self._open[name] = Index(self.path(name))
        return self._open[name]

    def create(self, name: str) -> None:
        if name in self.names:
            raise ApiError(
                409, f"there is a collection {name!r} already", param="name", code="exists"
            )
        self._open[name] = index = Index(self.path(name), embedder=self.embedder)
        index.add([])

    def delete(self, name: str) -> None:
        self.get(name).close()
        del self._open[name]
        for ending in ("", "-wal", "-shm", "-journal"):
            self.path(name).with_name(f"{name}.index{ending}").unlink(missing_ok=True)
