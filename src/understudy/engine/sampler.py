"""From a row of logits to a token of a sequence, under its own settings, mask and seed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from understudy import core
from understudy.engine.output import TokenLogprob
from understudy.engine.sequence import Sequence


def sample_next(row: NDArray[np.float32], sequence: Sequence) -> TokenLogprob:
    """The token that follows `sequence.tokens`. Chance depends on the seed and the position alone."""
    params = sequence.params
    mask = sequence.mask.allowed(sequence.generated) if sequence.mask is not None else None
    if mask is not None and (missing := -(-len(row) // 32) - len(mask)) > 0:
        mask = np.pad(
            mask, (0, missing)
        )  # rows that only pad the model's matrix, which a grammar does not know
    settings = core.SampleSettings(
        params.temperature,
        params.top_k,
        params.top_p,
        params.min_p,
        params.repetition_penalty,
        params.frequency_penalty,
        params.presence_penalty,
        params.logit_bias,
        sequence.seed,
        params.logprobs or 0,
    )
    history = sequence.tokens if params.has_penalties else ()
    token, logprob, ids, values = core.sample(
        row,
        settings,
        history,
        sequence.num_generated if params.has_penalties else 0,
        counter=len(sequence.tokens),
        mask=mask,
    )
    return TokenLogprob(token, logprob, tuple(zip(ids, values, strict=True)))


def score_prompt(rows: NDArray[np.float32], sequence: Sequence, first: int) -> list[TokenLogprob]:
    """Log-probabilities of the prompt tokens that follow positions first, first + 1, ... (one row each)."""
    targets = sequence.tokens[first + 1 : first + 1 + len(rows)]
    scores = core.logprobs(
        rows[: len(targets)], np.asarray(targets, np.int32), sequence.params.prompt_logprobs or 0
    )
    return [
        TokenLogprob(token, logprob, tuple(zip(ids, values, strict=True)))
        for token, (logprob, _, ids, values) in zip(targets, scores, strict=True)
    ]
