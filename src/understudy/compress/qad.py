"""Quantization-aware distillation: what 4 bits took is partly given back by the KL to the float
student.

    tuned = tune(result, LiveTeacher(student), sequences, settings, folder)
    # result: what `quantize` gave

"scales": the integers stay; the scale of every block of 32 learns, as a factor on what the search
found (LSQ with the integers fixed). "weights": every integer learns as well, as how far it has
moved, rounded anew in every pass (straight-through, 1902.08153), for twice the memory of training.
Embedding and head learn like the rest; norms, size and file format stay.
"""

from __future__ import annotations

import copy
from pathlib import Path

import torch
from torch import Tensor, nn

from understudy.compress.data import Progress, Sequences, quiet
from understudy.compress.distill import DistillReport, DistillSettings, distill
from understudy.compress.grid import BLOCK, QuantizedMatrix
from understudy.compress.network import Network
from understudy.compress.quantize import Quantized
from understudy.compress.teacher import Teacher
from understudy.errors import UsageError

LEARNS = ("scales", "weights")
LEARNING_RATE = 1e-3  # the peak, of factors on scales
STRIDE = 10.0  # integers move so much faster than factors: most stay where they are
BATCH_SIZE = 2  # of a step: at equal tokens many small steps give back more than few large ones


class QuantizedWeight(nn.Module):
    """W = scales · factors · round(integers + STRIDE · moved); the factors (rows, columns / 32)
    learn, and `moved` if it is there."""

    def __init__(self, rounded: QuantizedMatrix, bias: Tensor | None, learns: str) -> None:
        super().__init__()
        self.grid = rounded.grid
        self.register_buffer("fixed", rounded.integers.clone())
        self.register_buffer("start", rounded.scales.clone())
        self.register_buffer("shifts", rounded.shifts)
        self.register_buffer("row_scales", rounded.row_scales)
        self.factors = nn.Parameter(torch.ones_like(rounded.scales))
        self.moved = (
            nn.Parameter(torch.zeros(rounded.integers.shape, device=rounded.scales.device))
            if learns == "weights"
            else None
        )
        self.bias = None if bias is None else nn.Parameter(bias.clone(), requires_grad=False)

    @property
    def weight(self) -> Tensor:
        """(rows, columns), for whoever reads it whole: a linear layer, or a head tied to the
        embedding."""
        return self.rows(slice(None))

    def rows(self, which: slice | Tensor) -> Tensor:
        """Those rows of W alone, (*which, columns)."""
        row_scales = None if self.row_scales is None else self.row_scales[which]
        scales = self.grid.learnt_scales(self.start[which], row_scales, self.factors[which])
        return (self.integers(which) * scales[..., None]).flatten(-2)

    def integers(self, which: slice | Tensor) -> Tensor:
        """(*which, blocks, 32) float32, with the gradient of what was rounded, inside the grid."""
        if self.moved is None:
            return self.fixed[which].float().unflatten(-1, (-1, BLOCK))
        stride = STRIDE * self.grid.spacing
        wanted = self.fixed[which] + stride * self.moved[which]
        wanted = wanted.clamp(self.grid.low, self.grid.high).unflatten(-1, (-1, BLOCK))
        shifts = None if self.shifts is None else self.shifts[which][..., None]
        return wanted + (self.grid.nearest(wanted, shifts) - wanted).detach()

    @torch.no_grad()
    def rounded(self) -> QuantizedMatrix:
        """Scales as the file holds them, and the integers that belong to those."""
        integers = self.integers(slice(None)).round().to(torch.int8).flatten(1)
        start = QuantizedMatrix(self.grid, integers, self.start, self.shifts, self.row_scales)
        return self.grid.with_factors(start, self.factors)


class QuantizedLinear(QuantizedWeight):
    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, self.weight, self.bias)


class QuantizedEmbedding(QuantizedWeight):
    def forward(self, tokens: Tensor) -> Tensor:
        return self.rows(tokens)


def tune(
    result: Quantized,
    teacher: Teacher,
    sequences: Sequences,
    settings: DistillSettings,
    folder: Path,
    *,
    learns: str = "scales",
    progress: Progress = quiet,
) -> tuple[Quantized, DistillReport]:
    """Train what `learns` names of all matrices against `teacher` (usually the float student); a
    new Quantized comes back.

    Raises:
        UsageError: `learns` is not one of LEARNS.
    """
    if learns not in LEARNS:
        raise UsageError("unknown way to tune", found=learns, expected=list(LEARNS))
    network = copy.deepcopy(result.network)
    places = _replace_matrices(network, result, learns)
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(name.endswith((".factors", ".moved")))
    report = distill(
        network, teacher, sequences, settings, folder, progress=progress, trains_all=False
    )
    tensors, final = dict(result.tensors), copy.deepcopy(result.network)
    for name, module in places.items():
        tensors[name] = rounded = module.rounded()
        final.get_parameter(name).data.copy_(rounded.values())
    return Quantized(final, tensors, result.errors), report


def _replace_matrices(
    network: Network, result: Quantized, learns: str
) -> dict[str, QuantizedWeight]:
    places: dict[str, QuantizedWeight] = {}
    for name, rounded in result.tensors.items():
        if not isinstance(rounded, QuantizedMatrix):
            continue
        path, _, part = name.removesuffix(".weight").rpartition(".")
        owner = network.get_submodule(path)
        known = getattr(owner, part)
        kind = QuantizedEmbedding if isinstance(known, nn.Embedding) else QuantizedLinear
        places[name] = kind(rounded, getattr(known, "bias", None), learns)
        setattr(owner, part, places[name])
    return places
