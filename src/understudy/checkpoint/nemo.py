"""NeMo's Nemotron: its configuration keys and tensor names, with query, key and value rows fused
group by group.

Source: NeMo's converter scripts (`convert_nemotron_nemo_to_hf.py`). Norm gains are zero-centred in
both.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from understudy.checkpoint.architecture import sound
from understudy.checkpoint.config import Config
from understudy.checkpoint.weights import Weights, announced
from understudy.errors import FormatError, MissingError, UnsupportedError
from understudy.formats.nemo import NemoFile, ZarrArray, read_nemo
from understudy.formats.tensor import StoredTensor
from understudy.formats.tokenizer_source import TokenizerSource
from understudy.spec import ModelSpec, tensor_shapes

_LAYER_NAMES = {
    "self_attention.linear_proj.weight": "self_attn.o_proj.weight",
    "self_attention.linear_qkv.layer_norm_weight": "input_layernorm.weight",
    "self_attention.linear_qkv.layer_norm_bias": "input_layernorm.bias",
    "mlp.linear_fc1.weight": "mlp.up_proj.weight",
    "mlp.linear_fc1.layer_norm_weight": "post_attention_layernorm.weight",
    "mlp.linear_fc1.layer_norm_bias": "post_attention_layernorm.bias",
    "mlp.linear_fc2.weight": "mlp.down_proj.weight",
}
_GLOBAL_NAMES = {
    "embedding.word_embeddings.weight": "model.embed_tokens.weight",
    "decoder.final_layernorm.weight": "model.norm.weight",
    "decoder.final_layernorm.bias": "model.norm.bias",
    "output_layer.weight": "lm_head.weight",
}
_QKV = "self_attention.linear_qkv.weight"


def open_nemo(path: Path) -> tuple[ModelSpec, Weights, TokenizerSource | None, dict[str, Any]]:
    """Spec, weights under Hugging Face's names, tokenizer and configuration of a .nemo file or
    unpacked folder.

    Raises:
        CheckpointError: what is wrong with it, as `read_nemo` or here.
    """
    file = read_nemo(path)
    arrays = {
        name.removeprefix("model."): array
        for name, array in file.arrays.items()
        if not name.endswith("_extra_state")
    }
    spec = _spec_of(file, arrays)
    source = (
        TokenizerSource("sentencepiece", file.tokenizer_model)
        if file.tokenizer_model is not None
        else None
    )
    return spec, _weights(spec, arrays, path), source, file.config


def _spec_of(file: NemoFile, arrays: dict[str, ZarrArray]) -> ModelSpec:
    """model_config.yaml holds the whole training run: only the keys that change the arithmetic are
    looked at.
    """
    config = Config(file.config, f"{file.path}: model_config.yaml")
    for name, value in _ONLY.items():
        config.only(name, value)
    embedding = arrays.get("embedding.word_embeddings.weight")
    if embedding is None:
        raise MissingError(
            "tensor is missing", where=file.path, found="no model.embedding.word_embeddings.weight"
        )
    hidden, heads = config.whole("hidden_size"), config.whole("num_attention_heads")
    head_dim = config.whole("kv_channels", default=max(1, hidden // heads))
    spec = ModelSpec(
        architecture="nemotron",
        num_layers=config.whole("num_layers"),
        hidden_size=hidden,
        intermediate_size=config.whole("ffn_hidden_size"),
        num_heads=heads,
        num_kv_heads=config.whole("num_query_groups", default=heads),
        head_dim=head_dim,
        vocab_size=embedding.shape[0],
        max_positions=config.whole("max_position_embeddings", "encoder_seq_length"),
        norm="layer_norm_1p",
        norm_eps=config.real("layernorm_epsilon", default=1e-5),
        activation="relu2",
        gated=False,
        rotary_dim=int(head_dim * config.real("rotary_percentage", default=1.0)),
        rope_theta=config.real("rotary_base", default=10000.0),
        tied_embeddings=config.flag("share_embeddings_and_output_weights", True),
    )
    return sound(spec, file.path)


_ONLY: dict[str, str | bool] = {  # the arithmetic that is implemented
    "normalization": "layernorm1p",
    "activation": "squared-relu",
    "position_embedding_type": "rope",
    "transformer_block_type": "pre_ln",
    "bias": False,
    "qk_layernorm": False,
    "window_size": False,
    "num_moe_experts": False,
    "seq_len_interpolation_factor": False,
    "headscale": False,
}


def _weights(spec: ModelSpec, arrays: dict[str, ZarrArray], path: Path) -> Weights:
    """Announces every tensor and says how its bytes come; nothing is read."""
    sources: dict[str, _Source] = {}
    for name, array in arrays.items():
        sources |= _sources_of(name, array, spec, path)
    expected = tensor_shapes(spec)
    found = {
        name: announced(name, _shape(*source), source[0].format)
        for name, source in sources.items()
        if name in expected
    }
    if extra := [
        name
        for name in sources
        if name not in expected and not (name == "lm_head.weight" and spec.tied_embeddings)
    ]:
        raise UnsupportedError(
            "tensor that this architecture does not have", where=path, found=extra[0]
        )
    weights = Weights(found)
    for name in found:
        weights.change(name, _reader(sources[name], spec, f"{path}: {name}"))
    return weights


# (array, layer where it holds all of them, rows where it holds q, k and v)
_Source = tuple[ZarrArray, int | None, NDArray[np.intp] | None]


def _sources_of(name: str, array: ZarrArray, spec: ModelSpec, path: Path) -> dict[str, _Source]:
    """The tensors that one array holds, by canonical name."""
    if name in _GLOBAL_NAMES:
        return {_GLOBAL_NAMES[name]: (array, None, None)}
    match = re.fullmatch(r"decoder\.layers\.(?:(\d+)\.)?(.+)", name)
    if match is None or match[2] not in (*_LAYER_NAMES, _QKV):
        raise UnsupportedError("unknown tensor", where=path, found=name)
    is_stacked = match[1] is None
    if is_stacked and array.shape[0] != spec.num_layers:
        raise FormatError(
            "tensor has the wrong shape",
            where=f"{path}: {name}",
            expected=f"{spec.num_layers} layers",
            found=array.shape,
        )
    sources: dict[str, _Source] = {}
    for layer in range(spec.num_layers) if is_stacked else [int(match[1])]:
        index = layer if is_stacked else None
        prefix = f"model.layers.{layer}."
        if match[2] == _QKV:
            for part, rows in qkv_rows(spec).items():
                sources[f"{prefix}self_attn.{part}_proj.weight"] = (array, index, rows)
        else:
            sources[prefix + _LAYER_NAMES[match[2]]] = (array, index, None)
    return sources


def _shape(array: ZarrArray, layer: int | None, rows: NDArray[np.intp] | None) -> tuple[int, ...]:
    shape = array.shape if layer is None else array.shape[1:]
    return shape if rows is None else (len(rows), *shape[1:])


def _reader(
    source: tuple[ZarrArray, int | None, NDArray[np.intp] | None], spec: ModelSpec, where: str
) -> Callable[[StoredTensor], StoredTensor]:
    array, layer, rows = source
    fused = spec.query_size + 2 * spec.kv_size

    def read(tensor: StoredTensor) -> StoredTensor:
        shape = _shape(array, layer, None)
        if rows is not None and shape[0] != fused:
            raise FormatError(
                "fused query, key and value rows are of a wrong number",
                where=where,
                expected=fused,
                found=shape[0],
            )
        whole = StoredTensor(tensor.name, shape, array.format, array.take(layer))
        return whole if rows is None else whole.take_rows(rows)

    return read


def qkv_rows(spec: ModelSpec) -> dict[str, NDArray[np.intp]]:
    """Rows of q, k and v in the fused matrix: per group of heads its queries, then one key, then
    one value head.
    """
    rows = np.arange(spec.query_size + 2 * spec.kv_size).reshape(
        spec.num_kv_heads, spec.group_size + 2, spec.head_dim
    )
    return {
        "q": rows[:, :-2].reshape(-1),
        "k": rows[:, -2].reshape(-1),
        "v": rows[:, -1].reshape(-1),
    }
