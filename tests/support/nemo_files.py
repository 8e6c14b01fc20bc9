"""A .nemo archive made by hand: stacked layers as zarr chunks, fused query, key and value rows, as
NeMo writes them.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping

import numpy as np
import yaml
from numpy.typing import NDArray

from understudy.spec import ModelSpec

_LAYER = {
    "self_attention.linear_proj.weight": "self_attn.o_proj.weight",
    "self_attention.linear_qkv.layer_norm_weight": "input_layernorm.weight",
    "self_attention.linear_qkv.layer_norm_bias": "input_layernorm.bias",
    "mlp.linear_fc1.weight": "mlp.up_proj.weight",
    "mlp.linear_fc1.layer_norm_weight": "post_attention_layernorm.weight",
    "mlp.linear_fc1.layer_norm_bias": "post_attention_layernorm.bias",
    "mlp.linear_fc2.weight": "mlp.down_proj.weight",
}
_GLOBAL = {
    "embedding.word_embeddings.weight": "model.embed_tokens.weight",
    "decoder.final_layernorm.weight": "model.norm.weight",
    "decoder.final_layernorm.bias": "model.norm.bias",
    "output_layer.weight": "lm_head.weight",
}


def nemo_config(spec: ModelSpec) -> dict[str, object]:
    return {
        "num_layers": spec.num_layers,
        "hidden_size": spec.hidden_size,
        "ffn_hidden_size": spec.intermediate_size,
        "num_attention_heads": spec.num_heads,
        "num_query_groups": spec.num_kv_heads,
        "kv_channels": spec.head_dim,
        "max_position_embeddings": spec.max_positions,
        "layernorm_epsilon": spec.norm_eps,
        "normalization": "layernorm1p",
        "activation": "squared-relu",
        "rotary_percentage": spec.rotary_dim / spec.head_dim,
        "rotary_base": 10000,
        "share_embeddings_and_output_weights": False,
        "bias": False,
        "precision": "bf16",
        "micro_batch_size": 4,
        "tokenizer": {"library": "sentencepiece", "model": "nemo:abc_vocab.model"},
    }


def nemo_members(
    spec: ModelSpec, weights: Mapping[str, NDArray[np.float32]], ranks: int = 2
) -> dict[str, bytes]:
    """Member name -> bytes, in bfloat16 (by truncation); matrices are cut over `ranks` along their
    rows.
    """
    arrays = {name: weights[canonical] for name, canonical in _GLOBAL.items()}
    layers = range(spec.num_layers)
    for name, canonical in _LAYER.items():
        arrays[f"decoder.layers.{name}"] = np.stack(
            [weights[f"model.layers.{i}.{canonical}"] for i in layers]
        )
    arrays["decoder.layers.self_attention.linear_qkv.weight"] = np.stack(
        [_fused(spec, weights, i) for i in layers]
    )
    members = {
        "model_config.yaml": yaml.safe_dump(nemo_config(spec)).encode(),
        "abc_vocab.model": b"spm",
    }
    for name, values in arrays.items():
        members |= _zarr(
            f"model_weights/model.{name}", values, is_stacked="layers" in name, ranks=ranks
        )
    members |= _zarr(
        "model_weights/model.decoder.layers.mlp.linear_fc1._extra_state",
        np.zeros(4, np.float32),
        False,
        1,
    )
    return members


def _fused(
    spec: ModelSpec, weights: Mapping[str, NDArray[np.float32]], layer: int
) -> NDArray[np.float32]:
    q, k, v = (weights[f"model.layers.{layer}.self_attn.{part}_proj.weight"] for part in "qkv")
    rows, size = [], spec.head_dim
    for group in range(spec.num_kv_heads):
        rows.append(q[group * spec.group_size * size : (group + 1) * spec.group_size * size])
        rows += [k[group * size : (group + 1) * size], v[group * size : (group + 1) * size]]
    return np.concatenate(rows)


def _zarr(
    folder: str, values: NDArray[np.float32], is_stacked: bool, ranks: int
) -> dict[str, bytes]:
    chunk = list(values.shape)
    if is_stacked:
        chunk[0] = 1
    axis = 1 if is_stacked else 0
    if len(chunk) > 1 and axis < len(chunk) and values.ndim > axis + 1:
        chunk[axis] = -(-chunk[axis] // ranks)
    header = {
        "zarr_format": 2,
        "shape": list(values.shape),
        "chunks": chunk,
        "dtype": "bfloat16",
        "compressor": None,
        "filters": None,
        "fill_value": None,
        "order": "C",
    }
    members = {f"{folder}/.zarray": json.dumps(header).encode()}
    bits = (np.ascontiguousarray(values).view(np.uint32) >> 16).astype(np.uint16)
    for key in np.ndindex(*(-(-n // c) for n, c in zip(values.shape, chunk, strict=True))):
        padded = np.zeros(chunk, np.uint16)
        part = bits[tuple(slice(k * c, (k + 1) * c) for k, c in zip(key, chunk, strict=True))]
        padded[tuple(slice(0, n) for n in part.shape)] = part
        members[f"{folder}/{'.'.join(map(str, key))}"] = padded.tobytes()
    return members


def nemo_tar(members: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(f"./{name}")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()
