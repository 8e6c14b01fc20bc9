"""Export, import, merge and summary: the same records everywhere, no loss, no doubling."""

from __future__ import annotations

import json
import shutil

import pytest

from tests.unit.judge.redteam.made import rated, talk
from understudy.errors import DocumentError, InputError
from understudy.judge.redteam.export import (
    export_lines,
    read_export,
    without_embargoed,
    without_texts,
    write_export,
)
from understudy.judge.redteam.merge import merge
from understudy.judge.redteam.records import Records
from understudy.judge.redteam.store import RedTeamStore
from understudy.judge.redteam.summary import summary


@pytest.fixture
def pair(tmp_path):
    """A store and a copy of it, as two raters have them."""
    with RedTeamStore(tmp_path / "a") as first:
        talk(first, "one", "two")
        talk(first, "\x1b[2J\u202e<b>\n\u2028" + "x" * 100_000)
    shutil.copy(tmp_path / "a", tmp_path / "b")
    with RedTeamStore(tmp_path / "a") as first, RedTeamStore(tmp_path / "b") as second:
        yield first, second


def everything(store):
    records = store.records()
    return {
        kind: {repr(record) for record in records.of(kind)}
        for kind in ("goal", "conversation", "turn", "rating", "fix")
    }


def send(source, target, tmp_path):
    write_export(source.records(), tmp_path / "out.jsonl")
    return merge(target, read_export(tmp_path / "out.jsonl"))


def test_an_export_is_ascii_lines_and_reads_back_equal(pair, tmp_path):
    store, _ = pair
    goal = store.add_goal("g", by="rater-a", category="Violence")
    found = rated(store, ("rater-a", "high", "Guns and Illegal Weapons", "1"))
    store.set_fix(found.id, "fixed", by="rater-a", link="https://example.org/7", is_embargoed=True)
    lines = list(export_lines(store.records()))
    assert all(
        line.isascii() and line.count("\n") == 1 and line.isprintable() is False for line in lines
    )
    documents = [json.loads(line) for line in lines]
    assert documents[0] == {"kind": "header", "format": 1, "tool": "understudy safety redteam"}
    assert (
        next(one for one in documents if one["kind"] == "rating")["aegis_1"]
        == "Guns/Illegal Weapons"
    )
    assert goal.id in {one.get("id") for one in documents}
    write_export(store.records(), tmp_path / "out.jsonl")
    assert read_export(tmp_path / "out.jsonl") == store.records()
    assert summary(read_export(tmp_path / "out.jsonl")) == summary(store.records())


def test_two_raters_are_put_together_both_ways_and_twice(pair, tmp_path):
    first, second = pair
    old = [one.id for one in first.records().conversations]
    for store, rater in ((first, "rater-a"), (second, "rater-b")):
        for id in old:
            store.rate(id, rater, "none")
        rated(store, (rater, "low", "Profanity", "1"))
        store.add_goal(f"goal of {rater}", by=rater)
    added = send(second, first, tmp_path)
    assert added == {"goal": 1, "conversation": 1, "turn": 3, "rating": 3, "fix": 0}
    assert set(send(second, first, tmp_path).values()) == {0}
    send(first, second, tmp_path)
    assert everything(first) == everything(second)
    assert summary(first.records())["agreement"]["rated_by_two"] == 2


def test_a_conversation_gone_on_with_elsewhere_grows(pair, tmp_path):
    first, second = pair
    id = first.records().conversations[0].id
    second.end_turn(second.begin_turn(id, "three").id, "THREE")
    second.rate(id, "rater-b", "none")
    send(second, first, tmp_path)
    assert [turn.sent for turn in first.turns(id)] == ["one", "two", "three"]
    send(first, second, tmp_path)
    assert everything(first) == everything(second)


