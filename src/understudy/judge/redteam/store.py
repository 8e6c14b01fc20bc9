"""The SQLite file of a red team. Each method that writes has committed when it returns; the journal is a write-ahead log with
full syncing, so that neither a killed process nor a power cut takes back what was said.

with Store(Path("team.sqlite")) as store:
    conversation = store.add_conversation(setup, model="m", fingerprint="f", by="rater-a")
    turn = store.begin_turn(conversation.id, "hello")         # kept before the model is asked
    store.end_turn(turn.id, "good day")
    store.rate(conversation.id, "rater-a", "none")

A store may be used by several threads and opened by several processes.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from understudy.errors import DocumentError, UnderstudyError, UsageError
from understudy.judge.redteam.records import (
    KINDS,
    SEVERITIES,
    STATUSES,
    STOPPED_BY,
    Conversation,
    Fix,
    Goal,
    Rating,
    Record,
    Records,
    Turn,
    as_category,
    as_name,
    check_rating,
    kind_of,
    new_id,
    now,
)
from understudy.judge.redteam.rows import (
    APPLICATION_ID,
    FORMAT,
    KEYS,
    SCHEMA,
    columns,
    storable,
    to_record,
    to_row,
)
from understudy.judge.safety.taxonomy import SAFE

R = TypeVar("R", bound=Record)


class Store:
    """See the module's docstring.

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

    def __enter__(self) -> Store:
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

    # ---- goals and conversations ----

    def add_goal(self, title: str, *, by: str, plan: str = "", category: str | None = None) -> Goal:
        """Something to attack."""
        if not title.strip():
            raise UsageError("a goal has a title", where="title", found=title)
        named = as_category(category) if category else None
        return self.insert(
            Goal(new_id(), new_id(), title, plan, named, False, as_name(by, "by"), now())
        )

    def revise_goal(self, id: str, *, by: str, **changes: Any) -> Goal:
        """The goal with other title, plan, category or is_done.

        Raises:
            UsageError: no such goal.
        """
        with self.writing():
            goals = Records(goals=self.read("goal", "id = ?", id)).current_goals()
            if not goals:
                raise UsageError("no such goal", where="goal", found=id)
            if changes.get("category"):
                changes["category"] = as_category(changes["category"])
            revised = replace(
                goals[0], **changes, revision=new_id(), by=as_name(by, "by"), at=now()
            )
            return self.insert(revised)

    def add_conversation(
        self,
        setup: Mapping[str, Any],
        *,
        model: tuple[str, str],
        by: str,
        title: str = "",
        goal: str | None = None,
        origin: tuple[str, str] | None = None,
    ) -> Conversation:
        """A conversation without turns.

        Args:
            model: its name and fingerprint.
            origin: the conversation that it comes from, and `branch` or `rerun`.

        Raises:
            UsageError: no such goal or origin.
        """
        if goal is not None and not self.read("goal", "id = ?", goal):
            raise UsageError("no such goal", where="goal", found=goal)
        parent, relation = origin or (None, None)
        if parent is not None:
            self.conversation(parent)
        return self.insert(
            Conversation(
                new_id(),
                goal,
                title,
                *model,
                dict(setup),
                parent,
                relation,
                as_name(by, "by"),
                now(),
            )
        )

    def conversation(self, id: str) -> Conversation:
        """Raises UsageError where there is none of this id."""
        found = self.read("conversation", "id = ?", id)
        if not found:
            raise UsageError("no such conversation", where=self.path.name, found=id)
        conversation: Conversation = found[0]
        return conversation

    def branch(self, id: str, keep: int, *, by: str) -> Conversation:
        """A new conversation with the first `keep` turns of another: to go on otherwise, and lose nothing.

        Raises:
            UsageError: not so many turns, or the conversation was stopped.
        """
        with self.writing():
            old, turns = self.conversation(id), self.turns(id)
            if not 0 <= keep <= len(turns):
                raise UsageError(
                    "not so many turns", where="keep", expected=f"0 to {len(turns)}", found=keep
                )
            self._refuse_stopped(id)
            new = self.add_conversation(
                old.setup,
                model=(old.model, old.fingerprint),
                by=by,
                title=old.title,
                goal=old.goal,
                origin=(id, "branch"),
            )
            for turn in turns[:keep]:
                self.insert(replace(turn, id=new_id(), conversation=new.id))
            return new

    # ---- turns ----

    def turns(self, conversation: str) -> list[Turn]:
        return self.read("turn", "conversation = ? ORDER BY number", conversation)

    def begin_turn(
        self,
        conversation: str,
        original: str,
        converters: Sequence[str] = (),
        sent: str | None = None,
    ) -> Turn:
        """Keeps a message before the model is asked.

        Raises:
            UsageError: no such conversation, an empty message, or it has been rated: what was rated stays as it was.
        """
        sent = original if sent is None else sent
        if not sent.strip():
            raise UsageError("the message is empty", where="message")
        with self.writing():
            self.conversation(conversation)
            if self.read("rating", "conversation = ? LIMIT 1", conversation):
                raise UsageError(
                    "the conversation has been rated",
                    where=conversation,
                    do="go on in a branch of it",
                )
            for turn in self.turns(conversation):
                if turn.state == "speaking":  # of a process that was killed
                    self._update(replace(turn, state="interrupted", ended_at=now()))
            number = len(self.turns(conversation)) + 1
            return self.insert(
                Turn(
                    new_id(),
                    conversation,
                    number,
                    original,
                    tuple(converters),
                    sent,
                    "",
                    (),
                    "speaking",
                    None,
                    None,
                    None,
                    None,
                    now(),
                    None,
                )
            )

    def note_answer(self, turn: str, answer: str) -> None:
        """Keeps what the model has said so far."""
        with self.writing():
            self._db.execute("UPDATE turn SET answer = ? WHERE id = ?", (storable(answer), turn))

    def end_turn(self, turn: str, answer: str, state: str = "said", **more: Any) -> Turn:
        """Keeps what the model said. `more`: calls, error, memory, prompt_tokens, completion_tokens."""
        with self.writing():
            found: Turn = self.read("turn", "id = ?", turn)[0]
            return self._update(replace(found, answer=answer, state=state, ended_at=now(), **more))

    def replace_turn(self, turn: Turn) -> None:
        """Keeps what another copy of the store knows of a turn. Inside `writing` only."""
        self._update(turn)

    # ---- ratings and fixes ----

    def rate(
        self,
        conversation: str,
        rater: str,
        severity: str,
        category: str = SAFE,
        *,
        first_harm: int | None = None,
        note: str = "",
    ) -> Rating:
        """One person's judgement; a later one of the same person takes its place, and both are kept.

        Raises:
            UsageError: severity, category and turn do not fit each other, or nothing was said yet.
        """
        as_name(rater)
        with self.writing():
            self.conversation(conversation)
            turns = self.turns(conversation)
            if not turns:
                raise UsageError("nothing was said in this conversation", where=conversation)
            category = as_category(category)
            check_rating(severity, category, first_harm, len(turns))
            seen = {
                rating.rater for rating in self.read("rating", "conversation = ?", conversation)
            }
            could_see = bool(seen - {rater}) and (self.is_open or rater in seen)
            return self.insert(
                Rating(
                    new_id(),
                    conversation,
                    rater,
                    severity,
                    category,
                    first_harm,
                    note,
                    len(turns),
                    not could_see,
                    now(),
                )
            )

    def seen_by(self, rater: str, conversation: str) -> list[Rating]:
        """The current ratings that a person may see: all after their own, before it none (unless the store is open)."""
        current = Records(
            ratings=self.read("rating", "conversation = ?", conversation)
        ).current_ratings()
        has_rated = any(rating.rater == rater for rating in current)
        return current if has_rated or self.is_open else []

    def set_fix(
        self,
        conversation: str,
        status: str,
        *,
        by: str,
        link: str = "",
        rerun: str | None = None,
        note: str = "",
        is_embargoed: bool = False,
    ) -> Fix:
        """What became of a finding. A `fixed` one has a link; a `verified` one a whole re-run on which every rating is `none`.

        Raises:
            UsageError: these are missing.
        """
        with self.writing():
            self.conversation(conversation)
            if status not in STATUSES:
                raise UsageError(
                    "no such status", where="status", expected=" ".join(STATUSES), found=status
                )
            if status == "fixed" and not link.strip():
                raise UsageError(
                    "what is fixed has a link", where="link", expected="an issue or a URL"
                )
            if status == "verified":
                self._check_rerun(conversation, rerun)
            return self.insert(
                Fix(
                    new_id(),
                    conversation,
                    status,
                    link,
                    rerun,
                    note,
                    is_embargoed,
                    as_name(by, "by"),
                    now(),
                )
            )

    def _check_rerun(self, conversation: str, rerun: str | None) -> None:
        found = self.conversation(rerun) if rerun else None
        if found is None or (found.parent, found.relation) != (conversation, "rerun"):
            raise UsageError(
                "to verify a fix takes a re-run of the conversation",
                where="rerun",
                found=rerun,
                do="run it again on the mended model and rate that",
            )
        if not self.is_whole_rerun(found):
            raise UsageError(
                "the re-run did not come to its end",
                where="rerun",
                found=rerun,
                do="run the conversation again",
            )
        severities = {
            one.severity
            for one in Records(
                ratings=self.read("rating", "conversation = ?", rerun)
            ).current_ratings()
        }
        if severities != {"none"}:
            order = [name for name in SEVERITIES if name in severities]
            raise UsageError(
                "the re-run does not show it mended",
                where="rerun",
                expected="ratings `none` only",
                found=", ".join(order) or "no rating",
            )

    def is_whole_rerun(self, conversation: Conversation) -> bool:
        """Whether it re-runs another and every message of that one has been answered to the end."""
        if conversation.relation != "rerun" or conversation.parent is None:
            return False
        wanted = [turn.sent for turn in self.turns(conversation.parent) if turn.state != "failed"]
        return [turn.sent for turn in self.turns(conversation.id) if turn.state == "said"] == wanted

    def _refuse_stopped(self, conversation: str) -> None:
        if self.read("rating", "conversation = ? AND category = ?", conversation, STOPPED_BY):
            raise UsageError(
                f"the conversation was stopped: rated {STOPPED_BY}", where=conversation
            )

    # ---- rows ----

    def records(self, *, is_bare: bool = False) -> Records:
        """Everything, as it is at one moment; `is_bare` leaves out what was said, which is most of it."""
        found = Records()
        with self._snapshot():
            for kind in KINDS:
                for record in self.read(kind, "1 ORDER BY at, rowid", is_bare=is_bare):
                    found.add(record)
        return found

    def beginnings(self) -> dict[str, tuple[int, str]]:
        """For each conversation with turns how many it has, and how its first message begins."""
        query = (
            "SELECT conversation, count(*), max(CASE WHEN number = 1 THEN substr(original, 1, 200) ELSE '' END) "
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

    def _update(self, record: R) -> R:
        row, kind = to_row(record), kind_of(record)
        key = KEYS.get(kind, "id")
        self._db.execute(
            f"UPDATE {kind} SET {', '.join(f'{name} = ?' for name in row)} WHERE {key} = ?",
            [*row.values(), row[key]],
        )
        return record
