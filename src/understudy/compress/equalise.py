"""AWQ-style channel scales, moved through the exact equivalences of the architecture: the network's
function is unchanged.

    norm -> q, k, v, up, gate:  gain_i / s_i,  columns i · s_i
                                (LayerNorm1P: (1 + w) / s - 1 and b / s)
    up -> down:                 row i of up / s_i (relu2, ungated: / √s_i),  column i of down · s_i
    v -> o:                     row i of v / s_i,  the columns that read it · s_i
                                (per key/value head)

s_i = (importance of channel i)^α, α chosen per place by the output error of rounding the readers
afterwards. Gram matrices follow: G_ij / (s_i s_j). 2306.00978; the search runs in float32 at least.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from understudy.compress import grids
from understudy.compress.grid import QuantGrid
from understudy.compress.network import Layer, Network, Norm

ALPHAS = (0.0, 0.15, 0.3, 0.45, 0.6)
Grams = dict[str, Tensor]


@torch.no_grad()
def equalise_layer(network: Network, index: int, grams: Grams, grid: QuantGrid) -> dict[str, float]:
    """Scale one layer in place, and its Gram matrices with it. Returns the chosen α of each
    place."""
    layer: Layer = network.model.layers[index]
    attention, mlp = layer.self_attn, layer.mlp
    readers = [
        (attention.q_proj, "attention_gram"),
        (attention.k_proj, "attention_gram"),
        (attention.v_proj, "value_gram"),
    ]
    chosen = {"attention": _behind_norm(layer.input_layernorm, readers, grams, grid)}
    readers = [(m, "mlp_gram") for m in (mlp.up_proj, mlp.gate_proj) if m is not None]
    chosen["mlp"] = _behind_norm(layer.post_attention_layernorm, readers, grams, grid)
    is_squared = mlp.gate_proj is None and network.spec.activation == "relu2"
    if mlp.gate_proj is not None or is_squared:
        alpha, scales = best_scales([(mlp.down_proj.weight, grams["inner_gram"])], grid)
        scale_rows(mlp.up_proj, scales.rsqrt() if is_squared else 1 / scales)
        mlp.down_proj.weight.mul_(scales)
        _scale_gram(grams, "inner_gram", scales)
        chosen["down"] = alpha
    chosen["output"] = _values(layer, grams, grid)
    return chosen


def best_scales(readers: Sequence[tuple[Tensor, Tensor]], grid: QuantGrid) -> tuple[float, Tensor]:
    """(α, s): s (columns,) multiplies the columns of every reader's weight; the inputs are divided
    by it.

    readers: (weight, Gram matrix of its inputs); the channels' importance is that of the first
    one's inputs.
    """
    size = readers[0][1].diagonal().clamp_min(0).sqrt().float()
    size = (size / size.mean().clamp_min(1e-30)).clamp_min(1e-4)
    found = []
    for alpha in ALPHAS:
        scales = size**alpha
        scales = scales / (scales.max() * scales.min()).sqrt()
        error = 0.0
        for weight, gram in readers:
            wide, scaled = weight.float() * scales, gram / scales[:, None] / scales[None, :]
            error += grids.output_error(
                wide, grids.search_scales(wide, grid.quick, scaled.diagonal()).values(), scaled
            )
        found.append((error, alpha, scales))
    _, alpha, scales = min(found, key=lambda entry: entry[0])
    return alpha, scales


def _behind_norm(
    norm: Norm, readers: list[tuple[nn.Linear, str]], grams: Grams, grid: QuantGrid
) -> float:
    alpha, scales = best_scales([(reader.weight, grams[name]) for reader, name in readers], grid)
    if norm.bias is not None:
        norm.weight.copy_((norm.weight + 1) / scales - 1)
        norm.bias.div_(scales)
    else:
        norm.weight.div_(scales)
    for reader, _ in readers:
        reader.weight.mul_(scales)
    for name in {name for _, name in readers}:
        _scale_gram(grams, name, scales)
    return alpha


def _values(layer: Layer, grams: Grams, grid: QuantGrid) -> float:
    """One scale per value channel of a key/value head, shared by the query heads that read it."""
    attention = layer.self_attn
    spec = attention.spec
    gram = grams["mix_gram"]
    shape = (spec.num_kv_heads, spec.group_size, spec.head_dim)
    shared = gram.diagonal().view(shape).mean(1, keepdim=True).expand(shape).reshape(-1)
    alpha, scales = best_scales([(attention.o_proj.weight, torch.diag(shared))], grid)
    per_value = scales.view(shape)[:, 0].reshape(-1)
    scale_rows(attention.v_proj, 1 / per_value)
    attention.o_proj.weight.mul_(scales)
    _scale_gram(grams, "mix_gram", scales)
    return alpha


def scale_rows(linear: nn.Linear, scales: Tensor) -> None:
    linear.weight.mul_(scales[:, None])
    if linear.bias is not None:
        linear.bias.mul_(scales)


def _scale_gram(grams: Grams, name: str, scales: Tensor) -> None:
    grams[name] = grams[name] / scales[:, None] / scales[None, :]