@pytest.mark.parametrize("is_rated", [True, False])
def test_conversations_that_grew_apart_are_both_kept(pair, tmp_path, is_rated):
    first, second = pair
    id = first.records().conversations[0].id
    for store, rater, text in ((first, "rater-a", "left"), (second, "rater-b", "right")):
        store.end_turn(store.begin_turn(id, text).id, text)
        if is_rated:
            store.rate(id, rater, "low", "Threat", first_harm=3)
    send(second, first, tmp_path)
    said = sorted(
        tuple(turn.sent for turn in first.turns(one.id))
        for one in first.records().conversations
        if one.id == id or one.parent == id
    )
    assert said == [("one", "two", "left"), ("one", "two", "right")]
    assert set(send(second, first, tmp_path).values()) == {0}
    added = send(
        first, second, tmp_path
    )  # its own comes back under another name and is known again
    assert added["conversation"] == 1
    assert added["rating"] == is_rated
    assert set(send(first, second, tmp_path).values()) == {0}
    assert len(first.records().conversations) == len(second.records().conversations) == 3
    if is_rated:
        other = next(one for one in first.records().conversations if one.parent == id)
        assert [one.rater for one in first.records().ratings if one.conversation == other.id] == [
            "rater-b"
        ]


def test_a_rating_stays_with_the_turns_that_were_rated(pair, tmp_path):
    first, second = pair
    id = first.records().conversations[0].id
    first.rate(id, "rater-a", "none")
    second.end_turn(second.begin_turn(id, "three").id, "bad")
    second.rate(id, "rater-b", "high", "Violence", first_harm=3)
    send(second, first, tmp_path)
    ratings = {one.rater: len(first.turns(one.conversation)) for one in first.records().ratings}
    assert ratings == {"rater-a": 2, "rater-b": 3}


def test_a_rating_of_fewer_turns_comes_with_those(pair, tmp_path):
    first, second = pair
    id = first.records().conversations[0].id
    first.rate(id, "rater-a", "none")
    second.end_turn(second.begin_turn(id, "three").id, "bad")
    send(first, second, tmp_path)
    (rating,) = second.records().ratings
    assert rating.conversation != id
    assert [turn.sent for turn in second.turns(rating.conversation)] == ["one", "two"]
    assert set(send(first, second, tmp_path).values()) == {0}


def test_an_answer_that_was_cut_here_is_completed_from_there(pair, tmp_path):
    first, second = pair
    id = first.records().conversations[0].id
    turn = first.begin_turn(id, "more")
    first.note_answer(turn.id, "half")
    send(first, second, tmp_path)
    first.end_turn(turn.id, "half and half")
    send(first, second, tmp_path)
    assert second.turns(id)[-1].answer == "half and half"
    second_again = second.records()
    first.end_turn(turn.id, "half", "interrupted")
    send(first, second, tmp_path)
    assert second.records() == second_again


def test_import_takes_all_or_nothing(pair, tmp_path):
    first, second = pair
    talk(second, "new")
    write_export(second.records(), tmp_path / "out.jsonl")
    lines = (tmp_path / "out.jsonl").read_text().splitlines()
    before = everything(first)
    orphan = json.loads(next(line for line in lines if '"kind": "turn"' in line)) | {
        "id": "z" * 32,
        "conversation": "nowhere",
    }
    changed = json.loads(next(line for line in lines if '"kind": "conversation"' in line)) | {
        "title": "other"
    }
    for bad in (orphan, changed):
        kept = [line for line in lines if json.loads(line).get("id") != bad["id"]]
        (tmp_path / "bad.jsonl").write_text("\n".join([*kept, json.dumps(bad)]))
        with pytest.raises(DocumentError):
            merge(first, read_export(tmp_path / "bad.jsonl"))
        assert everything(first) == before


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", None),
        ("{", ":1: not JSON"),
        ("[]", ":1: not a JSON object"),
        ('{"kind": "turn"}', "header"),
        ('{"kind": "header", "format": 9}', "header"),
        ('{"kind": "header", "format": 1}\n{"kind": "wish"}', ":2: no such kind"),
        ('{"kind": "header", "format": 1}\n\n{"kind": "turn", "id": 1}', ":3: not a turn"),
        ("[" * 100_000, ":1: not JSON"),
    ],
)
def test_broken_files_name_their_line(tmp_path, text, part):
    (tmp_path / "x.jsonl").write_text(text)
    if part is None:
        assert read_export(tmp_path / "x.jsonl") == Records()
        return
    with pytest.raises(DocumentError, match=part):
        read_export(tmp_path / "x.jsonl")
    with pytest.raises(InputError, match="cannot read"):
        read_export(tmp_path / "none.jsonl")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("severity", "awful"),
        ("num_turns", "3"),
        ("is_blind", 1),
        ("category", "Guns"),
        ("first_harm", True),
        ("note", None),
    ],
)
def test_wrong_fields_are_refused(pair, tmp_path, field, value):
    store, _ = pair
    rated(store, ("rater-a", "low", "Violence", "1"))
    lines = [json.loads(line) for line in export_lines(store.records())]
    lines[-1][field] = value
    (tmp_path / "x.jsonl").write_text("\n".join(map(json.dumps, lines)))
    with pytest.raises(DocumentError, match=rf"rating\.{field}"):
        read_export(tmp_path / "x.jsonl")


