"""`Index`: documents in, passages out.

index = Index("notes.index"); index.add(["docs/"]); index.search("Who keeps the light?", k=5)

What stands behind it: `store.py` holds the file, `search.py` looks things up in it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from understudy.errors import DocumentError, UnderstudyError, UsageError
from understudy.rag.chunk import DEFAULT_OVERLAP, DEFAULT_SIZE, CountTokens, chunk_document
from understudy.rag.cite import NOT_SAID
from understudy.rag.document import Document
from understudy.rag.ground import SYSTEM, PassageGrounding, ground
from understudy.rag.readers import can_read, read_document
from understudy.rag.schema import StoreError
from understudy.rag.search import Mode, Searcher, from_int8, to_int8
from understudy.rag.settings import AnswerSettings
from understudy.rag.store import Passage, Store
from understudy.spec import ModelSpec
from understudy.text.embed import Embedder, open_embedder

Progress = Callable[[int, int, str], None]


@dataclass(slots=True)
class Added:
    """What one `add` did, by path; `failed` with the reason."""

    new: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)  # in a folder, of a kind that has no reader
    warnings: list[str] = field(default_factory=list)


class Index:
    """An index file. Safe to read from several threads.

    Args:
        path: the file; made by the first `add`.
        embedder: an `Embedder` or the name of one; default the index's own, or wordllama.
        count_tokens: tokens of a text by the model that will read them; default 4 characters a
            token.
        counter: name of the counter; an index made with another one is refused.
        size, overlap: tokens of a chunk, and of those that it shares with the one before it.
        answers: how sessions and `ask` answer from it; default the model's preset.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        embedder: Embedder | str | None = None,
        count_tokens: CountTokens | None = None,
        counter: str = "characters/4",
        size: int = DEFAULT_SIZE,
        overlap: int = DEFAULT_OVERLAP,
        answers: AnswerSettings | None = None,
    ) -> None:
        self.answers = answers
        self.path = Path(path)
        self._given_embedder, self.count_tokens = (
            embedder,
            count_tokens or (lambda text: -(-len(text) // 4)),
        )
        self.counter, self.size, self.overlap = counter, size, overlap
        self._store: Store | None = None
        self._embedder: Embedder | None = None
        self._searcher = Searcher()

    def __enter__(self) -> Index:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file; the index opens it again when it is asked."""
        self._searcher.close()
        if self._store is not None:
            self._store.close()
            self._store = None

    @property
    def store(self) -> Store:
        """The file: documents, chunks, words and vectors."""
        if self._store is None:
            self._store = Store(self.path)
        return self._store

    @property
    def embedder(self) -> Embedder:
        """What makes vectors of texts, float32 (n, size)."""
        if self._embedder is None:
            given = self._given_embedder
            name = self.store.get("embedder") or "wordllama"
            self._embedder = (
                open_embedder(given or name) if given is None or isinstance(given, str) else given
            )
        return self._embedder

    # ---- adding ----

    def add(self, paths: Iterable[str | Path], *, progress: Progress | None = None) -> Added:
        """Brings the index up to date with files and folders.

        Unchanged files are skipped, files gone from a given folder are taken out. A file that
        cannot be read is reported and does not stop the rest; those of a kind without a reader are
        named.

        Args:
            paths: files, and folders with all that is in them.
            progress: called with (files done, files in all).

        Raises:
            DocumentError: a path does not exist, or the index was made with other settings.
        """
        roots = [Path(path).resolve() for path in paths]
        for root in roots:
            if not root.exists() and not self._knows(name_of(root)):
                raise DocumentError("no such file or folder", where=name_of(root))
        if self._store is None:
            self._store = Store(self.path, create=True)
        self._check_settings()
        known, added = self.store.hashes(), Added()
        files, added.skipped = _readable(roots, self.path.resolve())
        for i, file in enumerate(files):
            if progress is not None:
                progress(i, len(files), name_of(file))
            self._add_file(file, known.get(name_of(file)), added)
        for path in sorted(known.keys() - {name_of(file) for file in files}):
            if any(_is_under(Path(path), Path(name_of(root))) for root in roots):
                self.store.remove(path)
                added.removed.append(path)
        if progress is not None:
            progress(len(files), len(files), "")
        return added

    def add_document(self, name: str, document: Document) -> None:
        """Adds a document that did not come from a file; one of the same `name` is replaced."""
        name = as_utf8(name)
        if self._store is None:
            self._store = Store(self.path, create=True)
        self._check_settings()
        digest = hashlib.sha256(document.text.encode("utf-8", "replace")).hexdigest()
        if self.store.hashes().get(name) != digest:
            self._put(name, digest, document)

    def _knows(self, path: str) -> bool:
        return self.path.is_file() and any(
            _is_under(Path(known), Path(path)) for known in self.store.hashes()
        )

    def _check_settings(self) -> None:
        given = self._given_embedder
        wanted = {"counter": self.counter, "size": str(self.size), "overlap": str(self.overlap)}
        if given is not None or self.store.get("embedder") is None:
            wanted["embedder"] = self.embedder.name
        for name, value in wanted.items():
            found = self.store.get(name)
            if found is not None and found != value:
                raise DocumentError(
                    "index was made with another setting",
                    where=f"{self.path}: {name}",
                    expected=found,
                    found=value,
                    do="give the same, or make a new index",
                )
        if any(self.store.get(name) is None for name in wanted):
            with self.store.transaction():
                for name, value in wanted.items():
                    self.store.set(name, value)

    def _add_file(self, file: Path, known: str | None, added: Added) -> None:
        path = name_of(file)
        try:
            digest = hashlib.sha256(file.read_bytes()).hexdigest()
            if digest == known:
                added.unchanged.append(path)
                return
            document = read_document(file)
            self._put(path, digest, document)
        except StoreError:  # of the index, not of this file: the next ones would meet it too
            raise
        except (OSError, UnderstudyError) as error:
            added.failed[path] = str(error)
            if known is not None:  # what the index says of it is no longer true
                self.store.remove(path)
            return
        added.warnings += [f"{path}: {warning}" for warning in document.warnings]
        (added.new if known is None else added.changed).append(path)

    def _put(self, path: str, digest: str, document: Document) -> None:
        chunks = chunk_document(document, self.count_tokens, size=self.size, overlap=self.overlap)
        texts = [
            " ".join((*chunk.heading_path[-2:], document.text[chunk.start : chunk.end]))
            for chunk in chunks
        ]
        vectors = (
            to_int8(self.embedder.embed(texts))
            if chunks
            else np.zeros((0, self.embedder.dim), np.int8)
        )
        self.store.add(path, digest, document, chunks, vectors)

    # ---- searching ----

    instructions, not_said = SYSTEM, NOT_SAID

    def ground(self, question: str, k: int = 8, spec: ModelSpec | None = None) -> PassageGrounding:
        """What `Session(documents=index)` asks for.

        Args:
            question: the newest message.
            k: most passages.
            spec: of the model that answers: what it is shown depends on its size.
        """
        return ground(self, question, k=k, spec=spec, settings=self.answers)

    def count_words(self, words: Sequence[str]) -> tuple[dict[str, int], int]:
        """In how many chunks each of some folded `words` stands, and how many chunks there are."""
        return self._searcher.count_words(self.store, words), self.store.counts()[1]

    def search(self, question: str, k: int = 8, *, mode: Mode = "fused") -> list[Passage]:
        """The k best passages, best first; empty for an empty index or a question without words.

        Args:
            mode: words, vectors, or both fused.
        """
        if k < 1:
            raise UsageError(
                "number of passages is out of range", where="k", expected="at least 1", found=k
            )
        return self._searcher.search(self.store, self.embedder, as_utf8(question), k, mode)


def _readable(roots: Sequence[Path], index: Path) -> tuple[list[Path], list[str]]:
    """The files below some places that have a reader, and the names of those that have none."""
    taken: list[Path] = []
    rest: list[str] = []
    for root in roots:
        for file in _files(root):
            if file != index and (can_read(file) or file == root):
                taken.append(file)
            elif file != index:
                rest.append(name_of(file))
    return taken, rest


def name_of(path: Path) -> str:
    """A path as the index keeps it; bytes that are no UTF-8 are written `\\xff`."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def as_utf8(text: str) -> str:
    """A question that can be encoded: what came as bytes that are no UTF-8 becomes `?`."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _files(root: Path) -> Iterator[Path]:
    """The root if it is a file, else all files under it but hidden ones, in a fixed order."""
    if root.is_file():
        yield root
        return
    if not root.is_dir():
        return
    for path in sorted(root.rglob("*")):
        is_hidden = any(part.startswith(".") for part in path.relative_to(root).parts)
        if path.is_file() and not is_hidden:
            yield path


def _is_under(path: Path, root: Path) -> bool:
    return path == root or root in path.parents


__all__ = ["Added", "Index", "Mode", "from_int8", "to_int8"]
