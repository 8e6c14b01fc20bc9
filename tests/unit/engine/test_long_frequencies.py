"""LongRoPE: each text turns by the frequencies of its own length, whatever shares the cache with
it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import understudy
from tests.support.checkpoints import SPECS, random_tokens, random_weights, write_folder
from understudy.checkpoint import reference
from understudy.checkpoint.rope import rope_config
from understudy.rotary import LongRopeScaling

ORIGINAL = 48
SPEC = SPECS["llama"].replace(
    max_positions=160,
    rope_scaling=LongRopeScaling(
        (1.0, 1.1, 1.2, 1.3, 1.5, 2.0, 2.5, 3.0),
        tuple(np.linspace(1, 9, 8).tolist()),
        ORIGINAL,
        1.2,
    ),
)
WEIGHTS = random_weights(SPEC, seed=2)


@pytest.fixture
def model(tmp_path: Path) -> Iterator[understudy.Model]:
    plain = SPEC.replace(rope_scaling=None)
    folder = write_folder(plain, WEIGHTS, tmp_path / "m", config=rope_config(SPEC))
    with understudy.load(folder, kv="f32", use_cache=False, num_threads=1) as loaded:
        assert loaded.spec == SPEC
        yield loaded


@pytest.mark.parametrize("length", [20, ORIGINAL, ORIGINAL + 1, 120])
def test_logits_are_those_of_the_reference(model: understudy.Model, length: int) -> None:
    tokens = random_tokens(SPEC, length)
    right = reference.forward(SPEC, WEIGHTS, tokens)
    np.testing.assert_allclose(model.logits(tokens), right, atol=3e-4)


def _greedy(prompt: list[int], count: int) -> list[int]:
    """Every token from the whole text before it, as a model without a cache finds it."""
    tokens = list(prompt)
    for _ in range(count):
        tokens.append(int(reference.forward(SPEC, WEIGHTS, tokens)[-1].argmax()))
    return tokens[len(prompt) :]


@pytest.mark.parametrize("length", [30, ORIGINAL - 1, ORIGINAL, ORIGINAL + 3])
def test_an_answer_that_outgrows_the_original_context_is_computed_anew(
    model: understudy.Model, length: int
) -> None:
    prompt = random_tokens(SPEC, length).tolist()
    right = _greedy(prompt, 24)
    for _ in range(2):  # the second time the beginning is in the cache
        reply = model.generate(prompt, max_tokens=24, temperature=0, ignore_eos=True)
        assert list(reply.tokens) == right


def test_a_long_text_takes_no_keys_of_a_short_one(model: understudy.Model) -> None:
    tokens = random_tokens(SPEC, 90).tolist()
    model.generate(tokens[:40], max_tokens=1, temperature=0)
    reply = model.generate(tokens, max_tokens=4, temperature=0, ignore_eos=True)
    assert list(reply.tokens) == _greedy(tokens, 4)
    reply = model.generate(tokens[:40], max_tokens=4, temperature=0, ignore_eos=True)
    assert list(reply.tokens) == _greedy(tokens[:40], 4)


def test_scores_of_short_and_long_texts_together(model: understudy.Model) -> None:
    tokens = random_tokens(SPEC, 100).tolist()
    pairs = [
        (tokens[:30], tokens[30:34]),
        (tokens[:90], tokens[90:95]),
        (tokens[:45], tokens[45:49]),
    ]
    for (context, continuation), score in zip(pairs, model.score_continuations(pairs), strict=True):
        rows = reference.forward(SPEC, WEIGHTS, [*context, *continuation][:-1])
        rows = rows[len(context) - 1 :].astype(np.float64)
        logprobs = rows - np.log(np.exp(rows).sum(-1, keepdims=True))
        right = sum(logprobs[i, token] for i, token in enumerate(continuation))
        assert score.logprob == pytest.approx(right, abs=2e-3)
