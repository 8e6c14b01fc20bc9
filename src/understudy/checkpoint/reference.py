"""The living definition: the forward pass of every shape that Understudy runs, in plain NumPy.

It is slow on purpose (no cache, no batch, no blocking) and reads from `forward` down like the
paper. The native core, the torch modules of `compress` and stock transformers are all compared with
it; where they differ, this file is what we mean. Names are those of Hugging Face, a linear weight
is (out, in), values are in Hugging Face's convention (norm gains of Nemotron zero-centred).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from understudy.spec import ModelSpec

Array = NDArray[np.floating[Any]]  # float32, or float64 throughout if the weights are
Weights = Mapping[str, Array]


@dataclass(frozen=True)
class Taps:
    """What one forward pass looked like inside.

    `hidden[0]` is the embedding, `hidden[l + 1]` the residual stream after layer l, each (tokens,
    hidden); `inner[l]` is what layer l's down projection reads, (tokens, intermediate); `logits` is
    (tokens, vocab).
    """

    hidden: tuple[Array, ...]
    inner: tuple[Array, ...]
    logits: Array


def forward(
    spec: ModelSpec, weights: Weights, token_ids: Sequence[int] | NDArray[np.integer]
) -> Array:
    """Logits of every position of one sequence.

    Args:
        spec: the architecture.
        weights: float32 arrays under the names and in the shapes of `spec.tensor_shapes`; those of
            adapters beside them (`adapters.adapter.as_weights`).
        token_ids: (tokens,), the first of which stands at position 0.

    Returns:
        (tokens, vocab) float32 (float64 if the weights are: then only the rotation's angles are
        single precision).
    """
    return forward_with_taps(spec, weights, token_ids).logits


def forward_with_taps(
    spec: ModelSpec, weights: Weights, token_ids: Sequence[int] | NDArray[np.integer]
) -> Taps:
    """`forward`, with the residual stream after every layer and the inputs of every down
    projection.
    """
    x = embed(weights, np.asarray(token_ids))  # (tokens, hidden)
    positions = np.arange(len(x))
    hidden, inner = [x], []
    for layer in range(spec.num_layers):
        prefix = f"model.layers.{layer}."
        x = x + attention(
            spec, weights, prefix, norm(spec, weights, f"{prefix}input_layernorm", x), positions
        )
        y = mlp_inner(
            spec, weights, prefix, norm(spec, weights, f"{prefix}post_attention_layernorm", x)
        )
        x = x + linear(weights, f"{prefix}mlp.down_proj", y)
        hidden.append(x)
        inner.append(y)
    if spec.tied_embeddings:
        weights = {**weights, "lm_head.weight": weights["model.embed_tokens.weight"]}
    logits = linear(weights, "lm_head", norm(spec, weights, "model.norm", x))
    return Taps(tuple(hidden), tuple(inner), logits)


def embed(weights: Weights, token_ids: NDArray[np.integer]) -> Array:
    """Rows of the embedding, + B A of an adapter's: (tokens,) -> (tokens, hidden)."""
    x: Array = weights["model.embed_tokens.weight"][token_ids]
    a = weights.get("model.embed_tokens.lora_A")
    return x if a is None else x + a[:, token_ids].T @ weights["model.embed_tokens.lora_B"].T


def linear(weights: Weights, name: str, x: Array) -> Array:
    """W x + b + B (A x), where b and the adapter's A and B are left out if there are none: (tokens,
    in) -> (tokens, out).
    """
    y: Array = x @ weights[f"{name}.weight"].T
    bias, a = weights.get(f"{name}.bias"), weights.get(f"{name}.lora_A")
    if bias is not None:
        y = y + bias
    return y if a is None else y + (x @ a.T) @ weights[f"{name}.lora_B"].T


def norm(spec: ModelSpec, weights: Weights, name: str, x: Array) -> Array:
    """(tokens, hidden) -> (tokens, hidden).

    layer_norm_1p: (x - mean x) / sqrt(var x + eps) * (1 + w) + b, with var = mean((x - mean x)²)
    rms_norm:      x / sqrt(mean x² + eps) * w
    """
    gain = weights[f"{name}.weight"]
    if spec.norm == "rms_norm":
        scaled: Array = x / np.sqrt(
            np.mean(x * x, axis=-1, keepdims=True) + np.float32(spec.norm_eps)
        )
        return scaled * gain
    centred: Array = x - np.mean(x, axis=-1, keepdims=True)
    variance = np.mean(centred * centred, axis=-1, keepdims=True)
    scaled = centred / np.sqrt(variance + np.float32(spec.norm_eps))
    return scaled * (1 + gain) + weights[f"{name}.bias"]


