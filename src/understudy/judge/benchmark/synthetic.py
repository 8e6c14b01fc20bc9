"""Random weights in the exact shape of a model that is not at hand: the arithmetic and the memory
traffic are those of the real one, the words are noise. For `understudy bench --synthetic NAME` and
for the comparison with other engines.

    checkpoint = synthetic_checkpoint("nemotron-mini-4b", QuantSpec(weights="q4"))

Tensors are made when they are asked for and not kept: writing or packing 4 billion of them needs
the memory of one.
"""

from __future__ import annotations

import math
import statistics
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from understudy import core
from understudy.checkpoint.checkpoint import Checkpoint
from understudy.checkpoint.pack import natural_format, packed_layout
from understudy.checkpoint.weights import Weights, announced
from understudy.core import PackedTensor
from understudy.errors import UsageError
from understudy.experts import is_router
from understudy.formats import q3
from understudy.formats.tensor import StoredTensor
from understudy.formats.tokenizer_source import TokenizerSource
from understudy.judge.benchmark.shapes import shape_of
from understudy.spec import (
    ModelSpec,
    QuantSpec,
    has_centred_gain,
    is_convolution,
    tensor_shapes,
)

_BLOCK = 32
_NIBBLE_STD = 4.61  # of u - 8 with u uniform in 0 … 15; its mean is -0.5
_Q3_LEVELS = q3.LEVELS.astype(np.float64) - q3.OFFSET
_FORMATS = {"f32": "F32", "bf16": "BF16", "q8": "Q8_0", "q4": "Q4_0", "q3": "Q3_U"}
_Q3_MULTIPLIERS = (8, 16)


class SyntheticWeights(Weights):
    """Made-up tensors under the names of `tensor_shapes(spec)`; the same seed gives the same bytes.

    Args:
        spec: the shape.
        quant: format of the matrices, and of the embedding and the head if they differ.
        zero_share: share of exact zeros after a squared ReLU, 0.5 to 0.999, set through the bias of
            the MLP's norm (levels have a mean below zero, so it shifts every pre-activation down).
        seed: of everything.
    """

    def __init__(
        self, spec: ModelSpec, quant: QuantSpec, *, zero_share: float = 0.5, seed: int = 0
    ) -> None:
        if not 0.5 <= zero_share < 1:
            raise UsageError(
                "impossible share of zeros",
                where="zero_share",
                expected="0.5 … 0.999",
                found=zero_share,
            )
        super().__init__({})
        self.spec, self.quant, self.seed = spec, quant, seed
        ratio = (
            -_Q3_LEVELS.mean() / _Q3_LEVELS.std() if quant.weights == "q3" else 0.5 / _NIBBLE_STD
        )
        self.mlp_norm_bias = _bias_for(zero_share, spec.hidden_size, ratio)
        self._shapes = tensor_shapes(spec)

    def __iter__(self) -> Iterator[str]:
        return iter(self._shapes)

    def __len__(self) -> int:
        return len(self._shapes)

    def __contains__(self, name: object) -> bool:
        return name in self._shapes

    def __getitem__(self, name: str) -> StoredTensor:
        shape = self._shapes[name]
        if len(shape) == 1 or is_convolution(name):
            values = self._vector(name, math.prod(shape))
            return StoredTensor(name, shape, "F32", values.view(np.uint8))
        rows, columns = shape
        random = np.random.Generator(np.random.SFC64([self.seed, zlib.crc32(name.encode())]))
        target = self._format(name)
        return StoredTensor(name, shape, target, _matrix(random, rows, columns, target))

    def stored(self, name: str) -> StoredTensor:
        """Shape, format and size; the bytes are zeros that take no memory."""
        shape = self._shapes[name]
        is_vector = len(shape) == 1 or is_convolution(name)
        format = "F32" if is_vector else self._format(name)
        return announced(name, shape, format)

    def _format(self, name: str) -> str:
        if is_router(name):
            return "F32"
        chosen: str = self.quant.weights
        if name.startswith("model.embed_tokens"):
            chosen = self.quant.embedding or chosen
        elif name.startswith("lm_head"):
            chosen = self.quant.head or chosen
        return _FORMATS[chosen]

    def _vector(self, name: str, length: int) -> NDArray[np.float32]:
        """Neutral gains and no biases, but for the one that sets the share of zeros."""
        if name.endswith("post_attention_layernorm.bias"):
            return np.full(length, self.mlp_norm_bias, np.float32)
        is_gain = name.endswith("norm.weight")
        is_neutral_one = is_gain and not has_centred_gain(self.spec, name)
        taps = 0.25 if is_convolution(name) else 0.0
        return np.full(length, 1.0 if is_neutral_one else taps, np.float32)


def _bias_for(zero_share: float, hidden_size: int, mean: float) -> float:
    """The constant bias b of the norm before `up_proj` for which P(pre-activation < 0) =
    zero_share.

    With W of mean -m d and deviation d, and inputs N(b, 1), a pre-activation is about
    N(-m d b H, d² H (1 + b²)); so z = r b / sqrt(1 + b²) with r = m sqrt(H) must be the quantile.
    """
    ratio = mean * hidden_size**0.5
    z = min(statistics.NormalDist().inv_cdf(zero_share) / ratio, 0.99)
    return float(z / (1 - z * z) ** 0.5)


