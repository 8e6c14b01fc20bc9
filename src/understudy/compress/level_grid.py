"""The grid of q3 (`formats/q3.py`, 3.2 bits a weight): x = d / 256 · m · level.

A row has a float16 scale d; a block of 32 chooses a multiplier m of either sign, up to 16, and
whether the eight levels are shifted. Search, error feedback and descent are those of every grid;
what this one adds is how a block chooses under its row's scale.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from understudy.compress.grid import (
    BLOCK,
    BlockSearch,
    QuantGrid,
    QuantizedMatrix,
    blocks_of,
    half,
    importance_of,
    row_error,
)
from understudy.formats import q3

_SHRINKS = (0.7, 0.8, 0.9, 1.0)  # of the scale at which nothing is cut off
_SHARES = (0.80, 0.86, 0.92, 0.98)  # of the row scale that its largest block would want
_ROOM = 1.04  # for what error feedback adds to weights that are still to be rounded
_STEP = float(q3.STEP)
_ENDS = (q3.LEVELS[0], q3.LEVELS[-1])


@dataclass(frozen=True)
class _Choice:
    """What every block of some rows might take: one shift, one sign."""

    shift: int
    sign: int
    wanted: Tensor  # (rows, blocks): the best scale of that sign, were it free
    error: Tensor  # that it leaves


class LevelGrid(QuantGrid):
    def bits_of(self, columns: int) -> float:
        return 8 * q3.row_bytes(columns) / columns

    def nearest(self, values: Tensor, shifts: Tensor | None) -> Tensor:
        if shifts is None:
            raise ValueError("which blocks are shifted is not said")
        moved = (q3.SHIFT * shifts).to(values.dtype)
        return _nearest(values - moved) + moved

    def search(self, weight: Tensor, importance: Tensor | None) -> QuantizedMatrix:
        """The scale of every row with what its blocks choose under it, by squared error."""
        blocks = blocks_of(weight)
        h = importance_of(blocks, importance)
        choices = list(_choices(blocks, h))
        return self._under(blocks, h, self._row_scales(blocks, h, choices), choices)

    def block_search(self, weight: Tensor, importance: Tensor) -> BlockSearch:
        start = self.search(weight, importance).row_scales
        assert start is not None
        row_scales = half(start * _ROOM)

        def one(block: Tensor, squares: Tensor) -> QuantizedMatrix:
            blocks = blocks_of(block)
            h = importance_of(blocks, squares)
            return self._under(blocks, h, row_scales, list(_choices(blocks, h)))

        return one

    def best_scales(
        self, rounded: QuantizedMatrix, system: Tensor, right: Tensor
    ) -> QuantizedMatrix:
        """The row's scale for its multipliers, then multiplier by multiplier the best one that
        there is of its sign."""
        assert rounded.row_scales is not None
        before = rounded.scales.double()
        step = (rounded.row_scales.double() * _STEP)[:, None]
        multipliers = torch.where(step == 0, 1.0, (before / step).round())
        square = ((system @ multipliers[..., None])[..., 0] * multipliers).sum(-1)
        product = (right * multipliers).sum(-1)
        solved = product / square.clamp_min(1e-30) / _STEP
        new_scales = torch.where(solved > 0, half(solved.float()), rounded.row_scales)
        step = (new_scales.double() * _STEP)[:, None]
        left = right - (system @ (multipliers * step)[..., None])[..., 0]
        for b in range(multipliers.shape[1]):
            own, old = system[:, b, b], multipliers[:, b].clone()
            best = old + torch.where(own > 0, left[:, b] / own.clamp_min(1e-30), 0.0) / step[:, 0]
            size = (best * old.sign()).round().clamp(1, q3.MAX_MULTIPLIER)
            multipliers[:, b] = torch.where(step[:, 0] == 0, old, size * old.sign())
            left -= system[:, :, b] * ((multipliers[:, b] - old) * step[:, 0])[:, None]
        found = multipliers * step
        is_better = row_error(found, system, right) < row_error(before, system, right)
        scales = torch.where(is_better[:, None], found, before).float()
        row_scales = torch.where(is_better, new_scales, rounded.row_scales)
        return replace(rounded, scales=scales, row_scales=row_scales)

    def round_to_nearest(self, weight: Tensor) -> QuantizedMatrix:
        return self.search(weight, None)

    @property
    def quick(self) -> QuantGrid:
        return QuantGrid("three whole bits", "", -4, 3)

    @property
    def spacing(self) -> float:
        return float(np.diff(q3.LEVELS.astype(np.float64)).mean())

    def learnt_scales(self, start: Tensor, row_scales: Tensor | None, factors: Tensor) -> Tensor:
        """The row's scale takes up what its factors have in common, the multipliers the rest as
        far as they do (straight-through)."""
        assert row_scales is not None
        step = (row_scales * _STEP)[..., None] * factors.mean(-1, keepdim=True)
        wanted = start * factors / torch.where(step == 0, 1.0, step)
        return (wanted + (_whole(wanted) - wanted).detach()) * step

    def with_factors(self, rounded: QuantizedMatrix, factors: Tensor) -> QuantizedMatrix:
        assert rounded.row_scales is not None
        row_scales = half(rounded.row_scales * factors.mean(-1))
        step = (row_scales * _STEP)[:, None]
        wanted = rounded.scales * factors * _inverse(step)
        return replace(rounded, scales=_whole(wanted) * step, row_scales=row_scales)

    def encode(self, rounded: QuantizedMatrix) -> NDArray[np.uint8]:
        """The bytes of whole rows."""
        assert rounded.row_scales is not None
        assert rounded.shifts is not None
        row_scales, shifts = rounded.row_scales.cpu().numpy(), rounded.shifts.cpu().numpy()
        step = np.where(row_scales == 0, 1, row_scales * q3.STEP)[:, None]
        multipliers = np.rint(rounded.scales.cpu().numpy() / step).astype(np.int8)
        multipliers[row_scales == 0] = 1
        levels = rounded.integers.cpu().numpy().reshape(*shifts.shape, BLOCK).astype(np.int16)
        plain = levels - q3.SHIFT * shifts[..., None] + q3.OFFSET
        codes = np.searchsorted(q3.LEVELS.astype(np.int16), plain).astype(np.uint8)
        flat = codes.reshape(len(codes), -1)
        return q3.encode(row_scales.astype(np.float16), multipliers, shifts, flat)

    def _row_scales(self, blocks: Tensor, h: Tensor, choices: list[_Choice]) -> Tensor:
        """(rows,), of some shares of what each row's largest block would want the best."""
        errors = torch.stack([choice.error for choice in choices])
        wanted = torch.stack([choice.wanted for choice in choices])
        free = wanted.gather(0, errors.argmin(0, keepdim=True))[0].abs().amax(1)
        best = half(free / (q3.MAX_MULTIPLIER * _STEP))
        least = torch.full_like(best, torch.inf)
        for share in _SHARES:
            tried = half(free * share / (q3.MAX_MULTIPLIER * _STEP))
            error = _chosen(blocks, h, tried, choices)[2].sum(1)
            best = torch.where(error < least, tried, best)
            least = torch.minimum(error, least)
        return best

    def _under(
        self, blocks: Tensor, h: Tensor, row_scales: Tensor, choices: list[_Choice]
    ) -> QuantizedMatrix:
        scales, shifts, _ = _chosen(blocks, h, row_scales, choices)
        inverse = torch.where(scales == 0, 0.0, 1 / scales)[..., None]
        integers = self.nearest(blocks * inverse, shifts[..., None]).to(torch.int8).flatten(1)
        return QuantizedMatrix(self, integers, scales, shifts, row_scales)


