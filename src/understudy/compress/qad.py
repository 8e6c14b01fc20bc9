"""Quantization-aware distillation, scales only: the integers stay, the scale of every block of 32 is trained.

    tuned = tune_scales(result, LiveTeacher(student), rows, settings, folder)     # result: what `quantize` gave

The network keeps its size and its file format; what 4 bits took is partly given back by the teacher's KL. Scales move by
small steps from searched ones (LSQ with the integers fixed), so a few ten thousand tokens are enough and nothing can be
lost but the scales. Embedding and head stay as they are.
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


class ScaledLinear(nn.Module):
    """y = W x + b with W = scales · integers; only the scales (rows, columns / 32) learn."""

    def __init__(self, rounded: Rounded, bias: Tensor | None) -> None:
        super().__init__()
        self.grid = rounded.grid
        self.register_buffer("integers", rounded.integers.clone())
        self.scales = nn.Parameter(rounded.scales.clone())
        self.bias = None if bias is None else nn.Parameter(bias.clone(), requires_grad=False)

    @property
    def weight(self) -> Tensor:
        return (self.integers.float().unflatten(1, (-1, BLOCK)) * self.scales[..., None]).flatten(1)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, self.weight, self.bias)

    def rounded(self) -> Rounded:
        """Scales as float16 holds them, which is what the file stores."""
        return Rounded(self.grid, self.integers.clone(), self.scales.detach().to(torch.float16).float())


def tune_scales(
    result: Quantized, teacher: Teacher, rows: Rows, settings: DistillSettings, folder: Path,
    progress: Progress = quiet, device: str = "cpu",
) -> tuple[Quantized, DistillReport]:  # fmt: skip
    """Train the scales of all linears against `teacher` (usually the float student); a new Quantized comes back."""
    network = copy.deepcopy(result.network)
    places = _replace_linears(network, result)
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(name.endswith(".scales"))
    report = distill(network, teacher, rows, settings, folder, progress=progress, device=device, trains_all=False)
    tensors = dict(result.tensors)
    final = copy.deepcopy(result.network)
    for name, module in places.items():
        tensors[name] = module.rounded()
        final.get_parameter(name).data.copy_(module.rounded().values())
    return Quantized(final, tensors, result.errors), report


def _replace_linears(network: Network, result: Quantized) -> dict[str, ScaledLinear]:
    places: dict[str, ScaledLinear] = {}
    for name, rounded in result.tensors.items():
        if not isinstance(rounded, Rounded) or not name.startswith("model.layers."):
            continue
        path, _, part = name.removesuffix(".weight").rpartition(".")
        owner = network.get_submodule(path)
        places[name] = ScaledLinear(rounded, getattr(owner, part).bias)
        setattr(owner, part, places[name])
    return places
