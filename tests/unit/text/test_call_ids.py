"""Ids of calls for templates that want nine letters and digits."""

from __future__ import annotations

from understudy.text.templates.call_ids import short_id, with_short_ids


def test_ids_are_nine_letters_and_stay_the_same():
    made = short_id("call_0123456789abcdef01234567")
    assert (len(made), made.isalnum()) == (9, True)
    assert short_id("call_0123456789abcdef01234567") == made != short_id("call_1")
    assert short_id("aB3dE5gH9") == "aB3dE5gH9"


def test_results_keep_to_their_calls():
    call = {"function": {"name": "f", "arguments": {}}}
    given = [
        {"role": "assistant", "tool_calls": [{**call, "id": "call_1"}, call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "a"},
        {"role": "tool", "content": "b"},
    ]
    said, first, second = with_short_ids(given)
    ids = [one["id"] for one in said["tool_calls"]]
    assert [first["tool_call_id"], second["tool_call_id"]] == ids
    assert all(len(id) == 9 for id in ids)
    assert len(set(ids)) == 2
    assert with_short_ids([said, first, second]) is None
    assert with_short_ids([{"role": "user", "content": "?"}]) is None
