"""Requests out of schemas: calls satisfy them, and their values stand in the message."""

from __future__ import annotations

import random

import pytest

from understudy.data.requests import (
    described_request,
    read_phrased,
    read_values,
    spoken,
    tools_of_list,
    words_of,
)
from understudy.errors import DocumentError
from understudy.generation.tools import Tool

VALUES = "city: Lisbon; Oslo\nthing: wool; rope\ntime: 7 pm; noon\ndate: Monday\ncode: A1\n"
PHRASED = """# comment
heat | Heats. | room:str@city:A; degrees:num:B; mode:eco/full?:C | {room} at {degrees}[ on {mode}].
mean | Mean of numbers. | values:list[int]:Them | What is the mean of {values}?
"""
TOOL = {
    "name": "bookFlight",
    "description": "Book a flight",
    "parameters": {
        "type": "object",
        "properties": {
            "destination_city": {"type": "string", "description": "Where to"},
            "cabin": {"type": "string", "description": "Class (e.g., economy, business)"},
            "bags": {"type": "integer"},
            "window": {"type": "boolean"},
        },
        "required": ["destination_city", "cabin", "bags", "window"],
    },
}


@pytest.fixture
def files(tmp_path):
    (tmp_path / "values.txt").write_text(VALUES)
    (tmp_path / "tools.txt").write_text(PHRASED)
    return tmp_path


def test_phrased_requests_hold_their_values(files):
    values, phrased = read_values(files / "values.txt"), read_phrased(files / "tools.txt")
    assert [p.tool["name"] for p in phrased] == ["heat", "mean"]
    chance, with_mode = random.Random(1), 0
    for _ in range(60):
        for one in phrased:
            made = one.make(chance, values)
            assert Tool(**one.tool).fault(made.arguments) is None
            assert all(spoken(v).lower() in made.text.lower() for v in made.arguments.values())
            with_mode += "mode" in made.arguments
    assert 5 < with_mode < 55  # an optional part is there with its parameter, and not always


def test_described_requests_hold_their_values():
    chance, texts = random.Random(2), set()
    for _ in range(40):
        made = described_request(TOOL, chance, {"city": ["Lisbon"], "thing": ["wool"]})
        assert made is not None
        assert Tool(**TOOL).fault(made.arguments) is None
        assert made.arguments["cabin"] in ("economy", "business")  # out of the description
        assert list(made.arguments) == list(TOOL["parameters"]["properties"])
        assert all(spoken(v) in made.text for v in made.arguments.values())
        texts.add(made.text)
    assert len(texts) > 30


def test_a_tool_that_cannot_be_said_gives_none():
    chance = random.Random(0)
    assert described_request({"name": "f", "parameters": {}}, chance, {}) is None
    nested = {"type": "object", "properties": {"a": {"type": "object"}}, "required": ["a"]}
    assert (
        described_request({"name": "f", "description": "F", "parameters": nested}, chance, {})
        is None
    )


@pytest.mark.parametrize("line", ["a | b | c:str:d", "a | b | c:strange:d | say {c}"])
def test_a_bad_line_is_said(tmp_path, line):
    (tmp_path / "tools.txt").write_text(line + "\n")
    with pytest.raises(DocumentError, match=r"four parts|no such type"):
        read_phrased(tmp_path / "tools.txt")


def test_a_request_without_what_is_required_is_said(tmp_path):
    (tmp_path / "tools.txt").write_text("a | b | c:int:d | say nothing\n")
    (phrased,) = read_phrased(tmp_path / "tools.txt")
    with pytest.raises(DocumentError, match="leaves out what is required"):
        phrased.make(random.Random(0), {})


def test_names_as_words_and_lists_of_other_forms():
    assert words_of("crop_typeID2") == "crop type id 2"
    seal = {
        "api_name": "f",
        "api_description": "F",
        "parameters": {"a": {"type": "float", "description": "A"}},
        "required": ["a"],
    }
    (tool,) = tools_of_list([seal])
    assert tool["parameters"]["properties"]["a"]["type"] == "number"
    assert tools_of_list([{"type": "function", "function": TOOL}]) == [TOOL]
