"""The store: what is kept, when, and what is refused."""

from __future__ import annotations

import sqlite3
import threading

import pytest

from tests.unit.judge.redteam.made import MODEL, rated, talk
from understudy.errors import DocumentError, InputError, UnderstudyError, UsageError
from understudy.judge.redteam.store import RedTeamStore


@pytest.fixture
def store(tmp_path):
    with RedTeamStore(tmp_path / "team.sqlite") as opened:
        yield opened


def test_what_was_said_is_there_after_reopening(tmp_path):
    path = tmp_path / "team.sqlite"
    with RedTeamStore(path) as store:
        goal = store.add_goal(
            "Make it swear", by=" rater-a ", plan="1. ask\n2. ask again", category="Profanity"
        )
        conversation = talk(store, "hello", "go on", goal=goal.id, title="first")
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "team.sqlite"
    ]  # one file: the log is part of it again
    with RedTeamStore(path, must_exist=True) as store:
        records = store.records()
    assert records.goals == [goal]
    assert records.goals[0].by == " rater-a "  # as given
    assert records.conversations == [conversation]
    assert [(turn.number, turn.sent, turn.answer, turn.state) for turn in records.turns] == [
        (1, "hello", "HELLO", "said"),
        (2, "go on", "GO ON", "said"),
    ]


def test_message_is_kept_before_the_model_speaks_and_pieces_while_it_does(store):
    conversation = talk(store)
    turn = store.begin_turn(conversation.id, "q", ["base64"], "cQ==")
    with RedTeamStore(store.path) as other:
        (found,) = other.turns(conversation.id)
        assert (found.original, found.converters, found.sent, found.state, found.answer) == (
            "q",
            ("base64",),
            "cQ==",
            "speaking",
            "",
        )
        store.note_answer(turn.id, "half an ans")
        assert other.turns(conversation.id)[0].answer == "half an ans"
    store.begin_turn(conversation.id, "next")  # as after a crash
    assert [(one.answer, one.state) for one in store.turns(conversation.id)] == [
        ("half an ans", "interrupted"),
        ("", "speaking"),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "\x00\x1b[2J\x07",
        "<script>alert(1)</script>",
        "\ud800 half",
        "x" * 1_000_000,
        "é😀\u202e",
        "'; DROP TABLE turn; --",
    ],
)
def test_hostile_text_is_kept_as_it_is(store, text):
    conversation = talk(store)
    turn = store.begin_turn(conversation.id, text)
    store.end_turn(
        turn.id,
        text,
        calls=({"name": text[:50].replace("\ud800", ""), "arguments": {"x": text}, "result": ""},),
    )
    (found,) = store.turns(conversation.id)
    assert found.answer == found.sent == text.replace("\ud800", "\ufffd")
    assert found.calls[0]["arguments"]["x"] == text


def test_what_was_rated_is_not_gone_on_with(store):
    conversation = rated(store, ("rater-a", "none"))
    with pytest.raises(UsageError, match="branch"):
        store.begin_turn(conversation.id, "more")
    branch = store.branch(conversation.id, 2, by="rater-b")
    store.begin_turn(branch.id, "otherwise")
    assert [turn.sent for turn in store.turns(branch.id)] == ["one", "two", "otherwise"]
    assert [turn.sent for turn in store.turns(conversation.id)] == ["one", "two", "three"]
    assert (branch.parent, branch.relation) == (conversation.id, "branch")


def test_abuse_of_children_stops_a_conversation(store):
    conversation = rated(
        store, ("rater-a", "critical", "Sexual Minor", "1")
    )  # the name of AEGIS 1.0
    assert store.records().ratings[0].category == "Sexual (minor)"
    with pytest.raises(UsageError, match="stopped"):
        store.branch(conversation.id, 1, by="rater-a")


@pytest.mark.parametrize(
    ("severity", "category", "first_harm"),
    [
        ("awful", "Violence", 1),
        ("low", "Safe", 1),
        ("low", "Violence", None),
        ("low", "Violence", 0),
        ("low", "Violence", 4),
        ("none", "Violence", None),
        ("none", "Safe", 1),
        ("low", "Rudeness", 1),
        ("low", "Violence", True),
    ],
)
def test_ratings_that_tell_no_story_are_refused(store, severity, category, first_harm):
    conversation = talk(store, "one", "two", "three")
    with pytest.raises(UsageError):
        store.rate(conversation.id, "rater-a", severity, category, first_harm=first_harm)
    assert store.records().ratings == []


def test_ratings_are_blind_until_ones_own_is_given(store):
    conversation = rated(store, ("rater-a", "high", "Violence", "2"))
    assert store.seen_by("rater-b", conversation.id) == []
    assert [one.rater for one in store.seen_by("rater-a", conversation.id)] == ["rater-a"]
    store.rate(
        conversation.id, "rater-a", "medium", "Violence", first_harm=2
    )  # nobody else's was there: still blind
    store.rate(conversation.id, "rater-b", "none")
    assert {one.rater for one in store.seen_by("rater-b", conversation.id)} == {
        "rater-a",
        "rater-b",
    }
    store.rate(conversation.id, "rater-b", "medium", "Violence", first_harm=2)  # now it was seen
    records = store.records()
    assert [(one.rater, one.severity, one.is_blind) for one in records.ratings] == [
        ("rater-a", "high", True),
        ("rater-a", "medium", True),
        ("rater-b", "none", True),
        ("rater-b", "medium", False),
    ]
    assert {one.severity for one in records.current_ratings()} == {"medium"}
    assert {one.rater: one.severity for one in records.current_ratings(is_blind=True)} == {
        "rater-a": "medium",
        "rater-b": "none",
    }


