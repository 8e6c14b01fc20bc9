"""Merged adapters: the values, the formats, the lineage, and models whose two ends were one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.support.adapters import random_adapter
from tests.support.checkpoints import SPECS, random_tokens, random_weights, write_folder
from understudy.adapters import gguf, peft
from understudy.adapters.adapter import as_weights
from understudy.adapters.merge import merged
from understudy.checkpoint import reference
from understudy.checkpoint.checkpoint import Checkpoint, open_checkpoint
from understudy.checkpoint.convert import save_checkpoint
from understudy.checkpoint.lineage import lineage_of
from understudy.cli import main
from understudy.errors import FormatError
from understudy.spec import QuantSpec


def _logits(checkpoint: Checkpoint) -> np.ndarray:
    weights = {name: checkpoint.weights[name].to_float32() for name in checkpoint.weights}
    return reference.forward(checkpoint.spec, weights, random_tokens(checkpoint.spec, 12))


@pytest.mark.parametrize("name", ["llama", "llama_tied", "qwen2", "nemotron"])
@pytest.mark.parametrize("targets", [("_proj",), ("embed_tokens", "up_proj"), ("lm_head",)])
def test_a_merged_model_computes_what_the_adapters_add(
    name: str, targets: tuple[str, ...], tmp_path: Path
) -> None:
    spec = SPECS[name]
    weights = random_weights(spec, seed=8)
    source = open_checkpoint(write_folder(spec, weights, tmp_path / "m"))
    mix = [(random_adapter(spec, 1, targets=targets), 0.7), (random_adapter(spec, 2), -0.3)]
    right = reference.forward(spec, {**weights, **as_weights(mix)}, random_tokens(spec, 12))
    save_checkpoint(merged(source, mix), tmp_path / "out")
    save_checkpoint(merged(source, mix), tmp_path / "out.gguf")
    for path in (tmp_path / "out", tmp_path / "out.gguf"):
        found = _logits(open_checkpoint(path))
        np.testing.assert_allclose(found, right, atol=2e-3 * np.abs(right).max())


def test_formats_are_those_asked_for_and_rounded_once(tmp_path: Path) -> None:
    spec = SPECS["llama"]
    source = open_checkpoint(write_folder(spec, random_weights(spec), tmp_path / "m"))
    save_checkpoint(source, tmp_path / "q4.gguf", QuantSpec("q4"))
    base, adapter = open_checkpoint(tmp_path / "q4.gguf"), random_adapter(spec)
    save_checkpoint(merged(base, [(adapter, 1.0)]), tmp_path / "same.gguf")
    save_checkpoint(merged(base, [(adapter, 1.0)]), tmp_path / "q8.gguf", QuantSpec("q8"))
    key = "model.layers.1.mlp.down_proj"
    exact = base.weights[f"{key}.weight"].to_float32() + adapter.delta(key)
    for path, format, error in (("same.gguf", "Q4_0", 0.12), ("q8.gguf", "Q8_0", 0.01)):
        found = open_checkpoint(tmp_path / path).weights[f"{key}.weight"]
        assert found.format == format
        assert np.linalg.norm(found.to_float32() - exact) < error * np.linalg.norm(exact)


def test_the_lineage_names_adapters_by_content(tmp_path: Path) -> None:
    spec = SPECS["llama"]
    source = open_checkpoint(write_folder(spec, random_weights(spec), tmp_path / "m"))
    adapter = random_adapter(spec)
    for path in (tmp_path / "out.gguf", tmp_path / "out"):
        save_checkpoint(merged(source, [(adapter, 0.5)]), path)
        (stage,) = lineage_of(open_checkpoint(path).metadata)["stages"]
        assert stage["stage"] == "merge"
        (entry,) = stage["adapters"]
        assert entry["sha256"] == adapter.sha256
        assert (entry["scale"], entry["base"]) == (0.5, "org/m")


def test_an_adapter_of_another_model_is_not_merged(tmp_path: Path) -> None:
    spec = SPECS["llama"]
    source = open_checkpoint(write_folder(spec, random_weights(spec), tmp_path / "m"))
    with pytest.raises(FormatError, match="made for another model"):
        merged(source, [(random_adapter(spec.replace(intermediate_size=64)), 1.0)])


def test_the_command_merges_files_of_both_kinds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = SPECS["llama"]
    weights = random_weights(spec, seed=8)
    write_folder(spec, weights, tmp_path / "m")
    one, two = random_adapter(spec, 1), random_adapter(spec, 2)
    peft.write(one, tmp_path / "one")
    gguf.write(two, tmp_path / "two.gguf", spec)
    words = ["convert", str(tmp_path / "m"), str(tmp_path / "out.gguf"), "--format", "f32"]
    adapters = ["--adapter", str(tmp_path / "one"), "--adapter", f"{tmp_path / 'two.gguf'}:0.5"]
    assert main([*words, *adapters]) == 0
    mix = as_weights([(one, 1.0), (two, 0.5)])
    right = reference.forward(spec, {**weights, **mix}, random_tokens(spec, 12))
    found = _logits(open_checkpoint(tmp_path / "out.gguf"))
    np.testing.assert_allclose(found, right, atol=1e-3 * np.abs(right).max())
    assert "merged: one" in capsys.readouterr().err
    assert main([*words, "--adapter", str(tmp_path / "none")]) == 2