def _choices(blocks: Tensor, h: Tensor) -> Iterator[_Choice]:
    """For each shift and sign the best of some scales of every block (rows, blocks, 32)."""
    low, high = blocks.amin(-1), blocks.amax(-1)
    for shift in (0, 1):
        least_level, most_level = (int(end) - q3.OFFSET + q3.SHIFT * shift for end in _ENDS)
        for sign in (1, -1):
            ends = (least_level, most_level) if sign > 0 else (-most_level, -least_level)
            full = torch.maximum(low / ends[0], high / ends[1])
            best, least = full, torch.full_like(full, torch.inf)
            for shrink in _SHRINKS:
                scales = sign * full * shrink
                n = _levels_of(blocks, scales, shift)
                error = (h * (blocks - n * scales[..., None]).square()).sum(-1)
                fitted = (h * n * blocks).sum(-1) / (h * n * n).sum(-1).clamp_min(1e-30)
                best = torch.where(error < least, fitted.abs(), best)
                least = torch.minimum(error, least)
            yield _Choice(shift, sign, best, least)


def _chosen(
    blocks: Tensor, h: Tensor, row_scales: Tensor, choices: list[_Choice]
) -> tuple[Tensor, Tensor, Tensor]:
    """Scales, shifts and errors (rows, blocks) under the rows' scales: of every choice the
    multiplier nearest to what it wants."""
    step = (row_scales * _STEP)[:, None]
    least = torch.full(blocks.shape[:2], torch.inf, device=blocks.device)
    best, shifts = torch.zeros_like(least), torch.zeros_like(least, dtype=torch.int8)
    for choice in choices:
        size = (choice.wanted * _inverse(step)).round().clamp(1, q3.MAX_MULTIPLIER)
        scales = choice.sign * size * step
        n = _levels_of(blocks, scales, choice.shift)
        error = (h * (blocks - n * scales[..., None]).square()).sum(-1)
        is_better = error < least
        best = torch.where(is_better, scales, best)
        shifts = torch.where(is_better, choice.shift, shifts).to(torch.int8)
        least = torch.minimum(error, least)
    return best, shifts, least


def _whole(wanted: Tensor) -> Tensor:
    """The nearest multipliers, of the same signs."""
    return wanted.abs().round().clamp(1, q3.MAX_MULTIPLIER) * torch.where(wanted < 0, -1.0, 1.0)


def _inverse(scales: Tensor) -> Tensor:
    return torch.where(scales == 0, 0.0, 1 / scales)


def _levels_of(blocks: Tensor, scales: Tensor, shift: int) -> Tensor:
    moved = q3.SHIFT * shift
    return _nearest(blocks * _inverse(scales)[..., None] - moved) + moved


def _nearest(values: Tensor) -> Tensor:
    """The nearest level without a shift."""
    levels = _levels(values.device).to(values.dtype)
    return levels[torch.bucketize(values, (levels[1:] + levels[:-1]) / 2)]


@cache
def _levels(device: torch.device) -> Tensor:
    """(8,) float32, rising."""
    return torch.tensor(q3.LEVELS.astype(np.float32) - q3.OFFSET, device=device)
