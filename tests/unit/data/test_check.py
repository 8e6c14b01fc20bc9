"""What is wrong with records is found, with its place; what is the same or too much is counted."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.support.byte_chat import byte_chat
from understudy.data.check import check, faults_of, fingerprint
from understudy.data.encode import ConversationEncoder
from understudy.data.overlap import EvaluationSets
from understudy.data.records import Record, record_of, write_data
from understudy.data.split import conversation_id, mixed, split
from understudy.errors import UsageError

TOOL = {
    "name": "f",
    "description": "F",
    "parameters": {
        "type": "object",
        "properties": {"x": {"type": "integer"}},
        "required": ["x"],
    },
}
ASKED = {"role": "user", "content": "f please"}


def record(*messages, **more) -> Record:
    document = {"id": "r", "kind": "calls", "tools": [TOOL], "messages": list(messages), **more}
    return record_of(document, "a.jsonl:1")


def call(name: str = "f", **arguments):
    return {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"name": name, "arguments": arguments}],
    }


def test_a_good_record_has_no_fault():
    result = {"role": "tool", "content": "1"}
    good = record(ASKED, call(x=1), result, {"role": "assistant", "content": "Done."})
    assert faults_of(good) == []


@pytest.mark.parametrize(
    ("messages", "kind", "told"),
    [
        ((ASKED, call(x="one")), "call", "f: x"),
        ((ASKED, call()), "call", "x"),
        ((ASKED, call("g", x=1)), "call", "not offered"),
        (
            (ASKED, call(x=1), {"role": "assistant", "content": "Done."}),
            "result",
            "without a result",
        ),
        ((ASKED, {"role": "tool", "content": "1"}, call(x=1)), "result", "no call asked for"),
        ((ASKED,), "roles", "nobody answers"),
        (({"role": "user", "content": " "}, call(x=1)), "empty", "an empty user message"),
        (({"role": "narrator", "content": "a"}, call(x=1)), "roles", "unknown role narrator"),
    ],
)
def test_faults_are_told(messages, kind, told):
    found = faults_of(record(*messages))
    assert kind in [fault.kind for fault in found]
    assert told in " ".join(map(str, found))
    assert all(str(fault).startswith("a.jsonl:1: r: ") for fault in found)


@pytest.mark.parametrize(
    ("quote", "is_right"),
    [
        ({"context": 0, "text": "was built\n in 1812"}, True),
        ({"context": 0, "text": "was built in 1813"}, False),
        ({"context": 1, "text": "was built"}, False),
    ],
)
def test_quotes_are_held_to_their_document(quote, is_right):
    answer = {"role": "assistant", "content": "1812", "quotes": [quote]}
    contexts = [{"title": "t", "text": "The light was built in 1812."}]
    found = faults_of(record(ASKED, answer, kind="rag", contexts=contexts))
    assert (found == []) == is_right


def test_tokens_duplicates_and_overlaps_are_counted(tmp_path):
    words = "one two three four five six seven eight nine ten eleven twelve thirteen"
    (tmp_path / "set.txt").write_text(words + "\n")
    sets = EvaluationSets.read({"numbers": [tmp_path / "set.txt"]})
    first = record(ASKED, call(x=1))
    again = replace(
        first, where="a.jsonl:2", messages=({**ASKED, "content": "F  please"}, call(x=1))
    )
    third = replace(
        first, where="a.jsonl:3", messages=({"role": "user", "content": words}, call(x=1))
    )
    found = check([first, again, third], ConversationEncoder.of(*byte_chat()), sets, context=100)
    assert found.duplicates == [("a.jsonl:2", "a.jsonl:1")]
    assert found.overlaps == {"numbers": 1}
    assert found.truncated == 3
    assert 0 < found.num_learnt < found.num_tokens
    assert found.licences == {"not stated": 3}


def test_splits_keep_conversations_whole():
    records = []
    for number in range(200):
        first = {"role": "user", "content": f"conversation {number} begins"}
        for turn in range(3):
            more = [{"role": "user", "content": f"turn {turn}"}] if turn else []
            records.append(record(first, *more, call(x=turn), id=f"c-{number}-{turn}"))
    train, held_out = split(records, 0.1)
    assert 20 < len(held_out) < 110
    assert not {conversation_id(r) for r in train} & {conversation_id(r) for r in held_out}
    more = [*records, record(ASKED, call(x=1))]
    assert {fingerprint(r) for r in held_out} <= {fingerprint(r) for r in split(more, 0.1)[1]}


def test_mixing_takes_shares_and_each_record_once(tmp_path):
    a = [record({"role": "user", "content": f"a {i}"}, call(x=i)) for i in range(40)]
    b = [record({"role": "user", "content": f"b {i}"}, call(x=i)) for i in range(40)]
    write_data([*a, a[0]], tmp_path / "a.jsonl")
    write_data([*b, a[1]], tmp_path / "b.jsonl")
    shares = {tmp_path / "a.jsonl": 3.0, tmp_path / "b.jsonl": 1.0}
    chosen = mixed(shares, 40, seed=1)
    letters = [str(r.messages[0]["content"])[0] for r in chosen]
    assert (letters.count("a"), letters.count("b")) == (30, 10)
    assert len({fingerprint(r) for r in mixed(shares, None, seed=1)}) == 53
    with pytest.raises(UsageError, match="shares are numbers above 0"):
        mixed({tmp_path / "a.jsonl": -1.0}, 4, seed=1)
