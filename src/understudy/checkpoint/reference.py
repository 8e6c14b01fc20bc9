"""The living definition: the forward pass of every shape that Understudy runs, in plain NumPy.

It is slow on purpose (no cache, no batch, no blocking) and reads from `forward` down like the
paper. The native core, the torch modules of `compress` and stock transformers are all compared with
it; where they differ, this file is what we mean. Names are those of Hugging Face, a linear weight
is (out, in), values are in Hugging Face's convention (norm gains of Nemotron zero-centred).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from understudy.checkpoint.routing import route
from understudy.gated_delta import L2_EPS, GatedDelta
from understudy.spec import Mamba2, ModelSpec, Rotation, norm_names

Array = NDArray[np.floating[Any]]  # float32, or float64 throughout if the weights are
Weights = Mapping[str, Array]


@dataclass(frozen=True)
class Taps:
    """What one forward pass looked like inside.

    `hidden[0]` is the embedding, `hidden[l + 1]` the residual stream after layer l, each (tokens,
    hidden); `inner[l]` is what the down projection of the l-th MLP reads, (tokens, intermediate);
    `logits` is (tokens, vocab).
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
    x = x * x.dtype.type(spec.embedding_scale)
    hidden, inner = [x], []
    for layer in range(spec.num_layers):
        prefix, block = f"model.layers.{layer}.", spec.block(layer)
        names = iter(norm_names(spec, block))
        if block.mixer != "none":
            h = norm(spec, weights, prefix + next(names), x)
            x = x + added(
                spec, weights, prefix, names, MIXERS[block.mixer](spec, weights, layer, h)
            )
        if block.has_mlp and block.has_experts:
            h = norm(spec, weights, prefix + next(names), x)
            x = x + added(spec, weights, prefix, names, mixture(spec, weights, f"{prefix}mlp.", h))
        elif block.has_mlp:
            h = norm(spec, weights, prefix + next(names), x)
            y = mlp_inner(spec, weights, f"{prefix}mlp.", h)
            down = linear(weights, f"{prefix}mlp.down_proj", y)
            x = x + added(spec, weights, prefix, names, down)
            inner.append(y)
        hidden.append(x)
    if spec.tied_embeddings:
        weights = {**weights, "lm_head.weight": weights["model.embed_tokens.weight"]}
    logits = linear(weights, "lm_head", norm(spec, weights, "model.norm", x))
    return Taps(tuple(hidden), tuple(inner), logits * logits.dtype.type(spec.logit_scale))


