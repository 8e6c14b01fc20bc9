"""The architecture as data: what a checkpoint's network is, in numbers and three or four choices.

`ModelSpec` is read by the NumPy reference (`checkpoint/reference.py`), the native core
(`cpp/spec.h`) and the torch modules of `compress`. Its table of blocks says layer by layer which
mixer stands there and whether an MLP follows. It holds no weights and imports nothing but `rotary`
and `experts`. A pruned model is just another `ModelSpec`.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Literal

from understudy import gated_delta
from understudy.experts import Experts, is_router, mixture_shapes
from understudy.gated_delta import GatedDelta
from understudy.rotary import LongRopeScaling, RopeScaling, frequencies, plain_frequencies

Norm = Literal["layer_norm_1p", "rms_norm", "rms_norm_1p"]
Activation = Literal["relu2", "silu", "gelu_tanh"]
Mixer = Literal["attention", "mamba2", "short_conv", "gated_delta", "none"]
RECURRENT: tuple[Mixer, ...] = ("mamba2", "short_conv", "gated_delta")
Rotation = Literal["global", "local", "none"]


@dataclass(frozen=True, slots=True)
class BlockSpec:
    """One layer: a mixer, then an MLP, each behind a norm of its own and added to the stream.

    `window` and `rotation` are of attention: how many tokens it sees, its own included (0: all),
    and whether heads turn by the model's frequencies, by those of its local layers, or not at all.
    With `has_experts` the MLP is a mixture of them, of the sizes in `ModelSpec.experts`.
    """

    mixer: Mixer = "attention"
    has_mlp: bool = True
    window: int = 0
    rotation: Rotation = "global"
    has_experts: bool = False


@dataclass(frozen=True, slots=True)
class Mamba2:
    """Sizes of a model's Mamba-2 mixers; `norm_groups` are normed apart behind the gate."""

    num_heads: int
    head_dim: int
    state_size: int
    num_groups: int
    norm_groups: int
    conv_size: int
    conv_bias: bool = True
    proj_bias: bool = False
    min_time_step: float = 0.0

    @property
    def inner_size(self) -> int:
        return self.num_heads * self.head_dim

    @property
    def conv_channels(self) -> int:
        return self.inner_size + 2 * self.num_groups * self.state_size

    @property
    def projected_size(self) -> int:
        return self.inner_size + self.conv_channels + self.num_heads

    def problems(self) -> list[str]:
        sizes = dataclasses.asdict(self)
        found = [
            f"mamba2.{name} must be positive, is {value}"
            for name, value in sizes.items()
            if name.endswith(("heads", "dim", "size", "groups")) and not value > 0
        ]
        if not found and self.num_heads % self.num_groups:
            found.append(
                f"{self.num_heads} Mamba-2 heads are no multiple of {self.num_groups} groups"
            )
        if not found and self.inner_size % self.norm_groups:
            found.append(f"{self.inner_size} channels are no multiple of {self.norm_groups} groups")
        return found


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """One decoder-only network.

    `norm="layer_norm_1p"` means (x - mean) / sqrt(var + eps) * (1 + w) + b with w stored
    zero-centred and b always present; `"rms_norm"` means x / sqrt(mean(x²) + eps) * w, and
    `"rms_norm_1p"` the same times 1 + w. `gated` MLPs
    compute down(act(gate x) * up x), ungated ones down(act(up x)). The first `rotary_dim` of the
    `head_dim` values of each query and key head are rotated in the NeoX (half-split) manner with
    exponent denominator `rotary_dim`.
    """

    architecture: str  # a key of `checkpoint.registry.ARCHITECTURES`: which names the files use
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
    blocks: tuple[BlockSpec, ...] = ()  # one a layer; empty: each is a plain `BlockSpec()`
    qk_norm: bool = False  # each query and key head is normed before it turns
    post_norms: bool = False  # what a mixer or an MLP gives is normed before it is added
    local_rope_theta: float = 10000.0  # of blocks whose rotation is local
    embedding_scale: float = 1.0
    residual_scale: float = 1.0  # of what is added to the stream
    logit_scale: float = 1.0
    attention_scale: float = 0.0  # 0: 1 / sqrt(head_dim)
    conv_size: int = 0  # taps of short_conv mixers
    conv_bias: bool = False
    mamba2: Mamba2 | None = None
    gated_delta: GatedDelta | None = None
    output_gate: bool = False  # q_proj gives a gate behind each query head, for what it mixes
    experts: Experts | None = None

    def block(self, layer: int) -> BlockSpec:
        """What the layer of this number, from 0, consists of."""
        return self.blocks[layer] if self.blocks else BlockSpec()

    def count(self, *mixers: Mixer) -> int:
        """Layers with one of these mixers."""
        if not self.blocks:
            return self.num_layers if BlockSpec().mixer in mixers else 0
        return sum(block.mixer in mixers for block in self.blocks)

    @property
    def has_state(self) -> bool:
        """Whether something besides keys and values goes on from token to token."""
        return self.count(*RECURRENT) > 0

    def options(self) -> list[str]:
        """What this network has beyond those of Nemotron, Llama, Mistral and Qwen2, by field."""
        plain = {field.name: field.default for field in dataclasses.fields(self)}
        names = [
            *("blocks", "qk_norm", "post_norms", "embedding_scale", "residual_scale"),
            *("logit_scale", "attention_scale", "mamba2", "gated_delta", "output_gate", "experts"),
        ]
        return [name for name in names if getattr(self, name) != plain[name]]

    @property
    def local_frequencies(self) -> list[float]:
        """As `frequencies`, of blocks whose rotation is local; empty where there are none."""
        is_used = any(block.rotation == "local" for block in self.blocks)
        return plain_frequencies(self.rotary_dim, self.local_rope_theta) if is_used else []

    @property
    def query_size(self) -> int:
        """Values of all query heads together."""
        return self.num_heads * self.head_dim

    @property
    def projected_query_size(self) -> int:
        """Rows of q_proj: of each head its query, then its gate where there is one."""
        return self.query_size * (2 if self.output_gate else 1)

    @property
    def kv_size(self) -> int:
        """Values of all key heads together."""
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
        """The spec with some fields changed: `changes` by name."""
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
        return found + self._block_problems()

    def _block_problems(self) -> list[str]:
        sizes = (self.mamba2, self.gated_delta, self.experts)
        found = [problem for part in sizes if part is not None for problem in part.problems()]
        if self.blocks and len(self.blocks) != self.num_layers:
            found.append(f"{len(self.blocks)} blocks for {self.num_layers} layers")
            return found
        if any(block.mixer == "none" and not block.has_mlp for block in self.blocks):
            found.append("a block must have a mixer or an MLP")
        has_experts = any(block.has_experts for block in self.blocks)
        if has_experts and (self.experts is None or self.post_norms or self.mlp_bias):
            found.append("experts need their sizes, and know neither post norms nor biases")
        if self.count("mamba2") and self.mamba2 is None:
            found.append("the sizes of its Mamba-2 mixers are missing")
        if self.count("gated_delta") and self.gated_delta is None:
            found.append("the sizes of its gated delta mixers are missing")
        if self.count("short_conv") and self.conv_size < 1:
            found.append(f"conv_size must be positive, is {self.conv_size}")
        return found


