"""Exact zeros of relu2 networks: how many there are, how many more a threshold makes, and what that
costs.

    rates = zero_rates(statistics)                         # per layer, from the calibration
    found = thresholds(network, sequences, max_kl=0.01)    # FATReLU: values below t become zero
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from understudy.compress.calibrate import Statistics
from understudy.compress.data import Sequences
from understudy.compress.evaluate import compare
from understudy.compress.network import Network, network_on
from understudy.errors import UsageError

QUANTILES = (0.0, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)  # of the values that are not zero


@dataclass(frozen=True)
class Thresholds:
    """values: t per layer; rates: zeros per layer with them; kl: to the unchanged network, in nats
    per token."""

    values: list[float]
    rates: list[float]
    kl: float


def zero_rates(statistics: Statistics) -> list[float]:
    """Share of exact zeros among what each down projection reads; all zero for gated SiLU
    networks."""
    return [round(rate, 4) for rate in statistics.scalars("zero_rate")]


@torch.no_grad()
def thresholds(network: Network, sequences: Sequences, max_kl: float) -> Thresholds:
    """The largest common quantile of activations that may be cut to zero within a KL budget, as a
    threshold per layer.

    Raises:
        UsageError: the network's activation has no zeros to begin with.
    """
    if network.spec.activation != "relu2":
        raise UsageError("thresholds need a relu2 network", found=network.spec.activation)
    samples = _positive_samples(network, sequences)
    best = Thresholds(
        [0.0] * network.spec.num_layers,
        _rates(network, sequences, [0.0] * network.spec.num_layers),
        0.0,
    )
    for quantile in QUANTILES[1:]:
        values = [float(np.quantile(s, quantile)) if len(s) else 0.0 for s in samples]
        with cut_below(network, values) as cut:
            kl = max(
                compare(cut, network_on(network.spec, network.state_dict()), sequences).kl, 0.0
            )  # rounding may give less than nothing
        if kl >= max_kl:
            break
        best = Thresholds(values, _rates(network, sequences, values), kl)
    return best


@contextmanager
def cut_below(network: Network, values: list[float]) -> Iterator[Network]:
    """The network with activations below each layer's threshold set to zero, for as long as the
    block lasts."""
    hooks = [
        layer.mlp.down_proj.register_forward_pre_hook(
            lambda _, x, t=t: (torch.where(x[0] < t, 0.0, x[0]),)
        )
        for layer, t in zip(network.model.layers, values, strict=True)
    ]
    try:
        yield network
    finally:
        for hook in hooks:
            hook.remove()


def _inputs(network: Network, sequences: Sequences) -> list[Tensor]:
    seen: list[Tensor] = []
    hooks = [
        layer.mlp.down_proj.register_forward_pre_hook(lambda _, x: seen.append(x[0]))
        for layer in network.model.layers
    ]
    try:
        network.hidden(
            torch.from_numpy(sequences.tokens[:, :-1].astype(np.int64)).to(network.device)
        )
    finally:
        for hook in hooks:
            hook.remove()
    return seen


def _positive_samples(
    network: Network, sequences: Sequences, most: int = 200_000
) -> list[np.ndarray]:
    return [x[x > 0].flatten()[:most].cpu().numpy() for x in _inputs(network, sequences.take(4))]


def _rates(network: Network, sequences: Sequences, values: list[float]) -> list[float]:
    inputs = _inputs(network, sequences.take(4))
    return [((x == 0) | (x < t)).float().mean().item() for x, t in zip(inputs, values, strict=True)]