def _matrix(random: np.random.Generator, rows: int, columns: int, target: str) -> NDArray[np.uint8]:
    """Random weights of variance 1 / columns in one of the stored formats, as flat bytes.

    Raises:
        UsageError: blocks of 32 do not divide the columns.
    """
    deviation = columns**-0.5
    if target in ("F32", "BF16"):
        values = random.standard_normal(rows * columns, dtype=np.float32) * np.float32(deviation)
        return (
            values.view(np.uint8)
            if target == "F32"
            else values.view(np.uint16)[1::2].copy().view(np.uint8)
        )
    if columns % _BLOCK:
        raise UsageError(
            "blocks of 32 do not fit",
            where="synthetic matrix",
            expected="columns % 32 == 0",
            found=columns,
        )
    if target == q3.NAME:
        return _three_bits(random, rows, columns, deviation)
    num_blocks, step = rows * columns // _BLOCK, deviation / _NIBBLE_STD
    scales = random.uniform(0.8, 1.2, num_blocks).astype(np.float32) * np.float32(step)
    nibbles = (
        random.integers(0, 1 << 64, num_blocks * 2, dtype=np.uint64)
        .view(np.uint8)
        .reshape(num_blocks, 16)
    )
    if target == "Q4_0":
        return _blocks(scales, nibbles)
    # The same levels, eight bits wide.
    levels = np.concatenate([nibbles & 15, nibbles >> 4], axis=1).astype(np.int8)
    return _blocks(scales / 15, ((levels - 8) * 15).view(np.uint8))


def _three_bits(
    random: np.random.Generator, rows: int, columns: int, deviation: float
) -> NDArray[np.uint8]:
    groups, (least, most) = columns // q3.GROUP, _Q3_MULTIPLIERS
    step = deviation / (float(q3.STEP) * _Q3_LEVELS.std() * (least + most) / 2)
    return q3.join(
        (random.uniform(0.8, 1.2, rows) * step).astype(np.float16),
        random.integers(least, most + 1, (rows, groups)),
        np.zeros((rows, groups), np.int64),
        random.integers(0, 256, (rows, 3 * columns // 8), dtype=np.uint8),
    )


def _blocks(scales: NDArray[np.floating[Any]], quants: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """ggml's block: one f16 scale, then the quants: (blocks,), (blocks, n) -> flat bytes."""
    blocks = np.empty((len(scales), 2 + quants.shape[1]), np.uint8)
    blocks[:, :2] = scales.astype("<f2").view(np.uint8).reshape(-1, 2)
    blocks[:, 2:] = quants
    return blocks.reshape(-1)


def synthetic_vocabulary(size: int) -> TokenizerSource:
    """A made-up SentencePiece-like vocabulary of any size, as a GGUF holds it.

    Ids as in Nemotron (pad, unknown, begin, end), then 256 bytes, printable ASCII, placeholders.
    """
    pieces = ["<pad>", "<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁"]
    pieces += [chr(code) for code in range(33, 127)]
    pieces = pieces[:size] + [f"▁w{index}" for index in range(len(pieces), size)]
    types = (
        [3, 2, 3, 3] + [6] * 256 + [1] * max(0, size - 260)
    )  # control, unknown, control, byte, normal
    scores = [0.0] * 260 + [-float(index) for index in range(max(0, size - 260))]
    return TokenizerSource(
        "gguf",
        model="llama",
        pre="default",
        tokens=tuple(pieces),
        scores=tuple(scores[:size]),
        types=tuple(types[:size]),
        bos_id=2,
        eos_ids=(3,),
        unk_id=1,
        pad_id=0,
        opening_ids=(2,),
    )


def synthetic_checkpoint(
    name: str,
    quant: QuantSpec,
    num_layers: int | None = None,
    *,
    zero_share: float = 0.5,
    seed: int = 0,
) -> Checkpoint:
    """A checkpoint like any other (`save_checkpoint` writes it, `pack` packs it), whose tensors are
    made when asked for.

    Raises:
        UsageError: no such shape, or an impossible share of zeros.
    """
    spec = shape_of(name, num_layers)
    weights = SyntheticWeights(spec, quant, zero_share=zero_share, seed=seed)
    return Checkpoint(
        spec, weights, synthetic_vocabulary(spec.vocab_size), Path(f"synthetic-{name}")
    )


@dataclass(frozen=True, slots=True)
class SyntheticPacked:
    """A spec and its packed random weights, in memory."""

    spec: ModelSpec
    tensors: dict[str, PackedTensor]


def synthetic_packed(
    name: str, quant: QuantSpec, num_layers: int | None = None, zero_share: float = 0.5
) -> SyntheticPacked:
    """Random weights of a shape of `SHAPES`, packed for the core; needs the memory of the packed
    model and one tensor more."""
    spec = shape_of(name, num_layers)
    weights = SyntheticWeights(spec, quant, zero_share=zero_share)
    packed: dict[str, PackedTensor] = {}
    for key in weights:
        tensor = weights[key]
        if len(tensor.shape) == 1 or is_convolution(key):
            values = tensor.to_float32() + np.float32(has_centred_gain(spec, key))
            packed[key] = PackedTensor("f32", 1, values.size, values.reshape(-1).view(np.uint8))
            continue
        target = packed_layout(spec, key, natural_format(tensor.format))
        rows, columns = tensor.shape
        packed[key] = PackedTensor(
            target, rows, columns, core.pack(tensor.format, tensor.data, rows, columns, target)
        )
    return SyntheticPacked(spec, packed)
