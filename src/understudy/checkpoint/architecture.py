"""The table of architectures: how a config becomes a `ModelSpec`, and how GGUF names and keys map
onto it.

To add one: write `models/<name>.py` with an `Architecture` and put a line into `ARCHITECTURES`
(models/registry.py).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from understudy.checkpoint.config import Config
from understudy.errors import FormatError
from understudy.spec import ModelSpec


@dataclass(frozen=True, slots=True)
class Architecture:
    """One family of checkpoints.

    Attributes:
        name: `model_type` of a config.json and `general.architecture` of a GGUF file.
        class_name: what transformers calls it.
        spec_of: config.json -> ModelSpec.
        spec_of_gguf: GGUF metadata, names of the tensors -> ModelSpec.
        config_of: ModelSpec -> config.json (without tokenizer ids).
        gguf_metadata: ModelSpec -> `<arch>.*` keys as llama.cpp reads them.
        gguf_architecture: the GGUF name where it differs from `name`.
        permutes_rope: GGUF stores q and k rows interleaved (llama.cpp's "norm" rotation).
        norm_offset: what GGUF adds to a norm gain.
    """

    name: str
    class_name: str
    spec_of: Callable[[Mapping[str, Any], object], ModelSpec]
    spec_of_gguf: Callable[[Mapping[str, Any], Mapping[str, tuple[int, ...]], object], ModelSpec]
    config_of: Callable[[ModelSpec], dict[str, Any]]
    gguf_metadata: Callable[[ModelSpec], dict[str, Any]]
    gguf_architecture: str = ""
    permutes_rope: bool = False
    norm_offset: float = 0.0
    extra: dict[str, Any] = field(default_factory=dict)


_LAYER_NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_GLOBAL_NAMES = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
}
_TO_GGUF = {canonical: short for short, canonical in (_LAYER_NAMES | _GLOBAL_NAMES).items()}


def canonical_name(gguf_name: str) -> str | None:
    """`blk.3.attn_q.weight` -> `model.layers.3.self_attn.q_proj.weight`; None for a name that is
    not of this family.
    """
    if match := re.fullmatch(r"blk\.(\d+)\.(\w+)\.(weight|bias)", gguf_name):
        layer, short, kind = match.groups()
        return (
            f"model.layers.{layer}.{_LAYER_NAMES[short]}.{kind}" if short in _LAYER_NAMES else None
        )
    short, _, kind = gguf_name.rpartition(".")
    return (
        f"{_GLOBAL_NAMES[short]}.{kind}"
        if short in _GLOBAL_NAMES and kind in ("weight", "bias")
        else None
    )


def gguf_name(canonical: str) -> str:
    """The inverse of `canonical_name`."""
    stem, _, kind = canonical.rpartition(".")
    if match := re.fullmatch(r"model\.layers\.(\d+)\.(.+)", stem):
        return f"blk.{match[1]}.{_TO_GGUF[match[2]]}.{kind}"
    return f"{_TO_GGUF[stem]}.{kind}"


def interleaved_order(num_heads: int, head_dim: int) -> NDArray[np.intp]:
    """Row order with which llama.cpp's converter turns half-split rotation into interleaved
    rotation: (heads · head_dim,).
    """
    rows = np.arange(num_heads * head_dim).reshape(num_heads, 2, head_dim // 2)
    return rows.swapaxes(1, 2).reshape(-1)


def common_sizes(config: Config, defaults: Mapping[str, int]) -> dict[str, Any]:
    """The sizes that all families of config.json share, with every spelling seen in real files.

    Args:
        defaults: what transformers takes where a key is missing.
    """

    def size(*names: str) -> int:
        return config.whole(*names, default=defaults[names[0]])

    hidden, heads = size("hidden_size", "n_embd"), size("num_attention_heads")
    head_dim = config.get("head_dim", "kv_channels", "attention_head_dim")
    if head_dim is None and hidden % heads:
        raise FormatError(
            "hidden_size is not a multiple of num_attention_heads and head_dim is not given",
            where=config.where,
            found=f"{hidden} and {heads}",
        )
    kv_names = ("num_key_value_heads", "num_query_groups")
    is_said = any(name in config.values for name in kv_names)  # as null it means all heads
    kv_heads = heads if is_said else defaults.get(kv_names[0], heads)
    return {
        "num_layers": size("num_hidden_layers", "num_layers"),
        "hidden_size": hidden,
        "intermediate_size": size("intermediate_size", "ffn_hidden_size"),
        "num_heads": heads,
        "num_kv_heads": config.whole(*kv_names, default=kv_heads),
        "head_dim": head_dim if type(head_dim) is int and head_dim > 0 else hidden // heads,
        "vocab_size": size("vocab_size"),
        "max_positions": size("max_position_embeddings"),
    }


def within_window(config: Config, sizes: dict[str, Any], window: Any) -> dict[str, Any]:
    """The sizes of a model that attends to the last `window` tokens, as far as that is all of them.

    Up to `window` tokens such a model computes what one without a window does; so the context ends
    there.
    """
    if window is None:
        return sizes
    if type(window) is not int or window <= 0:
        raise FormatError(
            "not a positive whole number", where=f"{config.where}: sliding_window", found=window
        )
    if window >= sizes["max_positions"]:
        return sizes
    config.warn(
        f"sliding windows are not implemented: the context ends with the window, at {window} of "
        f"{sizes['max_positions']} tokens, up to where it makes no difference"
    )
    return sizes | {"max_positions": window}


def shortest(value: float) -> float:
    """The shortest decimal behind a number that a file holds in single precision: 9.99999975e-06
    was 1e-05.
    """
    return float(str(np.float32(value)))


def sound(spec: ModelSpec, where: object) -> ModelSpec:
    """The spec itself, or FormatError with what is wrong with it."""
    if problems := spec.problems():
        raise FormatError("; ".join(problems), where=where)
    return spec
