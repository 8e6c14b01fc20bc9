"""Folders that other tools quantized: every layout equal to its tool's values, the rest refused by
name."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import understudy
from tests.support.checkpoints import SPECS, random_tokens, random_weights, write_folder
from tests.support.quantized_table import digest, read_table
from understudy.checkpoint.checkpoint import open_checkpoint
from understudy.checkpoint.convert import save_checkpoint
from understudy.checkpoint.quantized import dequantised
from understudy.errors import FormatError, UnsupportedError
from understudy.formats.safetensors_folder import read_safetensors
from understudy.formats.tensor import StoredTensor

TABLE = read_table()


def test_the_table_has_every_tool() -> None:
    tools = {case.partition("-")[0] for case in TABLE}
    wanted = "awq bitsandbytes compressed fp8 gptq mlx modelopt torchao"
    assert tools == set(wanted.split())


@pytest.mark.parametrize("case", TABLE)
def test_values_are_those_of_the_tool(case: str) -> None:
    """Made by the tools themselves (versions in docs/compatibility/model-files.md), held by a
    digest.
    """
    config, tensors, shape, expected = TABLE[case]
    weights = dequantised(config["quantization_config"], config, tensors, case)
    assert list(weights) == ["layer.weight"]
    assert list(weights.stored("layer.weight").shape) == shape
    assert digest(weights["layer.weight"].to_float32()) == expected


def _quantized_folder(path: Path) -> tuple[Path, dict[str, np.ndarray]]:
    """A whole Llama of int8 rows, as llm-compressor writes one, and the weights it stands for."""
    spec = SPECS["llama"]
    folder = write_folder(spec, random_weights(spec), path / "m")
    stored, values = {}, {}
    for name, tensor in read_safetensors(folder / "model.safetensors").items():
        values[name] = tensor.to_float32()
        if "_proj" not in name:
            stored[name] = tensor
            continue
        scale = np.abs(values[name]).max(1, keepdims=True) / 127
        codes = np.rint(values[name] / scale).astype(np.int8)
        values[name] = codes * scale
        stored[name] = StoredTensor(name, codes.shape, "I8", codes.reshape(-1).view(np.uint8))
        stored[f"{name}_scale"] = StoredTensor.of(f"{name}_scale", scale)
        stored[f"{name}_zero_point"] = StoredTensor(
            f"{name}_zero_point", (1,), "I8", np.zeros(1, "u1")
        )
        kept = f"{name.removesuffix('weight')}input_scale"
        stored[kept] = StoredTensor.of(kept, np.ones(1, np.float32))
    _write_raw(folder / "model.safetensors", stored)
    _configure(folder, {"quant_method": "compressed-tensors", "format": "int-quantized"})
    return folder, values


def _write_raw(path: Path, tensors: dict[str, StoredTensor]) -> None:
    header: dict[str, Any] = {}
    data = b""
    for name, tensor in tensors.items():
        span = [len(data), len(data) + tensor.data.size]
        header[name] = {"dtype": tensor.format, "shape": tensor.shape, "data_offsets": span}
        data += tensor.data.tobytes()
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


def _configure(folder: Path, quantization: dict[str, Any] | None) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] = quantization
    (folder / "config.json").write_text(json.dumps(config))


def test_a_whole_folder_opens_runs_and_converts(tmp_path: Path) -> None:
    folder, values = _quantized_folder(tmp_path)
    spec = SPECS["llama"]
    tokens = random_tokens(spec, 12)
    plain = write_folder(spec, values, tmp_path / "plain")
    with understudy.load(plain, kv="f32", use_cache=False) as model:
        right = model.logits(tokens)
    with understudy.load(folder, kv="f32", use_cache=False) as model:
        assert np.array_equal(model.logits(tokens), right)
    save_checkpoint(open_checkpoint(folder), tmp_path / "m.gguf")
    save_checkpoint(open_checkpoint(folder), tmp_path / "copy")
    assert "quantization_config" not in json.loads((tmp_path / "copy/config.json").read_text())
    for path in (tmp_path / "m.gguf", tmp_path / "copy"):
        with understudy.load(path, kv="f32", use_cache=False) as model:
            assert np.array_equal(model.logits(tokens), right)


REFUSED = [
    ({"quant_method": "hqq"}, "hqq"),
    ({"quant_method": "aqlm"}, "aqlm"),
    ({"quant_method": "quanto", "weights": "int8"}, "quanto"),
    ({"quant_method": "mxfp4"}, "mxfp4"),
    ({"quant_method": "gptq", "bits": 4, "checkpoint_format": "marlin"}, "GPTQ as marlin"),
    ({"quant_method": "gptq", "bits": 5}, "GPTQ as 5"),
    ({"quant_method": "awq", "bits": 4, "version": "gemv"}, "AWQ as gemv"),
    (
        {"quant_method": "compressed-tensors", "format": "marlin-24"},
        "compressed-tensors as marlin-24",
    ),
    (
        {"quant_method": "compressed-tensors", "sparsity_config": {"format": "sparse-bitmask"}},
        "sparse-bitmask",
    ),
    ({"quant_method": "modelopt", "quant_algo": "MXFP8"}, "ModelOpt as MXFP8"),
    ({"group_size": 32, "bits": 4, "mode": "mxfp4"}, "MLX as mxfp4"),
    ({"something": "else"}, "unknown"),
]


@pytest.mark.parametrize(("quantization", "words"), REFUSED)
def test_other_methods_are_refused_in_one_line(
    quantization: dict[str, Any], words: str, tmp_path: Path
) -> None:
    folder, _ = _quantized_folder(tmp_path)
    _configure(folder, quantization)
    with pytest.raises(UnsupportedError, match=words) as caught:
        open_checkpoint(folder)
    line = str(caught.value)
    assert "Open the unquantized model, or its GGUF" in line
    assert len(line.removeprefix(str(folder))) < 250


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("quantize_config.json", "GPTQ"),
        ("quant_config.json", "AWQ"),
        ("hf_quant_config.json", "ModelOpt"),
    ],
)
def test_tools_may_say_it_in_files_of_their_own(name: str, words: str, tmp_path: Path) -> None:
    spec = SPECS["llama"]
    folder = write_folder(spec, random_weights(spec), tmp_path / "m")
    (folder / name).write_text(json.dumps({"bits": 4, "producer": {"name": "x"}}))
    with pytest.raises(UnsupportedError, match=f"{words} quantized the weights, but no layer is"):
        open_checkpoint(folder)


def test_a_method_that_the_tensors_contradict_is_refused(tmp_path: Path) -> None:
    folder, _ = _quantized_folder(tmp_path)
    _configure(folder, {"quant_method": "awq", "bits": 4})
    with pytest.raises(UnsupportedError, match="AWQ is not known to write"):
        open_checkpoint(folder)


def test_whole_numbers_without_a_method_are_refused(tmp_path: Path) -> None:
    folder, _ = _quantized_folder(tmp_path)
    _configure(folder, None)
    with pytest.raises(UnsupportedError):
        open_checkpoint(folder)


@pytest.mark.parametrize(
    ("case", "part"),
    [
        ("compressed-pack4-group-sym", "weight_shape"),
        ("gptq-4", "qzeros"),
        ("awq", "scales"),
        ("mlx-4-64", "biases"),
        ("modelopt-nvfp4", "weight"),
        ("bitsandbytes-nf4", "weight.quant_map"),
    ],
)
def test_missing_parts_are_named(case: str, part: str) -> None:
    config, tensors, _, _ = TABLE[case]
    kept = {name: t for name, t in tensors.items() if name != f"layer.{part}"}
    with pytest.raises((FormatError, UnsupportedError), match=r"layer"):
        dequantised(config["quantization_config"], config, kept, case)["layer.weight"]


def test_extra_state_of_any_type_is_ignored(tmp_path: Path) -> None:
    spec = SPECS["llama"]
    folder = write_folder(spec, random_weights(spec), tmp_path / "m")
    stored = dict(read_safetensors(folder / "model.safetensors"))
    name = "model.layers.0.self_attn._extra_state"
    stored[name] = StoredTensor(name, (3,), "U8", np.zeros(3, np.uint8))
    _write_raw(folder / "model.safetensors", stored)
    assert open_checkpoint(folder).spec == spec


@pytest.mark.parametrize("case", TABLE)
def test_parts_of_other_sizes_end_in_one_line(case: str) -> None:
    """Every part in turn cut to its first row, to one value, or of another type."""
    config, tensors, _, _ = TABLE[case]
    for name, tensor in tensors.items():
        item = tensor.data.size // max(1, int(np.prod(tensor.shape)))
        cut = StoredTensor(name, (1,), tensor.format, tensor.data[:item])
        empty = StoredTensor(name, (0, 4), tensor.format, tensor.data[:0])
        other = StoredTensor(name, (tensor.data.size,), "I8", tensor.data)
        for broken in (cut, empty, other):
            with contextlib.suppress(FormatError, UnsupportedError):
                held = dequantised(
                    config["quantization_config"], config, {**tensors, name: broken}, case
                )
                held["layer.weight"].to_float32()
