"""The index file: one SQLite database with documents, chunks, words (FTS5) and int8 vectors.

Each document goes in or out in one transaction, so a process may be killed at any moment: what is
there is whole, and the next run goes on. What the tables hold depends on the documents alone, not
on the order or number of runs (`digest`).
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from understudy.errors import DocumentError
from understudy.rag.chunk import Chunk
from understudy.rag.document import Document
from understudy.rag.schema import open_database
from understudy.rag.words import search_words


@dataclass(frozen=True, slots=True)
class ChunkRow:
    """A chunk as it lies in the index; offsets are characters of the document's text."""

    id: int
    path: str
    title: str
    start: int
    end: int
    heading: str
    parent: tuple[int, int]
    num_tokens: int
    page: int | None
    text: str
    later_pages: tuple[
        tuple[int, int], ...
    ] = ()  # (offset in the chunk, page) of pages that begin inside it


@dataclass(frozen=True, slots=True)
class Passage:
    """A chunk that a search found. `words_rank` and `vector_rank` count from 1; None where that
    search did not find it. `table_head` is the first row of a table that began before the chunk.
    """

    chunk: ChunkRow
    score: float
    words_rank: int | None = None
    vector_rank: int | None = None
    similarity: float = 0.0  # cosine of the question's and the chunk's vector
    table_head: str = ""

    @property
    def text(self) -> str:
        return self.chunk.text

    @property
    def with_heading(self) -> str:
        """The text behind its headings and the head of its table, for its words."""
        return f"{self.chunk.heading}\n{self.table_head}\n{self.text}"


