"""Adapters as files: both kinds in and out, what configs may say, what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.adapters import random_adapter
from tests.support.checkpoints import SPECS, random_tokens, random_weights
from tests.support.families import DELTA_HYBRIDS
from understudy.adapters import Adapter, gguf, is_adapter, peft, read_adapter
from understudy.adapters.adapter import EMBEDDING, as_weights
from understudy.checkpoint import reference
from understudy.errors import CheckpointError, CheckpointWarning, FormatError, UnsupportedError
from understudy.formats.gguf import read_gguf, write_gguf
from understudy.formats.safetensors_folder import read_safetensors, write_safetensors
from understudy.formats.tensor import StoredTensor
from understudy.spec import ModelSpec

EVERY_MATRIX = ("_proj", "lm_head", "embed_tokens")
SPEC = SPECS["llama"]


def _logits(spec: ModelSpec, *mix: tuple[Adapter, float]) -> np.ndarray[Any, Any]:
    return reference.forward(
        spec, {**random_weights(spec, seed=5), **as_weights(mix)}, random_tokens(spec, 9)
    )


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("rslora", [False, True])
def test_what_was_written_is_read(name: str, rslora: bool, tmp_path: Path) -> None:
    spec = SPECS[name]
    targets = ("_proj",) if spec.tied_embeddings else EVERY_MATRIX
    adapter = random_adapter(spec, targets=targets, rslora=rslora)
    peft.write(adapter, tmp_path / "a")
    gguf.write(adapter, tmp_path / "a.gguf", spec)
    for path in (tmp_path / "a", tmp_path / "a.gguf"):
        found = read_adapter(path, spec)
        assert found.name == "a"
        assert found.metadata["base"] == "org/m"
        assert set(found.tensors) == set(adapter.tensors)
        for matrix in adapter.tensors:
            np.testing.assert_allclose(
                found.delta(matrix), adapter.delta(matrix), rtol=1e-5, atol=1e-6
            )
        if path.is_dir() or not rslora:
            assert found.sha256 == adapter.sha256


def test_ranks_and_alphas_of_single_matrices_survive_both_kinds(tmp_path: Path) -> None:
    small, large = random_adapter(SPEC, 1, rank=2), random_adapter(SPEC, 2, rank=5)
    key = "model.layers.1.mlp.up_proj"
    mixed = replace(large, tensors={**large.tensors, key: small.tensors[key]}, alphas={key: 7.0})
    peft.write(mixed, tmp_path / "a")
    gguf.write(mixed, tmp_path / "a.gguf", SPEC)
    assert mixed.scale_for(key) == 3.5
    for path in (tmp_path / "a", tmp_path / "a.gguf"):
        np.testing.assert_allclose(
            read_adapter(path, SPEC).delta(key), mixed.delta(key), rtol=1e-5, atol=1e-6
        )


def test_value_heads_lie_in_a_gguf_as_those_of_its_model(tmp_path: Path) -> None:
    spec = DELTA_HYBRIDS["published"]  # 4 value heads of 16 with 2 key heads
    adapter = random_adapter(spec, targets=("_proj", "_qkv", "_z", "_a", "_b"))
    gguf.write(adapter, tmp_path / "a.gguf", spec)
    found = read_adapter(tmp_path / "a.gguf", spec)
    assert set(found.tensors) == set(adapter.tensors)
    for matrix in adapter.tensors:
        np.testing.assert_allclose(found.delta(matrix), adapter.delta(matrix), rtol=1e-5, atol=1e-6)
    stored, tiled = read_gguf(tmp_path / "a.gguf").tensors, [0, 2, 1, 3]
    beta = adapter.tensors["model.layers.0.linear_attn.in_proj_b"][1]
    written = stored["blk.0.ssm_beta.weight.lora_b"].to_float32()
    np.testing.assert_allclose(written, beta[tiled], rtol=1e-6)
    columns = adapter.tensors["model.layers.0.linear_attn.out_proj"][0].reshape(4, 4, 16)
    written = stored["blk.0.ssm_out.weight.lora_a"].to_float32().reshape(4, 4, 16)
    np.testing.assert_array_equal(written, columns[:, tiled])


def test_rows_of_q_and_k_are_interleaved_in_a_gguf_of_llama_alone(tmp_path: Path) -> None:
    for name, is_permuted in (("llama", True), ("qwen2", False), ("nemotron", False)):
        spec = SPECS[name]
        adapter = random_adapter(spec)
        gguf.write(adapter, tmp_path / "a.gguf", spec)
        stored = read_gguf(tmp_path / "a.gguf").tensors
        b = stored["blk.0.attn_q.weight.lora_b"].to_float32()
        ours = adapter.tensors["model.layers.0.self_attn.q_proj"][1]
        assert (not np.array_equal(b, ours)) is is_permuted
        if is_permuted:  # row 1 of a head is the partner of row 0
            np.testing.assert_array_equal(b[1], ours[spec.head_dim // 2])


def test_the_reference_adds_what_the_merged_weights_hold() -> None:
    adapter = random_adapter(SPEC, targets=EVERY_MATRIX)
    other = random_adapter(SPEC, 3, rank=3)
    weights = random_weights(SPEC, seed=5)
    for part, factor in ((adapter, 1.0), (other, -0.5)):
        for matrix in part.tensors:
            weights[f"{matrix}.weight"] = weights[f"{matrix}.weight"] + factor * part.delta(matrix)
    merged = reference.forward(SPEC, weights, random_tokens(SPEC, 9))
    found = _logits(SPEC, (adapter, 1.0), (other, -0.5))
    np.testing.assert_allclose(found, merged, atol=1e-3, rtol=1e-3)
    assert np.abs(found - _logits(SPEC)).max() > 0.1


def test_the_head_of_a_tied_model_changes_alone() -> None:
    spec = SPECS["llama_tied"]
    adapter = random_adapter(spec, targets=("lm_head",))
    taps = [
        reference.forward_with_taps(spec, weights, [1, 2, 3])
        for weights in (
            random_weights(spec),
            {**random_weights(spec), **as_weights([(adapter, 1.0)])},
        )
    ]
    np.testing.assert_array_equal(taps[0].hidden[-1], taps[1].hidden[-1])
    assert np.abs(taps[0].logits - taps[1].logits).max() > 0.1


# ---- what a config says ----


def _folder(tmp_path: Path, **config: Any) -> Path:
    folder = tmp_path / "a"
    peft.write(random_adapter(SPEC), folder)
    keys = json.loads((folder / peft.CONFIG).read_text()) | config
    (folder / peft.CONFIG).write_text(json.dumps(keys))
    return folder


def _add(folder: Path, change: Callable[[str], str | None], *more: str) -> None:
    """Renames tensors of a folder, and adds others under the given names."""
    tensors = [
        tensor.renamed(new)
        for name, tensor in read_safetensors(folder / peft.WEIGHTS[0]).items()
        if (new := change(name)) is not None
    ]
    tensors += [StoredTensor.of(name, np.ones((4, 4), np.float32)) for name in more]
    shapes = {tensor.name: (tensor.shape, tensor.format) for tensor in tensors}
    write_safetensors(folder / "new", tensors, shapes)
    (folder / "new").rename(folder / peft.WEIGHTS[0])


@pytest.mark.parametrize(
    ("config", "match"),
    [
        ({"peft_type": "IA3"}, "kind of adapter is not implemented; found IA3"),
        ({"use_dora": True}, "DoRA"),
        ({"lora_bias": True}, "a bias beside B"),
        ({"alora_invocation_tokens": [1]}, "activated LoRA"),
        ({"trainable_token_indices": [3]}, "single tokens"),
        ({"init_lora_weights": "pissa"}, "changes the model's own weights; found pissa"),
        ({"r": 8}, "another rank than the weights have; expected 8; found 4"),
        ({"r": 0}, "r: not a positive whole number; found 0"),
        ({"lora_alpha": "x"}, "lora_alpha: not a positive number"),
        ({"rank_pattern": {"q_proj": 3}}, "q_proj: the config says another rank"),
        ({"rank_pattern": {"(": 3}}, "not a pattern"),
    ],
)
def test_what_is_more_than_low_rank_is_refused_by_name(
    config: dict[str, Any], match: str, tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match=match.replace("(", r"\(")) as caught:
        read_adapter(_folder(tmp_path, **config), SPEC)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("more", "match"),
    [
        ("base_model.model.lm_head.weight", "a matrix trained whole"),
        ("base_model.model.model.layers.0.self_attn.q_proj.bias", "a trained bias"),
        ("base_model.model.model.layers.0.mlp.up_proj.lora_magnitude_vector", "DoRA"),
        ("base_model.model.model.layers.9.mlp.up_proj.lora_A.weight", "has no lora_B"),
    ],
)
def test_tensors_beside_the_pairs_are_refused(more: str, match: str, tmp_path: Path) -> None:
    folder = _folder(tmp_path)
    _add(folder, str, more)
    with pytest.raises(CheckpointError, match=match):
        read_adapter(folder, SPEC)


def test_other_spellings_of_names_and_copies_of_the_base_are_read(tmp_path: Path) -> None:
    folder, sha256 = _folder(tmp_path), random_adapter(SPEC).sha256
    _add(
        folder,
        lambda name: name.replace("model.model.", "model.").replace("_A.", "_A.default."),
        "base_model.model.model.embed_tokens.base_layer.weight",
    )
    assert read_adapter(folder, SPEC).sha256 == sha256
    assert read_adapter(folder / peft.CONFIG, SPEC).sha256 == sha256


def test_alpha_pattern_is_looked_up_as_peft_does(tmp_path: Path) -> None:
    patterns = {"layers.1.*.up_proj": 3, "up_proj": 12, "mlp": 99}
    adapter = read_adapter(_folder(tmp_path, alpha_pattern=patterns), SPEC)
    scales = [adapter.scale_for(f"model.layers.{i}.mlp.up_proj") for i in range(3)]
    assert scales == [3.0, 0.75, 3.0]
    assert adapter.scale_for("model.layers.0.mlp.down_proj") == 2.0


def test_an_adapter_of_another_model_is_refused(tmp_path: Path) -> None:
    folder = _folder(tmp_path)
    with pytest.raises(UnsupportedError, match="no such matrix"):
        read_adapter(folder, SPEC.replace(num_layers=2))
    with pytest.raises(FormatError, match="made for another model; expected B A of 128 by 128"):
        read_adapter(folder, SPEC.replace(hidden_size=128))
    gguf.write(random_adapter(SPEC), tmp_path / "a.gguf", SPEC)
    with pytest.raises(FormatError, match="expected nemotron; found llama"):
        read_adapter(tmp_path / "a.gguf", SPECS["nemotron"])


# ---- llama.cpp's files ----


def _rewrite(path: Path, keys: dict[str, Any], *more: StoredTensor) -> None:
    file = read_gguf(path)
    tensors = [*file.tensors.values(), *more]
    metadata = {k: v for k, v in (file.metadata | keys).items() if v is not None}
    write_gguf(path, metadata, [(t.name, t.shape, t.format) for t in tensors], tensors)


def test_without_alpha_a_gguf_is_added_as_it_is(tmp_path: Path) -> None:
    gguf.write(random_adapter(SPEC), tmp_path / "a.gguf", SPEC)
    for keys in ({"adapter.lora.alpha": 0.0}, {"adapter.lora.alpha": None}):
        _rewrite(tmp_path / "a.gguf", keys)
        adapter = read_adapter(tmp_path / "a.gguf", SPEC)
        assert {adapter.scale_for(matrix) for matrix in adapter.tensors} == {1.0}


@pytest.mark.parametrize(
    ("keys", "match"),
    [
        ({"adapter.type": "control_vector"}, "kind of adapter is not implemented"),
        ({"adapter.alora.invocation_tokens": [3]}, "activated LoRA"),
        ({"general.type": "model"}, "not an adapter"),
    ],
)
def test_other_kinds_of_gguf_are_refused(keys: dict[str, Any], match: str, tmp_path: Path) -> None:
    gguf.write(random_adapter(SPEC), tmp_path / "a.gguf", SPEC)
    _rewrite(tmp_path / "a.gguf", keys)
    with pytest.raises(CheckpointError, match=match):
        read_adapter(tmp_path / "a.gguf", SPEC)


def test_gains_of_norms_are_passed_over_with_a_word(tmp_path: Path) -> None:
    gguf.write(random_adapter(SPEC), tmp_path / "a.gguf", SPEC)
    norm = StoredTensor.of("blk.0.attn_norm.weight", np.ones(SPEC.hidden_size, np.float32))
    _rewrite(tmp_path / "a.gguf", {}, norm)
    with pytest.warns(CheckpointWarning, match="1 gains of norms are not used"):
        assert read_adapter(tmp_path / "a.gguf", SPEC).sha256 == random_adapter(SPEC).sha256


def test_what_llama_cpp_cannot_change_is_not_written(tmp_path: Path) -> None:
    spec = SPECS["llama_tied"]
    adapter = random_adapter(spec, targets=(EMBEDDING,))
    with pytest.raises(UnsupportedError, match="one matrix for embedding and head"):
        gguf.write(adapter, tmp_path / "a.gguf", spec)


def test_adapters_are_known_by_their_look(tmp_path: Path) -> None:
    gguf.write(random_adapter(SPEC), tmp_path / "a.gguf", SPEC)
    (tmp_path / "b.gguf").write_bytes(b"GGUF")
    assert is_adapter(_folder(tmp_path))
    assert is_adapter(tmp_path / "a.gguf")
    assert not is_adapter(tmp_path / "b.gguf")
    assert not is_adapter(tmp_path)