# Formats that the core computes on (packed panels of 16 rows, see docs/kernels.md).
PackedFormat = Literal["f32", "bf16", "q8", "q4", "q4_1", "q4_sparse", "q3"]
WeightFormat = Literal["f32", "bf16", "q8", "q4", "q3"]
KvFormat = Literal["f16", "int8", "f32"]


@dataclass(frozen=True, slots=True)
class QuantSpec:
    """How each part of a model is stored: `f32`, `bf16`, `q8` (Q8_0), `q4` (Q4_0)
    or `q3` (Q3_U, this product's own).

    Attributes:
        weights: all matrices that are not named apart.
        embedding, head: the first and the last matrix; None: as `weights`.
    """

    weights: WeightFormat = "bf16"
    embedding: WeightFormat | None = None
    head: WeightFormat | None = None


def tensor_shapes(spec: ModelSpec) -> dict[str, tuple[int, ...]]:
    """Canonical tensor names and shapes; a linear weight is (out, in), a convolution's (channels,
    taps).

    Names are those of Hugging Face's Llama and Gemma 3; Mamba-2 stands under `mamba`, a short
    convolution under `conv`. How a family's own files call them is in `checkpoint/naming.py`.
    """
    hidden = spec.hidden_size
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (spec.vocab_size, hidden)}
    for layer in range(spec.num_layers):
        prefix, block = f"model.layers.{layer}.", spec.block(layer)
        norms = norm_names(spec, block)
        shapes |= {f"{prefix}{name}.weight": (hidden,) for name in norms}
        match block.mixer:
            case "attention":
                shapes |= _attention_shapes(spec, f"{prefix}self_attn.")
            case "mamba2":
                shapes |= _mamba2_shapes(spec, f"{prefix}mamba.")
            case "gated_delta":
                assert spec.gated_delta is not None
                shapes |= spec.gated_delta.shapes(f"{prefix}linear_attn.", hidden)
            case "short_conv":
                shapes |= _short_conv_shapes(spec, f"{prefix}conv.")
        if block.has_mlp and block.has_experts and spec.experts is not None:
            shapes |= mixture_shapes(spec.experts, f"{prefix}mlp.", hidden, spec.gated)
        elif block.has_mlp:
            shapes |= _mlp_shapes(spec, f"{prefix}mlp.")
        if spec.norm == "layer_norm_1p":
            shapes |= {f"{prefix}{name}.bias": (hidden,) for name in norms}
        shapes |= _layer_biases(spec, block, prefix)
    shapes["model.norm.weight"] = (hidden,)
    if spec.norm == "layer_norm_1p":
        shapes["model.norm.bias"] = (hidden,)
    if not spec.tied_embeddings:
        shapes["lm_head.weight"] = (spec.vocab_size, hidden)
    return shapes


