"""Qwen3.5 in files: the text network out of a folder that also sees, heads in llama.cpp's order,
and layers that predict further tokens."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.support.checkpoints import random_tokens, random_weights, write_safetensors
from tests.support.families import DELTA_HYBRIDS, FAMILIES, delta_hybrid, made_checkpoint
from understudy import core
from understudy.checkpoint import reference
from understudy.checkpoint.checkpoint import open_checkpoint
from understudy.checkpoint.convert import save_checkpoint
from understudy.checkpoint.pack import pack
from understudy.checkpoint.tiled_heads import reordering
from understudy.errors import CheckpointWarning, FormatError, UnsupportedError
from understudy.formats.gguf import read_gguf, write_gguf
from understudy.formats.k_blocks import to_finer
from understudy.formats.tensor import StoredTensor
from understudy.spec import QuantSpec

SPEC = DELTA_HYBRIDS["published"].replace(tied_embeddings=False)


def _whole_folder(folder: Path, spelling: str, **changes: object) -> Path:
    """The text network as part of one that sees, with a head that predicts further tokens."""
    save_checkpoint(made_checkpoint(SPEC), folder)
    text = json.loads((folder / "config.json").read_text()) | changes
    whole = {
        "model_type": "qwen3_5",
        "architectures": ["Qwen3_5ForConditionalGeneration"],
        "eos_token_id": 2,
        "image_token_id": 90,
        "text_config": text,
        "vision_config": {"model_type": "qwen3_5_vision", "depth": 2},
    }
    (folder / "config.json").write_text(json.dumps(whole))
    weights = random_weights(SPEC)
    named = {
        name
        if name.startswith("lm_head") and spelling == "model.language_model."
        else spelling.removesuffix("model.") + name
        if name.startswith("lm_head")
        else spelling + name.removeprefix("model."): values
        for name, values in weights.items()
    }
    named["model.visual.blocks.0.attn.qkv.weight"] = np.ones((3, 4), np.float32)
    named["mtp.fc.weight"] = np.ones((4, 4), np.float32)
    write_safetensors(named, folder / "model.safetensors")
    return folder


@pytest.mark.parametrize("spelling", ["model.language_model.", "language_model.model."])
def test_the_text_network_is_taken_out_of_one_that_sees(tmp_path: Path, spelling: str) -> None:
    folder = _whole_folder(tmp_path / "whole", spelling)
    with pytest.warns(CheckpointWarning, match="1 of visual, 1 of mtp"):
        opened = open_checkpoint(folder)
    assert opened.spec == SPEC
    assert opened.metadata["eos_token_id"] == 2
    for name, values in random_weights(SPEC).items():
        np.testing.assert_array_equal(opened.weights[name].to_float32(), values)


def test_gains_of_a_folder_of_mlx_are_zero_centred_again(tmp_path: Path) -> None:
    """mlx-lm's `sanitize` adds 1 to them where it turns the convolution around."""
    folder = _whole_folder(tmp_path / "whole", "language_model.model.")
    named = {}
    for name, values in random_weights(SPEC).items():
        is_gain = name.endswith("norm.weight") and "linear_attn.norm" not in name
        values = values[:, :, None] if name.endswith("conv1d.weight") else values + is_gain
        named[f"language_model.{name}"] = values.astype(np.float32)
    write_safetensors(named, folder / "model.safetensors")
    opened = open_checkpoint(folder)
    for name, values in random_weights(SPEC).items():
        np.testing.assert_allclose(opened.weights[name].to_float32(), values, atol=1e-6)


def test_turns_of_images_and_further_heads_change_nothing_of_a_text(tmp_path: Path) -> None:
    rope = {
        "rope_type": "default",
        "rope_theta": 1e7,
        "partial_rotary_factor": 0.25,
        "mrope_section": [1, 1, 1],
        "mrope_interleaved": True,
    }
    changes = {"mtp_num_hidden_layers": 1, "mlp_only_layers": [], "mamba_ssm_dtype": "float32"}
    folder = _whole_folder(
        tmp_path / "whole", "model.language_model.", rope_parameters=rope, **changes
    )
    with pytest.warns(CheckpointWarning) as told:
        assert open_checkpoint(folder).spec == SPEC
    assert len(told) == 1


def test_layers_stand_by_the_interval_where_no_list_names_them(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    save_checkpoint(made_checkpoint(SPEC), folder)
    config = json.loads((folder / "config.json").read_text())
    del config["layer_types"]
    (folder / "config.json").write_text(json.dumps(config | {"full_attention_interval": 4}))
    assert open_checkpoint(folder).spec == SPEC
    config["layer_types"] = ["linear_attention", "sliding_attention"] * 2
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(UnsupportedError, match="unknown layer"):
        open_checkpoint(folder)


def test_heads_that_do_not_fit_each_other_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    save_checkpoint(made_checkpoint(SPEC), folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"linear_num_key_heads": 3}))
    with pytest.raises(FormatError, match="no multiple of 3 key heads"):
        open_checkpoint(folder)


@pytest.mark.parametrize("name", ["published", "two_periods", "as_many_keys"])
def test_a_gguf_is_read_as_the_model_that_was_written(tmp_path: Path, name: str) -> None:
    spec = DELTA_HYBRIDS[name]
    path = tmp_path / "model.gguf"
    save_checkpoint(made_checkpoint(spec), path, QuantSpec("f32"))
    again = open_checkpoint(path)
    assert again.spec == spec
    for name, values in random_weights(spec).items():
        np.testing.assert_allclose(again.weights[name].to_float32(), values, atol=1e-6)


