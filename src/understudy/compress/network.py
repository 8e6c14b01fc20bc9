"""The torch module of a `ModelSpec`: what calibration, pruning and distillation run and train.

Not the run-time engine (that is the core): whole sequences, no cache. Parameter names are those of
Hugging Face, so `network.state_dict()` holds exactly `spec.tensor_shapes(spec)`. Equal to
transformers and to `models.reference`.

    network = Network(spec); initialise(network, seed=1)   # a fresh one
    network = network_from_weights(spec, weights)          # of arrays or tensors by those names
    hidden = network.hidden(tokens)       # (batch, tokens, hidden), after the last norm
    logits = network(tokens)              # (batch, tokens, vocab); avoid for large vocabularies
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint as recomputed

from understudy.compress.masked_attention import attend
from understudy.errors import CheckpointWarning, MissingError, UnsupportedError
from understudy.spec import BlockSpec, ModelSpec, tensor_shapes

Rotation = tuple[Tensor, Tensor]  # cos and sin, each (tokens, rotary_dim / 2), float32


class Norm(nn.Module):
    """layer_norm_1p: (x - mean) / sqrt(var + eps) * (1 + w) + b;  rms_norm: x / sqrt(mean x² + eps)
    * w; in float32.
    """

    def __init__(self, spec: ModelSpec, size: int | None = None) -> None:
        super().__init__()
        self.kind, self.eps = spec.norm, spec.norm_eps
        is_centred, size = spec.norm == "layer_norm_1p", size or spec.hidden_size
        self.weight = nn.Parameter(torch.zeros(size) if is_centred else torch.ones(size))
        self.bias = nn.Parameter(torch.zeros(size)) if is_centred else None

    def forward(self, x: Tensor) -> Tensor:
        dtype = (
            torch.get_autocast_dtype(x.device.type)
            if torch.is_autocast_enabled(x.device.type)
            else x.dtype
        )
        if self.bias is not None:
            gain = self.weight.float() + 1
            return functional.layer_norm(
                x.float(), x.shape[-1:], gain, self.bias.float(), self.eps
            ).to(dtype)
        normed: Tensor = _RmsNorm.apply(x, self.weight, self.eps, dtype)
        return normed


class _RmsNorm(torch.autograd.Function):
    """Computed in float32, handed on as what the next product reads. Derivative by hand: a third of
    autograd's passes."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float, dtype: torch.dtype) -> Tensor:
        wide = x.float()
        scale = torch.rsqrt(wide.square().mean(-1, keepdim=True) + eps)
        ctx.save_for_backward(x, scale, weight)
        return (wide * scale).mul_(weight.float()).to(dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None, None]:
        x, scale, weight = ctx.saved_tensors
        unit, wide = x.float() * scale, grads[0].float()
        product = wide * unit
        grad_weight = product.flatten(0, -2).sum(0)
        mean = product.mul_(weight).mean(-1, keepdim=True)
        grad_x = (wide * weight).sub_(unit.mul_(mean)).mul_(scale)
        return grad_x.to(x.dtype), grad_weight.to(weight.dtype), None, None


