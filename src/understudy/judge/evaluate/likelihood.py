"""Log-likelihoods of continuations and the choices scored by them, as lm-evaluation-harness defines
them.

A request is (context, continuation). Blanks that end the context move to the continuation; context
and whole are tokenized, and the tokens of the whole after as many as the context has are scored.
`acc` takes the likeliest choice, `acc_norm` the likeliest by character. A text too long for the
window loses its beginning.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from understudy import core
from understudy.engine.scoring import Score
from understudy.errors import UsageError
from understudy.model import Model


class Scorer(Protocol):
    def scores(self, requests: Sequence[tuple[str, str]]) -> list[Score]: ...


class ModelScorer:
    """Scores with a loaded model, all requests of a call together."""

    def __init__(self, model: Model) -> None:
        self.model = model

    def scores(self, requests: Sequence[tuple[str, str]]) -> list[Score]:
        return self.model.score_continuations([self._pair(*request) for request in requests])

    def _pair(self, context: str, continuation: str) -> tuple[list[int], list[int]]:
        before, after = encode_pair(self.model, context, continuation)
        room = self.model.context + 1 - len(after)
        if room < 1:
            raise UsageError(
                "a continuation fills the window",
                expected=f"<= {self.model.context} tokens",
                found=len(after),
            )
        return before[-room:], after


def score_alone(model: Model, context: list[int], continuation: list[int]) -> Score:
    """The definition, one text at a time: what `Model.score_continuations` must equal bit for
    bit."""
    tokens = context + continuation
    first_wanted = len(context) - 1
    logprobs: list[float] = []
    is_greedy = True
    for first, rows in model.iterate_logits(tokens[:-1]):
        skipped = max(0, first_wanted - first)
        wanted = rows[skipped:]
        if len(wanted):
            targets = np.asarray(tokens[first + skipped + 1 : first + len(rows) + 1], np.int32)
            logprobs += [row[0] for row in core.logprobs(wanted, targets, 0)]
            is_greedy = is_greedy and bool((wanted.argmax(1) == targets).all())
    return Score(math.fsum(logprobs), is_greedy)


def encode_pair(model: Model, context: str, continuation: str) -> tuple[list[int], list[int]]:
    """Ids of context and continuation; an empty context is the BOS token, or the EOS where there is
    none, or without either the first token of the continuation, which then is not scored."""
    trailing = len(context) - len(context.rstrip())
    if trailing:
        context, continuation = context[:-trailing], context[-trailing:] + continuation
    if not context:
        tokenizer = model.tokenizer
        whole = tokenizer.encode(continuation)
        prefix = tokenizer.bos_id
        if prefix is None:
            prefix = min(tokenizer.eos_ids, default=whole[0] if whole else 0)
        return ([prefix], whole) if whole[:1] != [prefix] else (whole[:1], whole[1:])
    before, whole = (
        model.tokenizer.encode(text, add_special=True) for text in (context, context + continuation)
    )
    return before, whole[len(before) :]


class Question(NamedTuple):
    """Choices as requests; `texts` are the choices whose characters `acc_norm` counts."""

    requests: tuple[tuple[str, str], ...]
    texts: tuple[str, ...]
    answer: int


def score_choices(scorer: Scorer, questions: Sequence[Question]) -> list[dict[str, Any]]:
    """`acc`, `acc_norm` and the log-likelihoods of each; the first of equal choices is taken."""
    scores = iter(
        scorer.scores([request for question in questions for request in question.requests])
    )
    return [
        _chosen(question, [next(scores).logprob for _ in question.requests])
        for question in questions
    ]


def _chosen(question: Question, logprobs: list[float]) -> dict[str, Any]:
    by_length = [
        logprob / max(1, len(text)) for logprob, text in zip(logprobs, question.texts, strict=True)
    ]
    return {
        "acc": int(int(np.argmax(logprobs)) == question.answer),
        "acc_norm": int(int(np.argmax(by_length)) == question.answer),
        "logprobs": logprobs,
    }


def score_last_words(scorer: Scorer, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """LAMBADA: is the last word what greedy decoding writes, and its likelihood."""
    requests = []
    for row in rows:
        context, _, word = str(row["text"]).rpartition(" ")
        requests.append((context, " " + word))
    return [
        {
            "acc": int(score.is_greedy),
            "perplexity": -score.logprob,
            "weight": 1,
            "logprobs": [score.logprob],
        }
        for score in scorer.scores(requests)
    ]