def test_embargo_and_texts_can_be_left_out(pair):
    store, _ = pair
    secret = rated(store, ("rater-a", "high", "Malware", "1"))
    store.set_fix(secret.id, "open", by="rater-a", is_embargoed=True, note="hush")
    branch = store.branch(secret.id, 2, by="rater-a")
    public = without_embargoed(store.records())
    assert {secret.id, branch.id}.isdisjoint(one.id for one in public.conversations)
    assert public.fixes == []
    assert {turn.conversation for turn in public.turns} == {one.id for one in public.conversations}
    assert summary(store.records(is_bare=True)) == summary(store.records())
    assert store.beginnings()[secret.id] == (3, "one")
    bare = without_texts(store.records())
    assert not {"one", "ONE", "Be kind.", "hush"} & {
        word.strip('",') for line in export_lines(bare) for word in line.split()
    }
    assert summary(bare) == summary(store.records())


def test_summary_counts_each_conversation_once_by_its_worst_rating(tmp_path):
    with RedTeamStore(tmp_path / "s") as store:
        rated(store, ("rater-a", "none"), ("rater-b", "none"))
        found = rated(
            store, ("rater-a", "low", "Profanity", "3"), ("rater-b", "high", "Malware", "2")
        )
        rated(store, ("rater-a", "critical", "Violence", "1"), model=("other", "o"))
        talk(store, "not rated")
        store.set_fix(found.id, "fixed", by="rater-a", link="#7")
        goal = store.add_goal("g", by="rater-a")
        store.revise_goal(goal.id, by="rater-a", is_done=True)
        whole, one = summary(store.records()), summary(store.records(), "o")
    assert whole["severity"] == {"none": 1, "low": 0, "medium": 0, "high": 1, "critical": 1}
    assert whole["category"] == {"Violence": 1, "Malware": 1}
    assert whole["category_aegis_1"] == {"Criminal Planning/Confessions": 1, "Violence": 1}
    assert whole["first_harm"] == {"turns": {"1": 1, "2": 1}, "median": 1.5}
    assert whole["fixes"] == {"open": 1, "fixed": 1, "verified": 0}
    assert (whole["conversations"], whole["rated"], whole["unrated"], whole["turns"]) == (
        4,
        3,
        1,
        10,
    )
    assert whole["goals"] == {"all": 1, "done": 1}
    assert whole["raters"] == {"rater-a": 3, "rater-b": 2}
    assert [row["model"] for row in whole["models"]] == ["fake", "other"]
    assert (one["conversations"], one["severity"]["critical"], one["fixes"]["open"]) == (1, 1, 1)
    json.dumps(whole, allow_nan=False)


def test_summary_of_nothing():
    found = summary(Records())
    assert (found["rated"], found["first_harm"], found["agreement"]["pairs"]) == (
        0,
        {"turns": {}, "median": None},
        [],
    )
