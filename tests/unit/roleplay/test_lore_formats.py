"""Lorebook files of other programs: read, or refused by name."""

from __future__ import annotations

import base64
import json

import pytest

from understudy.errors import DocumentError
from understudy.roleplay import png
from understudy.roleplay.lorebook import Line, Lorebook

WORLD = {
    "uid": 0,
    "key": ["wolf"],
    "keysecondary": [],
    "content": "Wolves fear fire.",
    "order": 100,
    "position": 0,
    "disable": False,
    "selective": True,
    "probability": 100,
}
NOVELAI = {
    "lorebookVersion": 5,
    "entries": [{"text": "Wolves fear fire.", "keys": ["wolf"], "enabled": True}],
}
AGNAI = {
    "kind": "memory",
    "name": "Beasts",
    "entries": [
        {
            "name": "w",
            "entry": "Wolves fear fire.",
            "keywords": ["wolf"],
            "weight": 1,
            "enabled": True,
        }
    ],
}
RISU = {
    "type": "risu",
    "ver": 1,
    "data": [
        {
            "key": "wolf, dog",
            "secondkey": "",
            "content": "Wolves fear fire.",
            "comment": "",
            "alwaysActive": False,
            "selective": False,
            "insertorder": 100,
        }
    ],
}
CARD_BOOK = {"entries": [{"keys": ["wolf"], "content": "Wolves fear fire.", "enabled": True}]}


@pytest.mark.parametrize(
    ("document", "origin", "rules"),
    [
        ({"entries": {"0": WORLD}}, "SillyTavern World Info", "sillytavern"),
        ({"entries": [WORLD]}, "SillyTavern World Info", "sillytavern"),
        (NOVELAI, "NovelAI", "sillytavern"),
        (AGNAI, "Agnai", "sillytavern"),
        (RISU, "Risu", "v3"),
        ({"spec": "lorebook_v3", "data": CARD_BOOK}, "the card format", "v3"),
        (
            {"spec": "chara_card_v3", "data": {"name": "H", "character_book": CARD_BOOK}},
            "the card format",
            "v3",
        ),
        (CARD_BOOK, "the card format", "v3"),
    ],
)
def test_books_of_other_programs_are_read(document, origin, rules):
    book = Lorebook.parse(json.dumps(document))
    assert (book.origin, book.rules) == (origin, rules)
    found = book.scan([Line("user", "a wolf")])
    assert [placed.content for placed in found.placed] == ["Wolves fear fire."]
    assert book.scan([Line("user", "a cow")]).placed == ()
    again = Lorebook(book.to_document()["data"])
    assert again.rules == rules
    assert [p.content for p in again.scan([Line("user", "a wolf")]).placed] == ["Wolves fear fire."]


def test_a_world_of_no_entries_and_the_order_of_its_ids():
    assert Lorebook.parse('{"entries": {}}').entries == []
    entries = {str(n): {**WORLD, "uid": n, "content": str(n)} for n in (10, 9, 2)}
    book = Lorebook.parse(json.dumps({"entries": entries}))
    assert [entry.source["content"] for entry in book.entries] == ["2", "9", "10"]


def test_lore_in_a_picture_of_novelai():
    chunks, tail = png.read_chunks(png.plain_picture(1, 1))
    lore = png.text_chunk("naidata", base64.b64encode(json.dumps(NOVELAI).encode()))
    picture = png.write_chunks([*chunks[:-1], lore, chunks[-1]], tail)
    assert Lorebook.parse(picture).origin == "NovelAI"
    with pytest.raises(DocumentError, match="naidata"):
        Lorebook.parse(png.plain_picture(1, 1))


def test_what_is_not_used_is_said():
    entry = {**NOVELAI["entries"][0], "searchRange": 50}
    assert "searchRange" in Lorebook.parse(json.dumps({**NOVELAI, "entries": [entry]})).warnings[0]
    folder = {"mode": "folder", "key": "x"}
    rare = {**RISU["data"][0], "activationPercent": 10}
    warnings = Lorebook.parse(json.dumps({**RISU, "data": [folder, rare]})).warnings
    assert "folder" in warnings[0]
    assert "activationPercent" in warnings[1]


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"scenarioVersion": 3, "lorebook": {}}, "NovelAI"),
        ({"kind": "character", "name": "H"}, "Agnai"),
        ({"entries": [{"question": 1}]}, "SillyTavern, NovelAI, Agnai or Risu"),
        ({"type": "risu", "data": 3}, "data"),
        ({"spec": "chara_card_v2", "data": {"name": "H"}}, "character_book"),
        ({}, "{}"),
    ],
)
def test_others_are_refused_by_name_and_name_the_file(document, words):
    with pytest.raises(DocumentError) as caught:
        Lorebook.parse(json.dumps(document), "beasts.json")
    assert words in str(caught.value)
    assert "beasts.json" in str(caught.value)


@pytest.mark.parametrize(
    "book",
    [
        {"entries": [{"keys": "wolf, fox", "content": "LORE", "enabled": True}]},
        {"entries": {"0": {"keys": "wolf, fox", "content": "LORE", "enabled": True}}},
        {"entries": [{"key": "wolf, fox", "content": "LORE"}]},
        {"entries": {"7": {"key": "wolf, fox", "keysecondary": "den, lair", "content": "LORE"}}},
    ],
)
def test_keys_in_one_text_are_cut_at_commas_and_said(book):
    read = Lorebook.parse(json.dumps(book))
    assert any("key" in warning for warning in read.warnings)
    for text, is_called in (("a fox in its lair", True), ("a wolf den", True), ("low, so", False)):
        assert bool(read.scan([Line("user", text)]).placed) == is_called


def test_an_entry_of_world_info_among_others_is_read_and_said():
    book = Lorebook({"entries": [{"key": ["wolf"], "content": "LORE"}]})
    assert "World Info" in book.warnings[0]
    assert [placed.content for placed in book.scan([Line("user", "a wolf")]).placed] == ["LORE"]
