"""What prompts are held to, said once: tokens of the vocabulary, and room in the context."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from understudy.engine.params import SamplingParams
from understudy.engine.request import Overflow
from understudy.errors import ContextError, UsageError


def as_ids(tokens: Iterable[int] | NDArray[np.integer[np.typing.NBitBase]]) -> list[int]:
    """Token ids as Python's whole numbers, whatever kind they came in.

    Raises:
        UsageError: something else is among them.
    """
    try:
        return [operator.index(token) for token in tokens]
    except TypeError as error:
        raise UsageError("token ids must be whole numbers", found=str(error)) from error


def check_vocabulary(tokens: Sequence[int], vocab_size: int, what: str = "token") -> None:
    """Raises UsageError where a token is none of 0 to `vocab_size` - 1."""
    if tokens and not (min(tokens) >= 0 and max(tokens) < vocab_size):
        found = next(token for token in tokens if not 0 <= token < vocab_size)
        raise UsageError(
            f"{what} is outside the vocabulary", expected=f"0 to {vocab_size - 1}", found=found
        )


def check_length(num_tokens: int, context: int) -> None:
    """Raises ContextError where a text that is only read does not fit the context."""
    if num_tokens > context:
        expected = f"at most {context} tokens"
        raise ContextError("text does not fit the context", expected=expected, found=num_tokens)


def check_prompt(
    prompt: Sequence[int],
    params: SamplingParams,
    overflow: Overflow,
    *,
    context: int,
    vocab_size: int,
) -> int:
    """How many tokens of a prompt find room beside its answer.

    Raises:
        UsageError: an empty prompt, or a token outside the vocabulary.
        ContextError: prompt and answer do not fit the context, and `overflow` is "refuse".
    """
    if not prompt:
        raise UsageError("the prompt is empty", where="prompt", do="give at least one token")
    check_vocabulary(prompt, vocab_size)
    check_vocabulary(list(params.logit_bias), vocab_size, "biased token")
    reserve = params.max_tokens or 1
    room = context - reserve
    if len(prompt) <= room:
        return len(prompt)
    if overflow == "refuse" or room < 1:
        raise ContextError(
            "prompt and answer do not fit the context",
            expected=f"at most {context} tokens",
            found=f"{len(prompt)} of the prompt and {reserve} for the answer",
            do="shorten the prompt, ask for fewer tokens, or choose an overflow policy",
        )
    return room
