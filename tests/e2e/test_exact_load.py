"""From a folder on disk through `understudy.load` to logits and words: exact, whatever the spelling
and the sharding.
"""

from __future__ import annotations

import numpy as np
import pytest

import understudy
from tests.support.checkpoints import (
    SPECS,
    random_tokens,
    random_weights,
    round_to_bfloat16,
    write_folder,
)
from understudy.checkpoint import reference


@pytest.mark.parametrize("style", ["transformers4", "transformers5", "megatron"])
@pytest.mark.parametrize("name", SPECS)
def test_logits_of_a_folder_equal_the_reference(name: str, style: str, tmp_path) -> None:
    spec = SPECS[name]
    weights, tokens = random_weights(spec, seed=1), random_tokens(spec, 80, seed=1)
    folder = write_folder(
        spec, weights, tmp_path / "m", style=style, num_shards=3 if style == "transformers5" else 1
    )
    model = understudy.load(folder, kv="f32", use_cache=False)
    assert model.spec == spec
    assert (
        np.abs(model.logits(tokens.tolist()) - reference.forward(spec, weights, tokens)).max()
        < 1e-4
    )


@pytest.mark.parametrize("name", ["nemotron", "llama3", "qwen2"])
def test_greedy_generation_follows_the_reference(name: str, tmp_path) -> None:
    spec = SPECS[name]
    weights = {
        key: round_to_bfloat16(values) for key, values in random_weights(spec, seed=2).items()
    }
    folder = write_folder(spec, weights, tmp_path / "m", "bfloat16")
    model = understudy.load(folder, kv="f32", use_cache=False)
    prompt = random_tokens(spec, 10, seed=2).tolist()
    tokens = list(model.generate(prompt, max_tokens=40, temperature=0, ignore_eos=True).tokens)
    logits = reference.forward(spec, weights, np.array([*prompt, *tokens]))
    assert logits[len(prompt) - 1 : -1].argmax(axis=-1).tolist() == tokens
