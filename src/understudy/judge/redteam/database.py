"""The SQLite file of a red team: opening, transactions, records as rows. What may be written is
`store`'s business.

Each block of `writing` is kept as a whole when it ends; the journal is a write-ahead log with full
syncing, so that neither a killed process nor a power cut takes back what was said.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self, TypeVar

from understudy.errors import DocumentError, UnderstudyError, UsageError
from understudy.judge.redteam.records import KINDS, Record, Records, kind_of
from understudy.judge.redteam.rows import (
    APPLICATION_ID,
    FORMAT,
    KEYS,
    SCHEMA,
    columns,
    to_record,
    to_row,
)

R = TypeVar("R", bound=Record)


class RedTeamDatabase:
    """One file, used by several threads and opened by several processes.

    Args:
        path: made where it is missing.
        is_open: raters see each other's ratings at once; those are then not blind.

    Raises:
        UsageError: no such file, where `must_exist`.
        DocumentError: another file, or of another version.
        UnderstudyError: the place cannot be written.
    """

    def __init__(self, path: Path, *, is_open: bool = False, must_exist: bool = False) -> None:
        if must_exist and not path.is_file():
            raise UsageError("no such file", where=path, expected="a red team's store")
        self.path, self.is_open, self._lock = path, is_open, threading.RLock()
        with self._faults():
            self._db = sqlite3.connect(
                path, isolation_level=None, check_same_thread=False, timeout=30.0
            )
        try:
            self._prepare()
        except BaseException:
            self._db.close()
            raise

    def _prepare(self) -> None:
        with self._faults():
            (found,) = self._db.execute("PRAGMA application_id").fetchone()
            (version,) = self._db.execute("PRAGMA user_version").fetchone()
            (num_tables,) = self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if (found, version) != (APPLICATION_ID, FORMAT) and (found or version or num_tables):
            raise DocumentError(
                "not a red team's store of this version",
                where=self.path,
                found=f"version {version}",
            )
        with self._faults():
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.execute("PRAGMA foreign_keys = ON")
        with self.writing():
            if not self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                for statement in SCHEMA.split(";"):
                    self._db.execute(statement)
                self._db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                self._db.execute(f"PRAGMA user_version = {FORMAT}")

    def close(self) -> None:
        """The log becomes part of the file again."""
        with self._lock:
            self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """One transaction: all of the block is kept, or nothing."""
        with self._lock, self._faults():
            if self._db.in_transaction:  # part of a bigger one
                yield
                return
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._db.rollback()
                raise
            self._db.commit()

    @contextlib.contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            raise UnderstudyError(f"the store cannot be used: {error}", where=self.path) from error
        except sqlite3.DatabaseError as error:
            raise DocumentError(f"not a red team's store ({error})", where=self.path) from error

    def records(self, *, is_bare: bool = False) -> Records:
        """Everything, as it is at one moment; `is_bare` leaves out what was said, which is most of
        it."""
        found = Records()
        with self._snapshot():
            for kind in KINDS:
                for record in self.read(kind, "1 ORDER BY at, rowid", is_bare=is_bare):
                    found.add(record)
        return found

    def beginnings(self) -> dict[str, tuple[int, str]]:
        """For each conversation with turns how many it has, and how its first message begins."""
        query = (
            "SELECT conversation, count(*), max(CASE WHEN number = 1 THEN substr(original, 1, 200) "
            "ELSE '' END) "
            "FROM turn GROUP BY conversation"
        )
        with self._lock, self._faults():
            return {id: (count, first) for id, count, first in self._db.execute(query)}

    @contextlib.contextmanager
    def _snapshot(self) -> Iterator[None]:
        """What is read in the block is of one moment."""
        with self._lock, self._faults():
            if self._db.in_transaction:
                yield
                return
            self._db.execute("BEGIN")
            try:
                yield
            finally:
                self._db.rollback()

    def read(self, kind: str, where: str, *values: Any, is_bare: bool = False) -> list[Any]:
        """The records of a kind for an SQL condition."""
        with self._lock, self._faults():
            rows = self._db.execute(
                f"SELECT {columns(kind, is_bare)} FROM {kind} WHERE {where}", values
            ).fetchall()
        return [to_record(kind, row) for row in rows]

    def insert(self, record: R) -> R:
        """Keeps a record as it is."""
        row = to_row(record)
        with self.writing():
            marks = ", ".join("?" * len(row))
            self._db.execute(
                f"INSERT INTO {kind_of(record)} ({', '.join(row)}) VALUES ({marks})",
                list(row.values()),
            )
        return record

    def update(self, record: R) -> R:
        row, kind = to_row(record), kind_of(record)
        key = KEYS.get(kind, "id")
        self._db.execute(
            f"UPDATE {kind} SET {', '.join(f'{name} = ?' for name in row)} WHERE {key} = ?",
            [*row.values(), row[key]],
        )
        return record
