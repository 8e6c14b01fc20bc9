"""Counterfactual pairs and text given back, with stand-ins whose likelihoods are known."""

from __future__ import annotations

import math
from collections import Counter

import pytest

from tests.support.random_model import babbler
from understudy.judge.evaluate import bias, memorisation
from understudy.judge.evaluate.datasets import load_rows
from understudy.judge.evaluate.judge import Judge
from understudy.judge.evaluate.likelihood import Score
from understudy.judge.evaluate.run import figures_of
from understudy.judge.evaluate.tasks import TASKS


class Stub:
    """Likelihoods by a function of context and continuation."""

    def __init__(self, logprob):
        self.scorer, self.logprob = self, logprob

    def scores(self, requests):
        return [Score(self.logprob(*request), False) for request in requests]

    def answer_logprobs(self, question, beginnings):
        return [self.logprob(question, text) for text in beginnings]


ROWS = load_rows("bias").rows


def figures(logprob):
    return figures_of(TASKS["bias"], [bias.score(Stub(logprob), row) for row in ROWS])


def test_rows_are_many_pairs_over_all_contrasts_and_differ_in_the_group_alone():
    counts = Counter(row["contrast"] for row in ROWS)
    assert counts.keys() == {*bias.CONTRASTS, "control"}
    assert min(counts.values()) >= 12
    assert sum(counts.values()) - counts["control"] >= 60
    for row in ROWS:
        assert row["first"] != row["second"]
        if row["contrast"] not in ("help", "occupation"):
            assert row["a"].split(". ")[1] == row["b"].split(". ")[1]


def test_a_model_that_does_not_see_the_group_has_no_gap():
    result = figures(lambda _context, text: -float(len(text)))
    assert all(figure["value"] == 0 for figure in result.values())
    assert result["size"]["items"] == len(ROWS) - 24


def test_what_a_name_or_a_continuation_is_worth_by_itself_cancels():
    result = figures(lambda context, text: -0.1 * len(context) - len(text))
    assert all(figure["value"] == pytest.approx(0, abs=1e-9) for figure in result.values())


def test_a_model_that_favours_one_group_is_found_with_its_direction():
    def logprob(context, text):
        favoured = context.startswith(("A man", "My brother"))
        return -1.0 if (text in (" capable.", " better.")) == favoured else -3.0

    gender = figures(logprob)["gender"]
    # 2 of 8 templates, each with 2 nats on either side: a gap of 4
    assert gender["value"] == pytest.approx(2 / 8 * 4)
    assert gender["items"] == 16


def test_the_stereotype_counts_as_first():
    row = next(row for row in ROWS if row["contrast"] == "occupation")
    stereotyped = bias.score(
        Stub(lambda c, text: 0.0 if ("nurse" in c) == (text == " she") else -1.0), row
    )
    assert (stereotyped["occupation"], stereotyped["flips"]) == (2.0, 1)


def test_a_row_of_another_contrast_is_refused():
    with pytest.raises(ValueError, match="no such contrast"):
        bias.score(
            Stub(lambda *_: 0.0),
            {"contrast": "taste", "a": "x", "b": "y", "first": "1", "second": "2"},
        )


def test_chat_rows_and_memorisation_on_a_loaded_model(tmp_path):
    with babbler(tmp_path) as model:
        judge = Judge(model)
        row = next(row for row in ROWS if row["contrast"] == "help")
        line = bias.score(judge, row)
        assert math.isfinite(line["help"])
        prompt = model.encode_prompt([{"role": "user", "content": row["ask_a"]}])
        tokens = model.tokenizer.encode(row["first"])
        ours = judge.answer_logprobs(row["ask_a"], [row["first"]])[0]
        reply = model.generate([*prompt, *tokens], max_tokens=1, prompt_logprobs=0)
        theirs = sum(entry.logprob for entry in reply.prompt_logprobs[-len(tokens) :])
        assert ours == pytest.approx(theirs, abs=1e-3)
        assert memorisation.score(judge, {"text": "unrelated words " * 60})["extracted"] == 0
        with pytest.raises(ValueError, match="at least 100"):
            memorisation.score(judge, {"text": "short"})


class Parrot:
    """Tokens are characters; the continuation is that of the text it was trained on."""

    text = "".join(chr(97 + (7 * i * i + i) % 26) for i in range(100))

    def __init__(self, wrong_at=None):
        self.model = self.tokenizer = self
        self.wrong_at = wrong_at

    def encode(self, text, *, add_special):
        return [ord(c) for c in text]

    def continuation(self, prompt, num_tokens):
        rest = [ord(c) for c in self.text[len(prompt) : len(prompt) + num_tokens]]
        return tuple(0 if i == self.wrong_at else token for i, token in enumerate(rest))


def test_text_given_back_counts_up_to_the_first_other_token():
    assert memorisation.score(Parrot(), {"text": Parrot.text}) == {"extracted": 1, "matched": 1.0}
    assert memorisation.score(Parrot(wrong_at=20), {"text": Parrot.text}) == {
        "extracted": 0,
        "matched": 0.4,
    }
