"""The tables of an index file, and a connection whose errors are one line for a person."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from understudy.errors import DocumentError
from understudy.rag.words import search_words

SCHEMA_VERSION = 3
_SCHEMA = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE documents (id INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE, sha256 TEXT NOT NULL,
    title TEXT NOT NULL, num_pages INTEGER NOT NULL, text BLOB NOT NULL);
CREATE TABLE chunks (id INTEGER PRIMARY KEY, document INTEGER NOT NULL, start INTEGER NOT NULL,
    "end" INTEGER NOT NULL, heading TEXT NOT NULL, parent_start INTEGER NOT NULL, parent_end
    INTEGER NOT NULL, num_tokens INTEGER NOT NULL, page INTEGER, text TEXT NOT NULL, context TEXT
    NOT NULL, later_pages TEXT NOT NULL);
CREATE INDEX chunks_of_document ON chunks (document);
CREATE TABLE vectors (chunk INTEGER PRIMARY KEY, vector BLOB NOT NULL);
CREATE VIEW chunk_words AS SELECT id, document, search_words(text) AS text, search_words(context)
    AS context FROM chunks;
CREATE VIRTUAL TABLE words USING fts5 (text, context, content='chunk_words', content_rowid='id',
    tokenize='porter ascii');
"""


class StoreError(DocumentError):
    """The index itself cannot be read or written: a full disk, a damaged file."""


class Connection(sqlite3.Connection):
    """A connection whose errors are one line for a person."""

    path: Path = Path()
    doing = "opened"

    def execute(self, *arguments: Any) -> sqlite3.Cursor:
        try:
            return super().execute(*arguments)
        except sqlite3.Error as error:
            raise StoreError(f"index cannot be {self.doing} ({error})", where=self.path) from error


def open_database(path: Path, create: bool) -> Connection:
    """An index file, with its tables made where they may be and there are none.

    Raises:
        StoreError: the file cannot be read or written.
        DocumentError: it is another database, or an index of another layout.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(
            path, isolation_level=None, check_same_thread=False, factory=Connection
        )
    except (sqlite3.Error, OSError) as error:
        raise StoreError(f"index cannot be opened ({error})", where=path) from error
    connection.path = path
    connection.create_function("search_words", 1, search_words, deterministic=True)
    connection.execute("PRAGMA busy_timeout = 5000")
    connection.execute("PRAGMA trusted_schema = ON")  # the view calls `search_words`
    _prepare(connection, create)
    connection.doing = "used"
    return connection


def _prepare(connection: Connection, create: bool) -> None:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    rows = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
    tables = {name for (name,) in rows}
    if not tables and create:
        connection.execute("BEGIN IMMEDIATE")
        for statement in _SCHEMA.strip().split(";\n"):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        connection.execute("COMMIT")
    elif "chunks" in tables and 0 < version < SCHEMA_VERSION:
        raise DocumentError(
            "index was made by an earlier version, which read documents otherwise",
            where=connection.path,
            do="remove the file and add the documents again",
        )
    elif version != SCHEMA_VERSION or "chunks" not in tables:
        raise DocumentError(
            "not an index of this program",
            where=connection.path,
            expected=f"schema {SCHEMA_VERSION}",
            found=f"schema {version}",
            do="choose another file, or make it anew",
        )


def words_fault(connection: Connection) -> str:
    """What is wrong with the file or with its words, which must be those of its chunks; empty if
    nothing is.
    """
    verdict = str(connection.execute("PRAGMA quick_check").fetchone()[0])
    if verdict != "ok":
        return verdict
    # without the rank an index over outside content is not held against that content
    connection.execute("INSERT INTO words (words, rank) VALUES ('integrity-check', 1)")
    return ""
