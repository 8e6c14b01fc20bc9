"""From a row of logits to a token of a sequence, under its own settings, mask and seed."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping

import numpy as np
from numpy.typing import NDArray

from understudy import core
from understudy.checkpoint.token_bias import NO_BIAS
from understudy.engine.output import TokenLogprob
from understudy.engine.params import SamplingParams
from understudy.engine.sequence import Sequence


def settings_of(
    params: SamplingParams,
    seed: int,
    breakers: Collection[tuple[int, ...]] = (),
    bias: Mapping[int, float] = NO_BIAS.steady,
) -> core.SampleSettings:
    """What the core samples by.

    Args:
        breakers: the tokens of `params.dry_sequence_breakers`.
        bias: of the checkpoint's own files, for tokens that `params.logit_bias` does not name.
    """
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
        logit_bias={**bias, **params.logit_bias},
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
    settings = _settings_now(sequence)
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


def _settings_now(sequence: Sequence) -> core.SampleSettings:
    """The sequence's settings, and what its checkpoint adds behind these very tokens."""
    settings, own = sequence.sample_settings, sequence.params.logit_bias
    passing = sequence.token_bias.passing(sequence.tokens, sequence.num_prompt)
    added = {token: bias for token, bias in passing.items() if token not in own}
    if not added:
        return settings
    whole = {
        t: settings.logit_bias.get(t, 0.0) + added.get(t, 0.0)
        for t in {*settings.logit_bias, *added}
    }
    return dataclasses.replace(settings, logit_bias=whole)


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