def test_the_file_has_the_first_value_head_of_every_key_head_first(tmp_path: Path) -> None:
    """The order of `_LinearAttentionVReorderBase` in llama.cpp's converter."""
    path = tmp_path / "model.gguf"
    save_checkpoint(made_checkpoint(SPEC), path, QuantSpec("f32"))
    stored, ours = read_gguf(path).tensors, random_weights(SPEC)
    tiled = [0, 2, 1, 3]  # of 4 value heads with 2 key heads
    layer = "model.layers.0.linear_attn."
    beta = stored["blk.0.ssm_beta.weight"].to_float32()
    np.testing.assert_array_equal(beta, ours[f"{layer}in_proj_b.weight"][tiled])
    decay = stored["blk.0.ssm_a"].to_float32()
    np.testing.assert_allclose(decay, -np.exp(ours[f"{layer}A_log"][tiled]), rtol=1e-6)
    out = stored["blk.0.ssm_out.weight"].to_float32().reshape(-1, 4, 16)
    expected = ours[f"{layer}out_proj.weight"].reshape(-1, 4, 16)[:, tiled]
    np.testing.assert_array_equal(out, expected)
    qkv = stored["blk.0.attn_qkv.weight"].to_float32()
    np.testing.assert_array_equal(qkv[:64], ours[f"{layer}in_proj_qkv.weight"][:64])
    values = ours[f"{layer}in_proj_qkv.weight"][64:].reshape(4, 16, -1)[tiled]
    np.testing.assert_array_equal(qkv[64:], values.reshape(64, -1))


def test_gains_have_1_added_but_for_that_of_the_gated_norm(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    save_checkpoint(made_checkpoint(SPEC), path, QuantSpec("f32"))
    stored, ours = read_gguf(path).tensors, random_weights(SPEC)
    for theirs, name, offset in [
        ("blk.0.attn_norm.weight", "model.layers.0.input_layernorm.weight", 1),
        ("blk.3.attn_q_norm.weight", "model.layers.3.self_attn.q_norm.weight", 1),
        ("blk.0.ssm_norm.weight", "model.layers.0.linear_attn.norm.weight", 0),
    ]:
        np.testing.assert_allclose(stored[theirs].to_float32(), ours[name] + offset, rtol=1e-6)


def test_columns_of_wide_blocks_change_places_as_the_core_packs_them() -> None:
    """Blocks of 256 span two heads of 128: their codes go over into blocks of 32 unchanged."""
    rng = np.random.default_rng(0)
    data = rng.integers(0, 256, 3 * 2 * 144, dtype=np.uint8).reshape(6, 144)
    data[:, :4] = np.array([0.01, 0.02], np.float16).view(np.uint8)
    spec = delta_hybrid("D", 4, 2, 128, 128, 4, hidden_size=3)
    name = "model.layers.0.linear_attn.out_proj.weight"
    tensor = StoredTensor(name, (3, 512), "Q4_K", data.reshape(-1))
    values = _packed(tensor)
    np.testing.assert_array_equal(_packed(to_finer(tensor)), values)
    change = reordering(spec, name, is_reading=True)
    assert change is not None
    moved = change(tensor)
    assert moved.format == "Q4_1"
    expected = values.reshape(3, 4, 128)[:, [0, 2, 1, 3]].reshape(3, 512)
    np.testing.assert_array_equal(_packed(moved), expected)


def _packed(tensor: StoredTensor) -> np.ndarray:
    """What the core makes of a matrix of Q4_K or Q4_1."""
    return core.unpack("q4_1", core.pack(tensor.format, tensor.data, 3, 512, "q4_1"), 3, 512)


def test_layers_that_predict_further_tokens_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    save_checkpoint(made_checkpoint(SPEC), path, QuantSpec("f32"))
    file = read_gguf(path)
    tensors = [*file.tensors.values(), StoredTensor.of("blk.4.nextn.enorm.weight", np.ones(96))]
    metadata = dict(file.metadata) | {"qwen35.nextn_predict_layers": 1, "qwen35.block_count": 5}
    metadata["qwen35.attention.recurrent_layers"] = [True, True, True, False, False]
    shapes = [(tensor.name, tensor.shape, tensor.format) for tensor in tensors]
    write_gguf(tmp_path / "further.gguf", metadata, shapes, iter(tensors))
    with pytest.warns(CheckpointWarning, match="1 tensors of layers that predict further tokens"):
        assert open_checkpoint(tmp_path / "further.gguf").spec == SPEC


def test_heads_of_two_sizes_have_no_place_in_a_gguf(tmp_path: Path) -> None:
    spec = DELTA_HYBRIDS["wide_keys"]
    with pytest.raises(UnsupportedError, match="one size of heads"):
        save_checkpoint(made_checkpoint(spec), tmp_path / "model.gguf", QuantSpec("f32"))


@pytest.mark.parametrize("weights", ["q8", "q4"])
def test_quantized_files_pack_and_compute(tmp_path: Path, weights: str) -> None:
    spec = FAMILIES["qwen3_5_published"].replace(hidden_size=96)
    path = tmp_path / "model.gguf"
    notes = save_checkpoint(made_checkpoint(spec), path, QuantSpec(weights))
    assert notes == []
    opened = open_checkpoint(path)
    packed = pack(opened, use_cache=False)
    assert packed.tensors["model.layers.0.linear_attn.in_proj_qkv.weight"].format == weights
    assert packed.tensors["model.layers.0.linear_attn.conv1d.weight"].format == "f32"
    ours = {name: opened.weights[name].to_float32() for name in opened.weights}
    tokens = random_tokens(spec, 30)
    exact = reference.forward(spec, random_weights(spec), tokens)
    error = np.abs(reference.forward(spec, ours, tokens) - exact).mean() / exact.std()
    assert error < (0.1 if weights == "q8" else 0.8)
