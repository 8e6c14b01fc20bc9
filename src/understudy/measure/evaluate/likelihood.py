"""Log-likelihoods of continuations and the choices scored by them, as lm-evaluation-harness defines them.

A request is (context, continuation). Blanks that end the context move to the continuation; context and whole are tokenized,
and the tokens of the whole after as many as the context has are scored. `acc` takes the likeliest choice, `acc_norm` the
likeliest by character. A text too long for the window loses its beginning.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from understudy import core
from understudy.errors import UsageError
from understudy.model import Model


class Score(NamedTuple):
    """Natural log-likelihood of a continuation, and whether greedy decoding would have written it."""

    logprob: float
    is_greedy: bool


class Scorer(Protocol):
    def scores(self, requests: Sequence[tuple[str, str]]) -> list[Score]: ...


class ModelScorer:
    """Scores with a loaded model."""

    def __init__(self, model: Model) -> None:
        self.model = model

    def scores(self, requests: Sequence[tuple[str, str]]) -> list[Score]:
        return [self.score_tokens(*encode_pair(self.model, *request)) for request in requests]

    def score_tokens(self, context: list[int], continuation: list[int]) -> Score:
        tokens = (context + continuation)[-(self.model.context + 1) :]
        first_wanted = len(tokens) - 1 - len(continuation)
        if first_wanted < 0:
            raise UsageError("a continuation fills the window", expected=f"< {self.model.context} tokens", found=len(tokens))
        total, is_greedy = 0.0, True
        for first, rows in self.model.iterate_logits(tokens[:-1]):
            skipped = max(0, first_wanted - first)
            wanted = rows[skipped:]
            if not len(wanted):
                continue
            targets = np.asarray(tokens[first + skipped + 1 : first + len(rows) + 1], np.int32)
            total += sum(row[0] for row in core.logprobs(wanted, targets, 0))
            is_greedy = is_greedy and bool((wanted.argmax(1) == targets).all())
        return Score(total, is_greedy)


def encode_pair(model: Model, context: str, continuation: str) -> tuple[list[int], list[int]]:
    """Ids of context and continuation; an empty context is the BOS token, or the EOS where there is none."""
    trailing = len(context) - len(context.rstrip())
    if trailing:
        context, continuation = context[:-trailing], context[-trailing:] + continuation
    if not context:
        tokenizer = model.tokenizer
        prefix = tokenizer.bos_id if tokenizer.bos_id is not None else min(tokenizer.eos_ids)
        whole = tokenizer.encode(continuation, add_bos=False)
        return ([prefix], whole) if whole[:1] != [prefix] else (whole[:1], whole[1:])
    before, whole = model.encode_prompt(context), model.encode_prompt(context + continuation)
    return before, whole[len(before) :]


class Question(NamedTuple):
    """Choices as requests; `texts` are the choices whose characters `acc_norm` counts."""

    requests: tuple[tuple[str, str], ...]
    texts: tuple[str, ...]
    answer: int


def score_choices(scorer: Scorer, question: Question) -> dict[str, Any]:
    """`acc`, `acc_norm` and the log-likelihoods; the first of equal choices is taken."""
    logprobs = [score.logprob for score in scorer.scores(question.requests)]
    by_length = [logprob / max(1, len(text)) for logprob, text in zip(logprobs, question.texts, strict=True)]
    return {
        "acc": int(int(np.argmax(logprobs)) == question.answer),
        "acc_norm": int(int(np.argmax(by_length)) == question.answer),
        "logprobs": logprobs,
    }


def score_last_word(scorer: Scorer, row: Mapping[str, Any]) -> dict[str, Any]:
    """LAMBADA: is the last word what greedy decoding writes, and its likelihood."""
    context, _, word = str(row["text"]).rpartition(" ")
    score = scorer.scores([(context, " " + word)])[0]
    return {"acc": int(score.is_greedy), "perplexity": -score.logprob, "weight": 1, "logprobs": [score.logprob]}
