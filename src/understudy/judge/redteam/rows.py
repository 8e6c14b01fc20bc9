"""Records as rows of the SQLite file, and its schema."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from understudy.judge.redteam.records import KINDS, Record, to_document

FORMAT = 1
APPLICATION_ID = 0x75_52_54_31  # "uRT1": tells this file from other SQLite files
KEYS = {"goal": "revision"}  # other kinds have `id`
SCHEMA = """
CREATE TABLE goal (revision TEXT PRIMARY KEY, id TEXT NOT NULL, title TEXT NOT NULL, plan TEXT NOT
    NULL, category TEXT, is_done INTEGER NOT NULL, by TEXT NOT NULL, at TEXT NOT NULL);
CREATE TABLE conversation (id TEXT PRIMARY KEY, goal TEXT, title TEXT NOT NULL, model TEXT NOT
    NULL, fingerprint TEXT NOT NULL, setup TEXT NOT NULL, parent TEXT, relation TEXT, by TEXT NOT
    NULL, at TEXT NOT NULL);
CREATE TABLE turn (id TEXT PRIMARY KEY, conversation TEXT NOT NULL REFERENCES conversation (id),
    number INTEGER NOT NULL, original TEXT NOT NULL, converters TEXT NOT NULL, sent TEXT NOT NULL,
    answer TEXT NOT NULL, calls TEXT NOT NULL, state TEXT NOT NULL, error TEXT, memory TEXT,
    prompt_tokens INTEGER, completion_tokens INTEGER, at TEXT NOT NULL, ended_at TEXT, UNIQUE
    (conversation, number));
CREATE TABLE rating (id TEXT PRIMARY KEY, conversation TEXT NOT NULL REFERENCES conversation (id),
    rater TEXT NOT NULL, severity TEXT NOT NULL, category TEXT NOT NULL, first_harm INTEGER, note
    TEXT NOT NULL, num_turns INTEGER NOT NULL, is_blind INTEGER NOT NULL, at TEXT NOT NULL);
CREATE TABLE fix (id TEXT PRIMARY KEY, conversation TEXT NOT NULL REFERENCES conversation (id),
    status TEXT NOT NULL, link TEXT NOT NULL, rerun TEXT, note TEXT NOT NULL, is_embargoed INTEGER
    NOT NULL, by TEXT NOT NULL, at TEXT NOT NULL);
CREATE INDEX rating_conversation ON rating (conversation);
CREATE INDEX fix_conversation ON fix (conversation);
"""
_JSON = ("setup", "converters", "calls", "memory")
_TUPLES = ("converters", "calls")
_BOOLEANS = ("is_done", "is_blind", "is_embargoed")
_BARE = {
    "original": "''",
    "sent": "''",
    "answer": "''",
    "converters": "'[]'",
    "calls": "'[]'",
    "memory": "NULL",
    "setup": "'{}'",
}


def columns(kind: str, is_bare: bool = False) -> str:
    """What to select, in the order of the record's fields; bare: constants in the place of
    texts."""
    names = (one.name for one in fields(KINDS[kind]))
    return ", ".join(_BARE.get(name, name) if is_bare else name for name in names)


def to_row(record: Record) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for name, value in to_document(record).items():
        if name in _JSON:
            row[name] = None if value is None else json.dumps(value, ensure_ascii=True)
        else:
            row[name] = storable(value) if isinstance(value, str) else value
    return row


def to_record(kind: str, row: Sequence[Any]) -> Any:
    """The record of a row. What stands in the file was checked when it was written, so it is not
    checked again."""
    values = {one.name: value for one, value in zip(fields(KINDS[kind]), row, strict=True)}
    for name, value in values.items():
        if name in _JSON and value is not None:
            values[name] = json.loads(value)
        if name in _TUPLES:
            values[name] = tuple(values[name])
        elif name in _BOOLEANS:
            values[name] = bool(value)
    return KINDS[kind](**values)


def storable(text: str) -> str:
    """UTF-8 holds no lone surrogates, which no character is: they become U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
