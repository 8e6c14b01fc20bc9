"""Character cards, versions 1, 2 and 3: the JSON document, what its fields mean, and what is wrong
with it.

A `Card` keeps the whole document as it was read. Properties look into it and edits change it, so
unknown fields and `extensions` come back out untouched. Files that cards travel in are
`card_files.py`'s business.
"""

from __future__ import annotations

import copy
import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

from understudy.errors import DocumentError, UsageError
from understudy.roleplay.card_formats import read_character
from understudy.roleplay.card_mending import mended
from understudy.roleplay.json_text import parse_json

if TYPE_CHECKING:
    from understudy.chat.sources import ActiveCharacter

STRINGS = {
    1: ("name", "description", "personality", "scenario", "first_mes", "mes_example"),
    2: (
        "creator_notes",
        "system_prompt",
        "post_history_instructions",
        "creator",
        "character_version",
    ),
    3: ("nickname",),
}
STRING_LISTS = {2: ("alternate_greetings", "tags"), 3: ("group_only_greetings", "source")}
OBJECTS: dict[int, frozenset[str]] = {
    1: frozenset(),
    2: frozenset({"character_book", "extensions"}),
    3: frozenset(
        {
            *("character_book", "extensions", "assets", "creator_notes_multilingual"),
            *("creation_date", "modification_date"),
        }
    ),
}
DEFAULT_ASSETS = ({"type": "icon", "uri": "ccdefault:", "name": "main", "ext": "png"},)
BACKFILL_NOTE = (
    "This is a version 3 card that was loaded as version 2. "
    "Use a program that reads version 3 to have all of it."
)
_DECORATOR_LINE = re.compile(r"^@@@?\S.*(?:\n|\Z)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class DepthPrompt:
    """SillyTavern's "character's note": a text that goes `depth` messages back from the newest."""

    prompt: str
    depth: int
    role: str


@dataclass(slots=True)
class Card:
    """A character.

    Args:
        document: the whole JSON object. Version 1 has its fields at the top, versions 2 and 3 under
            `data`.
        assets: files that came with the card, by the path that `embeded://` names.
        picture: the PNG that the card came in.
        warnings: what was odd but could be read.
    """

    document: dict[str, Any]
    assets: dict[str, bytes] = field(default_factory=dict)
    picture: bytes | None = None
    warnings: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        _check(self.document)
        if self.version == 3 and _version_number(self.document) > 3.0:
            self.warnings.append(
                f"written for version {self.document['spec_version']} of the format; "
                "newer fields are kept unread"
            )

    # ---- the document ----

    @property
    def version(self) -> Literal[1, 2, 3]:
        """Of the card format, as the document says it."""
        return _version_of(self.document)

    @property
    def data(self) -> dict[str, Any]:
        """Where the fields stand: the document itself in version 1, its `data` later."""
        return self.document if self.version == 1 else self.document["data"]

    def set(self, name: str, value: Any) -> None:
        """Changes one field; a wrong type is refused and the card stays as it was.

        Args:
            name: of the field, as the format has it.
            value: as JSON has it.

        Raises:
            DocumentError: the field does not take such a value.
            UsageError: `source` may only grow; `creation_date` stays.
        """
        if name == "source" and list(value)[: len(self.data.get("source") or [])] != (
            self.data.get("source") or []
        ):
            raise UsageError("sources of a card may be added to, not changed", where="source")
        if name == "creation_date" and self.data.get("creation_date") is not None:
            raise UsageError("the creation date of a card stays", where="creation_date")
        trial = copy.deepcopy(self.document)
        (trial if self.version == 1 else trial["data"])[name] = value
        _check(trial)
        self.document = trial

    def can_have(self, name: str) -> bool:
        """Whether the card's version of the format has a field `name`, or the card itself."""
        levels = range(1, self.version + 1)
        named = {n for level in levels for n in (*STRINGS[level], *STRING_LISTS.get(level, ()))}
        return name in named | OBJECTS[self.version] or name in self.data

    def upgraded(self) -> Card:
        """The same character as a version 3 card; what was there is kept."""
        data = copy.deepcopy(self.data)
        if self.version == 1:  # SillyTavern's name of it
            data["creator_notes"] = data.get("creator_notes") or data.get("creatorcomment")
        for name in (*STRINGS[1], *STRINGS[2]):
            data[name] = data.get(name) or ""
        for name in ("alternate_greetings", "tags", "group_only_greetings"):
            data[name] = data.get(name) or []
        data["extensions"] = data.get("extensions") or {}
        outer = {
            k: copy.deepcopy(v)
            for k, v in self.document.items()
            if k not in ("spec", "spec_version", "data")
        }
        document = {"spec": "chara_card_v3", "spec_version": "3.0", "data": data}
        if self.version != 1:
            document = {**outer, **document}
        return Card(document, dict(self.assets), self.picture)

    def as_version_2(self) -> dict[str, Any]:
        """The document as a version 2 reader understands it: a note to the user, and no decorators
        in the lorebook.
        """
        if self.version == 2:
            return copy.deepcopy(self.document)
        data = copy.deepcopy(self.upgraded().data)
        data["creator_notes"] = f"{BACKFILL_NOTE}\n\n{data.get('creator_notes', '')}".strip()
        for entry in (data.get("character_book") or {}).get("entries", []):
            entry["content"] = _DECORATOR_LINE.sub("", entry.get("content", "")).lstrip("\n")
        return {"spec": "chara_card_v2", "spec_version": "2.0", "data": data}

    def to_json(self) -> bytes:
        """The document as UTF-8; a lone surrogate, which UTF-8 cannot hold, stays an escape."""
        try:
            return json.dumps(self.document, ensure_ascii=False, allow_nan=False).encode("utf-8")
        except UnicodeEncodeError:
            return json.dumps(self.document, ensure_ascii=True, allow_nan=False).encode("ascii")

    @property
    def digest(self) -> str:
        """Hex digest of the document: two cards with the same digest are the same character."""
        return hashlib.sha256(json.dumps(self.document, sort_keys=True).encode()).hexdigest()[:16]

    # ---- the fields ----

    def text(self, name: str) -> str:
        """The text of the field `name`, "" where it is absent."""
        return self.data.get(name) or ""

    @property
    def name(self) -> str:
        """Of the character, as the card has it."""
        return self.text("name")

    @property
    def shown_name(self) -> str:
        """What `{{char}}` stands for: the nickname where there is one."""
        return self.text("nickname") or self.name

    @property
    def greetings(self) -> list[str]:
        """The first message and its alternatives, in the order that `@@is_greeting` counts."""
        return [self.text("first_mes"), *(self.data.get("alternate_greetings") or [])]

    @property
    def group_greetings(self) -> list[str]:
        """Greetings for groups alone (version 3)."""
        return list(self.data.get("group_only_greetings") or [])

    @property
    def lorebook(self) -> dict[str, Any] | None:
        """The book in the card, as its document; None where there is none."""
        return self.data.get("character_book") or None

    @property
    def depth_prompt(self) -> DepthPrompt | None:
        """What SillyTavern keeps in `extensions.depth_prompt`; None where there is none."""
        given = (self.data.get("extensions") or {}).get("depth_prompt")
        if not isinstance(given, dict):
            return None
        text = given.get("prompt")
        if not isinstance(text, str) or not text.strip():
            return None
        depth, role = given.get("depth"), given.get("role")
        if not isinstance(depth, int) or isinstance(depth, bool) or depth < 0:
            depth = 4
        return DepthPrompt(text, depth, role if role in ("user", "assistant") else "system")

    @property
    def asset_list(self) -> list[dict[str, Any]]:
        """Pictures and other files that belong to the card; by default its portrait."""
        given = self.data.get("assets")
        return [dict(asset) for asset in (DEFAULT_ASSETS if given is None else given)]

    def creator_notes(self, language: str = "en") -> str:
        """Notes for the person who uses the card, in a `language` (its two letters) where they are
        translated; never part of a prompt.
        """
        translations = self.data.get("creator_notes_multilingual")
        if not translations:
            return self.text("creator_notes")
        return str(
            translations.get(language) or translations.get("en") or self.text("creator_notes")
        )

    @classmethod
    def new(cls, name: str) -> Card:
        """An empty card of version 3 for a character called `name`."""
        return cls({"name": name}).upgraded()

    def play(self, *, user: str = "Traveller", seed: int = 0, greeting: int = 0) -> ActiveCharacter:
        """The character in play, as `Session(character=card)` asks for it.

        Args:
            user: what the character calls its partner.
            seed: of random macros.
            greeting: which of the card's, from 0.
        """
        played = import_module("understudy.roleplay.played")  # made of cards, and not they of it
        character: ActiveCharacter = played.PlayedCharacter(
            self, user=user, seed=seed, greeting=greeting
        )
        return character

    def problems(self) -> list[str]:
        """What the specification would have otherwise, in words; empty for a clean card."""
        found = [*self.warnings]
        if not self.name:
            found.append("name is empty")
        if self.version == 1:
            return found + [f"{name} is missing" for name in STRINGS[1] if name not in self.data]
        wanted = [*STRINGS[1], *STRINGS[2], "alternate_greetings", "tags", "extensions"]
        wanted += ["group_only_greetings"] if self.version == 3 else []
        found += [f"{name} is missing" for name in wanted if self.data.get(name) is None]
        return found + _asset_problems(self)


def parse_card(text: bytes | str, where: object = "card") -> Card:
    """A card from its JSON text.

    Raises:
        DocumentError: no JSON, too large or too deep, not a card, or a field of the wrong type.
    """
    return card_of(parse_json(text, where), (), where)


def card_of(document: dict[str, Any], odd: Sequence[str] = (), where: object = "card") -> Card:
    """A card from its document; raises as `parse_card`. `odd`: what its file had beside it."""
    document, notes = read_character(document, where)
    document, changes = mended(document)
    return Card(document, warnings=[*notes, *odd, *changes])


def _version_of(document: dict[str, Any]) -> Literal[1, 2, 3]:
    spec = document.get("spec")
    return 3 if spec == "chara_card_v3" else 2 if spec == "chara_card_v2" else 1


def _version_number(document: dict[str, Any]) -> float:
    try:
        return float(document.get("spec_version", "3.0"))
    except (TypeError, ValueError):
        return 3.0


def _check(document: dict[str, Any]) -> None:
    """DocumentError for a document that no reader could use; absent and null fields are allowed."""
    spec = document.get("spec")
    if spec is not None and spec not in ("chara_card_v2", "chara_card_v3"):
        raise DocumentError(
            "not a character card",
            where="spec",
            expected="chara_card_v2 or chara_card_v3",
            found=spec,
        )
    version = _version_of(document)
    data = document if version == 1 else document.get("data")
    if not isinstance(data, dict):
        raise DocumentError(
            "card has no data", where="data", expected="an object", found=type(data).__name__
        )
    if version == 1 and "name" not in data:
        raise DocumentError(
            "not a character card",
            expected="`name`, or `spec` and `data`",
            found=", ".join(list(data)[:8]) or "{}",
        )
    for level in range(1, version + 1):
        for name in STRINGS[level]:
            _expect(data, name, str)
        for name in STRING_LISTS.get(level, ()):
            _expect(data, name, list)
            _expect_items(data, name, str)
    if version > 1:
        _expect(data, "extensions", dict)
        _expect(data, "character_book", dict)
        _check_book(data.get("character_book") or {})
    if version > 2:
        _expect(data, "assets", list)
        _expect_items(data, "assets", dict)
        _expect(data, "creator_notes_multilingual", dict)


def _check_book(book: dict[str, Any]) -> None:
    _expect(book, "entries", list, "character_book.")
    _expect_items(book, "entries", dict, "character_book.")
    for i, entry in enumerate(book.get("entries") or []):
        where = f"character_book.entries[{i}]."
        _expect(entry, "content", str, where)
        _expect(entry, "keys", list, where)
        _expect_items(entry, "keys", str, where)


def _expect(data: dict[str, Any], name: str, kind: type, where: str = "") -> None:
    value = data.get(name)
    if value is not None and not isinstance(value, kind):
        raise DocumentError(
            "field has the wrong type",
            where=where + name,
            expected=kind.__name__,
            found=type(value).__name__,
        )


def _expect_items(data: dict[str, Any], name: str, kind: type, where: str = "") -> None:
    for i, value in enumerate(data.get(name) or []):
        if not isinstance(value, kind):
            raise DocumentError(
                "field has the wrong type",
                where=f"{where}{name}[{i}]",
                expected=kind.__name__,
                found=type(value).__name__,
            )


def _asset_problems(card: Card) -> list[str]:
    found = []
    for i, asset in enumerate(card.data.get("assets") or []):
        missing = [
            name for name in ("type", "uri", "name", "ext") if not isinstance(asset.get(name), str)
        ]
        found += [f"assets[{i}] has no {name}" for name in missing]
        uri = str(asset.get("uri", ""))
        if uri.startswith("embeded://") and uri.removeprefix("embeded://") not in card.assets:
            found.append(f"assets[{i}] names {uri}, which is not in the file")
    icons = [a for a in card.data.get("assets") or [] if a.get("type") == "icon"]
    mains = sum(a.get("name") == "main" for a in icons)
    if len(icons) > 1 and mains != 1:
        found.append(f"one of the icons must be called main, {mains} are")
    return found