class Attention(nn.Module):
    """Causal attention of grouped query heads: (batch, tokens, hidden) -> the same."""

    def __init__(self, spec: ModelSpec, block: BlockSpec) -> None:
        super().__init__()
        self.spec, self.turns = spec, block.rotation != "none"
        self.q_norm = Norm(spec, spec.head_dim) if spec.qk_norm else None
        self.k_norm = Norm(spec, spec.head_dim) if spec.qk_norm else None
        self.q_proj = nn.Linear(spec.hidden_size, spec.query_size, bias=spec.qkv_bias)
        self.k_proj = nn.Linear(spec.hidden_size, spec.kv_size, bias=spec.qkv_bias)
        self.v_proj = nn.Linear(spec.hidden_size, spec.kv_size, bias=spec.qkv_bias)
        self.o_proj = nn.Linear(spec.query_size, spec.hidden_size, bias=spec.output_bias)

    def forward(self, x: Tensor, rotation: Rotation, mask: Tensor | None = None) -> Tensor:
        return self.o_proj(self.mix(x, rotation, mask))

    def mix(self, x: Tensor, rotation: Rotation, mask: Tensor | None = None) -> Tensor:
        """What the output projection reads: (batch, tokens, query_size)."""
        q, k = self._queries_and_keys(x, rotation)
        v = self._heads(self.v_proj(x))
        if mask is not None:
            return attend(q, k, v, mask).transpose(1, 2).flatten(2)
        mixed = functional.scaled_dot_product_attention(
            q, k, v, is_causal=True, enable_gqa=self.spec.group_size > 1
        )
        return mixed.transpose(1, 2).flatten(2)

    def shares(self, x: Tensor, rotation: Rotation) -> Tensor:
        """How much every query takes from every position: (batch, heads, tokens, tokens), rows sum
        to 1."""
        q, k = self._queries_and_keys(x, rotation)
        scores = (
            q
            @ k.repeat_interleave(self.spec.group_size, dim=1).transpose(2, 3)
            / math.sqrt(self.spec.head_dim)
        )
        later = torch.ones_like(scores[0, 0], dtype=torch.bool).triu(1)
        return scores.masked_fill(later, -math.inf).softmax(-1)

    def _queries_and_keys(self, x: Tensor, rotation: Rotation) -> tuple[Tensor, Tensor]:
        q, k = self._heads(self.q_proj(x)), self._heads(self.k_proj(x))
        if self.q_norm is not None and self.k_norm is not None:
            q, k = self.q_norm(q), self.k_norm(k)
        return (rotate(q, rotation), rotate(k, rotation)) if self.turns else (q, k)

    def _heads(self, x: Tensor) -> Tensor:
        """(batch, tokens, heads · head_dim) -> (batch, heads, tokens, head_dim)."""
        return x.unflatten(-1, (-1, self.spec.head_dim)).transpose(1, 2)


