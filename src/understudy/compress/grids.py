"""Rounding to a grid: the search of its scales, error feedback, descent, and the bytes of a file.

`search_scales` finds for every block the d that minimises Σ_j h_j (w_j - d n_j)², h the mean square
of the input that w_j meets: what llama.cpp calls an importance matrix. `encode` makes the file's
bytes of the integers, so that nothing is rounded twice.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from understudy.compress.grid import BLOCK, QuantGrid, QuantizedMatrix
from understudy.compress.level_grid import LevelGrid
from understudy.errors import UsageError
from understudy.formats import q3

# Elements of a matrix that are worked on at once: float64 copies of all of it are large, and small
# parts stay in a cache. A GPU would only launch more often.
CHUNK_ELEMENTS, GPU_CHUNK_ELEMENTS = 1 << 19, 64 << 20

GRIDS = {
    "q4": QuantGrid("q4", "Q4_0", -8, 7),
    "q8": QuantGrid("q8", "Q8_0", -127, 127),
    "q3": LevelGrid("q3", q3.NAME, -q3.OFFSET, q3.OFFSET),
}


def _num_rows(weight: Tensor) -> int:
    """How many rows of a matrix are worked on at once."""
    most = CHUNK_ELEMENTS if weight.device.type == "cpu" else GPU_CHUNK_ELEMENTS
    return max(1, most // weight.shape[1])


def _by_rows(work: Callable[[slice], QuantizedMatrix], weight: Tensor) -> QuantizedMatrix:
    """What `work` makes of some rows, for all of them in turn: rows are independent of each
    other."""
    step = _num_rows(weight)
    parts = [work(slice(start, start + step)) for start in range(0, len(weight), step)]
    return QuantizedMatrix.of_rows(parts)


def round_to_nearest(weight: Tensor, grid: QuantGrid) -> QuantizedMatrix:
    """Each weight by itself, as the grid's file format is defined."""
    return _by_rows(lambda rows: grid.round_to_nearest(weight[rows]), weight)


def search_scales(
    weight: Tensor, grid: QuantGrid, importance: Tensor | None = None
) -> QuantizedMatrix:
    """The best scale of every block by itself.

    weight: (rows, columns); importance: (columns,) mean square of the inputs, None for all ones.
    """
    return _by_rows(lambda rows: grid.search(weight[rows], importance), weight)


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
    back = blocks.argsort()
    shifts = None if found.shifts is None else found.shifts[:, back]
    integers, scales = found.integers[:, order.argsort()], found.scales[:, back]
    return QuantizedMatrix(grid, integers, scales, shifts, found.row_scales)


def _fed_back(weight: Tensor, grid: QuantGrid, squares: Tensor, upper: Tensor) -> QuantizedMatrix:
    """Rounds the columns in their order. squares: (columns,) of the inputs; upper: the factor of
    the inverse Hessian."""
    w = weight.double()
    integers = torch.zeros_like(weight, dtype=torch.int8)
    search, found = grid.block_search(weight.float(), squares), []
    for start in range(0, weight.shape[1], BLOCK):
        stop = start + BLOCK
        searched = search(w[:, start:stop].float(), squares[start:stop])
        found.append(searched)
        errors = torch.zeros(len(w), BLOCK, dtype=torch.float64, device=weight.device)
        d = searched.scales[:, 0].double()
        shifts = None if searched.shifts is None else searched.shifts[:, 0]
        divisor = torch.where(d == 0, 1.0, d)
        for column in range(start, stop):
            n = grid.nearest(w[:, column] / divisor, shifts) * (d != 0)
            integers[:, column] = n.to(torch.int8)
            errors[:, column - start] = (w[:, column] - n * d) / upper[column, column]
            w[:, column:stop] -= errors[:, column - start, None] * upper[column, column:stop]
        w[:, stop:] -= errors @ upper[start:stop, stop:]
    return QuantizedMatrix.of_blocks(integers, found)


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

    return _by_rows(lambda rows: _descended(weight[rows], rounded.rows(rows), g, rounds), weight)


def _descended(weight: Tensor, rounded: QuantizedMatrix, g: Tensor, rounds: int) -> QuantizedMatrix:
    grid, columns, w = rounded.grid, weight.shape[1], weight.double()
    n, wanted = rounded.integers.double(), w @ g
    for _ in range(rounds):
        rounded = grid.best_scales(rounded, *_quadratic_of_scales(wanted, n, g))
        wide = rounded.scales.double().repeat_interleave(BLOCK, dim=1)
        left = (w - n * wide) @ g
        for start in range(0, columns, BLOCK):
            block = slice(start, start + BLOCK)
            moved, inside = torch.zeros_like(n[:, block]), left[:, block].clone()
            shifts = None if rounded.shifts is None else rounded.shifts[:, start // BLOCK]
            for i, column in enumerate(range(start, start + BLOCK)):
                d = wide[:, column]
                best = n[:, column] + inside[:, i] / g[column, column] / d
                chosen = torch.where(d == 0, n[:, column], grid.nearest(best, shifts))
                moved[:, i] = (chosen - n[:, column]) * d
                n[:, column] = chosen
                inside -= moved[:, i, None] * g[column, block]
            left -= moved @ g[block]
    return replace(rounded, integers=n.to(torch.int8))


def _quadratic_of_scales(wanted: Tensor, n: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
    """What each row's error is in its scales: (rows, blocks, blocks) and (rows, blocks).

    wanted: W G, (rows, columns).
    """
    blocks = n.shape[1] // BLOCK
    system = torch.stack(
        [
            ((n[:, b * BLOCK : (b + 1) * BLOCK] @ g[b * BLOCK : (b + 1) * BLOCK]) * n)
            .unflatten(1, (blocks, BLOCK))
            .sum(-1)
            for b in range(blocks)
        ],
        dim=1,
    )
    return system, (wanted * n).unflatten(1, (blocks, BLOCK)).sum(-1)


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
    """The bytes of the file's tensor: of q4 and q8 per block the float16 scale, then 16 (q4: value
    j low, j + 16 high) or 32 bytes; of q3 as `formats/q3.py` says."""
    if isinstance(rounded.grid, LevelGrid):
        step = max(1, CHUNK_ELEMENTS // rounded.integers.shape[1])
        starts = range(0, len(rounded.integers), step)
        parts = [rounded.rows(slice(start, start + step)) for start in starts]
        return np.concatenate([rounded.grid.encode(part) for part in parts])
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