class Store:
    """An open index file."""

    def __init__(self, path: str | Path, *, create: bool = False) -> None:
        self.path = Path(path)
        if not create and not self.path.is_file():
            raise DocumentError(
                "there is no index", where=self.path, do="make one with `understudy rag add`"
            )
        self.connection = open_database(self.path, create)

    def close(self) -> None:
        self.connection.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing; SQLite's journal undoes what a killed process had begun."""
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            if self.connection.in_transaction:  # a full disk has ended it already
                self.connection.execute("ROLLBACK")
            raise
        self.connection.execute("COMMIT")

    # ---- settings ----

    def get(self, name: str) -> str | None:
        row = self.connection.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

    def set(self, name: str, value: str) -> None:
        self.connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, value))

    # ---- documents ----

    def hashes(self) -> dict[str, str]:
        """Path -> SHA-256 of every document."""
        return dict(self.connection.execute("SELECT path, sha256 FROM documents"))

    def add(
        self,
        path: str,
        sha256: str,
        document: Document,
        chunks: Sequence[Chunk],
        vectors: NDArray[np.int8],
    ) -> None:
        """Puts a document in, in place of the one of the same path."""
        with self.transaction():
            self._remove(path)
            text = zlib.compress(document.text.encode("utf-8", "replace"), 6)
            id = self.connection.execute(
                "INSERT INTO documents (path, sha256, title, num_pages, text) VALUES (?, ?, ?, ?, "
                "?)",
                (path, sha256, document.title, len(document.page_starts), text),
            ).lastrowid
            for chunk, vector in zip(chunks, vectors, strict=True):
                self._add_chunk(id, document, chunk, vector)

    def _add_chunk(
        self, document_id: int | None, document: Document, chunk: Chunk, vector: NDArray[np.int8]
    ) -> None:
        text, heading = document.text[chunk.start : chunk.end], " > ".join(chunk.heading_path)
        context = f"{document.title} {heading}"
        later = [
            (at - chunk.start, page)
            for page, at in enumerate(document.page_starts, 1)
            if chunk.start < at < chunk.end
        ]
        id = self.connection.execute(
            'INSERT INTO chunks (document, start, "end", heading, parent_start, parent_end, '
            "num_tokens, page, text, context, "
            "later_pages) VALUES (?,?,?,?,?,?,?,?,?,?,?)",
            (
                document_id,
                chunk.start,
                chunk.end,
                heading,
                *chunk.parent,
                chunk.num_tokens,
                chunk.page,
                text,
                context,
                json.dumps(later),
            ),
        ).lastrowid
        self.connection.execute(
            "INSERT INTO words (rowid, text, context) VALUES (?, ?, ?)",
            (id, search_words(text), search_words(context)),
        )
        self.connection.execute("INSERT INTO vectors VALUES (?, ?)", (id, vector.tobytes()))

    def remove(self, path: str) -> None:
        with self.transaction():
            self._remove(path)

    def _remove(self, path: str) -> None:
        row = self.connection.execute("SELECT id FROM documents WHERE path = ?", (path,)).fetchone()
        if row is None:
            return
        self.connection.execute(  # before its rows go: the words are looked up in them
            "INSERT INTO words (words, rowid, text, context) "
            "SELECT 'delete', id, text, context FROM chunk_words WHERE document = ?",
            row,
        )
        self.connection.execute(
            "DELETE FROM vectors WHERE chunk IN (SELECT id FROM chunks WHERE document = ?)", row
        )
        self.connection.execute("DELETE FROM chunks WHERE document = ?", row)
        self.connection.execute("DELETE FROM documents WHERE id = ?", row)

    def text_of(self, path: str) -> str:
        """The whole text of a document, of which chunk offsets count the characters."""
        row = self.connection.execute(
            "SELECT text FROM documents WHERE path = ?", (path,)
        ).fetchone()
        if row is None:
            raise DocumentError("the index has no such document", where=self.path, found=path)
        return zlib.decompress(row[0]).decode("utf-8")

    # ---- reading ----

    def counts(self) -> tuple[int, int]:
        """(documents, chunks)"""
        row = self.connection.execute(
            "SELECT (SELECT count(*) FROM documents), (SELECT count(*) FROM chunks)"
        ).fetchone()
        return int(row[0]), int(row[1])

    def rows(self, ids: Sequence[int]) -> list[ChunkRow]:
        """Chunks in the order of `ids`."""
        marks = ",".join("?" * len(ids))
        found = self.connection.execute(
            'SELECT c.id, d.path, d.title, c.start, c."end", c.heading, c.parent_start, '
            "c.parent_end, c.num_tokens, c.page, c.text, "
            "c.later_pages FROM chunks c JOIN documents d ON d.id = c.document WHERE c.id IN "
            f"({marks})",
            list(ids),
        )
        by_id = {row[0]: _chunk_row(row) for row in found}
        return [by_id[id] for id in ids if id in by_id]

    def vectors(self, dim: int) -> tuple[NDArray[np.int64], NDArray[np.int8]]:
        """(chunk ids, (chunks, dim) int8), by rising id."""
        rows = self.connection.execute(
            "SELECT chunk, vector FROM vectors ORDER BY chunk"
        ).fetchall()
        if any(len(vector) != dim for _, vector in rows):
            raise DocumentError(
                "index is damaged: a vector has another length", where=self.path, expected=dim
            )
        ids = np.fromiter((id for id, _ in rows), np.int64, len(rows))
        return ids, np.frombuffer(b"".join(vector for _, vector in rows), np.int8).reshape(
            len(rows), dim
        )

    def count_word(self, word: str) -> int:
        """In how many chunks a word stands, in any of its forms."""
        row = self.connection.execute(
            "SELECT count(*) FROM words WHERE words MATCH ?", (f'"{word}"',)
        ).fetchone()
        return int(row[0])

    def change_counter(self) -> tuple[int, int]:
        """Differs after every change, by this connection or another."""
        return self.connection.execute("PRAGMA data_version").fetchone()[
            0
        ], self.connection.total_changes


def _chunk_row(row: tuple[Any, ...]) -> ChunkRow:
    later = tuple((at, page) for at, page in json.loads(row[11]))
    return ChunkRow(
        row[0],
        row[1],
        row[2],
        row[3],
        row[4],
        row[5],
        (row[6], row[7]),
        row[8],
        row[9],
        row[10],
        later,
    )
