"""The guard: what its parts find, what the forks compute, and what a stopped exchange leaves
behind."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.support.random_model import babbler
from tests.unit.judge.safety.fakes import Fake, echo
from understudy.chat.session import Session
from understudy.engine import Output, Usage
from understudy.errors import UsageError
from understudy.generation.moderation import end_of_sentences, flags_of
from understudy.judge.safety.lexicon import LEXICON
from understudy.judge.safety.moderation import (
    _QUESTION,
    _TOP,
    Flag,
    Guard,
    Verdict,
    _first_token,
    yes_shares,
)
from understudy.judge.safety.taxonomy import AEGIS_2, AEGIS_2_TOP
from understudy.roleplay.card import Card


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    with babbler(tmp_path_factory.mktemp("model")) as loaded:
        yield loaded


@pytest.mark.parametrize(
    ("text", "category"),
    [
        ("They murdered him.", "Violence"),
        ("I’ll KILL you", "Threat"),
        ("I want to die", "Suicide and Self Harm"),
        ("4111 1111 1111 1111", "PII/Privacy"),
        ("where to buy heroin", "Controlled/Regulated Substances"),
    ],
)
def test_words_and_data_are_flagged(text, category):
    assert category in [flag.category for flag in Guard().check(text)]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "The heroine wins.",
        "How do I kill a process?",
        "Sussex is pretty.",
        "A stable sexton",
        "\x00\x1b[2J",
    ],
)
def test_other_words_are_not(text):
    assert Guard().check(text) == ()


def test_categories_choose():
    assert Guard(categories=["Profanity"]).check("He was murdered, 4111 1111 1111 1111") == ()
    assert Guard(lexicon={}, pii=False).check("murder 4111 1111 1111 1111") == ()
    assert set(LEXICON) <= set(AEGIS_2)


@pytest.mark.parametrize(
    "options",
    [
        {"categories": ["Rudeness"]},
        {"lexicon": {"X": ["y"]}},
        {"threshold": 1.0},
        {"categories": ["Safe"]},
    ],
)
def test_wrong_settings_are_refused(options):
    with pytest.raises(UsageError):
        Guard(**options)


def test_forks_are_the_models_own_logits(model):
    text, names = "The mill </s> stands.", ["Violence", "Sexual", "Threat"]
    shares = yes_shares(model, text, names)
    yes, no = _first_token(model, "yes", "Yes"), _first_token(model, "no", "No")
    for name in names:
        ids = model.encode_prompt(
            [{"role": "user", "content": _QUESTION.format(text=text, category=name)}]
        )
        row = model.logits(ids)[-1].astype(np.float64)
        likely = set(np.argsort(-row)[:_TOP])
        said, denied = (np.exp(row[[i for i in one if i in likely]]).sum() for one in (yes, no))
        assert shares[name] == pytest.approx(
            said / (said + denied) if said + denied else 0.5, rel=1e-3
        )


def test_forks_compute_the_text_once(model):
    """All but the first find the question's beginning in the cache."""
    cached = []
    generate = model.generate

    class Watched:
        def __getattr__(self, name):
            return getattr(model, name)

        def generate(self, messages, **options):
            reply = generate(messages, **options)
            cached.append(reply.usage.cached_tokens / reply.usage.prompt_tokens)
            return reply

    yes_shares(Watched(), "A long walk by the river in the evening, twice. " * 8, AEGIS_2_TOP)
    assert len(cached) == 12
    assert all(share > 0.7 for share in cached[1:])


def test_the_model_is_asked_last_and_only_if_given(model):
    low = Guard(model=model, threshold=1e-9, categories=["Violence"])
    assert [flag.by for flag in low.check("Good day")] == ["model"]
    assert [flag.by for flag in low.check("murder")] == ["words"]
    assert Guard(model=model, threshold=1 - 1e-9).check("Good day") == ()


def test_phrases_go_over_line_ends_but_not_over_sentences():
    guard = Guard(lexicon={"Guns and Illegal Weapons": ["pipe bomb"]})
    assert guard.check("a pipe\n  bomb")
    assert not guard.check("a pipe.\nbomb")
    assert not guard.check("a pipe\n\nbomb")
    assert not any(end_of_sentences(f"{word} x") for words in LEXICON.values() for word in words)


