"""What a matrix is rounded to: a grid, and what rounding gives. Blocks of 32 run along the columns.

q4 (GGUF Q4_0, 4.5 bits a weight): x = d · (n - 8), n in 0..15, d float16 of either sign
q8 (GGUF Q8_0, 8.5 bits a weight): x = d · n, n in -127..127
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

BLOCK = 32
_SHRINKS = torch.linspace(0.75, 1.1, 15)

# The scales of a block of columns (rows, 32) as it then stands, with its inputs' mean squares.
BlockSearch = Callable[[Tensor, Tensor], "QuantizedMatrix"]


@dataclass(frozen=True)
class QuantGrid:
    """Whole numbers from `low` to `high`, and for every block a float16 scale."""

    name: str
    format: str  # the name that a file has for it
    low: int
    high: int

    def bits_of(self, columns: int) -> float:
        """Of a weight in rows of so many columns, scales included."""
        return (4 if self.name == "q4" else 8) + 16 / BLOCK

    def nearest(self, values: Tensor, shifts: Tensor | None) -> Tensor:
        """The nearest number for each of `values`, which are weights over their scales; `shifts`
        is for a grid whose blocks may be shifted, and goes out over `values`."""
        return values.round().clamp(self.low, self.high)

    def search(self, weight: Tensor, importance: Tensor | None) -> QuantizedMatrix:
        """The best scale of every block: candidates around the extreme value of either sign, then
        two least-squares steps."""
        blocks = blocks_of(weight)
        h = importance_of(blocks, importance)
        extreme = blocks.gather(-1, blocks.abs().argmax(-1, keepdim=True))[..., 0]
        best = self.rounded(blocks, half(extreme / self._end))
        best_scales, best_error = best.scales, _error(blocks, best.scales, h, self)
        ends = (self.high,) if self._is_even else (self.low, self.high)
        for end in ends:
            for shrink in _SHRINKS.tolist():
                best_scales, best_error = _keep(
                    blocks, half(extreme / end * shrink), h, self, best_scales, best_error
                )
        for _ in range(2):
            n = _integers(blocks, best_scales, self)
            fitted = (h * n * blocks).sum(-1) / (h * n * n).sum(-1).clamp_min(1e-30)
            best_scales, best_error = _keep(blocks, half(fitted), h, self, best_scales, best_error)
        return self.rounded(blocks, best_scales)

    def block_search(self, weight: Tensor, importance: Tensor) -> BlockSearch:
        """How blocks find their scales one after the other; `weight` and `importance` are those of
        whole rows before any was rounded."""
        return self.search

    def best_scales(
        self, rounded: QuantizedMatrix, system: Tensor, right: Tensor
    ) -> QuantizedMatrix:
        """The scales that minimise each row's error sᵀ system s - 2 right s with its integers as
        they are, as far as a file holds them; a row keeps its own where those would be worse."""
        scales = rounded.scales.double()
        ridge = 1e-9 * system.diagonal(dim1=1, dim2=2).mean(-1).clamp_min(1e-30)
        identity = torch.eye(scales.shape[1], dtype=system.dtype, device=system.device)
        residual = right - (system @ scales[..., None])[..., 0]
        solved = torch.linalg.solve(system + ridge[:, None, None] * identity, residual[..., None])
        found = half((scales + solved[..., 0]).float()).double()
        is_better = row_error(found, system, right) < row_error(scales, system, right)
        kept = torch.where(is_better[:, None], found, scales)
        return replace(rounded, scales=kept.float())

    @property
    def spacing(self) -> float:
        """Between neighbouring numbers."""
        return 1.0

    def learnt_scales(self, start: Tensor, row_scales: Tensor | None, factors: Tensor) -> Tensor:
        """What a file would hold, as training sees it, where every block's scale (..., blocks) is
        multiplied by a factor that learns; `row_scales` (...)."""
        return start * factors

    def with_factors(self, rounded: QuantizedMatrix, factors: Tensor) -> QuantizedMatrix:
        """The same as a file holds it."""
        return replace(rounded, scales=half(rounded.scales * factors))

    def round_to_nearest(self, weight: Tensor) -> QuantizedMatrix:
        """As ggml's reference does: the value of largest magnitude defines the scale."""
        blocks = blocks_of(weight)
        extreme = blocks.gather(-1, blocks.abs().argmax(-1, keepdim=True))[..., 0]
        return self.rounded(blocks, half(extreme / self._end))

    def rounded(self, blocks: Tensor, scales: Tensor) -> QuantizedMatrix:
        integers = _integers(blocks, scales, self).to(torch.int8).flatten(1)
        return QuantizedMatrix(self, integers, scales)

    @property
    def quick(self) -> QuantGrid:
        """One that is searched fast and loses about as much, to compare matrices by."""
        return self

    @property
    def _is_even(self) -> bool:
        return -self.low == self.high

    @property
    def _end(self) -> int:
        return self.high if self._is_even else self.low