class Mlp(nn.Module):
    """down(act(up x)), or down(act(gate x) * up x) if gated."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.activation: Callable[[Tensor], Tensor] = ACTIVATIONS[spec.activation]
        self.up_proj = nn.Linear(spec.hidden_size, spec.intermediate_size, bias=spec.mlp_bias)
        self.gate_proj = (
            nn.Linear(spec.hidden_size, spec.intermediate_size, bias=spec.mlp_bias)
            if spec.gated
            else None
        )
        self.down_proj = nn.Linear(spec.intermediate_size, spec.hidden_size, bias=spec.mlp_bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(self.inner(x))

    def inner(self, x: Tensor) -> Tensor:
        """What the down projection reads: (batch, tokens, intermediate)."""
        if self.gate_proj is None:
            return self.activation(self.up_proj(x))
        return self.activation(self.gate_proj(x)) * self.up_proj(x)


class Layer(nn.Module):
    def __init__(self, spec: ModelSpec, block: BlockSpec) -> None:
        super().__init__()
        self.input_layernorm = Norm(spec)
        self.self_attn = Attention(spec, block)
        self.post_attention_layernorm = Norm(spec)
        self.mlp = Mlp(spec)

    def forward(self, x: Tensor, rotation: Rotation, mask: Tensor | None = None) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), rotation, mask)
        return x + self.mlp(self.post_attention_layernorm(x))


class NetworkBody(nn.Module):
    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(spec.vocab_size, spec.hidden_size)
        self.layers = nn.ModuleList(
            Layer(spec, spec.block(layer)) for layer in range(spec.num_layers)
        )
        self.norm = Norm(spec)


def up_to_the_window(spec: ModelSpec) -> ModelSpec:
    """The network without the windows of its attention, for texts as long as the shortest of them:
    so far they make no difference. Warns (`CheckpointWarning`) that longer ones are not seen."""
    windows = [block.window for block in spec.blocks if block.window]
    plain = spec.replace(blocks=())
    if not windows or set(spec.blocks) - {BlockSpec(window=w) for w in (0, *windows)}:
        return spec
    warnings.warn(
        f"compression sees texts up to the sliding window alone: {min(windows)} of "
        f"{spec.max_positions} tokens",
        CheckpointWarning,
        stacklevel=3,
    )
    return plain.replace(max_positions=min(windows))


_KNOWN_BLOCKS = {BlockSpec(), BlockSpec(rotation="none")}


def _check_known(spec: ModelSpec) -> None:
    """Raises UnsupportedError for what these modules do not compute."""
    known = {"qk_norm", *(["blocks"] if set(spec.blocks) <= _KNOWN_BLOCKS else [])}
    if options := [name for name in spec.options() if name not in known]:
        raise UnsupportedError(
            "compression knows blocks of attention and MLP without these options",
            where=spec.architecture,
            expected="nemotron llama mistral qwen2 qwen3 smollm3 phi3",
            found=", ".join(options),
            do="run or convert it instead",
        )


class Network(nn.Module):
    """A whole model. `lm_head` is None when the embedding is tied; of the first `num_recomputed`
    layers the activations are not kept in training but computed again in the backward pass."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        spec = up_to_the_window(spec)
        if spec.activation not in ACTIVATIONS:
            raise UnsupportedError(
                "activation is not implemented", found=spec.activation, expected=list(ACTIVATIONS)
            )
        _check_known(spec)
        self.spec, self.num_recomputed = spec, 0
        self.rotations: dict[tuple[int, torch.device], Rotation] = {}
        self.model = NetworkBody(spec)
        self.lm_head = (
            None
            if spec.tied_embeddings
            else nn.Linear(spec.hidden_size, spec.vocab_size, bias=False)
        )

    @property
    def head_weight(self) -> Tensor:
        """(vocab, hidden): the head, or the embedding when tied."""
        return self.model.embed_tokens.weight if self.lm_head is None else self.lm_head.weight

    @property
    def device(self) -> torch.device:
        return self.model.norm.weight.device

    def rotation(self, num_tokens: int) -> Rotation:
        key = (num_tokens, self.device)
        if key not in self.rotations:
            with torch.inference_mode(False):  # or the table could not be used in training later
                self.rotations[key] = rotation_table(self.spec, *key)
        return self.rotations[key]

    def states(self, tokens: Tensor) -> list[Tensor]:
        """The residual stream before the first and after every layer: num_layers + 1 of (batch,
        tokens, hidden)."""
        x = self.model.embed_tokens(tokens)
        rotation, states = self.rotation(tokens.shape[1]), [x]
        for index, layer in enumerate(self.model.layers):
            if index < self.num_recomputed and torch.is_grad_enabled():
                x = recomputed(layer, x, rotation, use_reentrant=False, preserve_rng_state=False)
            else:
                x = layer(x, rotation)
            states.append(x)
        return states

    def hidden(
        self, tokens: Tensor, positions: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """tokens (batch, tokens) int64 -> what the head reads, (batch, tokens, hidden).

        Args:
            positions: (tokens,) int64, where they do not simply rise.
            mask: (tokens, tokens), added to the scores of attention; None: causal.
        """
        x = self.model.embed_tokens(tokens)
        rotation = self.rotation(tokens.shape[1])
        if positions is not None:
            cos, sin = self.rotation(int(positions.max()) + 1)
            rotation = cos[positions], sin[positions]
        for layer in self.model.layers:
            x = layer(x, rotation, mask)
        return self.model.norm(x)

    def forward(self, tokens: Tensor) -> Tensor:
        return functional.linear(self.hidden(tokens), self.head_weight)


def relu2(x: Tensor) -> Tensor:
    return functional.relu(x).square()


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"relu2": relu2, "silu": functional.silu}