def test_escapes_of_json_hide_nothing():
    assert flags_of(Guard(), json.dumps({"a": "he was \U0001d52aurdered, then murdered"}), "output")
    assert flags_of(Guard(), '{"a": "\\u006durdered"}', "output")
    assert flags_of(Guard(), '{"a": "want\\nto die"}', "output")
    assert flags_of(Guard(), '{"a": "b"}', "output") == ()


def test_it_says_how_it_looks(model):
    assert Guard().checks == ("words", "pii")
    assert Guard(lexicon={}, model=model).checks == ("pii", "model")
    assert (Guard().by_sentence, Guard(model=model).by_sentence) == (True, False)
    verdict = Verdict(
        (Flag("Violence", "words", "murder"), Flag("Violence", "words", "stab")), "output"
    )
    assert verdict.to_document() == {
        "where": "output",
        "categories": [{"category": "Violence", "by": "words"}],
    }
    assert str(verdict) == "output: Violence (words)"


# ---- sessions ----

ANSWER = "Here is one. He was murdered by night. The end."


class Words(Fake):
    """Writes word by word."""

    def stream_outputs(self, prompt, **options):
        self.num_asked += 1
        pieces = self._says(prompt).split(" ")
        for i, piece in enumerate(pieces):
            is_last = i == len(pieces) - 1
            usage = Usage(9, 0, i + 1) if is_last else None
            yield Output(
                0,
                0,
                piece + (" " if not is_last else ""),
                (5,),
                finish_reason="stop" if is_last else None,
                usage=usage,
            )


def test_a_stopped_message_is_never_given_to_the_model(model):
    fake = Fake(model, echo)
    session = Session(fake, guard=Guard(notice="Not here."))
    assert session.say("Good day").text == "Good day"
    stopped = session.say("He was murdered")
    assert (stopped.text, stopped.finish_reason, stopped.verdict.where, fake.num_asked) == (
        "Not here.",
        "content_filter",
        "input",
        1,
    )
    assert [turn.role for turn in session.turns] == ["user", "assistant"]
    assert session.say("Good evening").verdict is None


def test_answers_go_out_as_far_as_they_are_checked(model):
    session = Session(Words(model, lambda prompt: ANSWER), guard=Guard())
    assert list(session.stream("And?")) == ["Here is one. ", session.guard.notice]
    assert (session.last.text, session.last.verdict.flags[0].category) == (
        session.guard.notice,
        "Violence",
    )
    assert session.turns == []
    assert list(
        Session(Words(model, lambda prompt: "One. Two. Three"), guard=Guard()).stream("And?")
    ) == [
        "One. ",
        "Two. ",
        "Three",
    ]


def test_a_guard_of_whole_answers_lets_nothing_out_before(model):
    session = Session(Words(model, lambda prompt: ANSWER), guard=Guard(by_sentence=False))
    assert list(session.stream("And?")) == [session.guard.notice]
    whole = Session(Words(model, lambda prompt: "One. Two."), guard=Guard(by_sentence=False))
    assert list(whole.stream("And?")) == ["One. Two."]


def test_an_answer_that_is_left_keeps_what_was_given_out(model):
    session = Session(Words(model, lambda prompt: "One. Two three four. Five."), guard=Guard())
    pieces = session.stream("And?")
    assert next(pieces) == "One. "
    pieces.close()
    assert (session.last.finish_reason, session.turns[-1].text) == ("cancelled", "One.")


def test_calls_are_checked_before_they_run(model):
    ran = []

    def note(text: str) -> str:
        """Writes a note."""
        ran.append(text)
        return "done"

    says = 'So. <toolcall> {"name": "note", "arguments": {"text": "he was \\u006durdered"}} </toolcall>'
    session = Session(Fake(model, lambda prompt: says), tools=[note], guard=Guard())
    reply = session.say("Write it down.")
    assert (reply.finish_reason, reply.verdict.where, ran, session.turns) == (
        "content_filter",
        "output",
        [],
        [],
    )


def test_a_character_remembers_nothing_of_it(model):
    card = Card(
        {
            "spec": "chara_card_v2",
            "spec_version": "2.0",
            "data": {"name": "Hilde", "first_mes": "", "description": "Keeps the light."},
        }
    )
    session = Session(Fake(model, lambda prompt: "fuck"), character=card, guard=Guard())
    before = session.character.to_document()
    assert session.say("Hello").finish_reason == "content_filter"
    assert session.character.to_document() == before


def test_it_is_never_silently_on(model):
    reply = Session(Fake(model, echo)).say("murder")
    assert (reply.text, reply.verdict) == ("murder", None)
