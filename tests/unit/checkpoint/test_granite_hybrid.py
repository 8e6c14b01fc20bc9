"""Keys of Granite 4 hybrids, and their files: what is read, written and refused."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.checkpoints import random_weights
from tests.support.families import GRANITE_HYBRIDS, granite_hybrid, made_checkpoint
from understudy.checkpoint.checkpoint import open_checkpoint
from understudy.checkpoint.convert import save_checkpoint
from understudy.checkpoint.registry import ARCHITECTURES
from understudy.errors import FormatError, UnsupportedError
from understudy.formats.gguf import read_gguf
from understudy.spec import BlockSpec, ModelSpec, QuantSpec

# What a published config of this family holds, made small.
PUBLISHED: dict[str, Any] = {
    "model_type": "granitemoehybrid",
    "architectures": ["GraniteMoeHybridForCausalLM"],
    "attention_bias": False,
    "attention_multiplier": 0.015625,
    "embedding_multiplier": 12,
    "hidden_act": "silu",
    "hidden_size": 64,
    "init_method": "mup",
    "intermediate_size": 2048,
    "layer_types": ["mamba", "mamba", "attention"],
    "logits_scaling": 3,
    "mamba_chunk_size": 256,
    "mamba_conv_bias": True,
    "mamba_d_conv": 4,
    "mamba_d_head": 32,
    "mamba_d_state": 128,
    "mamba_expand": 2,
    "mamba_n_groups": 1,
    "mamba_n_heads": 4,
    "mamba_proj_bias": False,
    "max_position_embeddings": 32768,
    "normalization_function": "rmsnorm",
    "num_attention_heads": 8,
    "num_experts_per_tok": 0,
    "num_hidden_layers": 3,
    "num_key_value_heads": 4,
    "num_local_experts": 0,
    "position_embedding_type": "nope",
    "residual_multiplier": 0.246,
    "rms_norm_eps": 1e-5,
    "rope_scaling": None,
    "rope_theta": 10000,
    "router_aux_loss_coef": 0.01,
    "shared_intermediate_size": 96,
    "tie_word_embeddings": True,
    "vocab_size": 128,
}


def _spec(**changes: Any) -> ModelSpec:
    return ARCHITECTURES["granitemoehybrid"].spec_of(PUBLISHED | changes, "config.json")


def test_a_published_config() -> None:
    spec = _spec()
    assert spec.blocks == (BlockSpec("mamba2"),) * 2 + (BlockSpec(rotation="none"),)
    assert (spec.intermediate_size, spec.rotary_dim, spec.tied_embeddings) == (96, 0, True)
    scales = (spec.embedding_scale, spec.residual_scale, spec.attention_scale, spec.logit_scale)
    assert scales == (12, 0.246, 0.015625, 1 / 3)
    assert spec.mamba2 is not None
    assert (spec.mamba2.num_heads, spec.mamba2.head_dim, spec.mamba2.state_size) == (4, 32, 128)


def test_attention_with_positions_in_every_layer_is_a_granite() -> None:
    kinds = ["attention"] * 3
    spec = _spec(layer_types=kinds, position_embedding_type="rope", rope_theta=10000000)
    assert (spec.architecture, spec.blocks, spec.mamba2) == ("granite", (), None)
    assert (spec.rotary_dim, spec.rope_theta) == (8, 1e7)
    assert _spec(layer_types=kinds).architecture == "granitemoehybrid"


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"layer_types": ["mamba", "attention", "sliding"]}, UnsupportedError, "layer_types"),
        ({"position_embedding_type": "alibi"}, UnsupportedError, "position_embedding_type"),
        ({"hidden_act": "gelu"}, UnsupportedError, "hidden_act"),
        ({"mamba_d_head": 16}, FormatError, "mamba_d_head"),
        ({"mamba_n_heads": 5}, FormatError, "mamba_d_head"),
        ({"time_step_limit": [0.0, 0.5]}, UnsupportedError, "time_step_limit"),
        ({"time_step_limit": 3}, FormatError, "time_step_limit"),
        ({"time_step_limit": [{"__float__": "NaN"}, 1.0]}, FormatError, "time_step_limit"),
        ({"brand_new": 4}, UnsupportedError, "brand_new"),
    ],
)
def test_what_is_not_there_is_refused_by_name(
    changes: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        _spec(**changes)


@pytest.mark.parametrize(
    "limits", [[0.25, float("inf")], [0.25, {"__float__": "Infinity"}]], ids=["json", "object"]
)
def test_the_shortest_time_step_is_read(limits: list[Any]) -> None:
    mamba = _spec(time_step_limit=limits).mamba2
    assert mamba is not None
    assert mamba.min_time_step == 0.25


@pytest.mark.parametrize("name", ["350m", "attention_first", "turned", "biases", "time_steps"])
def test_a_gguf_holds_the_same_model(name: str, tmp_path: Path) -> None:
    spec = GRANITE_HYBRIDS[name]
    weights = random_weights(spec)
    save_checkpoint(made_checkpoint(spec, weights), tmp_path / "m.gguf", QuantSpec("f32"))
    again = open_checkpoint(tmp_path / "m.gguf")
    assert again.spec == spec
    for key, values in weights.items():
        np.testing.assert_allclose(again.weights[key].to_float32(), values, rtol=1e-6, atol=1e-6)
    shapes = {key: tensor.shape for key, tensor in read_gguf(tmp_path / "m.gguf").tensors.items()}
    assert shapes["blk.0.ffn_gate.weight"] == (spec.intermediate_size, spec.hidden_size)


def test_mixers_that_files_have_no_place_for_are_refused_by_name(tmp_path: Path) -> None:
    spec = granite_hybrid("M*")
    assert spec.mamba2 is not None
    for head_dim, name in ((36, "m.gguf"), (25, "folder")):
        odd = spec.replace(mamba2=dataclasses.replace(spec.mamba2, head_dim=head_dim))
        with pytest.raises(UnsupportedError, match="Mamba-2"):
            save_checkpoint(made_checkpoint(odd), tmp_path / name)
