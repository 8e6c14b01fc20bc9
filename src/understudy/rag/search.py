"""Looking things up in an index: words by FTS5's BM25, meaning by an exact search over int8
vectors, both fused.

The two rankings are joined by reciprocal rank (Cormack, Clarke and Büttcher 2009).
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from understudy.rag.counts import WordCounts
from understudy.rag.parts import begins_in_table, head_before
from understudy.rag.store import Passage, Store
from understudy.rag.words import query_words
from understudy.text.embed import Embedder

DEPTH = 40  # passages that each ranking gives to the fusion
RRF_K = 10
WORD_WEIGHT = 1.0
VECTOR_WEIGHT = 0.25
HEADING_WEIGHT = 0.5  # of a word in the heading path against one in the text, for BM25

Mode = Literal["fused", "words", "vectors"]


class Searcher:
    """Searches of one open index; what it reads of the file is kept until the file changes."""

    def __init__(self) -> None:
        self._vectors: tuple[tuple[int, int], NDArray[np.int64], NDArray[np.float32]] | None = None
        self._counts = WordCounts()
        self._lock = threading.RLock()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="vectors")

    def close(self) -> None:
        self._pool.shutdown()
        # the next one costs nothing until it is used
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="vectors")

    def search(
        self, store: Store, embedder: Embedder, question: str, k: int, mode: Mode
    ) -> list[Passage]:
        """The k best passages, best first."""
        depth = max(DEPTH, k)
        with self._lock:
            vectors = None
            if mode != "words":
                vectors = self._pool.submit(self._vector_search(store, embedder, question, depth))
            # both leave the interpreter free
            words = self._search_words(store, question, depth) if mode != "vectors" else []
            near = vectors.result() if vectors is not None else []
            return _fused(store, words, near, k)

    def count_words(self, store: Store, words: Sequence[str]) -> dict[str, int]:
        """In how many chunks each word stands."""
        with self._lock:
            return self._counts.of(store, words)

    def _search_words(self, store: Store, question: str, depth: int) -> list[int]:
        words = self._counts.affordable(store, query_words(question))
        if not words:
            return []
        rows = store.connection.execute(
            "SELECT rowid FROM words WHERE words MATCH ? ORDER BY bm25(words, 1.0, ?) LIMIT ?",
            (" OR ".join(f'"{word}"' for word in words), HEADING_WEIGHT, depth),
        )
        return [int(id) for (id,) in rows]

    def _vector_search(
        self, store: Store, embedder: Embedder, question: str, depth: int
    ) -> Callable[[], list[tuple[int, float]]]:
        """A search ready to run anywhere: what it needs of the file is read here."""
        ids, vectors = self._load_vectors(store, embedder.dim)
        query = embedder.embed([question])[0]

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

    def _load_vectors(
        self, store: Store, dim: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The int8 vectors, widened once: numpy multiplies float32 by BLAS, int8 by a slow loop."""
        counter = store.change_counter()
        if self._vectors is None or self._vectors[0] != counter:
            ids, quantized = store.vectors(dim)
            self._vectors = counter, ids, from_int8(quantized)
        return self._vectors[1:]


def _fused(store: Store, words: list[int], near: list[tuple[int, float]], k: int) -> list[Passage]:
    scores: dict[int, float] = {}
    for ranking, weight in ((words, WORD_WEIGHT), ([id for id, _ in near], VECTOR_WEIGHT)):
        for rank, id in enumerate(ranking, 1):
            scores[id] = scores.get(id, 0.0) + weight / (RRF_K + rank)
    best = sorted(scores, key=lambda id: (-scores[id], id))[:k]
    word_ranks = {id: rank for rank, id in enumerate(words, 1)}
    vector_ranks = {id: (rank, similarity) for rank, (id, similarity) in enumerate(near, 1)}
    text_of = functools.cache(store.text_of)
    found = []
    for row in store.rows(best):
        vector_rank, similarity = vector_ranks.get(row.id, (None, 0.0))
        ranks = word_ranks.get(row.id), vector_rank
        head = head_before(text_of(row.path)[: row.start]) if begins_in_table(row.text) else ""
        found.append(Passage(row, scores[row.id], *ranks, similarity, head))
    return found


def to_int8(vectors: NDArray[np.float32]) -> NDArray[np.int8]:
    """Each row scaled so that its largest value is ±127; the scale is not kept, since rows have
    length 1.
    """
    largest = np.abs(vectors).max(axis=1, keepdims=True, initial=0)
    return np.rint(vectors * (127 / np.where(largest > 0, largest, 1))).astype(np.int8)


def from_int8(quantized: NDArray[np.int8]) -> NDArray[np.float32]:
    vectors = quantized.astype(np.float32)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors /= np.where(lengths > 0, lengths, 1)
    return vectors
