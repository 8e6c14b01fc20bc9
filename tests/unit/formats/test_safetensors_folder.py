"""Safetensors: equal to the safetensors package; shards found, missing ones named, broken headers
refused.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from understudy.errors import FormatError, MissingError, UnsupportedError
from understudy.formats.safetensors_folder import (
    read_folder_tensors,
    read_json,
    read_safetensors,
    write_safetensors,
)
from understudy.formats.tensor import StoredTensor

VALUES = {
    "a": np.arange(6, dtype=np.float32).reshape(2, 3),
    "b": np.linspace(-1, 1, 5).astype(np.float16),
}


def test_reads_what_the_package_writes(tmp_path: Path) -> None:
    save_file(VALUES, tmp_path / "x.safetensors")
    found = read_safetensors(tmp_path / "x.safetensors")
    for name, values in VALUES.items():
        np.testing.assert_array_equal(found[name].to_float32(), values.astype(np.float32))


def test_the_package_reads_what_is_written(tmp_path: Path) -> None:
    tensors = [
        StoredTensor.of("a", VALUES["a"]),
        StoredTensor.of("h", VALUES["a"]).to_format("F16"),
    ]
    write_safetensors(
        tmp_path / "x.safetensors", tensors, {t.name: (t.shape, t.format) for t in tensors}
    )
    found = load_file(tmp_path / "x.safetensors")
    np.testing.assert_array_equal(found["a"], VALUES["a"])
    np.testing.assert_array_equal(found["h"], VALUES["a"].astype(np.float16))


def _file(header: object, body: bytes = bytes(64)) -> bytes:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(raw)) + raw + body


def _entry(
    begin: int = 0, end: int = 16, shape: object = (4,), dtype: str = "F32"
) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


BROKEN = {
    "too short": b"abc",
    "header is longer than the file": struct.pack("<Q", 1 << 40) + bytes(8),
    "header is not JSON": _file(b"{nope"),
    "header entry is malformed": _file({"a": {"dtype": "F32"}}),
    "whole numbers": _file({"a": _entry(shape=[4.0])}),
    "does not fit the file": _file({"a": _entry(0, 4000, [1000])}),
    "tensors overlap": _file({"a": _entry(), "b": _entry(8, 24)}),
}


@pytest.mark.parametrize("message", BROKEN)
def test_broken_files_are_refused(message: str, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(BROKEN[message])
    with pytest.raises(FormatError, match=message):
        read_safetensors(path)


def test_other_data_types_are_unsupported(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(_file({"a": _entry(dtype="F4")}))
    with pytest.raises(UnsupportedError, match="F4"):
        read_safetensors(tmp_path / "x")


def _sharded(folder: Path) -> None:
    for number, name in enumerate(VALUES):
        save_file({name: VALUES[name]}, folder / f"model-{number}.safetensors")
    weight_map = {name: f"model-{number}.safetensors" for number, name in enumerate(VALUES)}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))


def test_shards_are_joined_and_a_missing_one_is_named(tmp_path: Path) -> None:
    _sharded(tmp_path)
    assert read_folder_tensors(tmp_path).keys() == VALUES.keys()
    (tmp_path / "model-1.safetensors").unlink()
    with pytest.raises(MissingError, match=r"model-1.safetensors: shard is missing"):
        read_folder_tensors(tmp_path)


def test_a_shard_outside_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors.index.json").write_text(
        json.dumps({"weight_map": {"a": "../secret"}})
    )
    with pytest.raises(FormatError, match="outside"):
        read_folder_tensors(tmp_path)


def test_an_index_that_promises_more_than_the_shards_hold(tmp_path: Path) -> None:
    _sharded(tmp_path)
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    index["weight_map"]["c"] = "model-0.safetensors"
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(MissingError, match="no shard holds"):
        read_folder_tensors(tmp_path)


def test_a_folder_without_weights(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="no weights"):
        read_folder_tensors(tmp_path)


@pytest.mark.parametrize("text", ["{", "[]", "[" * 100_000])
def test_json_that_is_none(text: str, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(FormatError, match="JSON"):
        read_json(tmp_path / "x.json")
