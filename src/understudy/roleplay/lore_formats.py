"""Lorebook files of other programs, brought into the form that a card holds: what is read, and what
is refused by name.

SillyTavern's World Info (1.19.0) becomes what SillyTavern itself writes into a card
(`convertWorldInfoToCharacterBook`); NovelAI's, Agnai's and Risu's books become what its import
makes of them, Risu's decorators kept.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from understudy.errors import DocumentError
from understudy.roleplay import png
from understudy.roleplay.json_text import parse_json
from understudy.roleplay.world_entry import EXTENSIONS, key_order

NOVELAI_KEYWORD = "naidata"  # of the text chunk in NovelAI's pictures of lore
KNOWN = "a book of the card format, a card, or one of SillyTavern, NovelAI, Agnai or Risu"


@dataclass(frozen=True, slots=True)
class ReadBook:
    """A book as a card holds it, the program that it comes from, and what of it is not used."""

    document: dict[str, Any]
    origin: str | None
    notes: tuple[str, ...] = ()


def read_book(text: bytes | str, where: object) -> ReadBook:
    """A lorebook out of the bytes of a file.

    Raises:
        DocumentError: no lorebook that is known here; the text names the file.
    """
    if isinstance(text, bytes) and text.startswith(png.SIGNATURE):
        text = _from_picture(text, where)
    document = parse_json(text, where)
    if document.get("spec") == "lorebook_v3":
        return ReadBook(_object(document.get("data"), "data", where), None)
    if document.get("spec") in ("chara_card_v2", "chara_card_v3"):
        data = _object(document.get("data"), "data", where)
        return ReadBook(_object(data.get("character_book"), "data.character_book", where), None)
    for is_of, read in _READERS:
        if is_of(document):
            return read(document, where)
    entries = document.get("entries")
    if isinstance(entries, (list, dict)) and all(
        isinstance(e, dict) and _is_of_card(e) for e in _values(entries)
    ):
        return ReadBook({**document, "entries": _values(entries)}, None)
    raise DocumentError(
        "not a lorebook that is known here",
        where=where,
        expected=KNOWN,
        found=", ".join(list(document)[:8]) or "{}",
    )


def origin_of(entries: Sequence[Mapping[str, Any]]) -> str:
    """Who made a book of the card format: SillyTavern leaves its own fields in the entries'
    `extensions`.
    """
    for entry in entries:
        extensions = entry.get("extensions")
        if isinstance(extensions, dict) and not EXTENSIONS.isdisjoint(extensions):
            return "SillyTavern"
    return "the card format"


# ---- SillyTavern ----


def _is_world(document: Mapping[str, Any]) -> bool:
    entries = _values(document.get("entries"))
    own = ("key", "keysecondary", "uid", "disable", "selectiveLogic")
    is_object = isinstance(document.get("entries"), dict)
    return bool(entries or is_object) and all(
        isinstance(e, dict) and (is_object or not _is_of_card(e)) and any(k in e for k in own)
        for e in entries
    )


def _is_of_card(entry: Mapping[str, Any]) -> bool:
    return "keys" in entry or ("content" in entry and "key" not in entry)


def _read_world(document: dict[str, Any], where: object) -> ReadBook:
    given = _values(document.get("entries"))
    notes = [
        f"entry {i}: {name} was one text, and is cut at its commas"
        for i, entry in enumerate(given)
        for name in ("key", "keysecondary")
        if isinstance(entry.get(name), str) and entry[name]
    ]
    entries = [world_to_card(entry) for entry in given]
    book = {"name": str(document.get("name") or ""), "extensions": {}, "entries": entries}
    return ReadBook(book, "SillyTavern World Info", tuple(notes))


_WORLD_FIELDS: dict[str, tuple[str, Any]] = {
    "exclude_recursion": ("excludeRecursion", False),
    "prevent_recursion": ("preventRecursion", False),
    "delay_until_recursion": ("delayUntilRecursion", False),
    "display_index": ("displayIndex", None),
    "probability": ("probability", 100),
    "useProbability": ("useProbability", True),
    "depth": ("depth", 4),
    "selectiveLogic": ("selectiveLogic", 0),
    "outlet_name": ("outletName", ""),
    "group": ("group", ""),
    "group_override": ("groupOverride", False),
    "group_weight": ("groupWeight", 100),
    "scan_depth": ("scanDepth", None),
    "match_whole_words": ("matchWholeWords", None),
    "use_group_scoring": ("useGroupScoring", None),
    "case_sensitive": ("caseSensitive", None),
    "automation_id": ("automationId", ""),
    "role": ("role", 0),
    "vectorized": ("vectorized", False),
    "sticky": ("sticky", None),
    "cooldown": ("cooldown", None),
    "delay": ("delay", None),
    "match_persona_description": ("matchPersonaDescription", False),
    "match_character_description": ("matchCharacterDescription", False),
    "match_character_personality": ("matchCharacterPersonality", False),
    "match_character_depth_prompt": ("matchCharacterDepthPrompt", False),
    "match_scenario": ("matchScenario", False),
    "match_creator_notes": ("matchCreatorNotes", False),
    "triggers": ("triggers", []),
    "ignore_budget": ("ignoreBudget", False),
}


def world_to_card(entry: Mapping[str, Any]) -> dict[str, Any]:
    """An entry of a World Info file, as SillyTavern writes it into a card."""
    given = entry.get("extensions")
    extensions = dict(given) if isinstance(given, dict) else {}
    position = entry.get("position", 0)
    extensions |= {"position": position}
    for name, (own, default) in _WORLD_FIELDS.items():
        extensions[name] = default if entry.get(own) is None else entry[own]
    chosen = entry.get("characterFilter")
    if isinstance(chosen, dict) and (chosen.get("names") or chosen.get("tags")):
        extensions["character_filter"] = chosen
    return {
        "id": entry.get("uid"),
        "keys": _texts(entry.get("key")),
        "secondary_keys": _texts(entry.get("keysecondary")),
        "comment": str(entry.get("comment") or ""),
        "content": str(entry.get("content") or ""),
        "constant": bool(entry.get("constant")),
        "selective": bool(entry.get("selective", True)),
        "insertion_order": entry.get("order", 100),
        "enabled": not entry.get("disable"),
        "position": "before_char" if position == 0 else "after_char",
        "use_regex": True,
        "extensions": extensions,
    }


# ---- NovelAI, Agnai, Risu ----


def _read_novelai(document: dict[str, Any], where: object) -> ReadBook:
    entries = _list(document.get("entries"), "entries", where)
    notes = []
    for i, entry in enumerate(entries):
        unused = [
            name
            for name, usual in (
                ("searchRange", (None, 1000)),
                ("keyRelative", (None, False)),
                ("loreBiasGroups", (None, [])),
            )
            if entry.get(name) not in usual
        ]
        if unused and not (unused == ["loreBiasGroups"] and not _has_bias(entry)):
            notes.append(f"entry {i}: NovelAI's {', '.join(unused)} is not used here")
    read = [
        _plain(
            keys=_texts(entry.get("keys")),
            content=str(entry.get("text") or ""),
            comment=str(entry.get("displayName") or ""),
            order=(_dict(entry.get("contextConfig"))).get("budgetPriority") or 0,
            is_enabled=bool(entry.get("enabled")),
            constant=bool(entry.get("forceActivation")),
        )
        for entry in entries
    ]
    return ReadBook({"name": "", "extensions": {}, "entries": read}, "NovelAI", tuple(notes))


def _has_bias(entry: Mapping[str, Any]) -> bool:
    return any(_dict(group).get("phrases") for group in _values(entry.get("loreBiasGroups")))


def _read_agnai(document: dict[str, Any], where: object) -> ReadBook:
    read = [
        _plain(
            keys=_texts(entry.get("keywords")),
            content=str(entry.get("entry") or ""),
            comment=str(entry.get("name") or ""),
            order=entry.get("weight") or 0,
            is_enabled=bool(entry.get("enabled")),
            priority=entry.get("priority"),
        )
        for entry in _list(document.get("entries"), "entries", where)
    ]
    book = {"name": str(document.get("name") or ""), "extensions": {}, "entries": read}
    return ReadBook(book, "Agnai")


def _read_risu(document: dict[str, Any], where: object) -> ReadBook:
    read: list[dict[str, Any]] = []
    notes: list[str] = []
    for i, entry in enumerate(_list(document.get("data"), "data", where)):
        if entry.get("mode") == "folder":
            notes.append(f"entry {i}: a folder of Risu's, which holds no text")
            continue
        if entry.get("activationPercent") not in (None, 100):
            notes.append(f"entry {i}: Risu's activationPercent is not used here")
        keys, more = (_texts(str(entry.get(name) or "")) for name in ("key", "secondkey"))
        read.append(
            {
                "keys": keys,
                "secondary_keys": more,
                "comment": str(entry.get("comment") or ""),
                "content": str(entry.get("content") or ""),
                "constant": bool(entry.get("alwaysActive")),
                "selective": bool(entry.get("selective")),
                "insertion_order": entry.get("insertorder") or 0,
                "enabled": True,
                "position": "before_char",
                "use_regex": bool(entry.get("useRegex")),
                "extensions": {},
            }
        )
    return ReadBook({"name": "", "extensions": {}, "entries": read}, "Risu", tuple(notes))


def _plain(
    *,
    keys: list[str],
    content: str,
    comment: str,
    order: Any,
    is_enabled: bool,
    constant: bool = False,
    priority: Any = None,
) -> dict[str, Any]:
    return {
        "keys": keys,
        "secondary_keys": [],
        "comment": comment,
        "content": content,
        "constant": constant,
        "selective": False,
        "insertion_order": order,
        **({} if priority is None else {"priority": priority}),
        "enabled": is_enabled,
        "position": "before_char",
        "extensions": {"position": 0},
    }


def _from_picture(data: bytes, where: object) -> bytes:
    """The lore in a picture of NovelAI's."""
    chunks, _ = png.read_chunks(data, where)
    for chunk in chunks:
        if png.keyword_of(chunk) == NOVELAI_KEYWORD:
            try:
                return base64.b64decode(png.text_of(chunk, where), validate=True)
            except (binascii.Error, ValueError) as error:
                raise DocumentError(f"text chunk is not base64 ({error})", where=where) from error
    raise DocumentError(
        "the picture holds no lorebook", where=where, expected=f"a `{NOVELAI_KEYWORD}` text chunk"
    )