def rotate(x: Tensor, rotation: Rotation) -> Tensor:
    """Half-split rotation of the first rotary_dim values: (batch, heads, tokens, head_dim) -> the
    same."""
    cos, sin = rotation
    size = 2 * cos.shape[-1]
    turned: Tensor = _Rotation.apply(x[..., :size], cos, sin)
    return turned if size == x.shape[-1] else torch.cat([turned, x[..., size:]], dim=-1)


class _Rotation(torch.autograd.Function):
    """Every pair (x_i, x_{i + half}) turned by its angle, in float32; the derivative turns back."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        ctx.save_for_backward(cos, sin)
        return _turn(x, cos, sin)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        cos, sin = ctx.saved_tensors
        return _turn(grads[0], cos, -sin), None, None


def _turn(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    first, second = x.float().chunk(2, dim=-1)
    turned = torch.empty_like(x, dtype=torch.float32)
    to_first, to_second = turned.chunk(2, dim=-1)
    torch.mul(first, cos, out=to_first).addcmul_(second, sin, value=-1)
    torch.mul(second, cos, out=to_second).addcmul_(first, sin)
    return turned.to(x.dtype)


def rotation_table(spec: ModelSpec, num_tokens: int, device: torch.device | str) -> Rotation:
    """cos and sin of position times frequency (see `understudy.rotary`)."""
    turns = torch.tensor(spec.frequencies(num_tokens), dtype=torch.float32)
    angles = torch.arange(num_tokens, dtype=torch.float32)[:, None] * turns
    factor = spec.attention_factor
    return (angles.cos() * factor).to(device), (angles.sin() * factor).to(device)


def initialise(network: Network, seed: int, scale: float = 0.02) -> None:
    """Draw all matrices from N(0, scale²), the residual writers from N(0, scale² / (2 layers));
    norms stay neutral."""
    generator = torch.Generator().manual_seed(seed)
    deep = scale / math.sqrt(2 * network.spec.num_layers)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if parameter.dim() == 2:
                is_writer = name.endswith(("o_proj.weight", "down_proj.weight"))
                drawn = torch.randn(parameter.shape, generator=generator) * (
                    deep if is_writer else scale
                )
                parameter.copy_(drawn)
            elif "norm" not in name:
                parameter.zero_()


def network_from_weights(
    spec: ModelSpec, weights: Mapping[str, Any], dtype: torch.dtype = torch.float32
) -> Network:
    """A network that holds copies of `weights` (NumPy arrays or tensors under the names of
    `tensor_shapes`).

    Raises:
        MissingError: a tensor is absent or has another shape.
    """
    with torch.device("meta"):
        network = Network(spec)
    state: dict[str, Tensor] = {}
    for name, shape in tensor_shapes(spec).items():
        if name not in weights:
            raise MissingError("tensor is not in the checkpoint", where=name, expected=shape)
        value = torch.as_tensor(weights[name])
        if tuple(value.shape) != shape:
            raise MissingError(
                "tensor has the wrong shape", where=name, expected=shape, found=tuple(value.shape)
            )
        state[name] = value.detach().to(dtype).clone()
    network.load_state_dict(state, assign=True)
    return network.requires_grad_(True)


def network_on(spec: ModelSpec, state: Mapping[str, Tensor]) -> Network:
    """A network on these very tensors, without a gradient: nothing is copied, and no hook comes
    along."""
    with torch.device("meta"):
        network = Network(spec)
    network.load_state_dict({name: value.detach() for name, value in state.items()}, assign=True)
    return network.requires_grad_(False)


def weights_of(network: Network) -> dict[str, Any]:
    """float32 NumPy arrays under the names of `tensor_shapes`."""
    return {
        name: value.detach().float().cpu().numpy() for name, value in network.state_dict().items()
    }
