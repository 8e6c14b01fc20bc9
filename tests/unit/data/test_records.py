"""Records of four forms come out as one."""

from __future__ import annotations

import gzip
import json

import pytest

from understudy.data.records import read_data, record_of, write_data
from understudy.errors import DocumentError

OWN = {
    "id": "a-1",
    "source": "made",
    "licence": "CC0-1.0",
    "kind": "calls",
    "tools": [{"name": "f", "description": "F", "parameters": {"type": "object"}}],
    "contexts": [],
    "messages": [
        {"role": "user", "content": "f please"},
        {"role": "assistant", "content": "", "tool_calls": [{"name": "f", "arguments": {"x": 1}}]},
    ],
}
OPENAI = {
    "messages": [
        {"role": "user", "content": [{"type": "text", "text": "f please"}]},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}}
            ],
        },
    ],
    "tools": [{"type": "function", "function": OWN["tools"][0]}],
}
SHAREGPT = {
    "conversations": [
        {"from": "human", "value": "f please"},
        {"from": "function_call", "value": '{"name": "f", "arguments": {"x": 1}}'},
    ],
    "tools": json.dumps(OWN["tools"]),
}


@pytest.mark.parametrize("document", [OWN, OPENAI, SHAREGPT])
def test_calls_of_all_forms_are_the_same(document):
    record = record_of(document, "x:1")
    assert record.kind == "calls"
    assert [tool["name"] for tool in record.tools] == ["f"]
    assert record.messages[0]["content"] == "f please"
    assert record.messages[1]["tool_calls"] == [{"name": "f", "arguments": {"x": 1}}]


def test_alpaca_is_a_chat():
    record = record_of({"instruction": "Add.", "input": "1 2", "output": "3"}, "x:1")
    assert record.kind == "chat"
    assert [m["content"] for m in record.messages] == ["Add.\n1 2", "3"]


def test_preferences_are_messages_whatever_they_were():
    record = record_of(
        {**OWN, "kind": "preference", "chosen": "yes", "rejected": [{"content": "no"}]}, "x:1"
    )
    assert record.chosen["content"] == "yes"
    assert record.rejected["content"] == "no"


def test_files_round_trip_packed_or_not(tmp_path):
    record = record_of(OWN, "x:1")
    for name in ("a.jsonl", "a.jsonl.gz"):
        assert write_data([record], tmp_path / name) == 1
        (back,) = read_data([tmp_path / name])
        assert back.to_document() == record.to_document()


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("{", "record is not JSON"),
        ('{"a": 1}', "record has neither text nor messages"),
        ('{"kind": "calls", "messages": 3}', "a record needs messages"),
        (
            json.dumps({**OWN, "messages": [{"role": "assistant", "tool_calls": [{"name": 3}]}]}),
            "a call needs a name and arguments",
        ),
    ],
)
def test_what_is_no_record_is_said_with_its_line(tmp_path, line, told):
    (tmp_path / "a.jsonl").write_text(json.dumps(OWN) + "\n" + line + "\n")
    with pytest.raises(DocumentError, match=told) as caught:
        list(read_data([tmp_path / "a.jsonl"]))
    assert "a.jsonl:2" in str(caught.value)


def test_a_damaged_gzip_is_said(tmp_path):
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(b"{}\n")[:10])
    with pytest.raises(DocumentError, match="cannot be read"):
        list(read_data([path]))
