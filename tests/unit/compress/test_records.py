"""Records of training data as people have them: the usual forms, and what they are turned into."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from understudy.compress.record_files import opened_lines, read_values
from understudy.compress.records import Chat, read_records, to_record
from understudy.data.records import read_data
from understudy.errors import DocumentError

USER, REPLY = {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes"}
CHAT = Chat([USER, REPLY])
SAID = Chat([{"role": "system", "content": "Be kind."}, USER, REPLY])
CALL = {"type": "function", "function": {"name": "price", "arguments": '{"of": "bread"}'}}
FUNCTION = {"name": "price", "parameters": {"type": "object"}}
TOOL = {"type": "function", "function": FUNCTION}

SAME: list[tuple[Any, Chat]] = [
    ([USER, REPLY], CHAT),
    ({"messages": json.dumps([USER, REPLY])}, CHAT),
    ({"conversations": json.dumps([USER, REPLY])}, CHAT),
    ({"conversations": [USER, REPLY]}, CHAT),
    ({"conversation": [{"input": "Hi", "output": "Yes"}]}, CHAT),
    ({"dialog": [{"speaker": "Human", "text": "Hi"}, {"speaker": "AI", "text": "Yes"}]}, CHAT),
    ({"messages": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Yes"}]}, CHAT),
    ({"messages": [{"role": "USER", "content": "Hi"}, {"role": "Model", "content": "Yes"}]}, CHAT),
    ({"prompt": "Hi", "messages": [USER, REPLY]}, CHAT),
    ({"instruction": "Hi", "input": None, "output": "Yes", "text": "all of it"}, CHAT),
    ({"instruction": "Hi", "context": "", "response": "Yes", "category": "x"}, CHAT),
    ({"question": "Hi", "answer": "Yes", "id": 7}, CHAT),
    ({"prompt": "Hi", "response": "Yes"}, CHAT),
    ({"query": "Hi", "response": "Yes", "history": []}, CHAT),
    ({"input": "Hi", "output": "Yes"}, CHAT),
    ({"inputs": "Hi", "targets": "Yes"}, CHAT),
    ({"prompt": [USER], "completion": [REPLY]}, CHAT),
    ({"messages": [USER, REPLY], "system": "Be kind."}, SAID),
    ({"messages": [*SAID.messages], "system": "Be kind."}, SAID),
    ({"messages": [USER, REPLY], "system": "", "system_prompt": "Be kind."}, SAID),
    ({"system_prompt": "Be kind.", "question": "Hi", "response": "Yes"}, SAID),
    ({"instruction": "Hi", "output": "Yes", "system": "Be kind."}, SAID),
    (
        {"instruction": "Sum", "context": "1 2", "response": "3", "history": [USER, REPLY]},
        Chat(
            [
                *CHAT.messages,
                {"role": "user", "content": "Sum\n1 2"},
                {"role": "assistant", "content": "3"},
            ]
        ),
    ),
    (
        {"messages": [USER, {**REPLY, "train": False}, USER, {**REPLY, "loss": True}]},
        Chat([USER, {**REPLY, "weight": 0}, USER, REPLY]),
    ),
]


@pytest.mark.parametrize(("record", "chat"), SAME)
def test_the_same_chat_in_many_forms(record: Any, chat: Chat) -> None:
    assert to_record(record, "here") == chat


@pytest.mark.parametrize("role", ["tool", "function", "observation", "ipython", "tool_response"])
@pytest.mark.parametrize(
    "calls",
    [
        {"content": None, "tool_calls": [CALL]},
        {"content": "", "tool_calls": [CALL["function"]]},
        {"tool_calls": json.dumps([CALL])},
        {"content": None, "function_call": CALL["function"], "tool_calls": None},
    ],
)
@pytest.mark.parametrize("tools", [[TOOL], [FUNCTION], json.dumps([TOOL]), [json.dumps(FUNCTION)]])
def test_calls_and_results_of_every_spelling(role: str, calls: Any, tools: Any) -> None:
    messages = [USER, {"role": "assistant", **calls}, {"role": role, "content": {"price": 2}}]
    called = {"role": "assistant", "content": "", "tool_calls": [CALL]}
    wanted = [USER, called, {"role": "tool", "content": '{"price": 2}'}]
    assert to_record({"messages": messages, "tools": tools}, "here") == Chat(wanted, [TOOL])


@pytest.mark.parametrize("tools", [None, [], "", "[]", " "])
def test_no_tools_are_none(tools: Any) -> None:
    assert to_record({"messages": [USER, REPLY], "tools": tools}, "here") == CHAT


@pytest.mark.parametrize("record", ["a text", {"text": "a text"}, {"content": "a text", "id": 3}])
def test_texts(record: Any) -> None:
    assert to_record(record, "here") == "a text"
    both = {"text": "a text", "question": "Hi", "answer": "Yes"}
    assert to_record(both, "here") == "a text"


@pytest.mark.parametrize(
    ("record", "words"),
    [
        ({"messages": [{"role": "narrator", "content": "x"}]}, "unknown role.*narrator"),
        (
            {"messages": [USER, REPLY], "messages_": 1, "system": 3, "tools": [3]},
            "no list of objec",
        ),
        ({"messages": [{**USER, "role": "system"}], "system": "Be kind."}, "two system messages"),
        ({"prompt": "Hi", "chosen": "a", "rejected": "b"}, "preferences has two answers"),
        ({"instruction": "a", "output": "b", "history": ["ab"]}, "turn of a history"),
        ({"instruction": "a", "output": "b", "history": [["a", "b", "c"]]}, "turn of a history"),
        ({"question": "a", "answer": None}, "here: answer"),
        ({"question": "a", "answer": {"text": ["b"]}}, "here: answer"),
        ({"messages": "no list"}, "neither text nor messages"),
        ({"messages": "[no list"}, "record is not JSON"),
        ({"messages": [USER, {**REPLY, "tool_calls": "{}"}]}, "tool_calls are no list"),
        (
            {"messages": [USER, {**REPLY, "tool_calls": [{"type": "function"}]}]},
            "call needs a name",
        ),
        ({"conversations": ["Hi", "Yes"]}, "role and a content"),
        ({}, "neither text nor messages"),
        ("", "neither text nor messages"),
        ([1, 2], "neither text nor messages"),
    ],
)
def test_what_is_none_of_them_is_refused(record: Any, words: str) -> None:
    with pytest.raises(DocumentError, match=words) as told:
        to_record(record, "here")
    assert "here" in str(told.value)


# ---- files ----

RECORDS = [{"text": "a"}, {"text": "b"}]
LINES = "".join(json.dumps(record) + "\n" for record in RECORDS)
FILES = [
    LINES,
    "\n" + LINES.replace("\n", "\r\n\r\n"),
    json.dumps(RECORDS),
    json.dumps(RECORDS, indent=2),
    "\n" + json.dumps(RECORDS, indent=1),
    json.dumps({"data": RECORDS}),
    json.dumps({"version": 1, "train": RECORDS}, indent=2),
    "".join(json.dumps([record]) + "\n" for record in RECORDS),
]


@pytest.mark.parametrize("text", FILES)
def test_records_of_every_layout(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(text)
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(b"\xef\xbb\xbf" + text.encode()))
    for path in tmp_path.iterdir():
        with opened_lines(path) as lines:
            assert [value for _, value in read_values(lines, "x")] == RECORDS
        assert len(list(read_data([path]))) == 2


@pytest.mark.parametrize("indent", [None, 2])
def test_one_conversation_is_one_record(indent: int | None) -> None:
    for value in ([USER, REPLY], {"messages": [USER, REPLY]}):
        text = json.dumps(value, indent=indent)
        found = [chat for _, chat in read_records(text.splitlines(keepends=True), "x")]
        assert found == [CHAT]


@pytest.mark.parametrize(
    ("text", "where"),
    [
        (LINES + '{"text": \n', "x:3"),
        ('{"text": "a"} x\n' + LINES, "x:1"),
        ("[1,\n2\n", "x"),
        ("not JSON\n" + LINES, "x:1"),
    ],
)
def test_a_broken_line_is_named(text: str, where: str) -> None:
    with pytest.raises(DocumentError, match="record is not JSON") as told:
        list(read_values(text.splitlines(keepends=True), "x"))
    assert f"{where}:" in str(told.value)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("train.parquet", b"PAR1\x15\x04", "Parquet"),
        ("train.jsonl", b"PAR1\x15\x04", "Parquet"),
        ("train.arrow", b"ARROW1\0\0", "Arrow"),
        ("train.csv", b"a,b\n1,2\n", "CSV"),
        ("train.csv.gz", gzip.compress(b"a,b\n1,2\n"), "CSV"),
        ("train.jsonl.zst", b"\x28\xb5\x2f\xfd123", "zstd"),
        ("train.zip", b"PK\x03\x04", "zip"),
        ("train.txt", b"ab\0cd", "binary"),
        ("train.jsonl", "{}\n".encode("utf-16"), "UTF-16"),
        ("train.gz", b"no gzip at all", "not a gzip|Not a gzip|gzipped"),
    ],
)
def test_other_formats_are_refused_by_name(
    name: str, content: bytes, words: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DocumentError, match=words), opened_lines(tmp_path / name):
        pass
    with pytest.raises(DocumentError):
        list(read_data([tmp_path / name]))


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match="a folder"), opened_lines(tmp_path):
        pass
