"""`Index`: documents in, passages out.

index = Index("notes.index"); index.add(["docs/"]); index.search("Who keeps the light?", k=5)

Words by FTS5's BM25, meaning by an exact search over int8 vectors, the two rankings joined by reciprocal rank
(Cormack, Clarke and Büttcher 2009).
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from understudy.errors import DocumentError, UnderstudyError, UsageError
from understudy.rag.chunk import DEFAULT_OVERLAP, DEFAULT_SIZE, CountTokens, chunk_document
from understudy.rag.cite import NOT_SAID
from understudy.rag.counts import WordCounts
from understudy.rag.document import Document
from understudy.rag.ground import SYSTEM, Grounding, ground
from understudy.rag.readers import can_read, read_document
from understudy.rag.store import Passage, Store
from understudy.rag.words import query_words
from understudy.spec import ModelSpec
from understudy.text.embed import Embedder, open_embedder

DEPTH = 40  # passages that each ranking gives to the fusion
RRF_K = 10
WORD_WEIGHT = 1.0
VECTOR_WEIGHT = 0.25
HEADING_WEIGHT = 0.5  # of a word in the heading path against one in the text, for BM25

Mode = Literal["fused", "words", "vectors"]
Progress = Callable[[int, int, str], None]


@dataclass(slots=True)
class Added:
    """What one `add` did, by path; `failed` with the reason."""

    new: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


class Index:
    """An index file. Safe to read from several threads.

    Args:
        path: the file; made by the first `add`.
        embedder: an `Embedder` or the name of one; default what the index was made with, or wordllama.
        count_tokens: tokens of a text by the model that will read the passages; default 4 characters a token.
        counter: name of the counter; an index made with another one is refused, since its chunks would differ.
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
    ) -> None:
        self.path = Path(path)
        self._given_embedder, self.count_tokens = (
            embedder,
            count_tokens or (lambda text: -(-len(text) // 4)),
        )
        self.counter, self.size, self.overlap = counter, size, overlap
        self._store: Store | None = None
        self._embedder: Embedder | None = None
        self._vectors: tuple[tuple[int, int], NDArray[np.int64], NDArray[np.float32]] | None = None
        self._counts = WordCounts()
        self._lock = threading.RLock()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="vectors")

    def __enter__(self) -> Index:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self._pool.shutdown()
        self._pool = ThreadPoolExecutor(
            1, thread_name_prefix="vectors"
        )  # costs nothing until it is used
        if self._store is not None:
            self._store.close()
            self._store = None

    @property
    def store(self) -> Store:
        if self._store is None:
            self._store = Store(self.path)
        return self._store

    @property
    def embedder(self) -> Embedder:
        if self._embedder is None:
            given = self._given_embedder
            name = self.store.get("embedder") or "wordllama"
            self._embedder = (
                open_embedder(given or name) if given is None or isinstance(given, str) else given
            )
        return self._embedder

    # ---- adding ----

    def add(self, paths: Iterable[str | Path], *, progress: Progress | None = None) -> Added:
        """Brings the index up to date with files and folders: unchanged files are skipped, files gone from a given folder
        are taken out. A file that cannot be read is reported and does not stop the rest.

        Raises:
            DocumentError: a path does not exist, or the index was made with other settings.
        """
        roots = [Path(path).resolve() for path in paths]
        for root in roots:
            if not root.exists() and not self._knows(str(root)):
                raise DocumentError("no such file or folder", where=root)
        if self._store is None:
            self._store = Store(self.path, create=True)
        self._check_settings()
        files = [file for root in roots for file in _files(root)]
        known, added = self.store.hashes(), Added()
        for i, file in enumerate(files):
            if progress is not None:
                progress(i, len(files), str(file))
            self._add_file(file, known.get(str(file)), added)
        for path in sorted(known.keys() - {str(file) for file in files}):
            if any(_is_under(Path(path), root) for root in roots):
                self.store.remove(path)
                added.removed.append(path)
        if progress is not None:
            progress(len(files), len(files), "")
        return added

    def add_document(self, name: str, document: Document) -> None:
        """Adds a document that did not come from a file."""
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
        path = str(file)
        try:
            digest = hashlib.sha256(file.read_bytes()).hexdigest()
            if digest == known:
                added.unchanged.append(path)
                return
            document = read_document(file)
            self._put(path, digest, document)
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

    def ground(self, question: str, k: int = 8, spec: ModelSpec | None = None) -> Grounding:
        """What `Session(documents=index)` asks for; with `spec` as a model of that size sees it."""
        return ground(self, question, k=k, spec=spec)

    def count_words(self, words: Sequence[str]) -> tuple[dict[str, int], int]:
        """In how many chunks each word stands, and how many chunks there are."""
        with self._lock:
            return self._counts.of(self.store, words), self.store.counts()[1]

    def search(self, question: str, k: int = 8, *, mode: Mode = "fused") -> list[Passage]:
        """The k best passages, best first; empty for an empty index or a question without words.

        Args:
            mode: words, vectors, or both fused.
        """
        if k < 1:
            raise UsageError(
                "number of passages is out of range", where="k", expected="at least 1", found=k
            )
        depth = max(DEPTH, k)
        with self._lock:
            vectors = (
                self._pool.submit(self._vector_search(question, depth)) if mode != "words" else None
            )
            words = (
                self._search_words(question, depth) if mode != "vectors" else []
            )  # both leave the interpreter free
            near = vectors.result() if vectors is not None else []
            scores: dict[int, float] = {}
            for ranking, weight in ((words, WORD_WEIGHT), ([id for id, _ in near], VECTOR_WEIGHT)):
                for rank, id in enumerate(ranking, 1):
                    scores[id] = scores.get(id, 0.0) + weight / (RRF_K + rank)
            best = sorted(scores, key=lambda id: (-scores[id], id))[:k]
            word_ranks = {id: rank for rank, id in enumerate(words, 1)}
            vector_ranks = {id: (rank, similarity) for rank, (id, similarity) in enumerate(near, 1)}
            return [
                Passage(
                    row,
                    scores[row.id],
                    word_ranks.get(row.id),
                    *vector_ranks.get(row.id, (None, 0.0)),
                )
                for row in self.store.rows(best)
            ]

    def _search_words(self, question: str, depth: int) -> list[int]:
        words = self._counts.affordable(self.store, query_words(question))
        if not words:
            return []
        rows = self.store.connection.execute(
            "SELECT rowid FROM words WHERE words MATCH ? ORDER BY bm25(words, 1.0, ?) LIMIT ?",
            (" OR ".join(f'"{word}"' for word in words), HEADING_WEIGHT, depth),
        )
        return [int(id) for (id,) in rows]

    def _vector_search(self, question: str, depth: int) -> Callable[[], list[tuple[int, float]]]:
        """A search ready to run anywhere: what it needs of the file is read here."""
        ids, vectors = self._load_vectors()
        query = self.embedder.embed([question])[0]

        def search() -> list[tuple[int, float]]:
            if not len(ids) or not query.any():
                return []
            similarities = vectors @ query  # (chunks,)
            best = (
                np.argpartition(-similarities, depth - 1)[:depth]
                if len(ids) > depth
                else np.arange(len(ids))
            )
            best = best[np.lexsort((ids[best], -similarities[best]))]
            return [(int(ids[i]), float(similarities[i])) for i in best]

        return search

    def _load_vectors(self) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The int8 vectors, widened once: numpy multiplies float32 by BLAS and int8 by a slow loop."""
        counter = self.store.change_counter()
        if self._vectors is None or self._vectors[0] != counter:
            ids, quantized = self.store.vectors(self.embedder.dim)
            self._vectors = counter, ids, from_int8(quantized)
        return self._vectors[1:]


def to_int8(vectors: NDArray[np.float32]) -> NDArray[np.int8]:
    """Each row scaled so that its largest value is ±127; the scale is not kept, since rows have length 1."""
    largest = np.abs(vectors).max(axis=1, keepdims=True, initial=0)
    return np.rint(vectors * (127 / np.where(largest > 0, largest, 1))).astype(np.int8)


def from_int8(quantized: NDArray[np.int8]) -> NDArray[np.float32]:
    vectors = quantized.astype(np.float32)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors /= np.where(lengths > 0, lengths, 1)
    return vectors


def _files(root: Path) -> Iterator[Path]:
    """The root itself if it is a file, else every readable file under it, hidden ones left out, in a fixed order."""
    if root.is_file():
        yield root
        return
    if not root.is_dir():
        return
    for path in sorted(root.rglob("*")):
        if (
            path.is_file()
            and can_read(path)
            and not any(part.startswith(".") for part in path.relative_to(root).parts)
        ):
            yield path


def _is_under(path: Path, root: Path) -> bool:
    return path == root or root in path.parents
