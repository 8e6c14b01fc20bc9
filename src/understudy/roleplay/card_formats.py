"""Character files of other programs: Pygmalion's and text-generation-webui's are read, others that
people take for cards are refused by name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import yaml

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

WEBUI = {"context": "description", "greeting": "first_mes", "example_dialogue": "mes_example"}
"""text-generation-webui's names of version 1's fields; SillyTavern reads the first two."""

MAX_YAML_BYTES = 1 << 20
_YAML = re.compile(
    rb"(?:\xef\xbb\xbf)?\s*(?:#[^\n]*\n\s*)*(?:---\s*\n\s*)?(?:name|context|greeting)\s*:"
)

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
    (
        lambda d: d.get("type") == "risuModule" or "risuModule" in d,
        "a module of Risu",
        "export the character as CHARX",
    ),
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
    if not document.keys().isdisjoint(WEBUI) and not {"description", "first_mes"} & document.keys():
        renamed = {WEBUI.get(name, name): value for name, value in document.items()}
        return renamed, ["read from a character file of text-generation-webui"]
    return document, []


def is_yaml(data: bytes) -> bool:
    """Whether a file begins like a character of text-generation-webui."""
    return _YAML.match(data) is not None


def read_yaml(data: bytes, where: object) -> tuple[dict[str, Any], list[str]]:
    """The texts of such a file, as they stand, and what else it holds.

    Raises:
        DocumentError: too large, or no YAML.
    """
    if len(data) > MAX_YAML_BYTES:
        found = f"{len(data)} bytes"
        raise DocumentError("YAML is too large for a character", where=where, found=found)
    try:
        given = yaml.load(data.decode("utf-8-sig"), Loader=yaml.BaseLoader)  # scalars as texts
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
        line = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DocumentError(f"character is not YAML ({line})", where=where) from error
    fields = given.items() if isinstance(given, dict) else ()
    texts = {name: value for name, value in fields if isinstance(value, str)}
    return texts, [f"{name} is no text, and is not read" for name, _ in fields if name not in texts]


def refuse_by_its_beginning(data: bytes, where: object) -> None:
    """DocumentError for files that are no text, picture or zip of ours but known all the same."""
    for is_it, what, do in (
        (data[:4] == b"RIFF" and data[8:12] == b"WEBP", "a WebP picture", "save it as PNG"),
        (data[:3] == b"\xff\xd8\xff", "a JPEG picture", "save it as PNG, or export the card again"),
        (data[:2] == b"\x6f\x00", "a module of Risu", "export the character as CHARX"),
        (
            data[:64].lstrip()[:5].lower() in (b"<!doc", b"<html"),
            "a web page",
            "download the file itself",
        ),
    ):
        if is_it:
            raise DocumentError(f"{what}, not a character card", where=where, do=do)
