"""The architecture as data: what a checkpoint's network is, in numbers and three or four choices.

`ModelSpec` is read by the NumPy reference (`models/reference.py`), the native core (`cpp/spec.h`)
and the torch modules of `compress`. It holds no weights and imports nothing but `rotary`. A pruned
model is just another `ModelSpec`.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal

from understudy.rotary import LongRopeScaling, RopeScaling, frequencies

Norm = Literal["layer_norm_1p", "rms_norm"]
Activation = Literal["relu2", "silu"]


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """One decoder-only transformer of the Nemotron, Llama, Mistral or Qwen2 shape.

    `norm="layer_norm_1p"` means (x - mean) / sqrt(var + eps) * (1 + w) + b with w stored
    zero-centred and b always present; `"rms_norm"` means x / sqrt(mean(x²) + eps) * w. `gated` MLPs
    compute down(act(gate x) * up x), ungated ones down(act(up x)). The first `rotary_dim` of the
    `head_dim` values of each query and key head are rotated in the NeoX (half-split) manner with
    exponent denominator `rotary_dim`.
    """

    architecture: str  # "nemotron" | "llama" | "mistral" | "qwen2": which names the files use
    num_layers: int
    hidden_size: int
    intermediate_size: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    vocab_size: int
    max_positions: int
    norm: Norm
    norm_eps: float
    activation: Activation
    gated: bool
    rotary_dim: int
    rope_theta: float
    rope_scaling: RopeScaling | None = None
    tied_embeddings: bool = False
    qkv_bias: bool = False
    output_bias: bool = False  # bias of the attention's output projection
    mlp_bias: bool = False

    @property
    def query_size(self) -> int:
        return self.num_heads * self.head_dim

    @property
    def kv_size(self) -> int:
        return self.num_kv_heads * self.head_dim

    @property
    def group_size(self) -> int:
        """Query heads that share one key/value head."""
        return self.num_heads // self.num_kv_heads

    def frequencies(self, num_positions: int) -> list[float]:
        """Radians a position of each rotated pair in a text of `num_positions` tokens: rotary_dim /
        2 numbers.
        """
        return frequencies(self.rotary_dim, self.rope_theta, self.rope_scaling, num_positions)

    @property
    def short_context(self) -> int | None:
        """Texts up to this length turn by other frequencies than longer ones; None where all turn
        alike.
        """
        scaling = self.rope_scaling
        if not isinstance(scaling, LongRopeScaling) or self.frequencies(1) == self.frequencies(
            self.max_positions
        ):
            return None
        return scaling.original_max_positions

    @property
    def attention_factor(self) -> float:
        """What sines and cosines are multiplied by."""
        return 1.0 if self.rope_scaling is None else self.rope_scaling.attention_factor

    def replace(self, **changes: object) -> ModelSpec:
        return dataclasses.replace(self, **changes)  # type: ignore[arg-type]

    def problems(self) -> list[str]:
        """What makes this spec impossible, in words; empty when it is sound."""
        found = [
            f"{name} must be positive, is {value}"
            for name in [
                "num_layers",
                "hidden_size",
                "intermediate_size",
                "num_heads",
                "num_kv_heads",
                "head_dim",
                "vocab_size",
                "max_positions",
            ]
            if (value := getattr(self, name)) <= 0
        ]
        if not found and self.num_heads % self.num_kv_heads:
            found.append(
                f"num_heads {self.num_heads} is not a multiple of num_kv_heads {self.num_kv_heads}"
            )
        if self.rotary_dim % 2 or not 0 <= self.rotary_dim <= self.head_dim:
            found.append(
                f"rotary_dim {self.rotary_dim} must be even and at most head_dim {self.head_dim}"
            )
        if not self.norm_eps > 0:
            found.append(f"norm_eps must be positive, is {self.norm_eps}")
        if not self.rope_theta > 0:
            found.append(f"rope_theta must be positive, is {self.rope_theta}")
        return found


# Formats that the core computes on (packed panels of 16 rows, see docs/kernels.md).
PackedFormat = Literal["f32", "bf16", "q8", "q4", "q4_1", "q4_sparse"]
KvFormat = Literal["f16", "int8", "f32"]


@dataclass(frozen=True, slots=True)
class QuantSpec:
    """How each part of a model is stored: `bf16`, `q8` (Q8_0) or `q4` (Q4_0); `None` follows
    `weights`.
    """

    weights: Literal["f32", "bf16", "q8", "q4"] = "bf16"
    embedding: Literal["f32", "bf16", "q8", "q4"] | None = None
    head: Literal["f32", "bf16", "q8", "q4"] | None = None


def tensor_shapes(spec: ModelSpec) -> dict[str, tuple[int, ...]]:
    """Canonical tensor names (those of Hugging Face) and shapes; a linear weight is (out, in)."""
    hidden, inner = spec.hidden_size, spec.intermediate_size
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (spec.vocab_size, hidden)}
    for layer in range(spec.num_layers):
        prefix = f"model.layers.{layer}."
        shapes |= {
            f"{prefix}input_layernorm.weight": (hidden,),
            f"{prefix}post_attention_layernorm.weight": (hidden,),
            f"{prefix}self_attn.q_proj.weight": (spec.query_size, hidden),
            f"{prefix}self_attn.k_proj.weight": (spec.kv_size, hidden),
            f"{prefix}self_attn.v_proj.weight": (spec.kv_size, hidden),
            f"{prefix}self_attn.o_proj.weight": (hidden, spec.query_size),
            f"{prefix}mlp.up_proj.weight": (inner, hidden),
            f"{prefix}mlp.down_proj.weight": (hidden, inner),
        }
        if spec.gated:
            shapes[f"{prefix}mlp.gate_proj.weight"] = (inner, hidden)
        shapes |= _layer_biases(spec, prefix)
    shapes["model.norm.weight"] = (hidden,)
    if spec.norm == "layer_norm_1p":
        shapes["model.norm.bias"] = (hidden,)
    if not spec.tied_embeddings:
        shapes["lm_head.weight"] = (spec.vocab_size, hidden)
    return shapes


def _layer_biases(spec: ModelSpec, prefix: str) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    if spec.norm == "layer_norm_1p":
        shapes[f"{prefix}input_layernorm.bias"] = (spec.hidden_size,)
        shapes[f"{prefix}post_attention_layernorm.bias"] = (spec.hidden_size,)
    if spec.qkv_bias:
        shapes[f"{prefix}self_attn.q_proj.bias"] = (spec.query_size,)
        shapes[f"{prefix}self_attn.k_proj.bias"] = (spec.kv_size,)
        shapes[f"{prefix}self_attn.v_proj.bias"] = (spec.kv_size,)
    if spec.output_bias:
        shapes[f"{prefix}self_attn.o_proj.bias"] = (spec.hidden_size,)
    if spec.mlp_bias:
        shapes[f"{prefix}mlp.up_proj.bias"] = (spec.intermediate_size,)
        shapes[f"{prefix}mlp.down_proj.bias"] = (spec.hidden_size,)
        if spec.gated:
            shapes[f"{prefix}mlp.gate_proj.bias"] = (spec.intermediate_size,)
    return shapes


def parameter_counts(spec: ModelSpec) -> dict[str, int]:
    """Parameters by part: embedding, attention, mlp, norms, head (0 when tied) and total."""
    parts = {"embedding": 0, "attention": 0, "mlp": 0, "norms": 0, "head": 0}
    for name, shape in tensor_shapes(spec).items():
        count = 1
        for extent in shape:
            count *= extent
        part = (
            "embedding"
            if "embed_tokens" in name
            else "head"
            if name.startswith("lm_head")
            else "attention"
            if "self_attn" in name
            else "mlp"
            if ".mlp." in name
            else "norms"
        )
        parts[part] += count
    return parts | {"total": sum(parts.values())}
