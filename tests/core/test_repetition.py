"""Penalties over a window, DRY and XTC against slow definitions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from understudy import core
from understudy.core import SampleSettings

VOCAB = 40


def shaped(logits: np.ndarray, history: Sequence[int], num_generated: int = 0, **settings):
    sampler = SampleSettings(**settings).sampler
    return sampler.shape(logits, np.asarray(history, np.int32), num_generated)


@pytest.fixture
def logits() -> np.ndarray:
    return (np.random.default_rng(7).standard_normal(VOCAB) * 3).astype(np.float32)


@pytest.mark.parametrize("last_n", [-1, 0, 1, 3, 5, 100])
@pytest.mark.parametrize("counts_prompt", [False, True])
def test_penalties_look_back_over_a_window(logits, last_n: int, counts_prompt: bool) -> None:
    history, num_generated = [1, 2, 2, 3, 1, 1, 4], 4
    window = history if last_n < 0 else history[len(history) - min(last_n, len(history)) :]
    counted = window if counts_prompt else window[-num_generated:] if window else []
    expected = logits.astype(np.float64)
    for token in set(window):
        expected[token] = expected[token] / 1.3 if expected[token] > 0 else expected[token] * 1.3
    for token in set(counted):
        expected[token] -= 0.5 + 0.25 * counted.count(token)
    found = shaped(
        logits,
        history,
        num_generated,
        repetition_penalty=1.3,
        frequency_penalty=0.25,
        presence_penalty=0.5,
        penalty_last_n=last_n,
        penalize_prompt=counts_prompt,
    )
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def slow_dry(history: list[int], allowed: int, breakers: list[tuple[int, ...]]) -> dict[int, int]:
    """By token: the longest repeated sequence that it would go on, tried out one by one."""
    limit = len(history)
    for end in range(len(history), 0, -1):  # a breaker that ends here, the longest of those that do
        starts = [
            len(b) for b in breakers if end >= 1 and tuple(history[end - 1 : end - 1 + len(b)]) == b
        ]
        if starts:
            limit = len(history) - (end - 1) - max(starts)
            break
    longest: dict[int, int] = {}
    for at in range(1, len(history)):
        length = 0
        while length < min(at, limit) and history[at - 1 - length] == history[-1 - length]:
            length += 1
        if length >= allowed:
            longest[history[at]] = max(longest.get(history[at], 0), length)
    return {t: n for t, n in longest.items() if (t,) not in breakers}


@pytest.mark.parametrize("seed", range(40))
def test_dry_lowers_what_goes_on_a_repetition(logits, seed: int) -> None:
    random = np.random.default_rng(seed)
    history = [int(t) for t in random.integers(0, 3 + seed % 3, random.integers(0, 80))]
    breakers = [(2,), (1, 0), (0, 1, 1)][: seed % 4]
    allowed, last_n = int(random.integers(1, 4)), (-1, 20)[seed % 2]
    window = history if last_n < 0 else history[-last_n:]
    expected = logits.astype(np.float64)
    for token, length in slow_dry(window, allowed, breakers).items():
        expected[token] -= 0.8 * 1.75 ** (length - allowed)
    found = shaped(
        logits,
        history,
        dry_multiplier=0.8,
        dry_allowed_length=allowed,
        dry_penalty_last_n=last_n,
        dry_breakers=breakers,
    )
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_dry_is_off_by_default_and_never_infinite(logits) -> None:
    np.testing.assert_array_equal(shaped(logits, [1, 2, 3] * 30), logits)
    assert np.isfinite(shaped(logits, [1] * 5000, dry_multiplier=1.0, dry_base=4.0)[1])
    off = shaped(logits, [1] * 50, dry_multiplier=1.0, dry_base=0.5)
    np.testing.assert_array_equal(off, logits)


def draws(logits: np.ndarray, count: int = 4000, **settings) -> np.ndarray:
    sampling = SampleSettings(seed=3, **settings)
    tokens = [core.sample(logits, sampling, counter=i)[0] for i in range(count)]
    return np.bincount(tokens, minlength=len(logits)) / count


@pytest.mark.parametrize("truncation", [{}, {"top_k": 4}, {"min_p": 0.01}])
def test_xtc_leaves_the_least_likely_of_the_likely(truncation) -> None:
    shares = np.array([0.4, 0.3, 0.2, 0.06, 0.04], np.float32)
    logits = np.log(shares)
    always = {"xtc_probability": 1.0, "xtc_threshold": 0.15, **truncation}
    found = draws(logits, temperature=1.0, **always)
    kept = shares * [0, 0, 1, 1, truncation.get("top_k", 5) > 4]
    np.testing.assert_allclose(found, kept / kept.sum(), atol=0.03)
    assert core.sample(logits, SampleSettings(**always))[0] == 2, (
        "also where the likeliest is taken"
    )
    half = draws(logits, temperature=1.0, xtc_probability=0.5, xtc_threshold=0.15, **truncation)
    whole = shares * [1, 1, 1, 1, truncation.get("top_k", 5) > 4]
    expected = 0.5 * whole / whole.sum() + 0.5 * kept / kept.sum()
    np.testing.assert_allclose(half, expected, atol=0.03)


@pytest.mark.parametrize("off", [{"xtc_probability": 0.0}, {"xtc_threshold": 0.51}])
def test_xtc_off_changes_no_draw(logits, off) -> None:
    settings = {"temperature": 1.0, "xtc_probability": 1.0, "xtc_threshold": 0.1} | off
    plain, other = SampleSettings(temperature=1.0), SampleSettings(**settings)
    for i in range(200):
        assert core.sample(logits, plain, counter=i) == core.sample(logits, other, counter=i)


def test_a_breaker_without_tokens_is_refused() -> None:
    with pytest.raises(ValueError, match="without tokens"):
        SampleSettings(dry_breakers=[()])