def has_centred_gain(spec: ModelSpec, name: str) -> bool:
    """Whether a tensor is the gain of a norm that multiplies by 1 + it."""
    is_gain = name.endswith("norm.weight") and not name.endswith(gated_delta.NORM)
    return is_gain and spec.norm.endswith("_1p")


def norm_names(spec: ModelSpec, block: BlockSpec) -> list[str]:
    """A layer's norms in the order in which they act."""
    mixer = ["input_layernorm", *(["post_attention_layernorm"] if spec.post_norms else [])]
    mlp = ["pre_feedforward_layernorm", "post_feedforward_layernorm"]
    names = mixer if block.mixer != "none" else []
    if not block.has_mlp:
        return names
    return names + (mlp if spec.post_norms else ["post_attention_layernorm"])


def _attention_shapes(spec: ModelSpec, prefix: str) -> dict[str, tuple[int, ...]]:
    hidden = spec.hidden_size
    norms = {f"{prefix}{name}.weight": (spec.head_dim,) for name in ("q_norm", "k_norm")}
    return {
        f"{prefix}q_proj.weight": (spec.projected_query_size, hidden),
        f"{prefix}k_proj.weight": (spec.kv_size, hidden),
        f"{prefix}v_proj.weight": (spec.kv_size, hidden),
        f"{prefix}o_proj.weight": (hidden, spec.query_size),
        **(norms if spec.qk_norm else {}),
    }


def _mamba2_shapes(spec: ModelSpec, prefix: str) -> dict[str, tuple[int, ...]]:
    mamba = spec.mamba2
    assert mamba is not None
    shapes: dict[str, tuple[int, ...]] = {
        f"{prefix}in_proj.weight": (mamba.projected_size, spec.hidden_size),
        f"{prefix}conv1d.weight": (mamba.conv_channels, mamba.conv_size),
        **{f"{prefix}{name}": (mamba.num_heads,) for name in ("dt_bias", "A_log", "D")},
        f"{prefix}norm.weight": (mamba.inner_size,),
        f"{prefix}out_proj.weight": (spec.hidden_size, mamba.inner_size),
    }
    if mamba.conv_bias:
        shapes[f"{prefix}conv1d.bias"] = (mamba.conv_channels,)
    if mamba.proj_bias:
        shapes[f"{prefix}in_proj.bias"] = (mamba.projected_size,)
        shapes[f"{prefix}out_proj.bias"] = (spec.hidden_size,)
    return shapes


