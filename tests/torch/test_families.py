"""Folders of every family between stock transformers and us: both ways, in float32."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import transformers

from tests.support.checkpoints import random_tokens, random_weights
from tests.support.families import (
    DELTA_HYBRIDS,
    FAMILIES,
    GRANITE_HYBRIDS,
    GRANITE_MIXTURES,
    HYBRIDS,
    LIQUID_MIXTURES,
    NEMOTRON_MIXTURES,
    QWEN_MIXTURES,
    calm_weights,
    made_checkpoint,
)
from tests.support.native import NativeRun, native_model
from tests.torch.stock import stock_decode_logits, stock_greedy, stock_logits
from understudy.checkpoint import reference
from understudy.checkpoint.checkpoint import open_checkpoint
from understudy.checkpoint.convert import save_checkpoint

_EVERY = {
    **HYBRIDS,
    **{f"granite_{name}": spec for name, spec in GRANITE_HYBRIDS.items()},
    **{f"qwen3_5_{name}": spec for name, spec in DELTA_HYBRIDS.items()},
    **{f"mixtures_{name}": spec for name, spec in NEMOTRON_MIXTURES.items()},
    **GRANITE_MIXTURES,
    **QWEN_MIXTURES,
    **LIQUID_MIXTURES,
}
TOLERANCE = 1e-4  # logits are around 1; what is seen is below 1e-5


@pytest.fixture(params=FAMILIES, scope="module")
def case(request, tmp_path_factory):
    """A spec, its weights, and stock transformers' model of the folder that we wrote."""
    spec, folder = FAMILIES[request.param], tmp_path_factory.mktemp(request.param)
    save_checkpoint(made_checkpoint(spec), folder / "ours")
    model = transformers.AutoModelForCausalLM.from_pretrained(
        folder / "ours", attn_implementation="eager", experts_implementation="eager"
    )
    return spec, random_weights(spec), model.eval(), folder


@pytest.mark.parametrize("length", [1, 90, 150])
def test_prefill_equals_transformers(case, length: int) -> None:
    spec, weights, model, _ = case
    tokens = random_tokens(spec, length, seed=length)
    theirs = stock_logits(model, tokens)
    assert theirs.std() > 0.2
    assert np.abs(reference.forward(spec, weights, tokens) - theirs).max() < TOLERANCE


def test_decoding_over_transformers_cache_equals_one_forward_pass(case) -> None:
    spec, weights, model, _ = case
    if spec.rope_scaling is not None and spec.short_context:
        pytest.skip("transformers turns what it has cached by other frequencies than what follows")
    tokens = random_tokens(spec, 60, seed=3)
    theirs = stock_decode_logits(model, tokens, num_prefill=7)
    assert np.abs(reference.forward(spec, weights, tokens) - theirs).max() < TOLERANCE


def test_128_greedy_tokens_are_those_of_transformers(case) -> None:
    spec, weights, model, _ = case
    if spec.rope_scaling is not None and spec.short_context:
        pytest.skip("transformers turns what it has cached by other frequencies than what follows")
    prompt = random_tokens(spec, 12, seed=4)
    expected = stock_greedy(model, prompt, 128)
    logits = reference.forward(spec, weights, np.array([*prompt, *expected]))
    assert logits[len(prompt) - 1 : -1].argmax(axis=-1).tolist() == expected


def test_what_transformers_writes_is_read_as_the_same_model(case) -> None:
    spec, weights, model, folder = case
    model.save_pretrained(folder / "theirs")
    again = open_checkpoint(folder / "theirs")
    assert again.spec == spec
    for name, values in weights.items():
        np.testing.assert_array_equal(again.weights[name].to_float32(), values)


def test_our_own_folder_is_read_as_the_same_model(case) -> None:
    spec, weights, _, folder = case
    again = open_checkpoint(Path(folder / "ours"))
    assert again.spec == spec
    for name, values in weights.items():
        np.testing.assert_array_equal(again.weights[name].to_float32(), values)


@pytest.mark.parametrize("name", _EVERY)
def test_hybrids_of_every_pattern_equal_transformers(name: str, tmp_path: Path) -> None:
    spec = _EVERY[name]
    weights, tokens = calm_weights(spec, seed=7), random_tokens(spec, 140, seed=7)
    save_checkpoint(made_checkpoint(spec, weights), tmp_path / "ours")
    model = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path / "ours", attn_implementation="eager", experts_implementation="eager"
    ).eval()
    has_attention = any(block.mixer == "attention" for block in spec.blocks)
    model.config.use_cache = has_attention  # transformers' cache wants a layer of it
    theirs = stock_logits(model, tokens)
    assert theirs.std() > 0.1
    assert np.abs(reference.forward(spec, weights, tokens) - theirs).max() < TOLERANCE
    run = NativeRun(native_model(spec, weights, num_threads=2), spec)
    assert np.abs(run.prefill(tokens, chunk=53) - theirs).max() < TOLERANCE
    if has_attention:
        greedy = NativeRun(native_model(spec, weights), spec).greedy(tokens[:12], 128)
        assert greedy == stock_greedy(model, tokens[:12], 128)
