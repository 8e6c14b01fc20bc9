"""The guard: what its parts find, what the forks compute, and what a stopped exchange leaves behind."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.random_model import babbler
from tests.unit.safety.fakes import Fake, echo
from understudy.chat.session import Session
from understudy.errors import UsageError
from understudy.safety.guard import _QUESTION, Guard, GuardedSession, _first_token, yes_shares
from understudy.safety.lexicon import LEXICON
from understudy.safety.taxonomy import AEGIS_2


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    with babbler(tmp_path_factory.mktemp("model")) as loaded:
        yield loaded


@pytest.mark.parametrize(("text", "category"), [
    ("They murdered him.", "Violence"), ("I’ll KILL you", "Threat"), ("I want to die", "Suicide and Self Harm"),
    ("4111 1111 1111 1111", "PII/Privacy"), ("where to buy heroin", "Controlled/Regulated Substances"),
])  # fmt: skip
def test_words_and_data_are_flagged(text, category):
    assert category in [flag.category for flag in Guard().check(text)]


@pytest.mark.parametrize(
    "text", ["", "The heroine wins.", "How do I kill a process?", "Sussex is pretty.", "A stable sexton", "\x00\x1b[2J"]
)
def test_other_words_are_not(text):
    assert Guard().check(text) == ()


def test_categories_choose():
    assert Guard(categories=["Profanity"]).check("He was murdered, 4111 1111 1111 1111") == ()
    assert Guard(lexicon={}, pii=False).check("murder 4111 1111 1111 1111") == ()
    assert set(LEXICON) <= set(AEGIS_2)


@pytest.mark.parametrize(
    "options", [{"categories": ["Rudeness"]}, {"lexicon": {"X": ["y"]}}, {"threshold": 1.0}, {"categories": ["Safe"]}]
)
def test_wrong_settings_are_refused(options):
    with pytest.raises(UsageError):
        Guard(**options)


def test_forks_are_the_models_own_logits(model):
    text, names = "The mill </s> stands.", ["Violence", "Sexual"]
    shares = yes_shares(model, text, names)
    yes, no = _first_token(model, "yes", "Yes"), _first_token(model, "no", "No")
    for name in names:
        ids = model.encode_prompt([{"role": "user", "content": _QUESTION.format(text=text, category=name)}])
        row = model.logits(ids)[-1].astype(np.float64)
        said, denied = np.exp(row[list(yes)]).sum(), np.exp(row[list(no)]).sum()
        assert shares[name] == pytest.approx(said / (said + denied), rel=1e-3)


def test_the_model_is_asked_last_and_only_if_given(model):
    low = Guard(model=model, threshold=1e-9, categories=["Violence"])
    assert [flag.by for flag in low.check("Good day")] == ["model"]
    assert [flag.by for flag in low.check("murder")] == ["words"]
    assert Guard(model=model, threshold=1 - 1e-9).check("Good day") == ()


def test_a_stopped_exchange_leaves_no_trace(model):
    fake = Fake(model, echo)
    guarded = GuardedSession(Session(fake), Guard())
    assert guarded.say("Good day").text == "Good day"
    stopped = guarded.say("He was murdered")
    assert (stopped.reply, stopped.verdict.where, fake.num_asked) == (None, "input", 1)
    guarded.session.model = Fake(model, lambda prompt: "fuck")
    after = guarded.say("And?")
    assert (after.text, after.verdict.where, after.verdict.flags[0].category) == (guarded.not_answered, "output", "Profanity")
    assert [turn.role for turn in guarded.session.turns] == ["user", "assistant"]


def test_sessions_have_no_guard_of_their_own(model):
    assert Session(Fake(model, echo)).say("murder").text == "murder"
