"""The native core on every option of a block: the NumPy reference, and the same bits in any cut."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.checkpoints import random_tokens, random_weights
from tests.support.families import FAMILIES
from tests.support.native import NativeRun, native_model, pack_weights
from understudy import core
from understudy.checkpoint import reference

ISA_TARGETS = core.isa_targets()
EXACT = 1e-4


@pytest.fixture(params=FAMILIES)
def spec(request):
    made = FAMILIES[request.param]
    return made.replace(rope_scaling=None) if made.short_context else made


@pytest.mark.parametrize("isa", ISA_TARGETS)
def test_a_long_prompt_in_chunks_then_decoding_equals_the_reference(spec, isa: str) -> None:
    length = 60 if isa == "reference" else 290  # it is slow; 290 are more than a chunk of 256
    weights, tokens = random_weights(spec, seed=2), random_tokens(spec, length + 4, seed=2)
    run = NativeRun(native_model(spec, weights, isa=isa, num_threads=2), spec, max_tokens=300)
    ours = np.concatenate(
        [run.prefill(tokens[:-4], chunk=97), *(run.feed([(0, [t])])[0] for t in tokens[-4:])]
    )
    expected = reference.forward(spec, weights, tokens)
    assert expected.std() > 0.2
    assert np.abs(ours - expected).max() < EXACT


@pytest.mark.parametrize(
    "isa", [isa for isa in ISA_TARGETS if isa in ("avx2", "neon")] or ISA_TARGETS
)
@pytest.mark.parametrize(("target", "kv_format"), [("q4", "f16"), ("q8", "int8")])
def test_chunks_threads_and_company_do_not_change_a_bit(spec, isa, target, kv_format) -> None:
    packed = pack_weights(spec, random_weights(spec, seed=1), target)
    tokens, other = random_tokens(spec, 300, seed=2), random_tokens(spec, 80, seed=3)

    def make(num_threads: int = 1) -> NativeRun:
        model = core.CoreModel(spec, packed, isa=isa, num_threads=num_threads)
        return NativeRun(model, spec, num_sequences=2, max_tokens=330, kv_format=kv_format)

    whole = make().prefill(tokens)
    np.testing.assert_array_equal(make(3).prefill(tokens, 13), whole)
    run = make(2)
    first = run.feed([(1, other[:41]), (0, tokens[:111])])
    second = run.feed([(0, tokens[111:295]), (1, other[41:])])
    np.testing.assert_array_equal(np.concatenate([first[1], second[0]]), whole[:295])
    for position in range(295, 300):
        np.testing.assert_array_equal(run.feed([(0, [tokens[position]])])[0][0], whole[position])