def test_an_open_store_shows_ratings_and_says_that_they_are_not_blind(tmp_path):
    with RedTeamStore(tmp_path / "s", is_open=True) as store:
        conversation = rated(store, ("rater-a", "none"))
        assert len(store.seen_by("rater-b", conversation.id)) == 1
        assert not store.rate(conversation.id, "rater-b", "none").is_blind


def test_a_fix_is_verified_by_a_re_run_rated_none(store):
    found = rated(store, ("rater-a", "high", "Violence", "1"))
    with pytest.raises(UsageError, match="link"):
        store.set_fix(found.id, "fixed", by="rater-a")
    store.set_fix(found.id, "fixed", by="rater-a", link="https://example.org/issues/7")
    for rerun in (None, found.id):
        with pytest.raises(UsageError, match="re-run"):
            store.set_fix(found.id, "verified", by="rater-a", rerun=rerun)
    cut = talk(store, "one", model=("mended", "m" * 8), origin=(found.id, "rerun"))
    store.rate(cut.id, "rater-a", "none")
    with pytest.raises(UsageError, match="its end"):
        store.set_fix(found.id, "verified", by="rater-a", rerun=cut.id)
    again = talk(
        store, "one", "two", "three", model=("mended", "m" * 8), origin=(found.id, "rerun")
    )
    assert (
        store.is_whole_rerun(again),
        store.is_whole_rerun(cut),
        store.is_whole_rerun(found),
    ) == (True, False, False)
    with pytest.raises(UsageError, match="no rating"):
        store.set_fix(found.id, "verified", by="rater-a", rerun=again.id)
    store.rate(again.id, "rater-a", "none")
    store.rate(again.id, "rater-b", "low", "Violence", first_harm=1)
    with pytest.raises(UsageError, match="none, low"):
        store.set_fix(found.id, "verified", by="rater-a", rerun=again.id)
    store.rate(again.id, "rater-b", "none")
    store.set_fix(
        found.id, "verified", by="rater-a", rerun=again.id, link="https://example.org/issues/7"
    )
    assert store.records().current_fix(found.id).status == "verified"
    assert [fix.status for fix in store.records().fixes] == ["fixed", "verified"]


def test_goals_are_revised_not_overwritten(store):
    goal = store.add_goal("Make it swear", by="rater-a")
    store.revise_goal(goal.id, by="rater-b", is_done=True)
    records = store.records()
    assert [(one.is_done, one.by) for one in records.goals] == [
        (False, "rater-a"),
        (True, "rater-b"),
    ]
    assert [one.is_done for one in records.current_goals()] == [True]


@pytest.mark.parametrize(
    "act",
    [
        lambda s: s.add_goal(" ", by="a"),
        lambda s: s.add_goal("t", by=" "),
        lambda s: s.revise_goal("nowhere", by="a"),
        lambda s: s.add_goal("t", by="a", category="Rudeness"),
        lambda s: s.add_conversation({}, model=MODEL, by="a", goal="nowhere"),
        lambda s: s.begin_turn("nowhere", "x"),
        lambda s: s.begin_turn(talk(s).id, " \n"),
        lambda s: s.rate(talk(s).id, "a", "none"),
        lambda s: s.rate(talk(s, "x").id, "", "none"),
        lambda s: s.rate(talk(s, "x").id, "n" * 201, "none"),
        lambda s: s.branch(talk(s).id, 1, by="a"),
        lambda s: s.set_fix(talk(s, "x").id, "gone", by="a"),
        lambda s: s.conversation("nowhere"),
    ],
)
def test_wrong_use_is_refused_and_leaves_nothing(store, act):
    with pytest.raises(UsageError):
        act(store)
    records = store.records()
    assert (records.goals, records.ratings, records.fixes) == ([], [], [])


def test_other_files_are_refused(tmp_path):
    (tmp_path / "text").write_text("hello " * 100)
    with pytest.raises(InputError):
        RedTeamStore(tmp_path / "text")
    other = sqlite3.connect(tmp_path / "other")
    other.execute("CREATE TABLE mine (x)")
    other.commit()
    other.close()
    with pytest.raises(DocumentError, match="not a red team's store"):
        RedTeamStore(tmp_path / "other")
    with pytest.raises(UsageError, match="no such file"):
        RedTeamStore(tmp_path / "none", must_exist=True)
    with pytest.raises(UnderstudyError):
        RedTeamStore(tmp_path / "no" / "folder")


def test_threads_and_two_openings_write_side_by_side(store):
    conversation = talk(store)

    def many(number):
        with RedTeamStore(store.path) as mine:
            for i in range(10):
                one = mine if i % 2 else store
                one.end_turn(one.begin_turn(conversation.id, f"{number}.{i}").id, "yes")

    threads = [threading.Thread(target=many, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    turns = store.turns(conversation.id)
    assert [turn.number for turn in turns] == list(range(1, 41))
    assert {turn.state for turn in turns} == {"said"}
