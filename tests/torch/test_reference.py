"""The NumPy reference against stock transformers, in float32, on every shape class."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.support.checkpoints import SPECS, config_of, random_tokens, random_weights, write_folder
from tests.torch.stock import stock_decode_logits, stock_greedy, stock_logits, stock_model
from understudy.checkpoint import reference
from understudy.spec import tensor_shapes

TOLERANCE = 1e-4  # logits are around 1; what is seen is below 2e-5


def _largest_difference(ours, theirs) -> float:
    assert ours.shape == theirs.shape
    assert ours.dtype == np.float32
    assert theirs.std() > 0.2  # else agreement would mean little
    return float(np.abs(ours - theirs).max())


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("length", [1, 2, 33, 150])
def test_prefill_equals_transformers(name: str, length: int) -> None:
    spec = SPECS[name]
    weights = random_weights(spec, seed=length)
    tokens = random_tokens(spec, length, seed=length)
    ours = reference.forward(spec, weights, tokens)
    assert _largest_difference(ours, stock_logits(stock_model(spec, weights), tokens)) < TOLERANCE


@pytest.mark.parametrize("name", SPECS)
def test_decode_with_cache_equals_one_forward_pass(name: str) -> None:
    spec = SPECS[name]
    weights, tokens = random_weights(spec, seed=5), random_tokens(spec, 40, seed=5)
    theirs = stock_decode_logits(stock_model(spec, weights), tokens, num_prefill=7)
    assert _largest_difference(reference.forward(spec, weights, tokens), theirs) < TOLERANCE


@pytest.mark.parametrize("name", SPECS)
def test_a_padded_batch_of_unequal_lengths_equals_each_alone(name: str) -> None:
    spec = SPECS[name]
    weights = random_weights(spec, seed=6)
    model = stock_model(spec, weights, attention="sdpa")
    sequences = [random_tokens(spec, length, seed=length) for length in (3, 17, 29)]
    ids = torch.zeros((3, 29), dtype=torch.int64)
    mask = torch.zeros((3, 29), dtype=torch.int64)
    for row, tokens in enumerate(sequences):
        ids[row, : len(tokens)] = torch.from_numpy(tokens.astype(np.int64))
        mask[row, : len(tokens)] = 1
    with torch.inference_mode():
        theirs = model(ids, attention_mask=mask).logits.numpy()
    for row, tokens in enumerate(sequences):
        ours = reference.forward(spec, weights, tokens)
        assert _largest_difference(ours, theirs[row, : len(tokens)]) < TOLERANCE


@pytest.mark.parametrize("name", ["nemotron", "llama3", "qwen2"])
def test_greedy_continuation_equals_transformers(name: str) -> None:
    spec = SPECS[name]
    weights, tokens = random_weights(spec, seed=7), random_tokens(spec, 12, seed=7)
    expected = stock_greedy(stock_model(spec, weights), tokens, 32)
    logits = reference.forward(spec, weights, np.array([*tokens, *expected]))
    assert logits[len(tokens) - 1 : -1].argmax(axis=-1).tolist() == expected


@pytest.mark.parametrize("name", SPECS)
def test_tensor_names_and_shapes_are_those_of_transformers(name: str) -> None:
    spec = SPECS[name]
    theirs = {
        key: tuple(value.shape)
        for key, value in stock_model(spec, random_weights(spec)).state_dict().items()
    }
    if spec.tied_embeddings:
        theirs.pop("lm_head.weight", None)
    assert tensor_shapes(spec) == theirs


@pytest.mark.parametrize("style", ["transformers4", "transformers5", "megatron"])
@pytest.mark.parametrize("name", SPECS)
def test_transformers_opens_the_folders_that_the_tests_write(
    name: str, style: str, tmp_path
) -> None:
    import transformers

    spec = SPECS[name]
    if style == "megatron" and spec.hidden_size // spec.num_heads != spec.head_dim:
        pytest.skip("transformers itself does not read kv_channels")
    weights, tokens = random_weights(spec, seed=8), random_tokens(spec, 20, seed=8)
    folder = write_folder(
        spec, weights, tmp_path, style=style, num_shards=2 if style == "transformers5" else 1
    )
    model = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    ours = reference.forward(spec, weights, tokens)
    assert _largest_difference(ours, stock_logits(model, tokens)) < TOLERANCE


def test_taps_are_the_hidden_states_of_transformers() -> None:
    spec = SPECS["nemotron"]
    weights, tokens = random_weights(spec, seed=9), random_tokens(spec, 11, seed=9)
    taps = reference.forward_with_taps(spec, weights, tokens)
    with torch.inference_mode():
        states = stock_model(spec, weights)(
            torch.from_numpy(tokens.astype(np.int64))[None], output_hidden_states=True
        ).hidden_states
    for ours, theirs in zip(
        taps.hidden[:-1], states[:-1], strict=True
    ):  # transformers' last one is already normed
        np.testing.assert_allclose(ours, theirs[0].numpy(), atol=1e-4)
    assert [y.shape for y in taps.inner] == [(11, spec.intermediate_size)] * spec.num_layers


def test_config_has_every_key_that_transformers_needs() -> None:
    config = config_of(SPECS["llama3"], style="transformers5")
    assert config["rope_parameters"]["rope_type"] == "llama3"
    assert "rope_scaling" not in config
