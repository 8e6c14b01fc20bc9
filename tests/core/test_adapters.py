"""Adapters in the core: what they add is what the reference adds, and no other sequence sees it."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.adapters import packed, random_adapter
from tests.support.checkpoints import SPECS, random_tokens, random_weights
from tests.support.native import NativeRun, native_model
from understudy import core
from understudy.adapters.adapter import as_weights
from understudy.checkpoint import reference

ISA_TARGETS = core.isa_targets()
EVERY_MATRIX = ("_proj", "lm_head", "embed_tokens")
SHAPES = ["nemotron", "nemotron_odd", "nemotron_biases", "llama_tied", "qwen2"]
CASES = [
    (name, isa, weights)
    for name in ("nemotron_odd", "llama_tied")
    for isa in ISA_TARGETS
    for weights in ("f32", "q4", "q8")
    if isa != "reference" or name == "nemotron_odd"  # it is slow
]


@pytest.mark.parametrize("isa", ISA_TARGETS)
@pytest.mark.parametrize("name", SHAPES)
def test_logits_are_those_of_the_reference(name: str, isa: str) -> None:
    spec = SPECS[name]
    weights, tokens = random_weights(spec, seed=1), random_tokens(spec, 21, seed=2)
    one = random_adapter(spec, 1, rank=5, targets=EVERY_MATRIX)
    two = random_adapter(spec, 2, rank=9, rslora=True, targets=("q_proj", "down_proj"))
    model = native_model(spec, weights, isa=isa, num_threads=2)
    plain = reference.forward(spec, weights, tokens)
    for mix in ([(one, 1.0)], [(two, -0.5)], [(one, 0.3), (two, 0.6)]):
        parts = [(packed(model, adapter, "f32"), factor) for adapter, factor in mix]
        found = NativeRun(model, spec, adapters=[parts]).prefill(tokens, 8)
        right = reference.forward(spec, {**weights, **as_weights(mix)}, tokens)
        assert np.abs(right - plain).max() > 0.1
        assert np.linalg.norm(found - right) <= 1e-5 * np.linalg.norm(right)


@pytest.mark.parametrize(("name", "isa", "weights"), CASES)
def test_sequences_with_other_adapters_do_not_change_a_bit(
    name: str, isa: str, weights: str
) -> None:
    spec = SPECS[name]
    model = native_model(spec, random_weights(spec, seed=1), weights, isa=isa, num_threads=2)
    one, two = (
        packed(model, random_adapter(spec, seed, rank=rank, targets=EVERY_MATRIX), format)
        for seed, rank, format in ((1, 3, "q8"), (2, 8, "bf16"))
    )
    mixes = [[(one, 1.0)], None, [(two, 1.0)], [(one, 1.0)], [(two, 0.5), (one, 0.1)], None]
    lengths = [40, 9, 17, 3, 33, 1]
    texts = [random_tokens(spec, length + 3, seed=length) for length in lengths]
    alone = [
        NativeRun(model, spec, adapters=[mix]).prefill(text, 7)
        for mix, text in zip(mixes, texts, strict=True)
    ]
    run = NativeRun(model, spec, num_sequences=6, adapters=mixes)
    together = run.feed([(slot, text[:-3]) for slot, text in enumerate(texts)])
    for slot, text in enumerate(texts):
        np.testing.assert_array_equal(together[slot], alone[slot][: len(text) - 3])
    for step in range(-3, 0):
        pieces = [(slot, [text[step]]) for slot, text in reversed(list(enumerate(texts)))]
        for (slot, _), rows in zip(pieces, run.feed(pieces), strict=True):
            np.testing.assert_array_equal(rows[0], alone[slot][len(texts[slot]) + step])


@pytest.mark.parametrize("isa", ISA_TARGETS)
def test_integers_hold_an_adapter_well(isa: str) -> None:
    spec = SPECS["llama_tied"]
    weights, tokens = random_weights(spec, seed=1), random_tokens(spec, 21, seed=2)
    adapter = random_adapter(spec, 1, rank=6, targets=EVERY_MATRIX, strength=0.3)
    model = native_model(spec, weights, isa=isa)
    right = reference.forward(spec, {**weights, **as_weights([(adapter, 1.0)])}, tokens)
    plain = reference.forward(spec, weights, tokens)
    for format, share in (("f32", 1e-4), ("bf16", 0.01), ("q8", 0.03)):
        parts = [(packed(model, adapter, format), 1.0)]
        found = NativeRun(model, spec, adapters=[parts]).prefill(tokens)
        assert np.linalg.norm(found - right) <= share * np.linalg.norm(right - plain)


def test_without_adapters_nothing_changes() -> None:
    spec = SPECS["llama"]
    model = native_model(spec, random_weights(spec), num_threads=2)
    tokens = random_tokens(spec, 12)
    plain = NativeRun(model, spec).prefill(tokens)
    for mix in (None, []):
        np.testing.assert_array_equal(NativeRun(model, spec, adapters=[mix]).prefill(tokens), plain)


def test_what_does_not_fit_the_model_is_refused() -> None:
    spec = SPECS["llama"]
    model, other = (native_model(spec, random_weights(spec)) for _ in range(2))
    adapter = random_adapter(spec)
    with pytest.raises(ValueError, match="no such matrix"):
        core.PackedAdapter(
            model, {"model.layers.9.mlp.up_proj": (np.ones((1, 96)), np.ones((256, 1)), 1)}
        )
    with pytest.raises(ValueError, match="not the shape"):
        core.PackedAdapter(
            model, {"model.layers.0.mlp.up_proj": (np.ones((1, 95)), np.ones((256, 1)), 1)}
        )
    with pytest.raises(ValueError, match="made for another model"):
        NativeRun(model, spec, adapters=[[(packed(other, adapter, "f32"), 1.0)]]).prefill([1])
    with pytest.raises(ValueError, match="one for each sequence"):
        NativeRun(model, spec, adapters=[None, None]).prefill([1])
    sizes = [packed(model, adapter, format).num_bytes for format in ("q8", "bf16", "f32")]
    assert sizes[0] < 0.6 * sizes[1] < 0.4 * sizes[2]
