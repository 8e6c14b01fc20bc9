"""Fields of cards that are written in another type than the format's, brought into it: as
SillyTavern takes them.

A copy is mended, and each change said: `Card.warnings` names the field.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from understudy.roleplay.lore_formats import world_to_card
from understudy.roleplay.world_entry import key_order

_TEXTS = (
    *(
        "name",
        "description",
        "personality",
        "scenario",
        "first_mes",
        "mes_example",
        "creator_notes",
    ),
    *("system_prompt", "post_history_instructions", "creator", "character_version", "nickname"),
)
_LISTS = ("tags", "alternate_greetings", "group_only_greetings")


def mended(document: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The document with what can be mended, and the fields that were."""
    document = copy.deepcopy(document)
    notes: list[str] = []
    if document.get("spec") is not None and "name" in document and document.get("data") is None:
        notes.append(f"{document.pop('spec')} has no data, and is read as version 1")
    data = document.get("data") if "spec" in document else document
    if isinstance(data, dict):
        for name in _TEXTS:
            _mend(data, name, _number_as_text, notes)
        if data is not document:
            for name in _LISTS:
                _mend(data, name, _as_texts, notes)
            for name in ("extensions", "character_book"):
                _mend(data, name, lambda value: {} if value == [] else value, notes)
            _mend_book(data.get("character_book"), notes)
    return document, notes


def mended_book(book: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """A lorebook of the card format with what can be mended in its entries, and the fields that
    were."""
    book = copy.deepcopy(book)
    notes: list[str] = []
    _mend_entries(book.get("entries"), notes, "entries")
    return book, notes


def _mend_book(book: object, notes: list[str]) -> None:
    if isinstance(book, dict):
        _mend(book, "entries", _object_as_list, notes, "character_book.")
        _mend(book, "entries", _without_nulls, notes, "character_book.")
        _mend_entries(book.get("entries"), notes, "character_book.entries")


def _mend_entries(entries: object, notes: list[str], path: str) -> None:
    if not isinstance(entries, list):
        return
    for i, entry in enumerate(entries):
        if isinstance(entry, dict):
            if "keys" not in entry and isinstance(entry.get("key"), (list, str)):
                entry = entries[i] = world_to_card(entry)
                notes.append(f"{path}[{i}] was an entry of World Info, and is read as one")
            where = f"{path}[{i}]."
            for name in ("keys", "secondary_keys"):
                _mend(entry, name, _as_texts, notes, where)
            _mend(entry, "extensions", lambda value: {} if value == [] else value, notes, where)


def _mend(
    holder: dict[str, Any],
    name: str,
    change: Callable[[Any], Any],
    notes: list[str],
    where: str = "",
) -> None:
    value = holder.get(name)
    new = value if value is None else change(value)
    if new is not value:
        holder[name] = new
        notes.append(f"{where}{name} was {type(value).__name__} of another form, and is mended")


def _number_as_text(value: Any) -> Any:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return f"{value}" if is_number else value


def _as_texts(value: Any) -> Any:
    """A list of texts without nulls; a text is cut at its commas."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    if not isinstance(value, list) or all(isinstance(item, str) for item in value):
        return value
    return [_number_as_text(item) for item in value if item is not None]


def _without_nulls(value: Any) -> Any:
    is_holed = isinstance(value, list) and None in value
    return [item for item in value if item is not None] if is_holed else value


def _object_as_list(value: Any) -> Any:
    return [value[key] for key in key_order(value)] if isinstance(value, dict) else value
