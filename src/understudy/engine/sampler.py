"""From a row of logits to a token of a sequence, under its own settings, mask and seed."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from understudy import core
from understudy.engine.output import TokenLogprob
from understudy.engine.params import SamplingParams
from understudy.engine.sequence import Sequence


def settings_of(
    params: SamplingParams, seed: int, breakers: Collection[tuple[int, ...]] = ()
) -> core.SampleSettings:
    """What the core samples by; `breakers` are the tokens of `params.dry_sequence_breakers`."""
    return core.SampleSettings(
        temperature=params.temperature,
        top_k=params.top_k,
        top_p=params.top_p,
        min_p=params.min_p,
        repetition_penalty=params.repetition_penalty,
        frequency_penalty=params.frequency_penalty,
        presence_penalty=params.presence_penalty,
        penalty_last_n=params.penalty_last_n,
        penalize_prompt=params.penalize_prompt,
        dry_multiplier=params.dry_multiplier,
        dry_base=params.dry_base,
        dry_allowed_length=params.dry_allowed_length,
        dry_penalty_last_n=params.dry_penalty_last_n,
        dry_breakers=tuple(breakers),
        xtc_probability=params.xtc_probability,
        xtc_threshold=params.xtc_threshold,
        logit_bias=params.logit_bias,
        seed=seed,
        num_top=params.logprobs or 0,
    )


def sample_next(row: NDArray[np.float32], sequence: Sequence) -> TokenLogprob:
    """The token that follows `sequence.tokens`. Chance depends on the seed and the position
    alone.
    """
    mask = sequence.mask.allowed(sequence.generated) if sequence.mask is not None else None
    if mask is not None and (missing := -(-len(row) // 32) - len(mask)) > 0:
        mask = np.pad(
            mask, (0, missing)
        )  # rows that only pad the model's matrix, which a grammar does not know
    settings = sequence.sample_settings
    reads = settings.reads_history
    token, logprob, ids, values = core.sample(
        row,
        settings,
        sequence.tokens if reads else (),
        sequence.num_generated if reads else 0,
        counter=len(sequence.tokens),
        mask=mask,
    )
    return TokenLogprob(token, logprob, tuple(zip(ids, values, strict=True)))


def score_prompt(rows: NDArray[np.float32], sequence: Sequence, first: int) -> list[TokenLogprob]:
    """Log-probabilities of the prompt tokens that follow positions first, first + 1, ... (one row
    each).
    """
    targets = sequence.tokens[first + 1 : first + 1 + len(rows)]
    scores = core.logprobs(
        rows[: len(targets)], np.asarray(targets, np.int32), sequence.params.prompt_logprobs or 0
    )
    return [
        TokenLogprob(token, logprob, tuple(zip(ids, values, strict=True)))
        for token, (logprob, _, ids, values) in zip(targets, scores, strict=True)
    ]
