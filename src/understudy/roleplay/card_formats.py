"""Character files of other programs: Pygmalion's are read, others that people take for cards are
refused by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from understudy.errors import DocumentError

PYGMALION = {
    "name": "char_name",
    "description": "char_persona",
    "scenario": "world_scenario",
    "first_mes": "char_greeting",
    "mes_example": "example_dialogue",
}
"""Version 1's fields by the names that Pygmalion and early text-generation-webui gave them, as
SillyTavern reads them.
"""

_OTHERS: tuple[tuple[Callable[[Mapping[str, Any]], bool], str, str], ...] = (
    (
        lambda d: d.get("kind") == "character",
        "a character of Agnai",
        "export it from Agnai as a Tavern card",
    ),
    (
        lambda d: "scenarioVersion" in d,
        "a scenario of NovelAI",
        "write its memory and author's note into a card",
    ),
    (
        lambda d: "lorebookVersion" in d or d.get("kind") == "memory" or d.get("type") == "risu",
        "a lorebook",
        "give it as --lorebook",
    ),
    (lambda d: d.get("spec") == "lorebook_v3", "a lorebook", "give it as --lorebook"),
    (
        lambda d: isinstance(d.get("entries"), (dict, list)) and "name" not in d,
        "a World Info file of SillyTavern",
        "give it as --lorebook",
    ),
    (lambda d: "chat_completion_source" in d, "a preset of SillyTavern", "export the character"),
    (lambda d: "mainPrompt" in d and "jailbreak" in d, "a preset of Risu", "export the character"),
)


def read_character(document: dict[str, Any], where: object) -> tuple[dict[str, Any], list[str]]:
    """The document of a card, and what was odd about it.

    Raises:
        DocumentError: a file of another program that is no character that can be read here.
    """
    if document.get("spec") in ("chara_card_v2", "chara_card_v3"):
        return document, []
    for is_it, what, do in _OTHERS:
        if is_it(document):
            raise DocumentError(f"{what}, not a character card", where=where, do=do)
    if "char_name" in document and "name" not in document:
        card = {name: str(document.get(theirs) or "") for name, theirs in PYGMALION.items()}
        known = set(PYGMALION.values())
        rest = {name: value for name, value in document.items() if name not in known}
        return {**card, "personality": "", **rest}, ["read from a character file of Pygmalion"]
    return document, []


def refuse_by_its_beginning(data: bytes, where: object) -> None:
    """DocumentError for files that are no text, picture or zip of ours but known all the same."""
    for is_it, what, do in (
        (data[:4] == b"RIFF" and data[8:12] == b"WEBP", "a WebP picture", "save it as PNG"),
        (data[:3] == b"\xff\xd8\xff", "a JPEG picture", "save it as PNG, or export the card again"),
        (data[:2] == b"\x6f\x00", "a module of Risu", "export the character as CHARX"),
        (data[:5] in (b"<!DOC", b"<html"), "a web page", "download the file itself"),
    ):
        if is_it:
            raise DocumentError(f"{what}, not a character card", where=where, do=do)