def added(spec: ModelSpec, weights: Weights, prefix: str, names: Iterator[str], y: Array) -> Array:
    """What a mixer or an MLP adds to the stream: its output, normed where the spec has post norms,
    times the residual scale."""
    if spec.post_norms:
        y = norm(spec, weights, prefix + next(names), y)
    return y * y.dtype.type(spec.residual_scale)


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
    rms_norm:      x / sqrt(mean x² + eps) * w;  rms_norm_1p: the same with 1 + w
    """
    gain = weights[f"{name}.weight"]
    if spec.norm != "layer_norm_1p":
        scaled: Array = x / np.sqrt(
            np.mean(x * x, axis=-1, keepdims=True) + np.float32(spec.norm_eps)
        )
        return scaled * (gain if spec.norm == "rms_norm" else 1 + gain)
    centred: Array = x - np.mean(x, axis=-1, keepdims=True)
    variance = np.mean(centred * centred, axis=-1, keepdims=True)
    scaled = centred / np.sqrt(variance + np.float32(spec.norm_eps))
    return scaled * (1 + gain) + weights[f"{name}.bias"]


def attention(spec: ModelSpec, weights: Weights, layer: int, h: Array) -> Array:
    """Causal attention of grouped query heads: (tokens, hidden) -> (tokens, hidden).

    Query head j reads key/value head j // group:  a_j = softmax(scale · q_j Kᵀ + mask) V. Queries
    and keys are normed head by head where the spec says so, then turned where the block does. With
    an output gate q_proj gives (q_j, g_j) by head, and o_proj reads a_j · sigmoid(g_j).
    """
    block, prefix = spec.block(layer), f"model.layers.{layer}.self_attn."
    positions = np.arange(len(h))
    q = linear(weights, f"{prefix}q_proj", h).reshape(len(h), spec.num_heads, -1)
    q, gate = q[..., : spec.head_dim], q[..., spec.head_dim :]
    k = linear(weights, f"{prefix}k_proj", h).reshape(len(h), spec.num_kv_heads, spec.head_dim)
    v = linear(weights, f"{prefix}v_proj", h).reshape(len(h), spec.num_kv_heads, spec.head_dim)
    if spec.qk_norm:
        q = norm(spec, weights, f"{prefix}q_norm", q)
        k = norm(spec, weights, f"{prefix}k_norm", k)
    q, k = rotate(spec, q, positions, block.rotation), rotate(spec, k, positions, block.rotation)
    k = np.repeat(k, spec.group_size, axis=1)  # (tokens, num_heads, head_dim)
    v = np.repeat(v, spec.group_size, axis=1)
    scale = q.dtype.type(spec.attention_scale or spec.head_dim**-0.5)
    scores = np.einsum("qjd,kjd->jqk", q, k) * scale  # (num_heads, tokens, tokens)
    distance = positions[:, None] - positions[None, :]
    is_hidden = (distance < 0) | (distance >= (block.window or len(h)))
    mixed = np.einsum("jqk,kjd->qjd", softmax(np.where(is_hidden, -np.inf, scores)), v)
    mixed = mixed * sigmoid(gate) if spec.output_gate else mixed
    return linear(weights, f"{prefix}o_proj", mixed.reshape(len(h), spec.query_size))


def mamba2(spec: ModelSpec, weights: Weights, layer: int, h: Array) -> Array:
    """Mamba-2 (arXiv 2405.21060) in its plain recurrence: (tokens, hidden) -> (tokens, hidden).

    z, xBC, dt = in_proj h;  x, B, C = silu(conv(xBC));  dt = max(softplus(dt + bias), minimum)
    state = exp(-exp(A_log) dt) state + dt x Bᵀ;  y = state C + D x       for each head
    out_proj norm(y · silu(z)), normed group by group
    """
    m, prefix = spec.mamba2, f"model.layers.{layer}.mamba."
    assert m is not None
    projected = linear(weights, f"{prefix}in_proj", h)
    z, mixed, dt = np.split(projected, [m.inner_size, m.inner_size + m.conv_channels], axis=1)
    bias = weights.get(f"{prefix}conv1d.bias")
    mixed = silu(convolve(mixed, weights[f"{prefix}conv1d.weight"], bias))
    x, b, c = np.split(mixed, [m.inner_size, m.inner_size + m.num_groups * m.state_size], axis=1)
    dt = np.logaddexp(0, dt + weights[f"{prefix}dt_bias"]).clip(m.min_time_step).astype(h.dtype)
    y = scan(m, weights, prefix, x, b, c, dt) * silu(z)
    groups = y.reshape(len(h), m.norm_groups, -1)
    groups = groups / np.sqrt(
        np.mean(groups * groups, axis=-1, keepdims=True) + np.float32(spec.norm_eps)
    )
    y = groups.reshape(y.shape) * weights[f"{prefix}norm.weight"]
    return linear(weights, f"{prefix}out_proj", y)


def scan(
    m: Mamba2, weights: Weights, prefix: str, x: Array, b: Array, c: Array, dt: Array
) -> Array:
    """The recurrence of `mamba2`, token by token: x (tokens, inner) -> (tokens, inner)."""
    per_group = m.num_heads // m.num_groups
    x = x.reshape(-1, m.num_heads, m.head_dim)
    b = np.repeat(b.reshape(-1, m.num_groups, m.state_size), per_group, axis=1)
    c = np.repeat(c.reshape(-1, m.num_groups, m.state_size), per_group, axis=1)
    decay = np.exp(-np.exp(weights[f"{prefix}A_log"]) * dt)  # (tokens, heads)
    state = np.zeros((m.num_heads, m.head_dim, m.state_size), x.dtype)
    rows = []
    for t in range(len(x)):
        state = decay[t, :, None, None] * state
        state = state + (dt[t, :, None] * x[t])[:, :, None] * b[t][:, None, :]
        rows.append(np.einsum("hdn,hn->hd", state, c[t]))
    y: Array = np.stack(rows) + weights[f"{prefix}D"][:, None] * x
    return y.reshape(-1, m.inner_size)


def gated_delta(spec: ModelSpec, weights: Weights, layer: int, h: Array) -> Array:
    """The gated delta rule (arXiv 2412.06464) in its plain recurrence: h (tokens, hidden) alike.

    q, k, v = silu(conv(in_proj_qkv h)), q and k of length 1, q / √key_dim
    β = sigmoid(in_proj_b h)
    state = exp(-exp(A_log) softplus(in_proj_a h + dt_bias)) state
    state = state + k (β (v - stateᵀ k))ᵀ;  y = stateᵀ q        for each value head
    out_proj (norm(y) · silu(in_proj_z h)), normed head by head
    """
    m, prefix = spec.gated_delta, f"model.layers.{layer}.linear_attn."
    assert m is not None
    mixed = linear(weights, f"{prefix}in_proj_qkv", h)
    mixed = silu(convolve(mixed, weights[f"{prefix}conv1d.weight"], None))
    q, k, v = np.split(mixed, [m.key_size, 2 * m.key_size], axis=1)
    beta = sigmoid(linear(weights, f"{prefix}in_proj_b", h))
    time = linear(weights, f"{prefix}in_proj_a", h) + weights[f"{prefix}dt_bias"]
    decay = np.exp(-np.exp(weights[f"{prefix}A_log"]) * np.logaddexp(0, time))
    y = delta_scan(m, q, k, v, decay.astype(h.dtype), beta)  # (tokens, heads, value_dim)
    y = y / np.sqrt(np.mean(y * y, axis=-1, keepdims=True) + np.float32(spec.norm_eps))
    y = (y * weights[f"{prefix}norm.weight"]).reshape(len(h), m.value_size)
    return linear(weights, f"{prefix}out_proj", y * silu(linear(weights, f"{prefix}in_proj_z", h)))


def delta_scan(m: GatedDelta, q: Array, k: Array, v: Array, decay: Array, beta: Array) -> Array:
    """The recurrence of `gated_delta`, token by token: q and k (tokens, key_size), v (tokens,
    value_size), decay and beta (tokens, heads) -> (tokens, heads, value_dim).
    """
    shape = (len(q), m.num_key_heads, m.key_dim)
    q, k = unit(q.reshape(shape)) * q.dtype.type(m.key_dim**-0.5), unit(k.reshape(shape))
    q, k = np.repeat(q, m.group_size, axis=1), np.repeat(k, m.group_size, axis=1)
    v = v.reshape(len(v), m.num_heads, m.value_dim)
    state = np.zeros((m.num_heads, m.key_dim, m.value_dim), v.dtype)
    rows = []
    for t in range(len(v)):
        state = decay[t, :, None, None] * state
        known = np.einsum("hkv,hk->hv", state, k[t])
        state = state + k[t][:, :, None] * (beta[t, :, None] * (v[t] - known))[:, None, :]
        rows.append(np.einsum("hkv,hk->hv", state, q[t]))
    return np.stack(rows)


def unit(x: Array) -> Array:
    """x / sqrt(Σ x² + ε) along the last axis."""
    y: Array = x / np.sqrt(np.sum(x * x, axis=-1, keepdims=True) + np.float32(L2_EPS))
    return y


def short_conv(spec: ModelSpec, weights: Weights, layer: int, h: Array) -> Array:
    """The gated short convolution of LFM2: out_proj(c · conv(b · x)) with b, c, x = in_proj h."""
    prefix = f"model.layers.{layer}.conv."
    b, c, x = np.split(linear(weights, f"{prefix}in_proj", h), 3, axis=1)
    taps, bias = weights[f"{prefix}conv.weight"], weights.get(f"{prefix}conv.bias")
    return linear(weights, f"{prefix}out_proj", c * convolve(b * x, taps, bias))


def convolve(x: Array, taps: Array, bias: Array | None) -> Array:
    """A causal convolution of each channel: x (tokens, channels), taps (channels, size); the last
    tap meets the token itself."""
    size = taps.shape[1]
    padded = np.concatenate([np.zeros((size - 1, x.shape[1]), x.dtype), x])
    y: Array = sum((padded[k : k + len(x)] * taps[:, k] for k in range(size)), np.zeros_like(x))
    return y if bias is None else y + bias


MIXERS: dict[str, Callable[[ModelSpec, Weights, int, Array], Array]] = {
    "attention": attention,
    "mamba2": mamba2,
    "gated_delta": gated_delta,
    "short_conv": short_conv,
}


def softmax(scores: Array) -> Array:
    """exp(s - max s) / Σ exp(s - max s) along the last axis."""
    shifted: Array = np.exp(scores - scores.max(axis=-1, keepdims=True))
    total: Array = shifted.sum(axis=-1, keepdims=True)
    return shifted / total


def rotate(
    spec: ModelSpec, x: Array, positions: NDArray[np.int64], rotation: Rotation = "global"
) -> Array:
    """Rotary embedding of the first r = rotary_dim values of each head, half-split pairs (i, i +
    r/2).

    y[i]       = x[i] cos(p f_i)       - x[i + r/2] sin(p f_i)
    y[i + r/2] = x[i + r/2] cos(p f_i) + x[i] sin(p f_i)          for position p; the values from r
                                                                  on pass through.

    f_i are those of `understudy.rotary`; cos and sin are multiplied by the scaling's attention
    factor, mostly 1.
    """
    if rotation == "none" or spec.rotary_dim == 0:
        return x
    half, is_global = spec.rotary_dim // 2, rotation == "global"
    turns = np.asarray(
        spec.frequencies(int(positions.max(initial=0)) + 1)
        if is_global
        else spec.local_frequencies,
        np.float32,
    )
    angles = (
        positions.astype(np.float32)[:, None] * turns
    )  # (tokens, half), single precision everywhere
    factor = np.float32(spec.attention_factor if is_global else 1)
    cos, sin = ((f(angles) * factor).astype(x.dtype)[:, None, :] for f in (np.cos, np.sin))
    first, second, rest = x[..., :half], x[..., half : 2 * half], x[..., 2 * half :]
    return np.concatenate([first * cos - second * sin, second * cos + first * sin, rest], axis=-1)


def mlp_inner(spec: ModelSpec, weights: Weights, prefix: str, h: Array) -> Array:
    """What the down projection reads: act(up h), or act(gate h) · up h if gated: (tokens,
    intermediate).
    """
    up = linear(weights, f"{prefix}up_proj", h)
    if not spec.gated:
        return activation(spec, up)
    return activation(spec, linear(weights, f"{prefix}gate_proj", h)) * up


def mixture(spec: ModelSpec, weights: Weights, prefix: str, h: Array) -> Array:
    """The experts that the router chooses, weighted, and the shared one: (tokens, hidden) ->
    (tokens, hidden).
    """
    experts = spec.experts
    assert experts is not None
    logits = linear(weights, f"{prefix}router", h)  # (tokens, experts)
    shares = route(experts, logits, weights.get(f"{prefix}router.correction"))
    y = np.zeros_like(h)
    for number in range(experts.count):
        met = shares[:, number] > 0
        if met.any():
            found = mlp(spec, weights, f"{prefix}experts.{number}.", h[met])
            y[met] += shares[met, number, None] * found
    return y + mlp(spec, weights, f"{prefix}shared_expert.", h) if experts.shared_size else y


def mlp(spec: ModelSpec, weights: Weights, prefix: str, h: Array) -> Array:
    """(tokens, hidden) -> (tokens, hidden)."""
    return linear(weights, f"{prefix}down_proj", mlp_inner(spec, weights, prefix, h))


def activation(spec: ModelSpec, x: Array) -> Array:
    """relu2: max(x, 0)²;  silu;  gelu_tanh: x/2 (1 + tanh(√(2/π) (x + 0.044715 x³)))."""
    if spec.activation == "relu2":
        return np.square(np.maximum(x, 0))
    if spec.activation == "gelu_tanh":
        y: Array = x / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
        return y
    return silu(x)


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x))"""
    with np.errstate(over="ignore"):
        y: Array = 1 / (1 + np.exp(-x))
    return y


def silu(x: Array) -> Array:
    """x / (1 + exp(-x))"""
    with np.errstate(over="ignore"):  # exp(-x) may reach inf, which rightly gives 0
        y: Array = x / (1 + np.exp(-x))
    return y