def _refuse(name: str, do: str) -> Callable[[dict[str, Any], object], ReadBook]:
    def refuse(document: dict[str, Any], where: object) -> ReadBook:
        raise DocumentError(f"{name}, not a lorebook", where=where, do=do)

    return refuse


_READERS: tuple[
    tuple[Callable[[dict[str, Any]], bool], Callable[[dict[str, Any], object], ReadBook]], ...
] = (
    (lambda d: "lorebookVersion" in d, _read_novelai),
    (lambda d: d.get("kind") == "memory", _read_agnai),
    (lambda d: d.get("type") == "risu", _read_risu),
    (
        lambda d: "scenarioVersion" in d,
        _refuse("a scenario of NovelAI", "export its lorebook alone"),
    ),
    (
        lambda d: d.get("kind") == "character",
        _refuse("a character of Agnai", "export its memory book"),
    ),
    (_is_world, _read_world),
)


def _object(value: object, name: str, where: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise DocumentError(
            "lorebook has no data",
            where=f"{where}: {name}",
            expected="an object",
            found=type(value).__name__,
        )
    return value


def _list(value: object, name: str, where: object) -> list[dict[str, Any]]:
    found = value if isinstance(value, list) else None
    if found is None or not all(isinstance(item, dict) for item in found):
        raise DocumentError(
            "lorebook has no entries",
            where=f"{where}: {name}",
            expected="a list of objects",
            found=type(value).__name__,
        )
    return found


def _values(value: object) -> list[Any]:
    """The entries of a World Info file: an object, in JavaScript's order, or a list."""
    if isinstance(value, dict):
        return [value[key] for key in key_order(value)]
    return value if isinstance(value, list) else []


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _texts(value: object) -> list[str]:
    """Keys; those that are one text are cut at its commas."""
    if isinstance(value, str):
        return [word.strip() for word in value.split(",") if word.strip()]
    return [str(item) for item in value if item is not None] if isinstance(value, list) else []
