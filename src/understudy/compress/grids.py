"""The grids that weights are rounded to, and the search of their scales. Blocks of 32 run along the
columns.

    q4 (GGUF Q4_0, 4.5 bits a weight): x = d · (n - 8), n in 0..15, d float16 of either sign
    q8 (GGUF Q8_0, 8.5 bits a weight): x = d · n, n in -127..127

`search_scales` finds for every block the d that minimises Σ_j h_j (w_j - d n_j)², h the mean square
of the input that w_j meets: what llama.cpp calls an importance matrix. `encode` makes the file's
bytes of the integers, so that nothing is rounded twice.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from understudy.errors import UsageError

BLOCK = 32
# Elements of a matrix that are worked on at once: float64 copies of all of it are large, and small
# parts stay in a cache. A GPU would only launch more often.
CHUNK_ELEMENTS, GPU_CHUNK_ELEMENTS = 1 << 19, 64 << 20


@dataclass(frozen=True)
class QuantGrid:
    name: str
    format: str  # the ggml type name
    low: int
    high: int
    bits: float  # per weight, scale included


GRIDS = {"q4": QuantGrid("q4", "Q4_0", -8, 7, 4.5), "q8": QuantGrid("q8", "Q8_0", -127, 127, 8.5)}
_SHRINKS = torch.linspace(0.75, 1.1, 15)


@dataclass
class QuantizedMatrix:
    """integers (rows, columns) int8 and scales (rows, columns / 32) float32 that float16 holds
    exactly."""

    grid: QuantGrid
    integers: Tensor
    scales: Tensor

    def values(self) -> Tensor:
        """(rows, columns) float32."""
        return self.integers.float() * self.scales.repeat_interleave(BLOCK, dim=1)


def _num_rows(weight: Tensor) -> int:
    """How many rows of a matrix are worked on at once."""
    most = CHUNK_ELEMENTS if weight.device.type == "cpu" else GPU_CHUNK_ELEMENTS
    return max(1, most // weight.shape[1])


def _by_rows(work: Callable[[slice], QuantizedMatrix], weight: Tensor) -> QuantizedMatrix:
    """What `work` makes of some rows, for all of them in turn: rows are independent of each
    other."""
    step = _num_rows(weight)
    parts = [work(slice(start, start + step)) for start in range(0, len(weight), step)]
    integers = torch.cat([part.integers for part in parts])
    return QuantizedMatrix(parts[0].grid, integers, torch.cat([part.scales for part in parts]))


def round_to_nearest(weight: Tensor, grid: QuantGrid) -> QuantizedMatrix:
    """Round to nearest, as ggml's reference does: the value of largest magnitude defines the
    scale."""
    blocks = _blocks(weight)
    extreme = blocks.gather(-1, blocks.abs().argmax(-1, keepdim=True))[..., 0]
    scales = _half(extreme / (grid.low if grid.low == -8 else grid.high))
    return _round(blocks, scales, grid)


def search_scales(
    weight: Tensor, grid: QuantGrid, importance: Tensor | None = None
) -> QuantizedMatrix:
    """The best scale of every block: candidates around the extreme value of either sign, then two
    least-squares steps.

    weight: (rows, columns); importance: (columns,) mean square of the inputs, None for all ones.
    """
    return _by_rows(lambda rows: _search_scales(weight[rows], grid, importance), weight)


def _search_scales(weight: Tensor, grid: QuantGrid, importance: Tensor | None) -> QuantizedMatrix:
    blocks = _blocks(weight)
    h = _importance(blocks, importance)
    extreme = blocks.gather(-1, blocks.abs().argmax(-1, keepdim=True))[..., 0]
    best = round_to_nearest(weight, grid)
    best_scales, best_error = best.scales, _error(blocks, best.scales, h, grid)
    ends = (grid.low, grid.high) if grid.low == -8 else (grid.high,)
    for end in ends:
        for shrink in _SHRINKS.tolist():
            best_scales, best_error = _keep(
                blocks, _half(extreme / end * shrink), h, grid, best_scales, best_error
            )
    for _ in range(2):
        n = _integers(blocks, best_scales, grid)
        fitted = (h * n * blocks).sum(-1) / (h * n * n).sum(-1).clamp_min(1e-30)
        best_scales, best_error = _keep(blocks, _half(fitted), h, grid, best_scales, best_error)
    return _round(blocks, best_scales, grid)


def gptq(weight: Tensor, grid: QuantGrid, gram: Tensor, damping: float = 0.01) -> QuantizedMatrix:
    """GPTQ: columns are rounded one by one, and the error of each is taken over by the columns
    still to come.

    Those that meet the largest inputs go first, as far as blocks stay whole: they are rounded while
    most can still take over. Scales are searched at the start of each block on the weights as they
    then stand, with the inputs' mean squares.
    gram: (columns, columns), Σ x xᵀ. Source: 2210.17323, in float64 throughout (it is fragile in
    less).
    """
    blocks, order = _largest_first(gram.diagonal())
    columns, gram = weight.shape[1], gram[order][:, order]
    hessian = gram.double() / gram.diagonal().double().mean().clamp_min(1e-30)
    dead = hessian.diagonal() <= 0
    hessian[dead, dead] = 1.0
    hessian = hessian + damping * torch.eye(columns, dtype=torch.float64, device=weight.device)
    upper = torch.linalg.cholesky(
        torch.cholesky_inverse(torch.linalg.cholesky(hessian)), upper=True
    )
    squares = gram.diagonal()
    found = _by_rows(lambda rows: _fed_back(weight[rows][:, order], grid, squares, upper), weight)
    return QuantizedMatrix(
        grid, found.integers[:, order.argsort()], found.scales[:, blocks.argsort()]
    )


def _fed_back(weight: Tensor, grid: QuantGrid, squares: Tensor, upper: Tensor) -> QuantizedMatrix:
    """Rounds the columns in their order. squares: (columns,) of the inputs; upper: the factor of
    the inverse Hessian."""
    w = weight.double()
    integers = torch.zeros_like(weight, dtype=torch.int8)
    scales = torch.zeros(len(weight), weight.shape[1] // BLOCK, device=weight.device)
    for start in range(0, weight.shape[1], BLOCK):
        stop, block = start + BLOCK, start // BLOCK
        searched = search_scales(w[:, start:stop].float(), grid, squares[start:stop])
        scales[:, block] = searched.scales[:, 0]
        errors = torch.zeros(len(w), BLOCK, dtype=torch.float64, device=weight.device)
        d = scales[:, block].double()
        divisor = torch.where(d == 0, 1.0, d)
        for column in range(start, stop):
            n = (w[:, column] / divisor).round().clamp(grid.low, grid.high) * (d != 0)
            integers[:, column] = n.to(torch.int8)
            errors[:, column - start] = (w[:, column] - n * d) / upper[column, column]
            w[:, column:stop] -= errors[:, column - start, None] * upper[column, column:stop]
        w[:, stop:] -= errors @ upper[start:stop, stop:]
    return QuantizedMatrix(grid, integers, scales)


def _largest_first(squares: Tensor) -> tuple[Tensor, Tensor]:
    """(columns,) -> the blocks by their largest entry, and the columns in that order, falling
    inside each block."""
    values, inside = squares.unflatten(0, (-1, BLOCK)).sort(dim=1, descending=True)
    blocks = values[:, 0].argsort(descending=True)
    return blocks, (BLOCK * blocks[:, None] + inside[blocks]).flatten()


def coordinate_descent(
    weight: Tensor, rounded: QuantizedMatrix, gram: Tensor, rounds: int = 6
) -> QuantizedMatrix:
    """Descent on Σ ‖(W - W') x‖² from a rounded matrix: all scales of a row together, then each
    integer in turn.

    Both steps are exact minima of what is left (the scales solve a system of one equation a block,
    an integer is rounded from its own best value), so the error only falls; a row keeps its scales
    where float16 would make them worse.
    """
    columns, g = weight.shape[1], gram.double()
    identity = torch.eye(columns, dtype=g.dtype, device=g.device)
    g = g + 1e-6 * g.diagonal().mean().clamp_min(1e-30) * identity

    def work(rows: slice) -> QuantizedMatrix:
        part = QuantizedMatrix(rounded.grid, rounded.integers[rows], rounded.scales[rows])
        return _descended(weight[rows], part, g, rounds)

    return _by_rows(work, weight)


def _descended(weight: Tensor, rounded: QuantizedMatrix, g: Tensor, rounds: int) -> QuantizedMatrix:
    grid, columns, w = rounded.grid, weight.shape[1], weight.double()
    n, scales, wanted = rounded.integers.double(), rounded.scales.double(), w @ g
    for _ in range(rounds):
        scales = _best_scales(wanted, n, scales, g)
        wide = scales.repeat_interleave(BLOCK, dim=1)
        left = (w - n * wide) @ g
        for start in range(0, columns, BLOCK):
            block = slice(start, start + BLOCK)
            moved, inside = torch.zeros_like(n[:, block]), left[:, block].clone()
            for i, column in enumerate(range(start, start + BLOCK)):
                d = wide[:, column]
                best = n[:, column] + inside[:, i] / g[column, column] / d
                chosen = torch.where(d == 0, n[:, column], best.round().clamp(grid.low, grid.high))
                moved[:, i] = (chosen - n[:, column]) * d
                n[:, column] = chosen
                inside -= moved[:, i, None] * g[column, block]
            left -= moved @ g[block]
    return QuantizedMatrix(grid, n.to(torch.int8), scales.float())


def _best_scales(wanted: Tensor, n: Tensor, scales: Tensor, g: Tensor) -> Tensor:
    """The scales (rows, blocks) that minimise each row's error with its integers as they are, as
    float16 holds them.

    wanted: W G, (rows, columns).
    """
    blocks = scales.shape[1]
    system = torch.stack(
        [
            ((n[:, b * BLOCK : (b + 1) * BLOCK] @ g[b * BLOCK : (b + 1) * BLOCK]) * n)
            .unflatten(1, (blocks, BLOCK))
            .sum(-1)
            for b in range(blocks)
        ],
        dim=1,
    )
    right = (wanted * n).unflatten(1, (blocks, BLOCK)).sum(-1)
    ridge = 1e-9 * system.diagonal(dim1=1, dim2=2).mean(-1).clamp_min(1e-30)
    identity = torch.eye(blocks, dtype=g.dtype, device=g.device)
    residual = right - (system @ scales[..., None])[..., 0]
    found = (
        scales
        + torch.linalg.solve(system + ridge[:, None, None] * identity, residual[..., None])[..., 0]
    )
    found = _half(found.float()).double()

    def error(s: Tensor) -> Tensor:
        return ((system @ s[..., None])[..., 0] * s).sum(-1) - 2 * (right * s).sum(-1)

    return torch.where((error(found) < error(scales))[:, None], found, scales)


def output_error(weight: Tensor, rounded: Tensor, gram: Tensor) -> float:
    """Σ ‖(W - W') x‖² / Σ ‖W x‖² over the inputs that made the Gram matrix."""
    g = gram.double()
    step = _num_rows(weight)
    lost = whole = 0.0
    for ours, theirs in zip(weight.split(step), rounded.split(step), strict=True):
        difference, wide = (ours - theirs).double(), ours.double()
        lost += ((difference @ g) * difference).sum().item()
        whole += ((wide @ g) * wide).sum().item()
    return lost / max(whole, 1e-30)


def encode(rounded: QuantizedMatrix) -> NDArray[np.uint8]:
    """The bytes of the GGUF tensor: per block the float16 scale, then 16 (q4: value j low, j + 16
    high) or 32 bytes."""
    scales = rounded.scales.cpu().numpy().astype(np.float16)
    blocks = rounded.integers.cpu().numpy().reshape(*scales.shape, BLOCK)
    if rounded.grid.name == "q4":
        shifted = (blocks + 8).astype(np.uint8)
        packed = shifted[..., :16] | (shifted[..., 16:] << 4)
    else:
        packed = blocks.view(np.uint8)
    return np.concatenate([scales[..., None].view(np.uint8), packed], axis=-1).reshape(-1)


def check_columns(name: str, columns: int) -> None:
    if columns % BLOCK:
        raise UsageError(
            "columns are not whole blocks",
            where=name,
            expected=f"a multiple of {BLOCK}",
            found=columns,
            do="prune to sizes that are multiples of 32",
        )


def _blocks(weight: Tensor) -> Tensor:
    return weight.float().unflatten(1, (-1, BLOCK))  # (rows, blocks, 32)


def _half(scales: Tensor) -> Tensor:
    return scales.to(torch.float16).float()


def _importance(blocks: Tensor, importance: Tensor | None) -> Tensor:
    if importance is None:
        return torch.ones_like(blocks[0])
    mean = importance.float().mean().clamp_min(1e-30)
    return (importance.float() / mean).clamp_min(1e-6).unflatten(0, (-1, BLOCK))  # (blocks, 32)


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


def _round(blocks: Tensor, scales: Tensor, grid: QuantGrid) -> QuantizedMatrix:
    return QuantizedMatrix(grid, _integers(blocks, scales, grid).to(torch.int8).flatten(1), scales)
