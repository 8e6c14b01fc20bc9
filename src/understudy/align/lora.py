"""Low-rank adapters on the torch network: y = W x + scale · B (A x), with W frozen.

    adapters = attach(network, LoraSettings(rank=8))      # in place; nn.Parameters in float32
    adapters.tensors() -> {"model.layers.0.self_attn.q_proj": (A, B), …}

A is drawn, B is zero, so that the first step starts from the base (Hu et al., 2021). `scale` is
alpha / rank, or alpha / √rank as in rsLoRA (Kalajdzievski, 2023).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from understudy.compress.network import Network
from understudy.errors import UsageError

TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
Pair = tuple[NDArray[np.float32], NDArray[np.float32]]


@dataclass(frozen=True)
class LoraSettings:
    """`targets` are the last words of linear names; `first_layer` is the lowest that is adapted."""

    rank: int = 8
    alpha: float = 16.0
    rslora: bool = False
    targets: tuple[str, ...] = TARGETS
    first_layer: int = 0
    seed: int = 0

    @property
    def scale(self) -> float:
        return self.alpha / (math.sqrt(self.rank) if self.rslora else self.rank)


class LoraLinear(nn.Module):
    """A frozen linear layer with its low-rank term."""

    def __init__(self, linear: nn.Linear, rank: int, scale: float) -> None:
        super().__init__()
        self.linear, self.scale = linear, scale
        device = linear.weight.device
        self.down = nn.Parameter(torch.zeros(rank, linear.in_features, device=device))
        self.up = nn.Parameter(torch.zeros(linear.out_features, rank, device=device))

    @property
    def weight(self) -> Tensor:
        return self.linear.weight

    @property
    def bias(self) -> Tensor | None:
        return self.linear.bias

    def forward(self, x: Tensor) -> Tensor:
        low = functional.linear(x, self.down.to(x.dtype))
        return self.linear(x) + functional.linear(low, (self.up * self.scale).to(x.dtype))


class Adapters(nn.Module):
    """All low-rank terms of a network, by the name of their layer: what is trained and kept."""

    def __init__(self, layers: Mapping[str, LoraLinear], settings: LoraSettings) -> None:
        super().__init__()
        self.settings = settings
        self.names = tuple(layers)
        self.layers = list(layers.values())  # not submodules: their frozen weights are not kept
        self.pairs = nn.ParameterDict()
        for name, layer in layers.items():
            key = name.replace(".", "/")
            self.pairs[f"{key}/A"], self.pairs[f"{key}/B"] = layer.down, layer.up

    def tensors(self) -> dict[str, Pair]:
        """{name of the linear layer: (A (rank, in), B (out, rank))}, float32."""
        return {
            name: (_array(layer.down), _array(layer.up))
            for name, layer in zip(self.names, self.layers, strict=True)
        }

    def load(self, tensors: Mapping[str, Any]) -> None:
        """Takes the values of `tensors()` over; for going on from an adapter."""
        with torch.no_grad():
            for name, layer in zip(self.names, self.layers, strict=True):
                if name not in tensors:
                    raise UsageError("the adapter has no such layer", where=name)
                layer.down.copy_(torch.as_tensor(tensors[name][0]))
                layer.up.copy_(torch.as_tensor(tensors[name][1]))

    def set_enabled(self, is_enabled: bool) -> None:
        """Whether the network answers with them or as its base."""
        for layer in self.layers:
            layer.scale = self.settings.scale if is_enabled else 0.0


def attach(network: Network, settings: LoraSettings) -> Adapters:
    """Freezes the network and puts a low-rank term beside each target.

    Raises:
        UsageError: a target that the network does not have, or a rank below 1.
    """
    if settings.rank < 1:
        raise UsageError("the rank of an adapter is at least 1", found=settings.rank)
    if unknown := sorted(set(settings.targets) - set(TARGETS)):
        raise UsageError("no such target", found=", ".join(unknown), expected=" ".join(TARGETS))
    network.requires_grad_(False)
    generator = torch.Generator().manual_seed(settings.seed)
    layers: dict[str, LoraLinear] = {}
    for number, layer in enumerate(network.model.layers):
        for part in ("self_attn", "mlp"):
            module = getattr(layer, part)
            for target in settings.targets:
                linear = getattr(module, target, None)
                if linear is None or number < settings.first_layer:
                    continue
                adapted = LoraLinear(linear, settings.rank, settings.scale)
                _draw(adapted, generator)
                setattr(module, target, adapted)
                layers[f"model.layers.{number}.{part}.{target}"] = adapted
    return Adapters(layers, settings)


def _draw(layer: LoraLinear, generator: torch.Generator) -> None:
    """A from U(-1/√in, 1/√in), which is Kaiming's with a = √5, as PEFT draws it."""
    bound = 1 / math.sqrt(layer.down.shape[1])
    drawn = torch.rand(layer.down.shape, generator=generator)
    with torch.no_grad():
        layer.down.copy_(drawn.mul_(2 * bound).sub_(bound))


def _array(tensor: Tensor) -> NDArray[np.float32]:
    values: NDArray[np.float32] = tensor.detach().float().cpu().numpy().copy()
    return values
