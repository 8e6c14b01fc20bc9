"""The table of architectures: how a config becomes a `ModelSpec`, and how GGUF names and keys map onto it.

To add one: write `models/<name>.py` with an `Architecture` and put a line into `ARCHITECTURES` (models/registry.py).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from understudy.errors import FormatError, MissingError, UnsupportedError
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
    """`blk.3.attn_q.weight` -> `model.layers.3.self_attn.q_proj.weight`; None for a name that is not of this family."""
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
    """Row order with which llama.cpp's converter turns half-split rotation into interleaved rotation: (heads · head_dim,)."""
    rows = np.arange(num_heads * head_dim).reshape(num_heads, 2, head_dim // 2)
    return rows.swapaxes(1, 2).reshape(-1)


class Config:
    """Reads a config mapping: synonyms, types, and at the end a check that every key was understood."""

    def __init__(
        self, values: Mapping[str, Any], where: object, harmless: frozenset[str] = frozenset()
    ) -> None:
        self.values, self.where, self.harmless = dict(values), where, harmless
        self.seen: set[str] = set()

    def get(self, *names: str, default: Any = None) -> Any:
        """The first of some synonyms that is there and not null; two that disagree are refused."""
        found = {name: self.values[name] for name in names if self.values.get(name) is not None}
        self.seen.update(names)
        if len({repr(value) for value in found.values()}) > 1:
            raise FormatError("keys for the same thing disagree", where=self.where, found=found)
        return next(iter(found.values()), default)

    def require(self, *names: str) -> Any:
        value = self.get(*names)
        if value is None:
            raise MissingError("key is missing", where=self.where, expected=" or ".join(names))
        return value

    def whole(self, *names: str, default: int | None = None) -> int:
        value = self.get(*names, default=default) if default is not None else self.require(*names)
        if type(value) is not int or not 0 < value < 1 << 31:
            raise FormatError(
                "not a positive whole number", where=f"{self.where}: {names[0]}", found=value
            )
        return value

    def real(self, *names: str, default: float | None = None) -> float:
        value = self.get(*names, default=default) if default is not None else self.require(*names)
        if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
            raise FormatError("not a number", where=f"{self.where}: {names[0]}", found=value)
        return float(value)

    def flag(self, name: str, default: bool) -> bool:
        value = self.get(name, default=default)
        if not isinstance(value, bool):
            raise FormatError("not true or false", where=f"{self.where}: {name}", found=value)
        return value

    def only(self, name: str, *allowed: Any) -> None:
        """Refuses a key whose value asks for something that is not implemented; absent and null are always fine."""
        value = self.get(name)
        if value is not None and value not in allowed:
            raise UnsupportedError(
                "not implemented",
                where=f"{self.where}: {name}",
                expected=list(allowed),
                found=value,
            )

    def finish(self) -> None:
        """Refuses keys that nobody asked for: what they mean for the arithmetic is unknown."""
        unknown = sorted(
            k
            for k in self.values
            if k not in self.seen and k not in self.harmless and not k.startswith("_")
        )
        if unknown:
            raise UnsupportedError(
                "unknown key",
                where=self.where,
                found=", ".join(unknown[:5]),
                do="remove it if it does not change the arithmetic, or open an issue if it does",
            )


# Keys of a config.json that do not change what the network computes.
HARMLESS_KEYS = frozenset(
    [
        "architectures",
        "auto_map",
        "attention_dropout",
        "attn_implementation",
        "bos_token_id",
        "chunk_size_feed_forward",
        "cls_token_id",
        "decoder_start_token_id",
        "diversity_penalty",
        "do_sample",
        "dtype",
        "early_stopping",
        "eos_token_id",
        "exponential_decay_length_penalty",
        "finetuning_task",
        "forced_bos_token_id",
        "forced_eos_token_id",
        "hidden_dropout",
        "id2label",
        "initializer_range",
        "is_decoder",
        "is_encoder_decoder",
        "is_llama_config",
        "label2id",
        "length_penalty",
        "max_length",
        "max_window_layers",
        "min_length",
        "model_max_length",
        "model_type",
        "no_repeat_ngram_size",
        "num_beam_groups",
        "num_beams",
        "num_return_sequences",
        "output_attentions",
        "output_hidden_states",
        "output_scores",
        "pad_token_id",
        "prefix",
        "pretraining_tp",
        "problem_type",
        "pruned_heads",
        "remove_invalid_values",
        "repetition_penalty",
        "return_dict",
        "return_dict_in_generate",
        "rope_interleaved",
        "sep_token_id",
        "suppress_tokens",
        "task_specific_params",
        "temperature",
        "tf_legacy_loss",
        "tie_encoder_decoder",
        "tokenizer_class",
        "top_k",
        "top_p",
        "torch_dtype",
        "torchscript",
        "transformers.js_config",
        "transformers_version",
        "typical_p",
        "use_bfloat16",
        "use_cache",
        "bad_words_ids",
        "begin_suppress_tokens",
        "add_cross_attention",
        "cross_attention_hidden_size",
        "encoder_no_repeat_ngram_size",
        "understudy",
    ]
)


def common_sizes(config: Config) -> dict[str, Any]:
    """The sizes that all families of config.json share, with every spelling seen in real files."""
    hidden, heads = config.whole("hidden_size", "n_embd"), config.whole("num_attention_heads")
    head_dim = config.get("head_dim", "kv_channels", "attention_head_dim")
    if head_dim is None and hidden % heads:
        raise FormatError(
            "hidden_size is not a multiple of num_attention_heads and head_dim is not given",
            where=config.where,
            found=f"{hidden} and {heads}",
        )
    return {
        "num_layers": config.whole("num_hidden_layers", "num_layers"),
        "hidden_size": hidden,
        "intermediate_size": config.whole("intermediate_size", "ffn_hidden_size"),
        "num_heads": heads,
        "num_kv_heads": config.whole("num_key_value_heads", "num_query_groups", default=heads),
        "head_dim": head_dim if type(head_dim) is int and head_dim > 0 else hidden // heads,
        "vocab_size": config.whole("vocab_size"),
        "max_positions": config.whole("max_position_embeddings", default=2048),
    }


def shortest(value: float) -> float:
    """The shortest decimal behind a number that a file holds in single precision: 9.99999975e-06 was 1e-05."""
    return float(str(np.float32(value)))


def sound(spec: ModelSpec, where: object) -> ModelSpec:
    """The spec itself, or FormatError with what is wrong with it."""
    if problems := spec.problems():
        raise FormatError("; ".join(problems), where=where)
    return spec
