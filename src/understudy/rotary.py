"""Rotary frequencies: how fast each pair of a head turns, and the ways in which models stretch them
over longer texts.

    frequencies(64, 10000.0, LinearScaling(4.0), num_positions=100)
    # rotary_dim / 2 numbers, radians a position

Plain frequencies are theta^(-2i / rotary_dim), i = 0 … rotary_dim / 2 - 1. Each scaling turns them
into others as transformers does (`modeling_rope_utils` 5.24); what reads them is the NumPy
reference, the core and `compress`. Sines and cosines are multiplied by a scaling's
`attention_factor`. Standard library only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

Frequencies = list[float]


@dataclass(frozen=True, slots=True)
class Llama3Scaling:
    """Slow turns are slowed by `factor`, fast ones kept, those between blended.

    With wavelength λ = 2π / f and L the original context:

    λ < L / high: f;   λ > L / low: f / factor;
    between: (1 - s) f / factor + s f with s = (L / λ - low) / (high - low).
    """

    factor: float
    low_freq_factor: float
    high_freq_factor: float
    original_max_positions: int

    @property
    def attention_factor(self) -> float:
        return 1.0

    def scale(self, plain: Frequencies, theta: float, num_positions: int) -> Frequencies:
        return [self._scaled(f) for f in plain]

    def _scaled(self, frequency: float) -> float:
        turns = self.original_max_positions * frequency / (2 * math.pi)  # L / λ
        share = _between(turns, self.low_freq_factor, self.high_freq_factor)
        return (1 - share) * frequency / self.factor + share * frequency


@dataclass(frozen=True, slots=True)
class LinearScaling:
    """All frequencies divided by `factor`: positions stand closer together."""

    factor: float

    @property
    def attention_factor(self) -> float:
        return 1.0

    def scale(self, plain: Frequencies, theta: float, num_positions: int) -> Frequencies:
        return [f / self.factor for f in plain]


@dataclass(frozen=True, slots=True)
class DynamicScaling:
    """Nothing up to the original context; for a longer text theta grows with its length
    ("NTK-aware").
    """

    factor: float
    original_max_positions: int

    @property
    def attention_factor(self) -> float:
        return 1.0

    def scale(self, plain: Frequencies, theta: float, num_positions: int) -> Frequencies:
        dim = 2 * len(plain)
        if num_positions <= self.original_max_positions or dim <= 2:
            return plain
        longer = self.factor * num_positions / self.original_max_positions - (self.factor - 1)
        return plain_frequencies(dim, theta * longer ** (dim / (dim - 2)))


@dataclass(frozen=True, slots=True)
class YarnScaling:
    """YaRN (arXiv 2309.00071): a ramp over the pairs from kept to slowed by `factor`.

    The ramp begins at the pair that turns `beta_fast` times in the original context and ends at
    that of `beta_slow` turns; `truncate` puts both on whole numbers.
    """

    factor: float
    original_max_positions: int
    attention_factor: float
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    truncate: bool = True

    def scale(self, plain: Frequencies, theta: float, num_positions: int) -> Frequencies:
        low, high = self._ramp(2 * len(plain), theta)
        shares = [_between(i, low, high) for i in range(len(plain))]  # 0 kept, 1 slowed
        return [(1 - s) * f + s * f / self.factor for f, s in zip(plain, shares, strict=True)]

    def _ramp(self, dim: int, theta: float) -> tuple[float, float]:
        def pair_of(turns: float) -> float:
            longest = self.original_max_positions / (turns * 2 * math.pi)
            return dim * math.log(longest) / (2 * math.log(theta))

        low, high = pair_of(self.beta_fast), pair_of(self.beta_slow)
        if self.truncate:
            low, high = math.floor(low), math.ceil(high)
        low, high = max(low, 0), min(high, dim - 1)
        return low, high + 0.001 if low == high else high


@dataclass(frozen=True, slots=True)
class LongRopeScaling:
    """A divisor for each frequency, one list for texts up to the original context and one for
    longer ones.
    """

    short_factors: tuple[float, ...]
    long_factors: tuple[float, ...]
    original_max_positions: int
    attention_factor: float = 1.0

    def scale(self, plain: Frequencies, theta: float, num_positions: int) -> Frequencies:
        is_long = num_positions > self.original_max_positions
        factors = self.long_factors if is_long else self.short_factors
        return [f / divisor for f, divisor in zip(plain, factors, strict=True)]


RopeScaling = Llama3Scaling | LinearScaling | DynamicScaling | YarnScaling | LongRopeScaling


def _between(value: float, begin: float, end: float) -> float:
    """How far a value is on the way from `begin` to `end`, from 0 to 1."""
    return min(1.0, max(0.0, (value - begin) / (end - begin)))


def plain_frequencies(rotary_dim: int, theta: float) -> Frequencies:
    return [float(theta ** (-2.0 * i / rotary_dim)) for i in range(rotary_dim // 2)]


def frequencies(
    rotary_dim: int, theta: float, scaling: RopeScaling | None, num_positions: int
) -> Frequencies:
    """Radians a position of each rotated pair, for a text of `num_positions` tokens: rotary_dim / 2
    numbers.
    """
    plain = plain_frequencies(rotary_dim, theta)
    return plain if scaling is None else scaling.scale(plain, theta, num_positions)