def attention(
    spec: ModelSpec, weights: Weights, prefix: str, h: Array, positions: NDArray[np.int64]
) -> Array:
    """Causal attention of grouped query heads: (tokens, hidden) -> (tokens, hidden).

    Query head j reads key/value head j // group:  a_j = softmax(q_j Kᵀ / sqrt(head_dim) + mask) V.
    """
    num_tokens, head_dim = len(h), spec.head_dim
    q = linear(weights, f"{prefix}self_attn.q_proj", h).reshape(
        num_tokens, spec.num_heads, head_dim
    )
    k = linear(weights, f"{prefix}self_attn.k_proj", h).reshape(
        num_tokens, spec.num_kv_heads, head_dim
    )
    v = linear(weights, f"{prefix}self_attn.v_proj", h).reshape(
        num_tokens, spec.num_kv_heads, head_dim
    )
    q, k = rotate(spec, q, positions), rotate(spec, k, positions)
    k = np.repeat(k, spec.group_size, axis=1)  # (tokens, num_heads, head_dim)
    v = np.repeat(v, spec.group_size, axis=1)
    scores = np.einsum("qjd,kjd->jqk", q, k) * q.dtype.type(
        head_dim**-0.5
    )  # (num_heads, tokens, tokens)
    is_future = positions[None, :] > positions[:, None]
    mixed = np.einsum("jqk,kjd->qjd", softmax(np.where(is_future, -np.inf, scores)), v)
    return linear(weights, f"{prefix}self_attn.o_proj", mixed.reshape(num_tokens, spec.query_size))


def softmax(scores: Array) -> Array:
    """exp(s - max s) / Σ exp(s - max s) along the last axis."""
    shifted: Array = np.exp(scores - scores.max(axis=-1, keepdims=True))
    total: Array = shifted.sum(axis=-1, keepdims=True)
    return shifted / total


def rotate(spec: ModelSpec, x: Array, positions: NDArray[np.int64]) -> Array:
    """Rotary embedding of the first r = rotary_dim values of each head, half-split pairs (i, i +
    r/2).

    y[i]       = x[i] cos(p f_i)       - x[i + r/2] sin(p f_i)
    y[i + r/2] = x[i + r/2] cos(p f_i) + x[i] sin(p f_i)          for position p; the values from r
    on pass through.

    f_i are those of `understudy.rotary`; cos and sin are multiplied by the scaling's attention
    factor, mostly 1.
    """
    half = spec.rotary_dim // 2
    turns = np.asarray(spec.frequencies(int(positions.max(initial=0)) + 1), np.float32)
    angles = (
        positions.astype(np.float32)[:, None] * turns
    )  # (tokens, half), single precision everywhere
    factor = np.float32(spec.attention_factor)
    cos, sin = ((f(angles) * factor).astype(x.dtype)[:, None, :] for f in (np.cos, np.sin))
    first, second, rest = x[..., :half], x[..., half : 2 * half], x[..., 2 * half :]
    return np.concatenate([first * cos - second * sin, second * cos + first * sin, rest], axis=-1)


def mlp_inner(spec: ModelSpec, weights: Weights, prefix: str, h: Array) -> Array:
    """What the down projection reads: act(up h), or act(gate h) · up h if gated: (tokens,
    intermediate).
    """
    up = linear(weights, f"{prefix}mlp.up_proj", h)
    if not spec.gated:
        return activation(spec, up)
    return activation(spec, linear(weights, f"{prefix}mlp.gate_proj", h)) * up


def activation(spec: ModelSpec, x: Array) -> Array:
    """relu2: max(x, 0)²;  silu: x / (1 + exp(-x))."""
    if spec.activation == "relu2":
        return np.square(np.maximum(x, 0))
    with np.errstate(over="ignore"):  # exp(-x) may reach inf, which rightly gives 0
        y: Array = x / (1 + np.exp(-x))
    return y
