"""The native core against stock transformers, in float32: prefill, decoding, batches, greedy
continuations.
"""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.checkpoints import SPECS, random_tokens, random_weights, round_to_bfloat16
from tests.support.native import NativeRun, native_model
from tests.torch.stock import stock_decode_logits, stock_greedy, stock_logits, stock_model
from understudy import core

TOLERANCE = 1e-4  # seen: 7e-6 at most, on logits of deviation 1
ISA_TARGETS = core.isa_targets()


def _rounded(weights):
    """Matrices that bfloat16 holds exactly; norms and biases stay in float32, as the core keeps
    them.
    """
    return {
        name: round_to_bfloat16(values) if values.ndim == 2 else values
        for name, values in weights.items()
    }


@pytest.fixture(
    scope="module",
    params=[(name, target) for name in SPECS for target in ("f32", "bf16")],
    ids="-".join,
)
def pair(request):
    """A spec, the format to pack in, weights that it holds exactly, and transformers' model of
    them.
    """
    name, target = request.param
    spec = SPECS[name]
    weights = random_weights(spec, seed=11)
    weights = _rounded(weights) if target == "bf16" else weights
    return spec, target, weights, stock_model(spec, weights)


def _assert_near(ours: np.ndarray, theirs: np.ndarray) -> None:
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).max() < TOLERANCE


@pytest.mark.parametrize("isa", ISA_TARGETS)
def test_prefill_equals_transformers(pair, isa: str) -> None:
    spec, target, weights, stock = pair
    tokens = random_tokens(spec, 120, seed=1)
    run = NativeRun(native_model(spec, weights, target, isa=isa), spec)
    _assert_near(run.prefill(tokens), stock_logits(stock, tokens))


@pytest.mark.parametrize("isa", ISA_TARGETS)
def test_prefill_in_chunks_then_decoding_equals_transformers(pair, isa: str) -> None:
    spec, target, weights, stock = pair
    tokens = random_tokens(spec, 70, seed=2)
    run = NativeRun(native_model(spec, weights, target, isa=isa), spec)
    ours = np.concatenate(
        [run.prefill(tokens[:50], chunk=19), *(run.feed([(0, [t])])[0] for t in tokens[50:])]
    )
    _assert_near(ours, stock_decode_logits(stock, tokens, num_prefill=50))


@pytest.mark.parametrize("isa", ISA_TARGETS)
def test_batches_of_unequal_lengths_equal_transformers(pair, isa: str) -> None:
    spec, target, weights, stock = pair
    sequences = [random_tokens(spec, length, seed=length) for length in (41, 3, 18)]
    run = NativeRun(native_model(spec, weights, target, isa=isa), spec, num_sequences=3)
    prompts = run.feed([(slot, tokens[:-2]) for slot, tokens in enumerate(sequences)])
    steps = [
        run.feed([(slot, [tokens[at]]) for slot, tokens in enumerate(sequences)]) for at in (-2, -1)
    ]
    for slot, tokens in enumerate(sequences):
        ours = np.concatenate([prompts[slot], steps[0][slot], steps[1][slot]])
        _assert_near(ours, stock_logits(stock, tokens))


def test_greedy_continuation_of_128_tokens_equals_transformers(pair) -> None:
    spec, target, weights, stock = pair
    prompt = random_tokens(spec, 9, seed=8)
    expected = stock_greedy(stock, prompt, 128)
    assert len(set(expected)) > 8  # it wanders: a loop of two tokens would prove little
    for isa in ISA_TARGETS:
        run = NativeRun(native_model(spec, weights, target, isa=isa), spec)
        assert run.greedy(prompt, 128) == expected, isa
