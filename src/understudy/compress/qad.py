"""Quantization-aware distillation: what 4 bits took is partly given back by the KL to the float student.

    tuned = tune(result, LiveTeacher(student), rows, settings, folder)     # result: what `quantize` gave

"scales": the integers stay; the scale of every block of 32 learns, as a factor on what the search found (LSQ with the integers
fixed). "weights": behind every integer a float weight learns as well, rounded anew in every pass (straight-through, 1902.08153),
and the norms with them: more is given back, for twice the memory of training. Embedding and head learn like the rest; size and
file format stay.
"""

from __future__ import annotations

import copy
from pathlib import Path

import torch
from torch import Tensor, nn

from understudy.compress.data import Progress, Rows, quiet
from understudy.compress.distill import DistillReport, DistillSettings, distill
from understudy.compress.grids import BLOCK, Rounded
from understudy.compress.network import Network
from understudy.compress.quantize import Quantized
from understudy.compress.teacher import Teacher
from understudy.errors import UsageError

LEARNS = {"scales": 1e-3, "weights": 2e-5}  # what may learn -> the peak rate that suits it, of factors and of weights


class RoundedWeight(nn.Module):
    """W = scales · factors · integers; the factors (rows, columns / 32) learn, and `latent` weights if there are any."""

    def __init__(self, rounded: Rounded, bias: Tensor | None, learns: str) -> None:
        super().__init__()
        self.grid = rounded.grid
        self.register_buffer("fixed", rounded.integers.clone() if learns == "scales" else None)
        self.register_buffer("start", rounded.scales.clone())
        self.factors = nn.Parameter(torch.ones_like(rounded.scales))
        self.latent = nn.Parameter(rounded.values()) if learns == "weights" else None
        self.bias = None if bias is None else nn.Parameter(bias.clone(), requires_grad=False)

    @property
    def weight(self) -> Tensor:
        """(rows, columns), for whoever reads it whole: a linear layer, or a head tied to the embedding."""
        return self.rows(slice(None))

    def rows(self, which: slice | Tensor) -> Tensor:
        """Those rows of W alone, (*which, columns)."""
        scales = self.start[which] * self.factors[which]
        return (self.integers(which, scales) * scales[..., None]).flatten(-2)

    def integers(self, which: slice | Tensor, scales: Tensor) -> Tensor:
        """(*which, blocks, 32) float32; what `latent` rounds to, with the gradient of what it was before, inside the grid."""
        if self.latent is None:
            return self.fixed[which].float().unflatten(-1, (-1, BLOCK))
        inverse = torch.where(scales == 0, 0.0, 1 / scales)
        wanted = (self.latent[which].unflatten(-1, (-1, BLOCK)) * inverse[..., None]).clamp(self.grid.low, self.grid.high)
        return wanted + (wanted.round() - wanted).detach()

    @torch.no_grad()
    def rounded(self) -> Rounded:
        """Scales as float16 holds them, which is what the file stores, and the integers that belong to those."""
        scales = (self.start * self.factors).to(torch.float16).float()
        return Rounded(self.grid, self.integers(slice(None), scales).round().to(torch.int8).flatten(1), scales)


class RoundedLinear(RoundedWeight):
    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, self.weight, self.bias)


class RoundedEmbedding(RoundedWeight):
    def forward(self, tokens: Tensor) -> Tensor:
        return self.rows(tokens)


def tune(
    result: Quantized, teacher: Teacher, rows: Rows, settings: DistillSettings, folder: Path, *, learns: str = "scales",
    progress: Progress = quiet, device: str = "cpu",
) -> tuple[Quantized, DistillReport]:  # fmt: skip
    """Train what `learns` names of all matrices against `teacher` (usually the float student); a new Quantized comes back.

    Raises:
        UsageError: `learns` is not one of LEARNS.
    """
    if learns not in LEARNS:
        raise UsageError("unknown way to tune", found=learns, expected=list(LEARNS))
    network = copy.deepcopy(result.network)
    places = _replace_matrices(network, result, learns)
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(name.endswith((".factors", ".latent")) or (learns == "weights" and "norm" in name))
    report = distill(network, teacher, rows, settings, folder, progress=progress, device=device, trains_all=False)
    tensors, final = dict(result.tensors), copy.deepcopy(result.network)
    for name, module in places.items():
        tensors[name] = rounded = module.rounded()
        final.get_parameter(name).data.copy_(rounded.values())
    for name, value in network.state_dict().items():
        if "norm" in name:
            tensors[name] = value.detach().clone()
            final.get_parameter(name).data.copy_(value)
    return Quantized(final, tensors, result.errors), report


def _replace_matrices(network: Network, result: Quantized, learns: str) -> dict[str, RoundedWeight]:
    places: dict[str, RoundedWeight] = {}
    for name, rounded in result.tensors.items():
        if not isinstance(rounded, Rounded):
            continue
        path, _, part = name.removesuffix(".weight").rpartition(".")
        owner = network.get_submodule(path)
        known = getattr(owner, part)
        kind = RoundedEmbedding if isinstance(known, nn.Embedding) else RoundedLinear
        places[name] = kind(rounded, getattr(known, "bias", None), learns)
        setattr(owner, part, places[name])
    return places