@dataclass
class QuantizedMatrix:
    """integers (rows, columns) int8 and scales (rows, columns / 32) float32, which the file holds
    exactly: as float16, or in q3 as a row's scale (rows,) times the block's multiplier. `shifts`
    (rows, columns / 32) says which blocks are shifted, where a grid knows that."""

    grid: QuantGrid
    integers: Tensor
    scales: Tensor
    shifts: Tensor | None = None
    row_scales: Tensor | None = None

    def values(self) -> Tensor:
        """(rows, columns) float32."""
        return self.integers.float() * self.scales.repeat_interleave(BLOCK, dim=1)

    def rows(self, which: slice) -> QuantizedMatrix:
        """Some of the rows."""
        taken = (None if part is None else part[which] for part in self._parts())
        return QuantizedMatrix(self.grid, *taken)

    @staticmethod
    def of_rows(parts: list[QuantizedMatrix]) -> QuantizedMatrix:
        """One matrix of the rows of several."""
        columns = zip(*(part._parts() for part in parts), strict=True)
        joined = (None if column[0] is None else torch.cat(column) for column in columns)
        return QuantizedMatrix(parts[0].grid, *joined)

    @staticmethod
    def of_blocks(integers: Tensor, blocks: list[QuantizedMatrix]) -> QuantizedMatrix:
        """All columns' integers with the scales of each block, which share the rows' scales."""
        scales = torch.cat([block.scales for block in blocks], dim=1)
        known = [block.shifts for block in blocks if block.shifts is not None]
        shifts = torch.cat(known, dim=1) if known else None
        return QuantizedMatrix(blocks[0].grid, integers, scales, shifts, blocks[0].row_scales)

    def _parts(self) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
        return self.integers, self.scales, self.shifts, self.row_scales


def blocks_of(weight: Tensor) -> Tensor:
    return weight.float().unflatten(1, (-1, BLOCK))  # (rows, blocks, 32)


def half(scales: Tensor) -> Tensor:
    """As float16 holds them."""
    return scales.to(torch.float16).float()


def importance_of(blocks: Tensor, importance: Tensor | None) -> Tensor:
    """(blocks, 32) of (columns,), of mean one; all ones for None."""
    if importance is None:
        return torch.ones_like(blocks[0])
    mean = importance.float().mean().clamp_min(1e-30)
    return (importance.float() / mean).clamp_min(1e-6).unflatten(0, (-1, BLOCK))


def row_error(scales: Tensor, system: Tensor, right: Tensor) -> Tensor:
    """What `scales` (rows, blocks) leave of the quadratic, but for a constant: (rows,)."""
    return ((system @ scales[..., None])[..., 0] * scales).sum(-1) - 2 * (right * scales).sum(-1)


def _integers(blocks: Tensor, scales: Tensor, grid: QuantGrid) -> Tensor:
    inverse = torch.where(scales == 0, 0.0, 1 / scales)
    return (blocks * inverse[..., None]).round_().clamp_(grid.low, grid.high)


def _error(blocks: Tensor, scales: Tensor, h: Tensor, grid: QuantGrid) -> Tensor:
    return (h * (blocks - _integers(blocks, scales, grid) * scales[..., None]).square()).sum(-1)


def _keep(
    blocks: Tensor,
    scales: Tensor,
    h: Tensor,
    grid: QuantGrid,
    best_scales: Tensor,
    best_error: Tensor,
) -> tuple[Tensor, Tensor]:
    error = _error(blocks, scales, h, grid)
    is_better = error < best_error
    return torch.where(is_better, scales, best_scales), torch.where(is_better, error, best_error)
