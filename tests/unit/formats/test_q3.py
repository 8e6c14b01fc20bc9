"""The three-bit format: bytes by hand, the core against the NumPy definition, and inside a GGUF."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import pytest
from numpy.typing import NDArray

from understudy import core
from understudy.errors import FormatError, UnsupportedError
from understudy.formats import own_formats, q3
from understudy.formats.gguf import read_gguf, write_gguf
from understudy.formats.tensor import StoredTensor, num_bytes

Bytes = NDArray[np.uint8]


def _random_rows(rows: int, columns: int, seed: int = 0) -> Bytes:
    """Any bits, with scales of both signs that are tame numbers."""
    rng = np.random.default_rng(seed)
    data = rng.integers(0, 256, (rows, q3.row_bytes(columns)), dtype=np.uint8)
    data[:, :2] = rng.normal(0, 0.3, (rows, 1)).astype("<f2").view(np.uint8)
    return data


def _by_hand(row: Bytes, columns: int) -> list[float]:
    """From the words of the definition, on one big number."""
    scale = float(row[:2].view("<f2")[0])
    groups, stream = columns // 32, int.from_bytes(row[2:].tobytes(), "little")
    codes = stream >> 8 * -(-6 * groups // 8)
    values = []
    for column in range(columns):
        about = stream >> 6 * (column // 32) & 63
        multiplier = ((about & 15) + 1) * (-1 if about & 16 else 1)
        level = int(q3.LEVELS[codes >> 3 * column & 7]) + 2 * (about >> 5) - 16
        values.append(scale / 256 * multiplier * level)
    return values


@pytest.mark.parametrize("columns", [32, 64, 96, 160, 576])
def test_values_are_those_of_the_definition(columns: int) -> None:
    data = _random_rows(3, columns)
    found = q3.decode(data.reshape(-1), columns)
    assert found.dtype == np.float32
    assert found.tolist() == [_by_hand(row, columns) for row in data]


@pytest.mark.parametrize(("rows", "columns"), [(1, 32), (5, 96), (37, 576), (16, 896)])
def test_the_core_and_numpy_read_the_same(rows: int, columns: int) -> None:
    data = _random_rows(rows, columns, seed=rows)
    expected = q3.decode(data.reshape(-1), columns)
    for row, values in zip(data, expected, strict=True):
        np.testing.assert_array_equal(core.dequantize("Q3_U", row, columns), values)
    for target in ("q3", "f32"):
        packed = core.pack("Q3_U", data.reshape(-1), rows, columns, target)
        np.testing.assert_array_equal(core.unpack(target, packed, rows, columns), expected)


def test_encoding_undoes_decoding() -> None:
    rng = np.random.default_rng(1)
    multipliers = rng.integers(1, 17, (9, 5)) * rng.choice([-1, 1], (9, 5))
    shifts, codes = rng.integers(0, 2, (9, 5)), rng.integers(0, 8, (9, 160))
    scales = rng.normal(0, 1, 9).astype(np.float16)
    data = q3.encode(scales, multipliers, shifts, codes)
    levels = q3.LEVELS[codes].astype(np.float64) + 2 * np.repeat(shifts, 32, axis=1) - 16
    expected = scales[:, None] / 256.0 * np.repeat(multipliers, 32, axis=1) * levels
    assert data.size == 9 * q3.row_bytes(160)
    np.testing.assert_array_equal(q3.decode(data, 160), expected)


def test_groups_trade_places_without_being_rounded() -> None:
    data, order = _random_rows(7, 160), np.array([3, 0, 4, 1, 2])
    taken = q3.take_groups(data.reshape(-1), 160, order)
    expected = q3.decode(data.reshape(-1), 160).reshape(7, 5, 32)[:, order].reshape(7, 160)
    np.testing.assert_array_equal(q3.decode(taken, 160), expected)


def test_sizes_of_rows_and_what_they_mean_for_a_file() -> None:
    for columns in range(32, 32 * 600, 32):
        assert q3.columns_of(q3.row_bytes(columns)) == columns
    taken = {q3.row_bytes(columns) for columns in range(32, 32 * 600, 32)}
    for size in set(range(2, 6000)) - taken:
        assert q3.columns_of(size) is None
    for columns in (576, 896, 1536, 3072, 9216):
        assert 8 * q3.row_bytes(columns) / columns < 3.25
    with pytest.raises(FormatError, match="a multiple of 32"):
        num_bytes("Q3_U", (4, 40))
    with pytest.raises(ValueError, match="not a whole number of Q3_U"):
        core.quantize("Q3_U", np.zeros((2, 40), np.float32))


def test_rounding_is_near_the_best_for_gaussian_rows() -> None:
    values = np.random.default_rng(2).standard_normal((64, 512)).astype(np.float32)
    values[7] = 0
    values[9] *= 1e-6
    values[11] *= 1e3
    values[13, 64:96] = 0
    back = q3.decode(core.quantize("Q3_U", values), 512)
    lost = np.square(back - values).sum(1) / np.maximum(np.square(values).sum(1), 1e-30)
    assert lost.mean() < 0.0245  # Lloyd and Max's eight levels: 0.0345
    assert lost.max() < 0.04
    assert not back[7].any()
    assert not back[13, 64:96].any()


def test_weights_change_format_row_by_row() -> None:
    values = np.random.default_rng(3).standard_normal((20, 96)).astype(np.float32)
    three = StoredTensor.of("w", values).to_format("Q3_U")
    assert three.data.size == num_bytes("Q3_U", (20, 96)) == 20 * q3.row_bytes(96)
    np.testing.assert_array_equal(three.to_format("F32").to_float32(), three.to_float32())
    order = np.arange(20)[::-1]
    np.testing.assert_array_equal(three.take_rows(order).to_float32(), three.to_float32()[order])


def _file(path: Path, metadata: dict[str, object] | None = None) -> StoredTensor:
    """A GGUF of a three-bit matrix and a vector."""
    matrix = StoredTensor("w", (5, 96), "Q3_U", _random_rows(5, 96).reshape(-1))
    tensors = [matrix, StoredTensor.of("b", np.ones(3, np.float32))]
    shapes = [(t.name, t.shape, t.format) for t in tensors]
    write_gguf(path, {"general.name": "x", **(metadata or {})}, shapes, tensors)
    return matrix


def test_a_gguf_holds_it_under_a_key_and_other_readers_list_it(tmp_path: Path) -> None:
    matrix = _file(tmp_path / "m.gguf")
    found = read_gguf(tmp_path / "m.gguf").tensors["w"]
    assert (found.format, found.shape) == ("Q3_U", (5, 96))
    np.testing.assert_array_equal(found.to_float32(), matrix.to_float32())
    reader = gguf.GGUFReader(tmp_path / "m.gguf")
    listed = next(t for t in reader.tensors if t.name == "w")
    assert listed.tensor_type == gguf.GGMLQuantizationType.I8
    assert listed.shape.tolist() == [q3.row_bytes(96), 5]
    assert reader.fields[own_formats.KEY].contents() == ["w=Q3_U"]


def test_matrices_one_behind_the_other_keep_their_shape(tmp_path: Path) -> None:
    data = _random_rows(3 * 5, 96).reshape(-1)
    stacked = StoredTensor("experts", (3, 5, 96), "Q3_U", data)
    write_gguf(tmp_path / "m.gguf", {}, [("experts", (3, 5, 96), "Q3_U")], [stacked])
    found = read_gguf(tmp_path / "m.gguf").tensors["experts"]
    assert (found.shape, found.format) == ((3, 5, 96), "Q3_U")
    np.testing.assert_array_equal(found.to_float32(), stacked.to_float32())


@pytest.mark.parametrize(
    ("named", "error", "told"),
    [
        (["v=Q3_U"], FormatError, "no such tensor"),
        (["b=Q3_U"], FormatError, "F32"),
        (["w=Q9_U"], UnsupportedError, "Q9_U"),
        (["w"], UnsupportedError, "'w'|w"),
        ("w=Q3_U", FormatError, "not a list"),
        ([3], FormatError, "not a list"),
    ],
)
def test_a_key_that_is_wrong_is_told(
    tmp_path: Path, named: object, error: type[Exception], told: str
) -> None:
    tensors = [
        StoredTensor("w", (5, q3.row_bytes(96)), "I8", _random_rows(5, 96).reshape(-1)),
        StoredTensor.of("b", np.ones(3, np.float32)),
    ]
    shapes = [(t.name, t.shape, t.format) for t in tensors]
    write_gguf(tmp_path / "m.gguf", {own_formats.KEY: named}, shapes, tensors)
    with pytest.raises(error, match=told):
        read_gguf(tmp_path / "m.gguf")


def test_bytes_that_are_no_whole_rows_are_told(tmp_path: Path) -> None:
    raw = StoredTensor("w", (5, 39), "I8", np.zeros(5 * 39, np.uint8))
    write_gguf(tmp_path / "m.gguf", {own_formats.KEY: ["w=Q3_U"]}, [("w", (5, 39), "I8")], [raw])
    with pytest.raises(FormatError, match="not the bytes of whole rows"):
        read_gguf(tmp_path / "m.gguf")
