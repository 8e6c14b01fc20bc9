"""Intervals and paired tests: Wilson for shares, bootstrap for means, exact McNemar and paired
bootstrap between runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from understudy.errors import UsageError

Z_95 = 1.959963984540054
RESAMPLES = 2000
_ROWS = 250  # resamples drawn at a time, so that a set of ten thousand items needs 20 MB


class Interval(NamedTuple):
    value: float
    low: float
    high: float


def wilson(hits: int, trials: int) -> Interval:
    """A share with its 95 % score interval (Wilson 1927)."""
    if not 0 <= hits <= trials or trials < 1:
        raise UsageError(
            "no such share", expected="0 <= hits <= trials, trials > 0", found=[hits, trials]
        )
    share, weight = hits / trials, Z_95**2 / trials
    centre = (share + weight / 2) / (1 + weight)
    half = Z_95 / (1 + weight) * math.sqrt(share * (1 - share) / trials + weight / 4 / trials)
    return Interval(share, max(0.0, centre - half), min(1.0, centre + half))


def bootstrap(
    values: Sequence[float], weights: Sequence[float] | None = None, *, seed: int = 0
) -> Interval:
    """A mean, weighted where weights are given, with the 95 % percentile interval over resampled
    items."""
    numbers = np.asarray(values, float)
    shares = np.ones_like(numbers) if weights is None else np.asarray(weights, float)
    if not len(numbers) or len(numbers) != len(shares):
        raise UsageError(
            "a mean needs values, and a weight for each", found=[len(numbers), len(shares)]
        )
    low, high = np.percentile(_resampled(numbers, shares, seed), [2.5, 97.5])
    return Interval(float((numbers * shares).sum() / shares.sum()), float(low), float(high))


def _resampled(
    values: NDArray[np.float64], weights: NDArray[np.float64], seed: int
) -> NDArray[np.float64]:
    random = np.random.default_rng(seed)
    means = []
    for _ in range(RESAMPLES // _ROWS):
        drawn = random.integers(0, len(values), (_ROWS, len(values)))
        means.append((values[drawn] * weights[drawn]).sum(1) / weights[drawn].sum(1))
    return np.concatenate(means)


def macro(groups: Sequence[tuple[int, int]]) -> Interval:
    """The plain mean of shares, each (hits, trials), with a 95 % interval out of their Wilson
    intervals (Zou and Donner 2008)."""
    if not groups:
        raise UsageError("a mean of shares needs at least one")
    shares = [wilson(*group) for group in groups]
    mean = sum(share.value for share in shares) / len(shares)
    below = math.sqrt(sum((share.value - share.low) ** 2 for share in shares)) / len(shares)
    above = math.sqrt(sum((share.high - share.value) ** 2 for share in shares)) / len(shares)
    return Interval(mean, max(0.0, mean - below), min(1.0, mean + above))


def holm(p_values: Sequence[float]) -> list[float]:
    """p adjusted for several tests (Holm 1979): each below 0.05 only if the chance of even one
    false alarm is."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(order):
        largest = max(largest, min(1.0, p_values[i] * (len(p_values) - rank)))
        adjusted[i] = largest
    return adjusted


def mcnemar(only_a: int, only_b: int) -> float:
    """Two-sided exact p of `only_a` items that A alone got against `only_b` that B alone got."""
    trials = only_a + only_b
    if trials == 0:
        return 1.0
    tail = sum(math.comb(trials, i) for i in range(min(only_a, only_b) + 1))
    return float(min(1.0, 2 * tail / 2**trials))


def paired_bootstrap(
    a: Sequence[float], b: Sequence[float], weights: Sequence[float] | None = None, *, seed: int = 0
) -> tuple[Interval, float]:
    """B - A with its interval, and the two-sided p that the difference is 0 (share of resamples
    across 0, doubled)."""
    if len(a) != len(b):
        raise UsageError("paired values are needed", found=[len(a), len(b)])
    difference = np.asarray(b, float) - np.asarray(a, float)
    shares = np.ones_like(difference) if weights is None else np.asarray(weights, float)
    interval = bootstrap(difference.tolist(), shares.tolist(), seed=seed)
    means = _resampled(difference, shares, seed)
    tail = min((means <= 0).sum(), (means >= 0).sum())
    return interval, float(min(1.0, 2 * (tail + 1) / (len(means) + 1)))


def paired_shares(both: int, only_a: int, only_b: int, neither: int) -> Interval:
    """B - A of two shares over the same items, with the 95 % interval of Newcombe (1998, method
    10): Wilson's, squared and added under the correlation of the pairs. It stays honest where
    hardly an item differs and a bootstrap has nothing to resample.
    """
    trials = both + only_a + only_b + neither
    a, b = wilson(both + only_a, trials), wilson(both + only_b, trials)
    product = (both + only_a) * (only_b + neither) * (both + only_b) * (only_a + neither)
    excess = both * neither - only_a * only_b
    excess_corrected = max(excess - trials / 2, 0.0) if excess > 0 else float(excess)
    phi = excess_corrected / math.sqrt(product) if product else 0.0
    difference = b.value - a.value

    def half(down: float, up: float) -> float:
        return math.sqrt(max(0.0, down * down - 2 * phi * down * up + up * up))

    low = difference - half(b.value - b.low, a.high - a.value)
    high = difference + half(a.value - a.low, b.high - b.value)
    return Interval(difference, max(-1.0, low), min(1.0, high))
