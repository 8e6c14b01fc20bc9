"""llama.cpp's adapters: a GGUF with `X.lora_a` and `X.lora_b` for each tensor X of the model.

Source: llama.cpp, `convert_lora_to_gguf.py` and `src/llama-adapter.cpp` (2026-10). The scale is
`adapter.lora.alpha` / rank, and 1 where alpha is 0; there is no rsLoRA, so alpha is written times
sqrt(rank). Rows of q and k are interleaved where the model's are, which changes B alone; value
heads of Qwen3.5 lie as in the model's file, in B, or in A where they are columns. A of `token_embd`
is stored (vocab, rank). Gains of norms beside the pairs are not used there, nor here.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from understudy.adapters.adapter import EMBEDDING, HEAD, Adapter, Pair
from understudy.checkpoint.architecture import interleaved_order
from understudy.checkpoint.naming import canonical_name, file_tensors
from understudy.checkpoint.registry import ARCHITECTURES
from understudy.checkpoint.tiled_heads import reordering
from understudy.errors import (
    CheckpointError,
    CheckpointWarning,
    FormatError,
    MissingError,
    UnsupportedError,
)
from understudy.formats.gguf import GgufFile, read_gguf, write_gguf
from understudy.formats.tensor import StoredTensor
from understudy.spec import ModelSpec

_ALPHA, _INVOCATION = "adapter.lora.alpha", "adapter.alora.invocation_tokens"
_BASE, _OWN = "general.base_model.0.name", "understudy.adapter"


def read(path: str | Path, spec: ModelSpec, name: str | None = None) -> Adapter:
    """Reads a file; the spec says how rows of q and k lie.

    Raises:
        MissingError: no such file, or one matrix of a pair.
        FormatError: damaged, or for another architecture.
        UnsupportedError: not LoRA, or an activated LoRA.
    """
    file = read_gguf(path)
    _check_kind(file, spec)
    pairs = _pairs(file, spec)
    if not pairs:
        raise MissingError("no matrices of LoRA", where=file.path)
    alpha = file.metadata.get(_ALPHA, 0.0)
    if not isinstance(alpha, int | float) or not np.isfinite(alpha):
        raise FormatError("not a number", where=f"{file.path}: {_ALPHA}", found=alpha)
    rank = max(a.shape[0] for a, _ in pairs.values())
    return Adapter(
        name or file.path.stem,
        rank,
        float(alpha) or float(rank),
        False,
        pairs,
        {} if alpha else {m: float(a.shape[0]) for m, (a, _) in pairs.items() if len(a) != rank},
        _metadata(file),
    )


def write(adapter: Adapter, path: str | Path, spec: ModelSpec, base: str | None = None) -> None:
    """Writes a file that llama.cpp opens beside a GGUF of the model, in float32.

    Raises:
        UnsupportedError: it changes the embedding or the head of a model that has one matrix for
            both, which llama.cpp cannot.
    """
    _refuse_tied(adapter, spec, path)
    family = ARCHITECTURES[spec.architecture]
    own = {key: value for key, value in adapter.metadata.items() if key != "base"}
    base = base or adapter.metadata.get("base")
    metadata: dict[str, Any] = {
        "general.architecture": family.gguf_architecture or family.name,
        "general.type": "adapter",
        "adapter.type": "lora",
        "general.name": adapter.name,
        _ALPHA: float(adapter.scale * adapter.rank),
        **({_BASE: base} if base else {}),
        **({_OWN: json.dumps(own, sort_keys=True)} if own else {}),
    }
    tensors = [tensor for matrix in adapter.tensors for tensor in _stored(adapter, matrix, spec)]
    write_gguf(path, metadata, [(t.name, t.shape, t.format) for t in tensors], tensors)


def is_adapter(path: Path) -> bool:
    """Whether a file is a GGUF of an adapter."""
    if path.suffix != ".gguf":
        return False
    try:
        return read_gguf(path).metadata.get("general.type") == "adapter"
    except CheckpointError:
        return False


# ---- reading ----


def _check_kind(file: GgufFile, spec: ModelSpec) -> None:
    where = file.path
    if file.metadata.get("general.type") != "adapter":
        found = file.metadata.get("general.type", "a model")
        raise FormatError("not an adapter", where=where, expected="adapter", found=found)
    if (kind := file.metadata.get("adapter.type")) != "lora":
        raise UnsupportedError("kind of adapter is not implemented", where=where, found=kind)
    if file.metadata.get(_INVOCATION):
        what = "an activated LoRA, which begins at an invocation: not implemented"
        raise UnsupportedError(what, where=where)
    family = ARCHITECTURES[spec.architecture]
    expected = family.gguf_architecture or family.name
    if (found := file.metadata.get("general.architecture")) != expected:
        raise FormatError(
            "the adapter was made for another model", where=where, expected=expected, found=found
        )


def _pairs(file: GgufFile, spec: ModelSpec) -> dict[str, Pair]:
    halves: dict[str, dict[str, NDArray[np.float32]]] = {}
    unused = []
    table = file_tensors(spec, ARCHITECTURES[spec.architecture].gguf_names)
    for name, tensor in file.tensors.items():
        stem, _, part = name.rpartition(".")
        if part not in ("lora_a", "lora_b"):
            if not name.endswith("_norm.weight"):
                raise UnsupportedError("unknown tensor", where=file.path, found=name)
            unused.append(name)
            continue
        parts = table.get(stem, ())
        canonical = parts[0] if len(parts) == 1 else None if parts else canonical_name(stem)
        if canonical is None:
            raise UnsupportedError("unknown tensor", where=file.path, found=name)
        halves.setdefault(canonical.removesuffix(".weight"), {})[part[-1]] = tensor.to_float32()
    if unused:
        what = f"{file.path}: {len(unused)} gains of norms are not used, as in llama.cpp"
        warnings.warn(what, CheckpointWarning, stacklevel=4)
    return {matrix: _pair(file, matrix, found, spec) for matrix, found in halves.items()}


def _pair(
    file: GgufFile, matrix: str, found: Mapping[str, NDArray[np.float32]], spec: ModelSpec
) -> Pair:
    if len(found) != 2:
        absent = "b" if "a" in found else "a"
        raise MissingError(f"{matrix} has no lora_{absent}", where=file.path)
    a, b = found["a"], found["b"]
    if a.ndim != 2 or b.ndim != 2:
        raise FormatError("not matrices", where=f"{file.path}: {matrix}")
    if matrix == EMBEDDING:
        return np.ascontiguousarray(a.T), b
    order = _row_order(matrix, spec)
    if order is not None and len(order) == len(b):
        return a, b[np.argsort(order)]
    return _with_heads(matrix, spec, (a, b), is_reading=True)


def _with_heads(matrix: str, spec: ModelSpec, pair: Pair, *, is_reading: bool) -> Pair:
    """The pair with value heads in the other order: rows of B, or columns of A."""
    change = reordering(spec, f"{matrix}.weight", is_reading=is_reading)
    if change is None:
        return pair
    a, b = pair
    if matrix.endswith(".out_proj"):
        return change(StoredTensor.of(matrix, a)).to_float32(), b
    return a, change(StoredTensor.of(matrix, b)).to_float32()


def _row_order(matrix: str, spec: ModelSpec) -> NDArray[np.intp] | None:
    """How GGUF orders the rows of this matrix; None where as they are."""
    if not ARCHITECTURES[spec.architecture].permutes_rope:
        return None
    if not matrix.endswith((".q_proj", ".k_proj")):
        return None
    heads = spec.num_heads if matrix.endswith(".q_proj") else spec.num_kv_heads
    return interleaved_order(heads, spec.head_dim)


def _metadata(file: GgufFile) -> dict[str, Any]:
    own: Any = {}
    try:
        own = json.loads(file.metadata.get(_OWN, "{}"))
    except (ValueError, TypeError, RecursionError):
        own = {"note": str(file.metadata[_OWN])}
    base = file.metadata.get(_BASE)
    return (own if isinstance(own, dict) else {}) | ({"base": base} if base else {})


# ---- writing ----


def _refuse_tied(adapter: Adapter, spec: ModelSpec, path: str | Path) -> None:
    if not spec.tied_embeddings:
        return
    for matrix in (EMBEDDING, HEAD):
        if matrix in adapter.tensors:
            raise UnsupportedError(
                "llama.cpp has one matrix for embedding and head here, and cannot change one",
                where=f"{path}: {matrix}",
                do="write a folder of PEFT, or merge the adapter into its model",
            )


def _stored(adapter: Adapter, matrix: str, spec: ModelSpec) -> tuple[StoredTensor, StoredTensor]:
    a, b = adapter.tensors[matrix]
    # One alpha is stored: what a matrix's own scale differs by goes into its B.
    b = b * np.float32(adapter.scale_for(matrix) * len(a) / (adapter.scale * adapter.rank))
    order = _row_order(matrix, spec)
    if order is not None:
        b = b[order]
    a, b = _with_heads(matrix, spec, (a, b), is_reading=False)
    if matrix == EMBEDDING:
        a = a.T
    name = ARCHITECTURES[spec.architecture].gguf_names.of(f"{matrix}.weight")
    return StoredTensor.of(f"{name}.lora_a", a), StoredTensor.of(f"{name}.lora_b", b)
