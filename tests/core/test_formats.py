"""Weight formats: decoding and encoding against the `gguf` package, and the way into packed panels
and back.
"""

from __future__ import annotations

import gguf
import numpy as np
import pytest

from understudy import core

# ggml type -> (values a block, bytes a block, byte offsets of its f16 scales)
BLOCKS = {
    "F32": (1, 4, ()),
    "F16": (1, 2, ()),
    "BF16": (1, 2, ()),
    "Q8_0": (32, 34, (0,)),
    "Q4_0": (32, 18, (0,)),
    "Q4_1": (32, 20, (0, 2)),
    "Q5_0": (32, 22, (0,)),
    "Q5_1": (32, 24, (0, 2)),
    "Q4_K": (256, 144, (0, 2)),
    "Q5_K": (256, 176, (0, 2)),
    "Q6_K": (256, 210, (208,)),
}
ENCODED = ["F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1"]
EXACT_PAIRS = [
    ("F32", "f32"),
    ("F16", "f32"),
    ("BF16", "f32"),
    ("BF16", "bf16"),
    ("Q8_0", "q8"),
    ("Q4_0", "q4"),
    ("Q4_1", "q4_1"),
    ("Q4_0", "q4_sparse"),
    ("Q8_0", "f32"),
    ("Q4_0", "f32"),
    ("Q4_1", "f32"),
    ("Q5_0", "f32"),
    ("Q5_1", "f32"),
    ("Q4_K", "f32"),
    ("Q5_K", "f32"),
    ("Q6_K", "f32"),
]
TARGETS = ["f32", "bf16", "q8", "q4", "q4_1", "q4_sparse", "q3"]


