"""Folder -> GGUF -> folder is the identity; formats go where they were asked; nothing is written
half or in the wrong place.
"""

from __future__ import annotations

import json
from pathlib import Path

import gguf
import numpy as np
import pytest

from tests.support.checkpoints import SPECS, Weights, random_weights, write_folder
from tests.support.families import FAMILIES, delta_hybrid, made_checkpoint
from understudy.checkpoint import convert
from understudy.checkpoint.checkpoint import Checkpoint, open_checkpoint
from understudy.checkpoint.convert import save_checkpoint
from understudy.errors import FormatError, UnsupportedError, UsageError
from understudy.formats.tensor import StoredTensor
from understudy.spec import QuantSpec


def _opened(name: str, path: Path) -> tuple[Checkpoint, Weights]:
    weights = random_weights(SPECS[name], seed=2)
    return open_checkpoint(write_folder(SPECS[name], weights, path)), weights


@pytest.mark.parametrize("name", SPECS)
def test_folder_to_gguf_to_folder_is_the_identity(name: str, tmp_path: Path) -> None:
    source, weights = _opened(name, tmp_path / "source")
    notes = save_checkpoint(source, tmp_path / "m.gguf")
    is_wide = (
        source.spec.architecture == "nemotron" and source.spec.query_size != source.spec.hidden_size
    )
    assert [("pull request" in note) for note in notes] == [True] * is_wide
    middle = open_checkpoint(tmp_path / "m.gguf")
    assert middle.spec.replace(architecture=source.spec.architecture) == source.spec
    save_checkpoint(middle, tmp_path / "back")
    back = open_checkpoint(tmp_path / "back")
    assert set(back.weights) == set(weights)
    for key, values in weights.items():
        np.testing.assert_allclose(
            back.weights[key].to_float32(), values, rtol=0, atol=2e-7, err_msg=key
        )


def test_gguf_holds_llama_cpps_conventions(tmp_path: Path) -> None:
    """Read by the `gguf` package: names, the 1 of norm gains, interleaved q rows, F32 vectors, keys
    that llama.cpp asks for.
    """
    source, weights = _opened("nemotron", tmp_path / "n")
    save_checkpoint(source, tmp_path / "n.gguf", QuantSpec("q8"))
    reader = gguf.GGUFReader(tmp_path / "n.gguf")
    tensors = {t.name: t for t in reader.tensors}
    gain = weights["model.layers.1.post_attention_layernorm.weight"]
    np.testing.assert_array_equal(tensors["blk.1.ffn_norm.weight"].data, gain + np.float32(1))
    np.testing.assert_array_equal(
        tensors["blk.1.ffn_norm.bias"].data, weights["model.layers.1.post_attention_layernorm.bias"]
    )
    assert tensors["blk.0.attn_q.weight"].tensor_type.name == "Q8_0"
    assert {t.tensor_type.name for t in reader.tensors if "norm" in t.name} == {"F32"}
    for key in [
        "context_length",
        "embedding_length",
        "block_count",
        "feed_forward_length",
        "attention.head_count",
        "attention.head_count_kv",
        "attention.layer_norm_epsilon",
        "rope.freq_base",
        "rope.dimension_count",
        "vocab_size",
    ]:
        assert f"nemotron.{key}" in reader.fields
    source, weights = _opened("llama", tmp_path / "l")
    save_checkpoint(source, tmp_path / "l.gguf")
    tensors = {t.name: t for t in gguf.GGUFReader(tmp_path / "l.gguf").tensors}
    q, heads = weights["model.layers.0.self_attn.q_proj.weight"], source.spec.num_heads
    # What llama.cpp's converter does to Llama's q and k.
    swapped = (
        q.reshape(heads, 2, q.shape[0] // heads // 2, q.shape[1]).swapaxes(1, 2).reshape(q.shape)
    )
    np.testing.assert_array_equal(tensors["blk.0.attn_q.weight"].data, swapped)


def test_each_part_gets_the_format_that_was_asked_for(tmp_path: Path) -> None:
    source, weights = _opened("nemotron", tmp_path / "n")
    notes = save_checkpoint(
        source, tmp_path / "m.gguf", QuantSpec("q4", embedding="bf16", head="q8")
    )
    found = open_checkpoint(tmp_path / "m.gguf").weights
    assert len(notes) == 1  # about llama.cpp and wide heads
    assert found.stored("model.embed_tokens.weight").format == "BF16"
    assert found.stored("lm_head.weight").format == "Q8_0"
    assert found.stored("model.layers.0.mlp.up_proj.weight").format == "Q4_0"
    for key, values in weights.items():
        error = np.abs(found[key].to_float32() - values).max()
        assert error <= {1: 1e-6, 2: np.abs(values).max() / 7}[values.ndim]


def test_three_bits_are_written_read_again_and_refused_by_name(tmp_path: Path) -> None:
    source, weights = _opened("llama", tmp_path / "l")
    notes = save_checkpoint(source, tmp_path / "m.gguf", QuantSpec("q3"))
    assert any("llama.cpp" in note and "q4" in note for note in notes)
    found = open_checkpoint(tmp_path / "m.gguf")
    assert {found.weights.stored(n).format for n in weights if weights[n].ndim == 2} == {"Q3_U"}
    for key, values in weights.items():
        lost = np.square(found.weights[key].to_float32() - values).sum()
        assert lost <= 0.05 * np.square(values).sum()
    save_checkpoint(found, tmp_path / "again.gguf")
    again = open_checkpoint(tmp_path / "again.gguf").weights
    for key in weights:
        np.testing.assert_array_equal(again[key].data, found.weights[key].data)
    with pytest.raises(UsageError, match="floats alone"):
        save_checkpoint(source, tmp_path / "out", QuantSpec("q3"))


@pytest.mark.parametrize("name", ["granitemoe", "delta"])
def test_three_bits_of_experts_and_of_heads_that_change_places(name: str, tmp_path: Path) -> None:
    spec = delta_hybrid("DD*", 6, 2, 32, 32, 4) if name == "delta" else FAMILIES[name]
    weights = random_weights(spec, seed=2)
    save_checkpoint(made_checkpoint(spec, weights), tmp_path / "m.gguf", QuantSpec("q3"))
    found = open_checkpoint(tmp_path / "m.gguf").weights
    matrices = [key for key in weights if found[key].format == "Q3_U"]
    assert len(matrices) > 20
    for key in matrices:
        rounded = StoredTensor.of(key, weights[key]).to_format("Q3_U")
        np.testing.assert_array_equal(found[key].to_float32(), rounded.to_float32())


def test_rows_that_are_not_whole_blocks_are_noted(tmp_path: Path) -> None:
    source, weights = _opened("nemotron_odd", tmp_path / "n")
    notes = save_checkpoint(source, tmp_path / "m.gguf", QuantSpec("q4"))
    assert any("rows of 72" in note and "BF16" in note for note in notes)
    found = open_checkpoint(tmp_path / "m.gguf").weights
    np.testing.assert_allclose(
        found["lm_head.weight"].to_float32(), weights["lm_head.weight"], rtol=1 / 256
    )


def test_a_folder_holds_floats_alone(tmp_path: Path) -> None:
    source, _ = _opened("llama", tmp_path / "l")
    with pytest.raises(UsageError, match="floats alone"):
        save_checkpoint(source, tmp_path / "out", QuantSpec("q8"))
    assert not (tmp_path / "out").exists()
    save_checkpoint(source, tmp_path / "m.gguf", QuantSpec("q8"))
    notes = save_checkpoint(open_checkpoint(tmp_path / "m.gguf"), tmp_path / "out")
    assert notes == ["Q8_0 weights were written as BF16: a folder holds floats alone"]
    assert json.loads((tmp_path / "out" / "config.json").read_text())["torch_dtype"] == "bfloat16"


def test_big_folders_are_sharded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convert, "SHARD_BYTES", 200_000)
    source, weights = _opened("qwen2", tmp_path / "q")
    seen: list[tuple[int, int]] = []
    save_checkpoint(
        source, tmp_path / "out", progress=lambda done, total: seen.append((done, total))
    )
    assert len(list((tmp_path / "out").glob("model-*-of-*.safetensors"))) > 2
    assert seen == [(n + 1, len(weights)) for n in range(len(weights))]
    back = open_checkpoint(tmp_path / "out")
    for key, values in weights.items():
        np.testing.assert_array_equal(back.weights[key].to_float32(), values)


