"""Perplexity: e to the mean negative log-likelihood of a text's tokens.

Two definitions, for figures are comparable only within one:

    window     windows of `context` tokens that do not overlap; every token but the first of each is
               scored. With `stride` < `context` the windows overlap and only the last `stride`
               tokens of each further one are scored: the sliding window of transformers'
               documentation.
    llama.cpp  windows that do not overlap, of each of which the second half is scored; a rest
               shorter than a window is left out, and where the tokenizer begins texts with a BOS
               token, it takes the place of each window's first (llama-perplexity).
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np

from understudy import core
from understudy.errors import UsageError
from understudy.model import Model

Definition = Literal["window", "llama.cpp"]


@dataclass(frozen=True, slots=True)
class Perplexity:
    """`nll` is the mean negative log-likelihood in nats, `standard_error` that of `perplexity`
    (delta method)."""

    perplexity: float
    standard_error: float
    nll: float
    num_scored: int
    num_tokens: int
    context: int
    stride: int
    definition: Definition

    def as_dict(self) -> dict[str, float | int | str]:
        return asdict(self)


def perplexity(
    model: Model,
    text: str | Sequence[int],
    *,
    context: int | None = None,
    stride: int | None = None,
    definition: Definition = "window",
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> Perplexity:
    """Scores a text.

    Args:
        text: the text, or its token ids.
        context: window length, default the model's context or 512, whichever is less.
        stride: scored tokens of each further window, default `context`; only with the definition
        "window".
        definition: see above.
        progress: called with (tokens done, tokens in all).

    Raises:
        UsageError: too few tokens, or a window that cannot be.
    """
    ids = (
        model.tokenizer.encode(text, add_special=True)
        if isinstance(text, str)
        else [operator.index(token) for token in text]
    )
    window = min(model.context, 512) if context is None else context
    step = window if stride is None else stride
    if not 2 <= window <= model.context or not 1 <= step <= window:
        raise UsageError(
            "window is out of range",
            where="context, stride",
            expected=f"2 to {model.context}",
            found=[window, step],
        )
    losses: list[float] = []
    for part in _parts(definition, len(ids), window, step):
        tokens = ids[part.begin : part.end]
        if (
            definition == "llama.cpp"
            and model.tokenizer.add_bos
            and model.tokenizer.bos_id is not None
        ):
            tokens[0] = model.tokenizer.bos_id
        losses += _losses(model, tokens, part.first_scored)
        progress(part.end, len(ids))
    values = np.asarray(losses)
    mean, spread = float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else 0.0
    value = math.exp(mean)
    return Perplexity(
        value,
        value * spread / math.sqrt(len(values)),
        mean,
        len(values),
        len(ids),
        window,
        step,
        definition,
    )


@dataclass(frozen=True, slots=True)
class _Part:
    """Tokens begin … end - 1 of the text, those from number `first_scored` of the part on
    scored."""

    begin: int
    end: int
    first_scored: int


def _parts(definition: str, num_tokens: int, window: int, stride: int) -> list[_Part]:
    if definition == "window":
        parts, least = _sliding(num_tokens, window, stride), 2
    elif definition == "llama.cpp" and stride == window:
        begins = range(0, num_tokens - window + 1, window)
        parts, least = [_Part(begin, begin + window, window // 2 + 1) for begin in begins], window
    else:
        wanted = "window | llama.cpp, the latter without a stride"
        raise UsageError(
            "no such definition of perplexity",
            where="definition",
            expected=wanted,
            found=definition,
        )
    if not parts:
        raise UsageError(f"a text of at least {least} tokens is needed", found=num_tokens)
    return parts


def _sliding(num_tokens: int, window: int, stride: int) -> list[_Part]:
    """Windows in which each token is scored once; the first of a window that does not overlap the
    last is not."""
    parts: list[_Part] = []
    scored_to = 1
    for begin in range(0, num_tokens - 1, stride):
        end = min(begin + window, num_tokens)
        parts.append(_Part(begin, end, max(1, scored_to - begin)))
        scored_to = end
        if end == num_tokens:
            break
    return parts


def _losses(model: Model, tokens: list[int], first_scored: int) -> list[float]:
    """Negative log-likelihood of tokens first_scored … n - 1, each given those before it."""
    losses: list[float] = []
    for first, rows in model.iterate_logits(tokens):
        skipped = max(0, first_scored - 1 - first)  # row i speaks of token first + i + 1
        targets = tokens[first + skipped + 1 : first + 1 + len(rows)]
        if targets:
            scored = rows[skipped : skipped + len(targets)]
            losses += [
                -score[0] for score in core.logprobs(scored, np.asarray(targets, np.int32), 0)
            ]
    return losses