def _short_conv_shapes(spec: ModelSpec, prefix: str) -> dict[str, tuple[int, ...]]:
    hidden = spec.hidden_size
    shapes: dict[str, tuple[int, ...]] = {
        f"{prefix}in_proj.weight": (3 * hidden, hidden),
        f"{prefix}conv.weight": (hidden, spec.conv_size),
        f"{prefix}out_proj.weight": (hidden, hidden),
    }
    if spec.conv_bias:
        shapes[f"{prefix}in_proj.bias"] = (3 * hidden,)
        shapes[f"{prefix}conv.bias"] = (hidden,)
        shapes[f"{prefix}out_proj.bias"] = (hidden,)
    return shapes


def _mlp_shapes(spec: ModelSpec, prefix: str) -> dict[str, tuple[int, ...]]:
    hidden, inner = spec.hidden_size, spec.intermediate_size
    gate = {f"{prefix}gate_proj.weight": (inner, hidden)}
    return {
        f"{prefix}up_proj.weight": (inner, hidden),
        f"{prefix}down_proj.weight": (hidden, inner),
        **(gate if spec.gated else {}),
    }


def _layer_biases(spec: ModelSpec, block: BlockSpec, prefix: str) -> dict[str, tuple[int, ...]]:
    """Biases of attention and MLP."""
    shapes: dict[str, tuple[int, ...]] = {}
    has_attention = block.mixer == "attention"
    if spec.qkv_bias and has_attention:
        shapes[f"{prefix}self_attn.q_proj.bias"] = (spec.projected_query_size,)
        shapes[f"{prefix}self_attn.k_proj.bias"] = (spec.kv_size,)
        shapes[f"{prefix}self_attn.v_proj.bias"] = (spec.kv_size,)
    if spec.output_bias and has_attention:
        shapes[f"{prefix}self_attn.o_proj.bias"] = (spec.hidden_size,)
    if spec.mlp_bias and block.has_mlp:
        shapes[f"{prefix}mlp.up_proj.bias"] = (spec.intermediate_size,)
        shapes[f"{prefix}mlp.down_proj.bias"] = (spec.hidden_size,)
        if spec.gated:
            shapes[f"{prefix}mlp.gate_proj.bias"] = (spec.intermediate_size,)
    return shapes


def is_convolution(name: str) -> bool:
    """Whether a tensor is the taps of a convolution: a table that is no matrix to multiply by."""
    return name.endswith(("conv1d.weight", "conv.conv.weight"))


def stays_float(name: str) -> bool:
    """Whether a tensor is never rounded to blocks: a convolution's taps, and a router."""
    return is_convolution(name) or is_router(name)


_PARTS = (
    ("embed_tokens", "embedding"),
    ("lm_head", "head"),
    ("self_attn", "attention"),
    (".experts.", "experts"),
    (".mlp.", "mlp"),
    (".mamba.", "recurrent"),
    (".linear_attn.", "recurrent"),
    (".conv.", "recurrent"),
)


def part_of(name: str) -> str:
    """The part of the network that a tensor belongs to; norms are what is none of the others."""
    return next((part for mark, part in _PARTS if mark in name), "norms")


def parameter_counts(spec: ModelSpec) -> dict[str, int]:
    """Parameters by part: embedding, attention, mlp, norms, head (0 when tied), recurrent and
    experts (only where there are such layers) and total."""
    parts = {"embedding": 0, "attention": 0, "mlp": 0, "norms": 0, "head": 0}
    for name, shape in tensor_shapes(spec).items():
        part = part_of(name)
        parts[part] = parts.get(part, 0) + math.prod(shape)
    return parts | {"total": sum(parts.values())}