def test_what_stands_in_the_way_is_not_lost(tmp_path: Path) -> None:
    source, _ = _opened("llama", tmp_path / "l")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(UsageError, match="not a model"):
        save_checkpoint(source, tmp_path / "mine")
    (tmp_path / "file").write_text("x")
    with pytest.raises(UsageError, match="file stands"):
        save_checkpoint(source, tmp_path / "file")
    save_checkpoint(source, tmp_path / "out")
    save_checkpoint(source, tmp_path / "out")  # a model's own folder may be written again
    save_checkpoint(open_checkpoint(tmp_path / "out"), tmp_path / "out")  # even from itself
    open_checkpoint(tmp_path / "out")
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("target", ["out.gguf", "out"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_refused(target: str, value: float, tmp_path: Path) -> None:
    weights = random_weights(SPECS["llama"])
    weights["model.layers.1.mlp.up_proj.weight"][3, 4] = value
    source = open_checkpoint(write_folder(SPECS["llama"], weights, tmp_path / "l"))
    with pytest.raises(FormatError, match=r"layers.1.mlp.up_proj.*not finite"):
        save_checkpoint(source, tmp_path / target)
    assert [p.name for p in tmp_path.iterdir()] == ["l"]


def test_what_gguf_cannot_hold_is_refused(tmp_path: Path) -> None:
    scaled = SPECS["llama3"].rope_scaling
    spec = SPECS["qwen2"].replace(rope_scaling=scaled)
    source = open_checkpoint(write_folder(spec, random_weights(spec), tmp_path / "q"))
    with pytest.raises(UnsupportedError, match="rotary scaling"):
        save_checkpoint(source, tmp_path / "q.gguf")


def test_names_and_kept_ids(tmp_path: Path) -> None:
    spec = SPECS["nemotron"]
    source = open_checkpoint(
        write_folder(spec, random_weights(spec), tmp_path / "n", config={"bos_token_id": 7})
    )
    save_checkpoint(source, tmp_path / "out")
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["architectures"] == ["NemotronForCausalLM"]
    assert (config["bos_token_id"], config["eos_token_id"], config["initializer_range"]) == (
        7,
        3,
        0.0134,
    )
