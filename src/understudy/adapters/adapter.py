"""What an adapter is, whatever file it came from: low-rank changes of some matrices."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from understudy.errors import FormatError, UnsupportedError
from understudy.experts import expert_number, is_router
from understudy.spec import ModelSpec, tensor_shapes

Pair = tuple[NDArray[np.float32], NDArray[np.float32]]
EMBEDDING, HEAD = "model.embed_tokens", "lm_head"


@dataclass(frozen=True, eq=False)
class Adapter:
    """W x becomes W x + scale · B (A x) for each matrix W in `tensors`.

    Attributes:
        name: what people call it; not part of its identity.
        rank: the nominal rank; a matrix may have its own, the rows of its A.
        alpha, rslora: the scale is alpha / rank, or alpha / sqrt(rank) with rsLoRA.
        tensors: matrix by canonical name without `.weight` -> A (rank, in), B (out, rank), float32.
            Of `model.embed_tokens` A is (rank, vocab) and B (hidden, rank).
        alphas: of single matrices, where they differ from `alpha`.
        metadata: what else the file says: `base` (the model's name), `lineage`, …
    """

    name: str
    rank: int
    alpha: float
    rslora: bool
    tensors: Mapping[str, Pair]
    alphas: Mapping[str, float] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def scale(self) -> float:
        """What B A is multiplied by where a matrix has the nominal rank and alpha."""
        return scale_of(self.alpha, self.rank, self.rslora)

    def scale_for(self, matrix: str) -> float:
        """What B A of this matrix is multiplied by."""
        rank = self.tensors[matrix][0].shape[0]
        return scale_of(self.alphas.get(matrix, self.alpha), rank, self.rslora)

    def delta(self, matrix: str) -> NDArray[np.float32]:
        """scale · B A: (out, in) float32, in the layout of the matrix that it is added to."""
        a, b = self.tensors[matrix]
        product = np.float32(self.scale_for(matrix)) * (b @ a)
        return np.ascontiguousarray(product.T) if matrix == EMBEDDING else product

    @cached_property
    def sha256(self) -> str:
        """The identity: of names, shapes, scales and float32 values, whatever file holds them."""
        digest = hashlib.sha256()
        for matrix in sorted(self.tensors):
            a, b = self.tensors[matrix]
            head = f"{matrix} {a.shape} {b.shape} {self.scale_for(matrix):.6g}\n"
            digest.update(head.encode())
            for values in (a, b):
                digest.update(np.ascontiguousarray(values, "<f4").tobytes())
        return digest.hexdigest()

    @property
    def num_parameters(self) -> int:
        return sum(a.size + b.size for a, b in self.tensors.values())

    def check(self, spec: ModelSpec) -> None:
        """Holds the adapter to a model.

        Raises:
            UnsupportedError: it changes a matrix that the model does not have.
            FormatError: a shape does not fit, or a value is not finite.
        """
        shapes = matrix_shapes(spec)
        for matrix, (a, b) in self.tensors.items():
            where = f"adapter {self.name}: {matrix}"
            if matrix not in shapes:
                raise UnsupportedError(
                    "the model has no such matrix",
                    where=where,
                    do="give the adapter the model that it was trained on",
                )
            out, into = shapes[matrix][::-1] if matrix == EMBEDDING else shapes[matrix]
            found = (b.shape[0], a.shape[1])
            if found != (out, into):
                raise FormatError(
                    "the adapter was made for another model",
                    where=where,
                    expected=f"B A of {out} by {into}",
                    found=f"{found[0]} by {found[1]}",
                )
            if a.shape[0] != b.shape[1] or a.shape[0] < 1:
                raise FormatError(
                    "A and B differ in rank", where=where, expected=a.shape[0], found=b.shape[1]
                )
            if not (np.isfinite(a).all() and np.isfinite(b).all()):
                raise FormatError("holds values that are no numbers", where=where)


def as_weights(mix: Sequence[tuple[Adapter, float]]) -> dict[str, NDArray[np.float32]]:
    """What `checkpoint.reference` reads beside a model's weights: of each matrix one A and one B.

    Adapters that act together, each with a factor, stand side by side along the rank; scales are in
    B. Names are `<matrix>.lora_A` and `<matrix>.lora_B`.
    """
    sides: dict[str, list[NDArray[np.float32]]] = {}
    for adapter, factor in mix:
        for matrix, (a, b) in adapter.tensors.items():
            scale = np.float32(factor * adapter.scale_for(matrix))
            sides.setdefault(f"{matrix}.lora_A", []).append(a)
            sides.setdefault(f"{matrix}.lora_B", []).append(scale * b)
    return {name: np.concatenate(p, axis=int(name.endswith("B"))) for name, p in sides.items()}


def scale_of(alpha: float, rank: int, rslora: bool) -> float:
    """alpha / rank (LoRA, arXiv:2106.09685) or alpha / sqrt(rank) (rsLoRA, arXiv:2312.03732)."""
    return alpha / (math.sqrt(rank) if rslora else rank)


def matrix_shapes(spec: ModelSpec) -> dict[str, tuple[int, int]]:
    """The matrices that an adapter may change -> (out, in), the head of tied ones too."""
    shapes = {
        name.removesuffix(".weight"): (shape[0], shape[1])
        for name, shape in tensor_shapes(spec).items()
        if len(shape) == 2 and name.endswith(".weight")
        if not is_router(name) and expert_number(name) is None
    }
    return shapes | {HEAD: (spec.vocab_size, spec.hidden_size)}
