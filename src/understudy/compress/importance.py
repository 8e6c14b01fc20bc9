"""Statistics -> a score for every unit of a network: what pruning keeps. `CRITERIA` holds the ways
of scoring.

A unit is one MLP neuron, one query head, or one channel of the residual stream; higher is more
important. Sources: Minitron (2407.14679 §2.2) for activations, Torch-Pruning's grouped magnitude,
optimal brain surgeon for the last.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from understudy.compress.calibrate import Statistics
from understudy.compress.network import Layer, Network

WRITERS = ("self_attn.o_proj", "mlp.down_proj")


@dataclass(frozen=True)
class Importance:
    """inner: (layers, intermediate); heads: (layers, num_heads); hidden: (hidden,), one order for
    the stream. All on the CPU."""

    inner: Tensor
    heads: Tensor
    hidden: Tensor


def minitron(network: Network, statistics: Statistics, seed: int) -> Importance:
    """Mean activation per sequence, L2 over sequences; channels summed over the outputs of all
    norms."""
    del network, seed
    layers = [statistics.layer(index) for index in range(statistics.spec.num_layers)]
    hidden = statistics.final()["head_mean"].clone()
    for sums in layers:
        hidden += sums["attention_mean"] + sums["mlp_mean"]
    return Importance(
        torch.stack([sums["inner_mean"] for sums in layers]),
        torch.stack([sums["head_mean"] for sums in layers]),
        hidden,
    )


def random(network: Network, statistics: Statistics, seed: int) -> Importance:
    """Uniform noise: the floor that any criterion must beat."""
    del statistics
    spec, generator = network.spec, torch.Generator().manual_seed(seed)
    shapes = (
        (spec.num_layers, spec.intermediate_size),
        (spec.num_layers, spec.num_heads),
        (spec.hidden_size,),
    )
    return Importance(*(torch.rand(shape, generator=generator) for shape in shapes))


def magnitude(network: Network, statistics: Statistics, seed: int) -> Importance:
    """L2 norm of all weights that would go with the unit; needs no data (Torch-Pruning's
    GroupMagnitude)."""
    del statistics, seed
    layers = network.model.layers
    hidden = network.model.embed_tokens.weight.square().sum(0)
    if network.lm_head is not None:
        hidden = hidden + network.lm_head.weight.square().sum(0)
    for layer in layers:
        hidden = hidden + sum((w.square().sum(0) for w in _readers(layer)), torch.zeros(()))
        hidden = hidden + sum((w.square().sum(1) for w in _writers(layer)), torch.zeros(()))
    inner = torch.stack([_inner_weights(layer).square().sum(1).sqrt() for layer in layers])
    heads = torch.stack([_head_weights(layer).square().sum((1, 2)).sqrt() for layer in layers])
    return Importance(inner.detach().cpu(), heads.detach().cpu(), hidden.sqrt().detach().cpu())


def reconstruction(network: Network, statistics: Statistics, seed: int) -> Importance:
    """How much of the layer's output is lost if the unit goes and the others are reconstructed:
    w_i² / [(G + λI)⁻¹]_ii.

    For a head: the sum over its values (their correlations inside the head are left out). Channels:
    as Minitron, times what is read from them: sqrt of Σ over readers of G_ii · ‖column i‖².
    """
    del seed
    inner, heads, hidden = [], [], torch.zeros(network.spec.hidden_size, dtype=torch.float64)
    for index, layer in enumerate(network.model.layers):
        sums = statistics.layer(index)
        inner.append(_surgeon(sums["inner_gram"], layer.mlp.down_proj.weight))
        mixed = _surgeon(sums["mix_gram"], layer.self_attn.o_proj.weight)
        heads.append(mixed.square().unflatten(0, (network.spec.num_heads, -1)).sum(1).sqrt())
        reads = {
            "attention_gram": [
                layer.self_attn.q_proj,
                layer.self_attn.k_proj,
                layer.self_attn.v_proj,
            ]
        }
        reads["mlp_gram"] = [m for m in (layer.mlp.up_proj, layer.mlp.gate_proj) if m is not None]
        for name, modules in reads.items():
            columns = sum(
                (m.weight.detach().double().square().sum(0).cpu() for m in modules), torch.zeros(())
            )
            total = (columns * sums[name].diagonal()).sum()
            hidden += columns * sums[name].diagonal() / total.clamp_min(1e-30)
    head = (
        network.head_weight.detach().double().square().sum(0).cpu()
        * statistics.final()["head_gram"].diagonal()
    )
    hidden += head / head.sum() * network.spec.num_layers
    return Importance(torch.stack(inner), torch.stack(heads), hidden.sqrt().float())


def _surgeon(gram: Tensor, weight: Tensor) -> Tensor:
    """sqrt(‖W_:i‖² / [(G + λI)⁻¹]_ii), λ = 1 % of the mean diagonal: (out, in) and (in, in) ->
    (in,)."""
    wide = gram.double().to(weight.device)
    wide = wide + torch.eye(len(wide), device=wide.device) * (0.01 * wide.diagonal().mean() + 1e-12)
    inverse = torch.linalg.inv(wide).diagonal()
    return (
        (weight.detach().double().square().sum(0) / inverse.clamp_min(1e-30)).sqrt().float().cpu()
    )


def _readers(layer: Layer) -> list[Tensor]:
    attention, mlp = layer.self_attn, layer.mlp
    modules = [attention.q_proj, attention.k_proj, attention.v_proj, mlp.up_proj, mlp.gate_proj]
    return [m.weight for m in modules if m is not None]


def _writers(layer: Layer) -> list[Tensor]:
    return [layer.self_attn.o_proj.weight, layer.mlp.down_proj.weight]


def _inner_weights(layer: Layer) -> Tensor:
    parts = [layer.mlp.up_proj.weight, layer.mlp.down_proj.weight.T]
    if layer.mlp.gate_proj is not None:
        parts.append(layer.mlp.gate_proj.weight)
    return torch.cat(parts, dim=1)  # (intermediate, …)


def _head_weights(layer: Layer) -> Tensor:
    attention = layer.self_attn
    rows = attention.q_proj.weight.unflatten(0, (attention.spec.num_heads, -1))
    columns = attention.o_proj.weight.T.unflatten(0, (attention.spec.num_heads, -1))
    return torch.cat([rows, columns], dim=2)  # (num_heads, head_dim, …)


Criterion = Callable[[Network, Statistics, int], Importance]
CRITERIA: dict[str, Criterion] = {
    "minitron": minitron,
    "random": random,
    "magnitude": magnitude,
    "reconstruction": reconstruction,
}
