"""Made cases: right by the same checks that others' data are held to."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from understudy.cli import main
from understudy.data.check import faults_of
from understudy.data.make_documents import DocumentCases
from understudy.data.make_scenes import OUTSIDE, SceneCases
from understudy.data.make_tools import ToolCases, read_tools
from understudy.data.records import read_data
from understudy.errors import DocumentError
from understudy.rag.cite import NOT_SAID
from understudy.rag.readers import read_document
from understudy.roleplay.card import Card

TOOLS = [
    {
        "name": "set_light",
        "description": "Set the light of a room",
        "parameters": {
            "type": "object",
            "properties": {
                "room": {"type": "string", "description": "Room (e.g., kitchen, hall)"},
                "percent": {"type": "integer"},
            },
            "required": ["room", "percent"],
        },
    },
    {
        "name": "play",
        "description": "Play a song",
        "parameters": {
            "type": "object",
            "properties": {"title": {"type": "string"}},
            "required": ["title"],
        },
    },
]
TEXT = """The lighthouse is a tower of white stone on the northern rock.

A keeper was the last man who lived there.

Nets are made by the women of the village in the winter months.
"""


class Parrot:
    """A writer that says what it is given, and calls what it is told to."""

    name = "parrot"

    def __init__(self, is_wrong: bool = False) -> None:
        self.is_wrong = is_wrong

    def write(self, request: str, *, seed: int) -> str:
        values = request.partition("Values: ")[2].partition("\n")[0]
        return f"I say {values}"

    def call(self, message: str, tools):
        pairs = dict(pair.split(" = ") for pair in message.removeprefix("I say ").split("; "))
        if self.is_wrong:
            return {"name": "play", "arguments": {}}
        if "room" in pairs:
            return {
                "name": "set_light",
                "arguments": {"room": pairs["room"], "percent": int(pairs["percent"])},
            }
        return {"name": "play", "arguments": {"title": pairs["title"]}}


def test_cases_of_tools_are_right_and_of_all_kinds():
    records = list(ToolCases(TOOLS, 120, seed=1).make())
    assert len(records) == 120
    assert [fault for record in records for fault in faults_of(record)] == []
    kinds = Counter(
        (record.kind, len(record.messages[-1].get("tool_calls") or ())) for record in records
    )
    assert min(kinds["calls", 1], kinds["calls", 2], kinds["no_call", 0]) > 5
    assert all(record.provenance["writer"] == "template" for record in records)
    again = list(ToolCases(TOOLS, 120, seed=1).make())
    assert [r.to_document() for r in again] == [r.to_document() for r in records]


def test_what_a_writer_says_is_kept_where_a_second_pass_finds_the_same_call():
    cases = ToolCases(TOOLS, 30, seed=1, writer=Parrot())
    texts = [str(r.messages[0]["content"]) for r in cases.make()]
    assert any(text.startswith("I say room = ") for text in texts)
    wrong = ToolCases(TOOLS, 30, seed=1, writer=Parrot(is_wrong=True))
    with pytest.raises(DocumentError, match="another call was found"):
        list(wrong.make())


def test_tool_lists_of_several_forms(tmp_path):
    wrapped = [{"type": "function", "function": tool} for tool in TOOLS]
    for content in (TOOLS, wrapped, {"tools": wrapped}):
        (tmp_path / "t.json").write_text(json.dumps(content))
        assert read_tools(tmp_path / "t.json") == TOOLS
    (tmp_path / "t.json").write_text("[1]")
    with pytest.raises(DocumentError, match="list of functions"):
        read_tools(tmp_path / "t.json")


def test_questions_have_their_quote_or_their_passage_is_away(tmp_path):
    files = []
    for number in range(4):
        path = tmp_path / f"d{number}.txt"
        path.write_text(TEXT.replace("lighthouse", f"lighthouse number {number}"))
        files.append((path.stem, read_document(path)))
    records = list(DocumentCases(files, 9, seed=2).make())
    assert [fault for record in records for fault in faults_of(record)] == []
    kinds = Counter(record.kind for record in records)
    assert kinds["rag"] > kinds["no_answer"] > 0
    for record in records:
        answer = str(record.messages[-1]["content"])
        assert (answer == NOT_SAID) == (record.kind == "no_answer")


def test_scenes_know_their_lore_and_nothing_of_the_outside():
    entry = {
        "keys": ["Hollow Hill"],
        "content": "The Hollow Hill is where the queen sleeps.",
        "enabled": True,
    }
    card = Card(
        {
            "spec": "chara_card_v2",
            "spec_version": "2.0",
            "data": {
                "name": "Bran",
                "description": "A shepherd.",
                "personality": "",
                "scenario": "",
                "first_mes": "",
                "mes_example": "",
                "creator_notes": "",
                "system_prompt": "",
                "post_history_instructions": "",
                "creator": "",
                "character_version": "",
                "alternate_greetings": [],
                "tags": [],
                "extensions": {},
                "character_book": {"entries": [entry], "extensions": {}},
            },
        }
    )
    records = list(SceneCases(card, 20, seed=3).make())
    answers = {str(r.messages[1]["content"]): str(r.messages[2]["content"]) for r in records}
    assert any("queen sleeps" in answer for q, answer in answers.items() if "Hollow Hill" in q)
    for answer in answers.values():
        assert not any(word in answer.lower() for _, word in OUTSIDE)
    assert [fault for record in records for fault in faults_of(record)] == []


def test_the_command_makes_checks_and_mixes(tmp_path, capsys):
    (tmp_path / "t.json").write_text(json.dumps(TOOLS))
    made = tmp_path / "made.jsonl"
    assert (
        main(["data", "make", "--tools", str(tmp_path / "t.json"), "--count", "40", str(made)]) == 0
    )
    assert len(list(read_data([made]))) == 40
    assert main(["data", "check", str(made)]) == 0
    assert "records     40" in capsys.readouterr().out
    assert main(["data", "mix", f"{made}=1", str(tmp_path / "mix"), "--held-out-share", "0.2"]) == 0
    both = [len(list(read_data([tmp_path / "mix" / f"{n}.jsonl"]))) for n in ("train", "held_out")]
    assert sum(both) == 40
    assert min(both) > 0
    made.write_text(
        made.read_text()
        .replace('"arguments": {', '"arguments": {"other": 1, ', 1)
        .replace('"required"', '"additionalProperties": false, "required"')
    )
    assert main(["data", "check", str(made)]) == 1
    assert "made.jsonl:" in capsys.readouterr().out


def test_wrong_use_is_one_line(tmp_path, capsys):
    assert main(["data", "check", str(tmp_path / "none.jsonl")]) == 2
    assert main(["data", "mix", "a.jsonl=much", str(tmp_path)]) == 2
    assert main(["data", "check", "a.jsonl", "--held-out", "bfcl"]) == 2
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 3
    assert all(line.startswith("understudy: ") for line in told)
