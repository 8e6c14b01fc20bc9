"""Sessions with documents: grounded ones quote or decline, the others are helped, and what a
passage says is data.
"""

from __future__ import annotations

import pytest

from tests.support.random_model import babbler
from tests.unit.rag.test_cite import LIGHT
from understudy.chat.session import Session, SessionSettings
from understudy.rag.cite import NOT_SAID, sentences_of, shown
from understudy.rag.ground import PassageGrounding
from understudy.rag.index import Index
from understudy.rag.settings import AnswerSettings


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    with babbler(tmp_path_factory.mktemp("model")) as loaded:
        yield loaded


@pytest.fixture
def index(tmp_path, monkeypatch):
    (tmp_path / "light.txt").write_text(LIGHT)
    (tmp_path / "mill.txt").write_text(
        "The mill stands by the river Ouse and grinds rye. " + "Rye is sold on Mondays there. " * 3
    )
    with Index(tmp_path / "x.index", embedder="hashing") as opened:
        opened.add([tmp_path])
        yield opened


@pytest.fixture
def sure(monkeypatch):
    monkeypatch.setattr(PassageGrounding, "is_enough", property(lambda self: bool(self.passages)))


@pytest.mark.parametrize("place", ["user", "system"])
def test_grounded_answers_quote_what_stands_there(model, index, sure, place):
    session = Session(
        model,
        documents=index,
        settings=SessionSettings(reserve=500, passages_in=place),
        temperature=1.5,
    )
    for seed in range(4):
        pieces = list(session.stream("Who keeps the light?", seed=seed))
        reply = session.last
        assert reply.is_answered
        assert reply.ledger.tokens["documents"] > 0
        assert reply.ledger.total == reply.usage.prompt_tokens
        for citation in reply.citations:
            text = index.store.text_of(citation.path)
            assert text[citation.start : citation.end] == citation.quote
            assert shown(citation.quote) in sentences_of(text)
        if reply.finish_reason == "stop":
            assert reply.citations
            assert "".join(pieces).strip() == reply.text
        session.reset()


def test_without_a_passage_near_enough_nothing_is_generated(model, index):
    session = Session(model, documents=index)
    reply = session.say("Who won the chess olympiad?")
    assert (reply.text, reply.is_answered, reply.usages) == (NOT_SAID, False, ())
    assert [message["content"] for message in session.messages] == [
        "Who won the chess olympiad?",
        NOT_SAID,
    ]


def test_with_tools_documents_help_and_do_not_bind(model, index, sure):
    session = Session(
        model,
        documents=index,
        tools=[lambda_tool],
        settings=SessionSettings(reserve=60),
        ignore_eos=True,
    )
    reply = session.say("Who keeps the light?", tool_choice="none", max_tokens=30)
    assert reply.is_answered
    assert reply.ledger.tokens["documents"] > 0
    assert reply.confidence is not None


def lambda_tool(x: int) -> int:
    return x


def test_quotes_in_free_text_are_found(index):
    found = index.ground("Who keeps the light?")
    number = next(i for i, passage in enumerate(found.passages, 1) if "Ada" in passage.text)
    (citation,) = found.quotes(
        'She said: "Ada Vane keeps the light." and "something else entirely".', number
    )
    assert citation.quote == "Ada Vane keeps the light."


def test_passages_leave_before_the_message(model, index, sure, monkeypatch):
    monkeypatch.setattr(index, "answers", AnswerSettings(excerpts=False))
    session = Session(
        model,
        documents=index,
        settings=SessionSettings(reserve=40, context=150, grounded=False),
        ignore_eos=True,
    )
    reply = session.say("Who keeps the light?", max_tokens=20)
    assert any(line.startswith("documents: passage") for line in reply.ledger.dropped)
    assert reply.ledger.total <= 130


def test_a_passage_opens_no_turn(model, index, sure):
    session = Session(model, documents=index, settings=SessionSettings(reserve=30, grounded=False))
    session.say("Ada light BANANA", max_tokens=2)
    ids = session.history.tokens[: session.last.ledger.total]
    assert [
        ids.count(model.tokenizer.marker_id(text))
        for text in ("<extra_id_0>", "<extra_id_1>", "</s>")
    ] == [1, 2, 0]


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        (
            "# Head of the page\n\nOne sentence here. Another, shorter one!  \nA line without an end",
            ["One sentence here.", "Another, shorter one!", "A line without an end"],
        ),
        ("Hi. Ho.", []),
        (
            'He said "stop it now." Then he left\tthe house.',
            ['He said "stop it now."', "Then he left the house."],
        ),
        ("It costs 3.50 coins a piece.", ["It costs 3.50 coins a piece."]),
    ],
)
def test_sentences(text, sentences):
    assert sentences_of(text) == sentences


def test_a_stream_says_that_the_documents_do_not_say(model, index, sure, monkeypatch):
    monkeypatch.setattr(PassageGrounding, "read", lambda *_: (None, ()))
    session = Session(model, documents=index, settings=SessionSettings(reserve=300))
    assert list(session.stream("Who keeps the light?")) == [NOT_SAID]
    assert (session.last.text, session.last.is_answered) == (NOT_SAID, False)