def random_blocks(format: str, count: int, seed: int = 0) -> np.ndarray:
    """Flat bytes of `count` values: every code occurs, scales are ordinary finite halves of both
    signs.
    """
    rng = np.random.default_rng(seed)
    values, size, scales = BLOCKS[format]
    if not scales:
        plain = rng.standard_normal(count).astype(np.float32)
        return (
            gguf.quants.quantize(plain, gguf.GGMLQuantizationType[format])
            .view(np.uint8)
            .reshape(-1)
        )
    blocks = rng.integers(0, 256, (count // values, size)).astype(np.uint8)
    for offset in scales:
        halves = rng.normal(0, 0.02, len(blocks)).astype(np.float16)
        blocks[:, offset : offset + 2] = halves.view(np.uint8).reshape(-1, 2)
    return blocks.reshape(-1)


def decoded(format: str, data: np.ndarray) -> np.ndarray:
    """What the gguf package makes of the bytes."""
    return (
        gguf.quants.dequantize(data, gguf.GGMLQuantizationType[format])
        .reshape(-1)
        .astype(np.float32)
    )


@pytest.mark.parametrize("format", BLOCKS)
def test_decoding_equals_the_gguf_package(format: str) -> None:
    data = random_blocks(format, 256 * 40)
    ours = core.dequantize(format, data, 256 * 40)
    assert ours.dtype == np.float32
    np.testing.assert_array_equal(ours, decoded(format, data))


@pytest.mark.parametrize("format", ENCODED)
def test_encoding_equals_the_gguf_package(format: str) -> None:
    rng = np.random.default_rng(1)
    values = (rng.standard_normal((7, 96)) * np.exp(rng.uniform(-8, 3, (7, 1)))).astype(np.float32)
    values[3, 32:64] = 0
    theirs = gguf.quants.quantize(values, gguf.GGMLQuantizationType[format])
    np.testing.assert_array_equal(core.quantize(format, values), theirs.view(np.uint8).reshape(-1))


@pytest.mark.parametrize("format", ["F16", "BF16"])
def test_halves_are_exact_on_every_bit_pattern(format: str) -> None:
    data = np.arange(1 << 16, dtype=np.uint16).view(np.uint8)
    ours, theirs = core.dequantize(format, data, 1 << 16), decoded(format, data)
    np.testing.assert_array_equal(np.isnan(ours), np.isnan(theirs))
    finite = ~np.isnan(theirs)
    np.testing.assert_array_equal(ours[finite], theirs[finite])
    back = core.quantize(format, theirs[finite]).view(np.uint16)
    np.testing.assert_array_equal(back, np.arange(1 << 16, dtype=np.uint16)[finite])


@pytest.mark.parametrize("rows", [1, 5, 16, 37])
@pytest.mark.parametrize(("source", "target"), EXACT_PAIRS)
def test_packing_keeps_these_formats_bit_for_bit(source: str, target, rows: int) -> None:
    data = random_blocks(source, rows * 512, seed=rows)
    packed = core.pack(source, data, rows, 512, target)
    assert packed.nbytes == core.packed_bytes(target, rows, 512)
    np.testing.assert_array_equal(
        core.unpack(target, packed, rows, 512).reshape(-1),
        core.dequantize(source, data, rows * 512),
    )


@pytest.mark.parametrize("target", TARGETS[:-1])  # q3 has no step: tests/unit/formats/test_q3.py
@pytest.mark.parametrize("source", BLOCKS)
def test_packing_into_another_format_loses_half_a_step_at_most(source: str, target) -> None:
    rows, columns = 19, 512
    data = random_blocks(source, rows * columns, seed=3)
    exact = core.dequantize(source, data, rows * columns).reshape(-1, 32)
    back = core.unpack(
        target, core.pack(source, data, rows, columns, target), rows, columns
    ).reshape(-1, 32)
    largest = np.abs(exact).max(axis=1, keepdims=True)
    spread = exact.max(axis=1, keepdims=True) - exact.min(axis=1, keepdims=True)
    step = {
        "f32": 0 * largest,
        "bf16": largest / 128,
        "q8": largest / 127,
        "q4": largest / 4,  # from -8 to 7 steps of largest / 8: the other end may lack a whole one
        "q4_1": spread / 15,
        "q4_sparse": largest / 4,
    }[target]
    rounding = (
        largest * 2.0**-9 + 127 * 2.0**-25
    )  # scale and minimum are halves, at worst subnormal ones
    assert (np.abs(exact - back) <= 0.5 * step + rounding * (target != "f32")).all()


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (3, 20), (16, 32), (17, 33), (50, 172)])
def test_awkward_sizes_are_padded_and_come_back(rows: int, columns: int, target) -> None:
    values = np.random.default_rng(4).standard_normal((rows, columns)).astype(np.float32)
    packed = core.pack("F32", values.reshape(-1).view(np.uint8), rows, columns, target)
    back = core.unpack(target, packed, rows, columns)
    assert back.shape == values.shape
    tolerance = {
        "f32": 0,
        "bf16": 0.01,
        "q8": 0.02,
        "q4": 0.6,
        "q4_1": 0.3,
        "q4_sparse": 0.6,
        "q3": 1.0,
    }[target]
    assert np.abs(back - values).max() <= tolerance


def test_a_quantised_grid_survives_a_second_packing() -> None:
    values = np.random.default_rng(5).standard_normal((20, 96)).astype(np.float32)
    for target in TARGETS[:-1]:
        once = core.unpack(
            target, core.pack("F32", values.view(np.uint8).reshape(-1), 20, 96, target), 20, 96
        )
        twice = core.unpack(
            target, core.pack("F32", once.view(np.uint8).reshape(-1), 20, 96, target), 20, 96
        )
        np.testing.assert_allclose(
            twice, once, rtol=0, atol=np.abs(once).max() * 2e-3 if target == "q4_1" else 1e-3
        )


def test_wrong_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="blocks of 32"):
        core.pack("Q8_0", np.zeros(34, np.uint8), 1, 33, "q8")
    with pytest.raises(ValueError, match="does not hold"):
        core.dequantize("Q4_0", np.zeros(17, np.uint8), 32)
    with pytest.raises(ValueError, match="unknown tensor format"):
        core.dequantize("Q2_K", np.zeros(84, np.uint8), 256)
    with pytest.raises(ValueError):
        core.unpack("q4", np.zeros(3, np.uint8), 16, 32)
