"""Characters in `Session`: whole sentences, one speaker, and nobody becomes an assistant."""

from __future__ import annotations

import pytest

from tests.support.random_model import babbler
from tests.unit.roleplay.test_npc import card
from understudy.chat.session import Session, SessionSettings
from understudy.engine import Output, Usage

BROKEN = "As an AI language model, I have no mill. I can help you."


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    with babbler(tmp_path_factory.mktemp("model")) as loaded:
        yield loaded


@pytest.fixture
def script(model, monkeypatch):
    """The model writes what it is told to, one text a reply, a few characters at a time."""
    asked = []

    def write(*texts, reason="stop"):
        left = list(texts)
        asked.clear()

        def stream(_prompt, **options):
            asked.append(options)
            text = left.pop(0)
            parts = [text[i : i + 7] for i in range(0, len(text), 7)]
            for i, part in enumerate(parts):
                is_last = i == len(parts) - 1
                usage = Usage(1, 1, 0, 0.0, 0.0) if is_last else None
                yield Output(
                    0, 0, text=part, finish_reason=reason if is_last else None, usage=usage
                )

        monkeypatch.setattr(model, "stream_outputs", stream)
        return asked

    return write


def test_words_out_of_character_are_drawn_once_more(model, script):
    asked = script(BROKEN, "I mill the rye. What else?")
    session = Session(model, character=card())
    assert "".join(session.stream("Who are you?")) == "I mill the rye. What else?"
    assert session.last.text == "I mill the rye. What else?"
    assert session.last.notes == ("out of character: As an AI: drawn once more",)
    assert len(asked) == 2
    assert asked[1]["temperature"] > 0
    assert session.messages[-1]["content"] == "I mill the rye. What else?"


def test_after_a_second_break_the_card_answers(model, script):
    script(BROKEN, BROKEN)
    own = card(extensions={"understudy/guard": {"deflections": ["Hm. Ask the ferryman."]}})
    session = Session(model, character=own, settings=SessionSettings(rounds=0))
    assert "".join(session.stream("Who are you?")) == session.last.text == "Hm. Ask the ferryman."


def test_what_was_said_before_a_break_stays(model, script):
    asked = script("Good day, stranger. " + BROKEN)
    session = Session(model, character=card())
    assert "".join(session.stream("Hello")).strip() == session.last.text == "Good day, stranger."
    assert len(asked) == 1


def test_a_reply_ends_where_a_person_would(model, script):
    script("The mill is old. It creaks at ni", reason="length")
    session = Session(model, character=card())
    assert session.say("Tell me of the mill.").text == "The mill is old."
    asked = script("The mill is old. It creaks. The mill is old. It creaks.")
    assert session.say("Tell me of the mill.", stop="END").text == "The mill is old. It creaks."
    assert asked[-1]["stop"][0] == "END"
    assert {"Hilde:", "User:"} <= set(asked[-1]["stop"])


def test_switches_of_characters_in_sessions(model, script):
    asked = script(BROKEN)
    off = SessionSettings(stays_in_character=False, stops_at_speakers=False)
    session = Session(model, character=card(), settings=off)
    assert session.say("Who are you?").text == BROKEN
    assert not asked[0].get("stop")
    script(BROKEN)
    assert Session(model).say("Who are you?").text == BROKEN


def test_a_grounded_session_asks_once_more(model, script, tmp_path):
    from understudy.rag.index import Index
    from understudy.rag.settings import AnswerSettings

    (tmp_path / "island.txt").write_text(
        "The lighthouse was built in 1812 from grey granite. "
        "The lighthouse was built in the north, in 1812. "
        "Its keeper is Ada Vane. The ferry leaves from the pier at nine."
    )
    question = "When was the lighthouse built?"
    for asks_again, expected in ((True, "In 1812."), (False, None)):
        answers = AnswerSettings(asks_again=asks_again)
        with Index(tmp_path / "x.index", embedder="hashing", answers=answers) as index:
            index.add([tmp_path / "island.txt"])
            asked = script("It was built in 1950.", "In 1812.")
            reply = Session(model, documents=index).say(question)
        assert len(asked) == (2 if asks_again else 1)
        assert "1812" in reply.text
        assert reply.text == expected or not asks_again
        assert ["1812" in citation.quote for citation in reply.citations] == [True]
