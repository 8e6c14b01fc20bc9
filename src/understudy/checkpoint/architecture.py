"""The table of architectures: how a config becomes a `ModelSpec`, and how GGUF names and keys map
onto it.

To add one: write `checkpoint/<name>.py` with an `Architecture` and put a line into `ARCHITECTURES`
(`checkpoint/registry.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from understudy.checkpoint.config import Config
from understudy.checkpoint.naming import FOLDER_NAMES, GGUF_NAMES, Naming
from understudy.checkpoint.weights import Weights
from understudy.errors import FormatError
from understudy.spec import ModelSpec


@dataclass(frozen=True, slots=True)
class Architecture:
    """One family of checkpoints.

    Attributes:
        name: `ModelSpec.architecture`; `model_type` of a config.json and `general.architecture` of
            a GGUF file, where these are not named apart.
        class_name: what transformers calls it.
        spec_of: config.json -> ModelSpec.
        spec_of_gguf: GGUF metadata, names of the tensors -> ModelSpec.
        config_of: ModelSpec -> config.json (without tokenizer ids).
        gguf_metadata: ModelSpec -> `<arch>.*` keys as llama.cpp reads them.
        gguf_architecture, model_type: the GGUF's and the folder's name where it differs.
        permutes_rope: GGUF stores q and k rows interleaved (llama.cpp's "norm" rotation).
        norm_offset: what GGUF adds to a norm gain.
        folder_names, gguf_names: what its files call its tensors.
        mend_folder: undoes what another program's folders change of the tensors.
    """

    name: str
    class_name: str
    spec_of: Callable[[Mapping[str, Any], object], ModelSpec]
    spec_of_gguf: Callable[[Mapping[str, Any], Mapping[str, tuple[int, ...]], object], ModelSpec]
    config_of: Callable[[ModelSpec], dict[str, Any]]
    gguf_metadata: Callable[[ModelSpec], dict[str, Any]]
    gguf_architecture: str = ""
    model_type: str = ""
    permutes_rope: bool = False
    norm_offset: float = 0.0
    folder_names: Naming = FOLDER_NAMES
    gguf_names: Naming = GGUF_NAMES
    mend_folder: Callable[[Weights], None] | None = None


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


def size_keys(spec: ModelSpec) -> dict[str, Any]:
    """What every family's config.json says of a network's sizes, and of its head."""
    return {
        "num_hidden_layers": spec.num_layers,
        "hidden_size": spec.hidden_size,
        "intermediate_size": spec.intermediate_size,
        "num_attention_heads": spec.num_heads,
        "num_key_value_heads": spec.num_kv_heads,
        "head_dim": spec.head_dim,
        "vocab_size": spec.vocab_size,
        "max_position_embeddings": spec.max_positions,
        "tie_word_embeddings": spec.tied_embeddings,
    }


def size_metadata(arch: str, spec: ModelSpec) -> dict[str, Any]:
    """What a GGUF says of a network's sizes, the same in each of its layers."""
    return {
        f"{arch}.context_length": spec.max_positions,
        f"{arch}.embedding_length": spec.hidden_size,
        f"{arch}.block_count": spec.num_layers,
        f"{arch}.feed_forward_length": spec.intermediate_size,
        f"{arch}.attention.head_count": spec.num_heads,
        f"{arch}.attention.head_count_kv": spec.num_kv_heads,
        f"{arch}.attention.key_length": spec.head_dim,
        f"{arch}.attention.value_length": spec.head_dim,
        f"{arch}.vocab_size": spec.vocab_size,
    }


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
