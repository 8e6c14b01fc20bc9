"""Block formats of ggml beside those of the core: values as the `gguf` package has them, and packed
to run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from gguf import GGMLQuantizationType, LlamaFileType, quants
from numpy.typing import NDArray

from tests.support.checkpoints import SPECS, random_weights, write_folder
from understudy import core
from understudy.checkpoint.checkpoint import open_checkpoint
from understudy.checkpoint.convert import save_checkpoint
from understudy.checkpoint.pack import pack
from understudy.errors import FormatError
from understudy.formats.block_formats import LAYOUTS
from understudy.formats.gguf import read_gguf, write_gguf
from understudy.formats.tensor import StoredTensor, num_bytes
from understudy.spec import QuantSpec

Q_PROJ = "blk.0.attn_q.weight"


def _random_blocks(format: str, count: int, seed: int = 0) -> NDArray[np.uint8]:
    """Any bits, with scales that are tame numbers."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, 256, (count, LAYOUTS[format][1]), dtype=np.uint8)
    for at in LAYOUTS[format][2]:
        scales = rng.standard_normal((count, 1)).astype(np.float16)
        blocks[:, at : at + 2] = scales.view(np.uint8)
    if format == "IQ1_M":
        blocks[:, 55] = blocks[:, 55] & 0x0F | 0x20  # the scale's highest four bits
    if format == "MXFP4":
        blocks[:, 0] = blocks[:, 0] % 16 + 110
    return blocks


@pytest.mark.parametrize("format", sorted(LAYOUTS.keys() - {"Q1_0"}))
def test_every_value_is_that_of_the_gguf_package(format: str) -> None:
    values = LAYOUTS[format][0]
    for seed in range(3):
        blocks = _random_blocks(format, 700, seed)
        right = quants.dequantize(blocks, GGMLQuantizationType[format])
        found = StoredTensor("t", (700, values), format, blocks.reshape(-1)).to_float32()
        assert np.isfinite(right).all()
        assert np.ptp(right) > 0
        np.testing.assert_array_equal(found, right)


def test_the_smallest_scales_of_mxfp4() -> None:
    blocks = np.full((3, 17), 0x21, np.uint8)
    blocks[:, 0] = [0, 1, 2]
    right = quants.dequantize(blocks, GGMLQuantizationType.MXFP4)
    found = StoredTensor("t", (3, 32), "MXFP4", blocks.reshape(-1)).to_float32()
    np.testing.assert_array_equal(found, right)


def test_one_bit_a_value() -> None:
    """The `gguf` package does not decode Q1_0; in ggml a set bit is plus the scale."""
    block = np.zeros(18, np.uint8)
    block[:2] = np.float16([0.5]).view(np.uint8)
    block[2] = 0b101
    found = StoredTensor("t", (128,), "Q1_0", block).to_float32()
    assert found.tolist() == [0.5, -0.5, 0.5] + [-0.5] * 125


def _with_matrix(tmp_path: Path, format: str, extra: list[StoredTensor]) -> Path:
    """A Llama whose first query matrix (64 or 256 columns) is of a format."""
    columns = max(64, LAYOUTS[format][0])
    spec = SPECS["llama"].replace(hidden_size=columns, head_dim=columns // SPECS["llama"].num_heads)
    folder = write_folder(spec, random_weights(spec), tmp_path / "m")
    save_checkpoint(open_checkpoint(folder), tmp_path / "plain.gguf", QuantSpec("f32"))
    file = read_gguf(tmp_path / "plain.gguf")
    shape = file.tensors[Q_PROJ].shape
    data = _random_blocks(format, num_bytes(format, shape) // LAYOUTS[format][1]).reshape(-1)
    matrix = StoredTensor(Q_PROJ, shape, format, data)
    tensors = [*(file.tensors | {Q_PROJ: matrix}).values(), *extra]
    shapes = [(t.name, t.shape, t.format) for t in tensors]
    write_gguf(tmp_path / "m.gguf", file.metadata, shapes, tensors)
    return tmp_path / "m.gguf"


@pytest.mark.parametrize("format", sorted(LAYOUTS.keys() - {"NVFP4"}))
def test_a_model_of_it_is_written_again_as_it_stands(format: str, tmp_path: Path) -> None:
    """NVFP4 aside, whose factor a matrix of ours has no place for."""
    path = _with_matrix(tmp_path, format, [])
    file = read_gguf(path)
    matrix = file.tensors[Q_PROJ]
    same = {
        name: StoredTensor(
            name, t.shape, format, np.resize(matrix.data, num_bytes(format, t.shape))
        )
        if len(t.shape) == 2 and t.shape[1] % LAYOUTS[format][0] == 0
        else t
        for name, t in file.tensors.items()
    }
    shapes = [(t.name, t.shape, t.format) for t in same.values()]
    write_gguf(path, file.metadata, shapes, same.values())
    save_checkpoint(open_checkpoint(path), tmp_path / "again.gguf")
    again = read_gguf(tmp_path / "again.gguf")
    assert {t.format for t in again.tensors.values()} == {t.format for t in same.values()}
    name = LlamaFileType(again.metadata["general.file_type"]).name
    mixture = {"Q3_K": "Q3_K_M", "MXFP4": "MXFP4_MOE"}.get(format, format)
    assert name == f"MOSTLY_{mixture}"


@pytest.mark.parametrize("format", sorted(LAYOUTS))
def test_a_model_is_packed_from_it(
    format: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UNDERSTUDY_CACHE", str(tmp_path / "cache"))
    checkpoint = open_checkpoint(_with_matrix(tmp_path, format, []))
    name = "model.layers.0.self_attn.q_proj.weight"
    values = checkpoint.weights[name].to_float32()
    tensor = pack(checkpoint).tensors[name]
    assert tensor.format == "q8"
    found = core.unpack("q8", tensor.data, tensor.rows, tensor.columns).reshape(values.shape)
    # Half a step of 8 bits, and what a half-precision scale adds at the ends of the range.
    half_a_step = np.abs(values.reshape(-1, 32)).max(axis=1) / 127 * 0.57
    errors = np.abs(found - values).reshape(-1, 32).max(axis=1)
    assert (errors <= half_a_step + 4e-6).all()


def test_nvfp4_has_a_factor_for_the_whole_matrix(tmp_path: Path) -> None:
    scale = StoredTensor.of("blk.0.attn_q.scale", np.array([0.25], np.float32))
    plain = open_checkpoint(_with_matrix(tmp_path, "NVFP4", []))
    scaled = open_checkpoint(_with_matrix(tmp_path, "NVFP4", [scale]))
    name = "model.layers.0.self_attn.q_proj.weight"
    right = plain.weights[name].to_float32() * np.float32(0.25)
    np.testing.assert_array_equal(scaled.weights[name].to_float32(), right)


@pytest.mark.parametrize("format", ["IQ2_S", "MXFP4"])
def test_a_scale_that_is_no_number_is_named(format: str, tmp_path: Path) -> None:
    path = _with_matrix(tmp_path, format, [])
    raw = bytearray(path.read_bytes())
    file = read_gguf(path)
    at = raw.find(bytes(file.tensors[Q_PROJ].data[:40]))
    raw[at : at + 2] = b"\xff\x7e"
    path.write_bytes(raw)
    with pytest.raises(FormatError, match=r"blk\.0|layers\.0.*not finite"):
        pack(open_checkpoint(path), use_cache=False)
