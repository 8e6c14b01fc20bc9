"""pytorch_model.bin without torch: files made by hand here, one made by torch in tests/torch."""

from __future__ import annotations

import collections
import io
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.torch_files import state_dict_bytes
from understudy.errors import FormatError, MissingError, UnsupportedError
from understudy.formats.torch_pickle import read_torch_file

VALUES = np.arange(24, dtype=np.float32).reshape(4, 6)


def _write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def test_reads_plain_and_strided_tensors(tmp_path: Path) -> None:
    data = state_dict_bytes(
        {
            "a": (VALUES, "FloatStorage", (4, 6), (6, 1), 0),
            "t": (VALUES, "FloatStorage", (6, 4), (1, 6), 0),
            "part": (VALUES, "FloatStorage", (2, 3), (6, 1), 7),
        }
    )
    found = read_torch_file(_write(tmp_path / "m.bin", data))
    np.testing.assert_array_equal(found["a"].to_float32(), VALUES)
    np.testing.assert_array_equal(found["t"].to_float32(), VALUES.T)
    np.testing.assert_array_equal(found["part"].to_float32(), VALUES[1:3, 1:4])


def test_reads_bfloat16(tmp_path: Path) -> None:
    bits = (VALUES.view(np.uint32) >> 16).astype(np.uint16)
    data = state_dict_bytes({"a": (bits, "BFloat16Storage", (4, 6), (6, 1), 0)})
    np.testing.assert_array_equal(
        read_torch_file(_write(tmp_path / "m.bin", data))["a"].to_float32(), VALUES
    )


@pytest.mark.parametrize(
    ("shape", "strides", "offset"),
    [((4, 7), (7, 1), 0), ((4, 6), (6, 1), 1), ((4, 6), (1 << 62, 1), 0), ((1 << 40,), (0,), 0)],
)
def test_tensors_that_reach_beyond_their_data(
    shape: Any, strides: Any, offset: int, tmp_path: Path
) -> None:
    data = state_dict_bytes({"a": (VALUES, "FloatStorage", shape, strides, offset)})
    with pytest.raises(FormatError):
        read_torch_file(_write(tmp_path / "m.bin", data))


class _Evil:
    def __reduce__(self) -> Any:
        return os.system, ("touch evil",)


@pytest.mark.parametrize(
    "payload", [_Evil(), {"a": _Evil()}, collections.Counter("aa"), {"a": slice(1)}]
)
def test_foreign_globals_are_refused_and_not_run(
    payload: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(payload, protocol=2))
    with pytest.raises(UnsupportedError, match="global"):
        read_torch_file(_write(tmp_path / "m.bin", buffer.getvalue()))
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize("name", ["system", "load", "Tensor.Storage", "nn.Storage"])
def test_only_storage_markers_of_torch_pass(name: str, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02ctorch\n" + name.encode() + b"\n.")
    with pytest.raises((UnsupportedError, FormatError)):
        read_torch_file(_write(tmp_path / "m.bin", buffer.getvalue()))


def test_other_storage_types_are_unsupported(tmp_path: Path) -> None:
    data = state_dict_bytes({"a": (VALUES, "DoubleStorage", (4, 6), (6, 1), 0)})
    with pytest.raises(UnsupportedError, match="DoubleStorage"):
        read_torch_file(_write(tmp_path / "m.bin", data))


def test_not_a_zip_not_there_not_a_state_dict(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="not a PyTorch zip"):
        read_torch_file(_write(tmp_path / "m.bin", b"\x80\x02."))
    with pytest.raises(MissingError):
        read_torch_file(tmp_path / "none.bin")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps([1, 2]))
    with pytest.raises(FormatError, match="not a state dict"):
        read_torch_file(_write(tmp_path / "m.bin", buffer.getvalue()))


def test_a_compressed_member_is_refused(tmp_path: Path) -> None:
    data = state_dict_bytes(
        {"a": (VALUES, "FloatStorage", (4, 6), (6, 1), 0)}, compression=zipfile.ZIP_DEFLATED
    )
    with pytest.raises(FormatError, match="wrong size"):
        read_torch_file(_write(tmp_path / "m.bin", data))
