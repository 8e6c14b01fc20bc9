"""GGUF: read what the `gguf` package writes and the other way round; refuse what is broken, in one
line.
"""

from __future__ import annotations

import struct
from pathlib import Path

import gguf
import numpy as np
import pytest
from gguf import GGMLQuantizationType, quants

from understudy.errors import FormatError, MissingError, UnsupportedError
from understudy.formats import block_formats
from understudy.formats.gguf import read_gguf, write_gguf
from understudy.formats.tensor import BLOCKS, OWN_FORMATS, StoredTensor

RNG = np.random.default_rng(5)


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    """A file by the `gguf` package with metadata of every type and two tensors."""
    path = tmp_path / "sample.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    for add, value in [
        ("uint8", 200),
        ("int8", -5),
        ("uint16", 60000),
        ("int16", -5),
        ("uint32", 1 << 31),
        ("int32", -7),
        ("uint64", 1 << 40),
        ("int64", -(1 << 40)),
        ("float32", 0.5),
        ("float64", 0.1),
        ("bool", True),
    ]:
        getattr(writer, f"add_{add}")(f"t.{add}", value)
    writer.add_string("t.string", "naïve 日本")
    writer.add_array("t.strings", ["a", "", "ß"])
    writer.add_array("t.ints", [1, 2, 3])
    writer.add_array("t.floats", [0.5, 0.25])
    writer.add_tensor("plain", np.arange(6, dtype=np.float32).reshape(2, 3))
    writer.add_tensor("half", np.arange(4, dtype=np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_reads_every_metadata_type_of_the_gguf_package(sample: Path) -> None:
    metadata = read_gguf(sample).metadata
    assert metadata["t.uint8"] == 200
    assert metadata["t.int8"] == -5
    assert metadata["t.uint16"] == 60000
    assert metadata["t.int16"] == -5
    assert metadata["t.uint32"] == 1 << 31
    assert metadata["t.int32"] == -7
    assert metadata["t.uint64"] == 1 << 40
    assert metadata["t.int64"] == -(1 << 40)
    assert metadata["t.float32"] == 0.5
    assert metadata["t.float64"] == 0.1
    assert metadata["t.bool"] is True
    assert metadata["t.string"] == "naïve 日本"
    assert metadata["t.strings"] == ["a", "", "ß"]
    assert metadata["t.ints"] == [1, 2, 3]
    assert metadata["t.floats"] == [0.5, 0.25]


def test_reads_tensors_of_the_gguf_package(sample: Path) -> None:
    tensors = read_gguf(sample).tensors
    np.testing.assert_array_equal(
        tensors["plain"].to_float32(), np.arange(6, dtype=np.float32).reshape(2, 3)
    )
    np.testing.assert_array_equal(tensors["half"].to_float32(), np.arange(4, dtype=np.float32))


@pytest.mark.parametrize(
    "format", sorted(BLOCKS.keys() - set(OWN_FORMATS) - block_formats.LAYOUTS.keys())
)
def test_decodes_every_format_as_the_gguf_package_does(format: str) -> None:
    kind = GGMLQuantizationType[format]
    values = RNG.standard_normal((4, 512), dtype=np.float32)
    try:
        data = quants.quantize(values, kind)
    except (
        NotImplementedError
    ):  # the package reads K blocks but does not write them: random bits with tame scales
        per_block, size = BLOCKS[format]
        data = RNG.integers(0, 256, (4, 512 // per_block, size), dtype=np.uint8)
        for at in (208,) if format == "Q6_K" else (0, 2):
            data[..., at : at + 2] = np.float16([0.01]).view(np.uint8)
        data = data.reshape(4, -1)
    expected = quants.dequantize(data, kind)
    flat = np.ascontiguousarray(data).reshape(-1).view(np.uint8)
    tensor = StoredTensor("t", (4, 512), format, flat)
    np.testing.assert_allclose(tensor.to_float32(), expected, rtol=1e-6, atol=1e-7)
    order = np.array([2, 0, 3, 1])
    np.testing.assert_array_equal(tensor.take_rows(order).to_float32(), tensor.to_float32()[order])


@pytest.mark.parametrize("format", ["BF16", "F16", "Q8_0", "Q4_0", "Q4_1"])
def test_encodes_as_the_gguf_package_does(format: str) -> None:
    values = RNG.standard_normal((5, 96), dtype=np.float32)
    expected = quants.dequantize(
        quants.quantize(values, GGMLQuantizationType[format]), GGMLQuantizationType[format]
    )
    found = StoredTensor.of("t", values).to_format(format).to_float32()
    np.testing.assert_allclose(found, expected, atol=1e-3 if "Q" in format else 0)


def test_the_gguf_package_reads_what_is_written(tmp_path: Path) -> None:
    path = tmp_path / "ours.gguf"
    values = RNG.standard_normal((3, 64), dtype=np.float32)
    tensors = [
        StoredTensor.of("a", values),
        StoredTensor.of("b", values[0]),
        StoredTensor.of("c", values).to_format("Q8_0"),
    ]
    metadata = {
        "general.architecture": "llama",
        "n": 7,
        "x": 0.5,
        "ok": True,
        "names": ["p", "q"],
        "types": (5, [1, 3]),
        "big": 1 << 40,
    }
    write_gguf(path, metadata, [(t.name, t.shape, t.format) for t in tensors], tensors)
    reader = gguf.GGUFReader(path)
    assert reader.fields["n"].contents() == 7
    assert reader.fields["x"].contents() == 0.5
    assert reader.fields["ok"].contents() is True
    assert reader.fields["names"].contents() == ["p", "q"]
    assert reader.fields["types"].contents() == [1, 3]
    assert reader.fields["types"].types[1] == gguf.GGUFValueType.INT32
    assert reader.fields["big"].contents() == 1 << 40
    found = {t.name: t for t in reader.tensors}
    np.testing.assert_array_equal(found["a"].data, values)
    assert found["c"].tensor_type == GGMLQuantizationType.Q8_0
    again = read_gguf(path)
    assert {k: v for k, v in again.metadata.items() if k != "types"} == {
        k: v for k, v in metadata.items() if k != "types"
    }
    np.testing.assert_array_equal(again.tensors["b"].to_float32(), values[0])


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "x.gguf"
    path.write_bytes(b"old")
    tensor = StoredTensor.of("a", np.zeros(3, np.float32))
    with pytest.raises(ValueError, match="announced"):
        write_gguf(path, {}, [("b", (3,), "F32")], [tensor])
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def _raw(
    *,
    tensors: bytes = b"",
    num_tensors: int = 0,
    keys: bytes = b"",
    num_keys: int = 0,
    body: bytes = b"",
    version: int = 3,
) -> bytes:
    head = b"GGUF" + struct.pack("<IQQ", version, num_tensors, num_keys) + keys + tensors
    return head + b"\0" * (-len(head) % 32) + body


def _text(value: str) -> bytes:
    return struct.pack("<Q", len(value)) + value.encode()


def _entry(name: str, shape: tuple[int, ...], code: int, offset: int) -> bytes:
    return (
        _text(name)
        + struct.pack("<I", len(shape))
        + struct.pack(f"<{len(shape)}Q", *shape)
        + struct.pack("<IQ", code, offset)
    )


_KEY = _text("k") + struct.pack("<I", 4) + struct.pack("<I", 1)
BROKEN = {
    "not a GGUF file": b"GGML" + bytes(60),
    "impossible number of tensors": _raw(num_tensors=1 << 60),
    "impossible number of metadata keys": _raw(num_keys=1 << 60),
    "impossible number of characters": _raw(
        num_keys=1, keys=struct.pack("<Q", 1 << 62) + bytes(20)
    ),
    "impossible number of array entries": _raw(
        num_keys=1, keys=_text("k") + struct.pack("<IIQ", 9, 6, 1 << 61) + bytes(20)
    ),
    "unknown metadata type": _raw(num_keys=1, keys=_text("k") + struct.pack("<I", 99) + bytes(20)),
    "metadata key is there twice": _raw(num_keys=2, keys=_KEY + _KEY),
    "tensor lies outside the file": _raw(num_tensors=1, tensors=_entry("t", (4,), 0, 1 << 20)),
    "tensor is there twice": _raw(
        num_tensors=2, tensors=_entry("t", (4,), 0, 0) + _entry("t", (4,), 0, 32), body=bytes(64)
    ),
    "tensors overlap": _raw(
        num_tensors=2, tensors=_entry("t", (16,), 0, 0) + _entry("u", (4,), 0, 32), body=bytes(96)
    ),
    "impossible shape": _raw(num_tensors=1, tensors=_entry("t", (0,), 0, 0), body=bytes(64)),
    "number of dimensions": _raw(
        num_tensors=1, tensors=_entry("t", (1,) * 5, 0, 0), body=bytes(64)
    ),
    "rows are not whole Q4_0 blocks": _raw(
        num_tensors=1, tensors=_entry("t", (31,), 2, 0), body=bytes(64)
    ),
    "general.alignment": _raw(
        num_keys=1, keys=_text("general.alignment") + struct.pack("<II", 4, 3)
    ),
    "too short": b"GGUF",
    "not a GGUF file but a web page": b"<!DOCTYPE html><html></html>",
    "but a pointer of Git LFS": b"version https://git-lfs.github.com/spec/v1\noid sha256:ab",
    "but a zip archive": b"PK\x03\x04" + bytes(60),
}


@pytest.mark.parametrize("message", BROKEN)
def test_broken_files_are_refused(message: str, tmp_path: Path) -> None:
    path = tmp_path / "broken.gguf"
    path.write_bytes(BROKEN[message])
    with pytest.raises(FormatError, match=message) as caught:
        read_gguf(path)
    assert "\n" not in str(caught.value)


def test_unknown_versions_and_formats_are_unsupported(tmp_path: Path) -> None:
    path = tmp_path / "new.gguf"
    path.write_bytes(_raw(version=9))
    with pytest.raises(UnsupportedError, match="version"):
        read_gguf(path)
    path.write_bytes(_raw(num_tensors=1, tensors=_entry("t", (256,), 15, 0), body=bytes(320)))
    with pytest.raises(UnsupportedError, match="Q8_K"):
        read_gguf(path)
    with pytest.raises(MissingError, match="cannot open"):
        read_gguf(tmp_path / "none.gguf")
