"""Mixtures of experts: how a token's are chosen, what files hold of them, and what is refused."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.checkpoints import random_weights
from tests.support.families import (
    FAMILIES,
    GRANITE_HYBRIDS,
    GRANITE_MIXTURES,
    NEMOTRON_MIXTURES,
    made_checkpoint,
)
from understudy.adapters.adapter import matrix_shapes
from understudy.checkpoint.checkpoint import open_checkpoint
from understudy.checkpoint.convert import save_checkpoint
from understudy.checkpoint.pack import bytes_per_token, packed_sizes
from understudy.checkpoint.registry import ARCHITECTURES
from understudy.checkpoint.routing import route
from understudy.cli.show import describe
from understudy.errors import UnsupportedError
from understudy.experts import Experts
from understudy.formats.gguf import read_gguf, write_gguf
from understudy.formats.tensor import StoredTensor
from understudy.spec import ModelSpec, QuantSpec, parameter_counts

SIGMOID = Experts(6, 2, 8, scoring="sigmoid")
LOGITS = np.array([[0.0, 2.0, -1.0, 1.0, 3.0, -2.0]], np.float32)
_S = 1 / (1 + np.exp(-LOGITS[0]))
_E = np.exp(LOGITS[0])


@pytest.mark.parametrize(
    ("experts", "correction", "expected"),
    [
        (Experts(6, 2, 8), None, {1: _E[1] / (_E[1] + _E[4]), 4: _E[4] / (_E[1] + _E[4])}),
        (Experts(6, 1, 8, is_normalised=False), None, {4: _E[4] / _E.sum()}),
        (SIGMOID, None, {1: _S[1] / (_S[1] + _S[4]), 4: _S[4] / (_S[1] + _S[4])}),
        # The correction decides who is chosen, not with what weight.
        (
            dataclasses.replace(SIGMOID, is_normalised=False, scale=2.5),
            [9, 0, 0, 0, 0, 5],
            {0: 2.5 * _S[0], 5: 2.5 * _S[5]},
        ),
        # Of three groups of two the best is that of 0 and 1 here, though 4 alone is better.
        (
            dataclasses.replace(SIGMOID, num_groups=3, is_normalised=False),
            [0.2, 0, 0, 0, 0, 0],
            {0: _S[0], 1: _S[1]},
        ),
    ],
)
def test_the_weights_of_a_tokens_experts(
    experts: Experts, correction: list[float] | None, expected: dict[int, float]
) -> None:
    given = None if correction is None else np.array(correction, np.float32)
    weights = route(experts, LOGITS, given)[0]
    assert np.flatnonzero(weights).tolist() == list(expected)
    np.testing.assert_allclose(weights[list(expected)], list(expected.values()), rtol=1e-6)


def test_of_two_experts_alike_the_first_is_chosen() -> None:
    weights = route(Experts(4, 2, 8), np.zeros((1, 4), np.float32), None)
    assert weights.tolist() == [[0.5, 0.5, 0, 0]]


@pytest.mark.parametrize(
    "changes",
    [
        {"used": 7},
        {"num_groups": 4},
        {"num_groups": 3, "used_groups": 4},
        {"num_groups": 6, "used_groups": 2},
        {"num_groups": 3, "used": 3},
        {"inner_size": 0},
        {"count": 1 << 30},
    ],
)
def test_impossible_sizes_are_problems_of_the_spec(changes: dict[str, int]) -> None:
    spec = NEMOTRON_MIXTURES["groups"].replace(experts=dataclasses.replace(SIGMOID, **changes))
    assert any("experts" in problem or "group" in problem for problem in spec.problems())


CASES = {
    **GRANITE_MIXTURES,
    "qwen3_moe": FAMILIES["qwen3_moe"],
    "lfm2_moe": FAMILIES["lfm2_moe"],
    "hybrid": GRANITE_HYBRIDS["tiny"],
    "hybrid_experts_alone": GRANITE_HYBRIDS["experts_alone"],
    **{name: spec for name, spec in NEMOTRON_MIXTURES.items() if name != "with_mlps"},
}


@pytest.mark.parametrize("name", CASES)
def test_a_gguf_and_a_folder_hold_the_same_mixtures(name: str, tmp_path: Path) -> None:
    spec = CASES[name]
    weights = random_weights(spec)
    save_checkpoint(made_checkpoint(spec, weights), tmp_path / "m.gguf", QuantSpec("f32"))
    save_checkpoint(made_checkpoint(spec, weights), tmp_path / "folder", QuantSpec("f32"))
    for path in (tmp_path / "m.gguf", tmp_path / "folder"):
        again = open_checkpoint(path)
        assert again.spec == spec
        for key, values in weights.items():
            found = again.weights[key].to_float32()
            np.testing.assert_allclose(found, values, rtol=1e-6, atol=1e-6)


def test_a_gguf_stacks_experts_and_keeps_routers_exact(tmp_path: Path) -> None:
    spec = GRANITE_MIXTURES["granitemoe"].replace(hidden_size=64)
    weights = random_weights(spec)
    save_checkpoint(made_checkpoint(spec, weights), tmp_path / "m.gguf", QuantSpec("q8"))
    tensors = read_gguf(tmp_path / "m.gguf").tensors
    up, router = tensors["blk.1.ffn_up_exps.weight"], tensors["blk.1.ffn_gate_inp.weight"]
    assert (up.shape, up.format) == ((8, 48, 64), "Q8_0")
    assert (router.shape, router.format) == ((8, 64), "F32")
    third = weights["model.layers.1.mlp.experts.3.up_proj.weight"]
    np.testing.assert_allclose(up.to_float32()[3], third, atol=0.02)


def test_factors_beside_stacked_experts_are_their_own(tmp_path: Path) -> None:
    spec = GRANITE_MIXTURES["granitemoe"]
    weights = random_weights(spec)
    save_checkpoint(made_checkpoint(spec, weights), tmp_path / "plain.gguf", QuantSpec("f32"))
    file = read_gguf(tmp_path / "plain.gguf")
    factors = np.arange(1, 9, dtype=np.float32)
    tensors = [*file.tensors.values(), StoredTensor.of("blk.2.ffn_down_exps.scale", factors)]
    shapes = [(tensor.name, tensor.shape, tensor.format) for tensor in tensors]
    write_gguf(tmp_path / "m.gguf", file.metadata, shapes, tensors)
    again = open_checkpoint(tmp_path / "m.gguf").weights
    for number in (0, 5):
        name = f"model.layers.2.mlp.experts.{number}.down_proj.weight"
        np.testing.assert_allclose(again[name].to_float32(), weights[name] * factors[number])
        up = name.replace("down", "up")
        np.testing.assert_array_equal(again[up].to_float32(), weights[up])


def test_a_bf16_folder_keeps_the_correction_in_float32(tmp_path: Path) -> None:
    spec = NEMOTRON_MIXTURES["groups"]
    weights = random_weights(spec)
    save_checkpoint(made_checkpoint(spec, weights), tmp_path / "folder", QuantSpec("bf16"))
    name = "model.layers.1.mlp.router.correction"
    again = open_checkpoint(tmp_path / "folder").weights
    assert (again[name].format, again["model.layers.0.mamba.D"].format) == ("F32", "BF16")
    np.testing.assert_array_equal(again[name].to_float32(), weights[name])


@pytest.mark.parametrize("name", ["hybrid", "groups"])
def test_a_token_reads_its_own_experts(name: str) -> None:
    spec = CASES[name]
    experts = spec.experts
    assert experts is not None
    sizes = packed_sizes(made_checkpoint(spec), QuantSpec("q8"))
    whole = sum(size for key, size in sizes.items() if ".experts." in key)
    assert bytes_per_token(spec, sizes)["experts"] == whole * experts.used // experts.count
    matrices = spec.hidden_size * experts.inner_size * (3 if spec.gated else 2)
    layers = sum(block.has_experts for block in spec.blocks)
    assert parameter_counts(spec)["experts"] == layers * experts.count * matrices


def test_show_tells_what_a_token_reads() -> None:
    facts = describe(made_checkpoint(GRANITE_HYBRIDS["tiny"]))
    read, held = facts["bytes_read_per_token"]["q8"], facts["memory_bytes"]["q8"]
    assert read["total"] < held * 0.6
    assert facts["spec"]["experts"]["used"] == 4


def test_adapters_change_neither_experts_nor_routers() -> None:
    names = matrix_shapes(FAMILIES["granitemoeshared"])
    assert "model.layers.0.mlp.shared_expert.up_proj" in names
    assert not [name for name in names if ".experts." in name or "router" in name]


NEMOTRON: dict[str, Any] = {
    "model_type": "nemotron_h",
    "hybrid_override_pattern": "ME*E",
    "hidden_size": 64,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "n_routed_experts": 8,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 32,
    "moe_shared_expert_intermediate_size": 48,
    "routed_scaling_factor": 2.5,
}


def _nemotron(**changes: Any) -> ModelSpec:
    return ARCHITECTURES["nemotron_h"].spec_of(NEMOTRON | changes, "config.json")


def test_a_published_nemotron_config() -> None:
    spec = _nemotron(moe_latent_size=None, n_shared_experts=1, moe_shared_expert_overlap=False)
    assert spec.architecture == "nemotron_h_moe"
    assert spec.experts == Experts(8, 2, 32, shared_size=48, scoring="sigmoid", scale=2.5)
    assert [block.has_experts for block in spec.blocks] == [False, True, False, True]
    assert _nemotron(hybrid_override_pattern="M-").architecture == "nemotron_h"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"moe_latent_size": 32}, "moe_latent_size"),
        ({"mlp_bias": True}, "mlp_bias"),
        ({"hybrid_override_pattern": "MX"}, "layers_block_type"),
        ({"layers_block_type": [["moe"]]}, "layers_block_type"),
    ],
)
def test_other_mixtures_are_refused_by_name(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(UnsupportedError, match=words):
        _nemotron(**changes)


def test_mlps_beside_mixtures_have_no_place_in_a_gguf(tmp_path: Path) -> None:
    spec = NEMOTRON_MIXTURES["with_mlps"]
    with pytest.raises(UnsupportedError, match="beside mixtures"):
        save_checkpoint(made_checkpoint(spec), tmp_path / "m.gguf")
