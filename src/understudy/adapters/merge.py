"""A checkpoint with adapters merged into its matrices: W + Σ factor · scale · B A.

save_checkpoint(merged(open_checkpoint(path), [(adapter, 1.0)]), "out.gguf", QuantSpec("q8"))
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from understudy.adapters.adapter import EMBEDDING, HEAD, Adapter
from understudy.checkpoint.checkpoint import Checkpoint
from understudy.checkpoint.lineage import lineage_of
from understudy.checkpoint.weights import Weights, announced
from understudy.formats.tensor import StoredTensor

Mix = Sequence[tuple[Adapter, float]]
_WRITABLE = ("F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1")  # formats that values are rounded to


def merged(checkpoint: Checkpoint, mix: Mix) -> Checkpoint:
    """The checkpoint with adapters in it; matrices are made one at a time, when they are asked for.

    A matrix keeps the format that it is announced in (bf16 where nothing is rounded to it), but is
    given as float32, so that it is rounded once, when it is written. Where embedding and head are
    one matrix and only one of them changes, they are two from then on. The lineage gets a stage
    that names the adapters by content.

    Raises:
        UnsupportedError, FormatError: an adapter was made for another model.
    """
    for adapter, _ in mix:
        adapter.check(checkpoint.spec)
    spec, source = checkpoint.spec, checkpoint.weights
    stored = {name: source.stored(name) for name in source}
    parts = _by_matrix(mix)
    origins = {name: name for name in source}
    if spec.tied_embeddings and parts.keys() & {EMBEDDING, HEAD}:
        spec = spec.replace(tied_embeddings=False)
        stored[f"{HEAD}.weight"] = stored[f"{EMBEDDING}.weight"].renamed(f"{HEAD}.weight")
        origins[f"{HEAD}.weight"] = f"{EMBEDDING}.weight"
    for matrix in parts:
        name = f"{matrix}.weight"
        format = stored[name].format if stored[name].format in _WRITABLE else "BF16"
        stored[name] = announced(name, stored[name].shape, format)
    weights = Weights(stored)
    for name, origin in origins.items():
        weights.change(name, _maker(source, origin, parts.get(name.removesuffix(".weight"), [])))
    lineage = lineage_of(checkpoint.metadata)
    stages = [*lineage.get("stages", []), stage(mix)]
    metadata = {**checkpoint.metadata, "understudy": {**lineage, "stages": stages}}
    return dataclasses.replace(checkpoint, spec=spec, weights=weights, metadata=metadata)


def stage(mix: Mix) -> dict[str, Any]:
    """What a lineage says of a merge: the adapters by content, and where they come from."""
    adapters = [
        {"name": adapter.name, "sha256": adapter.sha256, "scale": factor, "rank": adapter.rank}
        | dict(adapter.metadata)
        for adapter, factor in mix
    ]
    return {"stage": "merge", "figures": {}, "adapters": adapters}


def _by_matrix(mix: Mix) -> dict[str, list[tuple[Adapter, float]]]:
    parts: dict[str, list[tuple[Adapter, float]]] = {}
    for adapter, factor in mix:
        for matrix in adapter.tensors:
            parts.setdefault(matrix, []).append((adapter, factor))
    return parts


def _maker(source: Weights, origin: str, parts: Mix) -> Callable[[StoredTensor], StoredTensor]:
    def make(tensor: StoredTensor) -> StoredTensor:
        if not parts:
            return source[origin].renamed(tensor.name)
        values: NDArray[np.float32] = source[origin].to_float32().copy()
        for adapter, factor in parts:
            values += np.float32(factor) * adapter.delta(tensor.name.removesuffix(".weight"))
        return StoredTensor.of(tensor.name, values)

    return make
