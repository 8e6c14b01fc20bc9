"""The native forward pass against the NumPy reference: shapes, kernel targets, formats.

What is measured on logits of deviation 1 (largest difference over 150 tokens, all shapes, all
rows): f32 and bf16 weights 7e-6; f16 cache 4e-3; int8 cache 0.05; integer weights 0.15 against the
reference on the same dequantised weights (their activations are rounded to 8 bits), and 7e-6
against the reference that rounds them alike.
"""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.checkpoints import SPECS, random_tokens, random_weights
from tests.support.native import NativeRun, native_model, pack_weights, unpack_weights
from understudy import core
from understudy.checkpoint import reference

ISA_TARGETS = core.isa_targets()
EXACT = 1e-4
# An input that lies so near to the middle between two levels is rounded either way: eight units in
# the last place of a level of 64 to 127.
TIE = 2.0**-14
CLEAR_SEQUENCES, MAX_SEQUENCES = 7, 40


def _errors(ours: np.ndarray, expected: np.ndarray) -> tuple[float, float]:
    """Largest and root-mean-square difference, of logits whose deviation is about 1."""
    assert ours.shape == expected.shape
    assert 0.5 < expected.std() < 2
    return float(np.abs(ours - expected).max()), float(np.sqrt(np.mean((ours - expected) ** 2)))


@pytest.mark.parametrize("isa", ISA_TARGETS)
@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("target", ["f32", "bf16"])
def test_float_weights_equal_the_reference(name: str, isa: str, target: str) -> None:
    spec = SPECS[name]
    weights, tokens = random_weights(spec, seed=1), random_tokens(spec, 90, seed=1)
    packed = pack_weights(spec, weights, target)
    expected = reference.forward(spec, unpack_weights(weights, packed), tokens)
    model = core.CoreModel(spec, packed, isa=isa, num_threads=1)
    assert model.isa == isa
    assert _errors(NativeRun(model, spec).prefill(tokens), expected)[0] < EXACT


@pytest.mark.parametrize("isa", ISA_TARGETS)
@pytest.mark.parametrize("name", SPECS)
def test_a_long_prompt_in_chunks_then_decoding_equals_the_reference(name: str, isa: str) -> None:
    spec = SPECS[name]
    weights, tokens = (
        random_weights(spec, seed=2),
        random_tokens(spec, 300, seed=2),
    )  # more than one chunk of 256
    run = NativeRun(native_model(spec, weights, isa=isa, num_threads=2), spec, max_tokens=300)
    ours = np.concatenate(
        [run.prefill(tokens[:290], chunk=97), *(run.feed([(0, [t])])[0] for t in tokens[290:])]
    )
    assert _errors(ours, reference.forward(spec, weights, tokens))[0] < EXACT


@pytest.mark.parametrize("isa", ISA_TARGETS)
@pytest.mark.parametrize("name", SPECS)
def test_a_mixed_batch_of_unequal_lengths_equals_each_sequence_alone(name: str, isa: str) -> None:
    spec = SPECS[name]
    weights = random_weights(spec, seed=3)
    sequences = [random_tokens(spec, length, seed=length) for length in (70, 5, 33)]
    run = NativeRun(native_model(spec, weights, isa=isa), spec, num_sequences=3, max_tokens=96)
    first = run.feed([(2, sequences[2][:32]), (0, sequences[0][:1])])
    second = run.feed([(0, sequences[0][1:60]), (2, sequences[2][32:]), (1, sequences[1])])
    third = run.feed([(0, sequences[0][60:])])
    ours = [
        np.concatenate([first[1], second[0], third[0]]),
        second[2],
        np.concatenate([first[0], second[1]]),
    ]
    for logits, tokens in zip(ours, sequences, strict=True):
        assert _errors(logits, reference.forward(spec, weights, tokens))[0] < EXACT


@pytest.mark.parametrize("isa", ISA_TARGETS)
@pytest.mark.parametrize(
    ("kv_format", "largest", "typical"), [("f16", 0.008, 1e-3), ("int8", 0.1, 0.02)]
)
@pytest.mark.parametrize("name", SPECS)
def test_cache_formats_cost_what_is_stated(
    name: str, kv_format, largest: float, typical: float, isa: str
) -> None:
    spec = SPECS[name]
    weights, tokens = random_weights(spec, seed=4), random_tokens(spec, 100, seed=4)
    ours = NativeRun(native_model(spec, weights, isa=isa), spec, kv_format=kv_format).prefill(
        tokens
    )
    found = _errors(ours, reference.forward(spec, weights, tokens))
    assert found[0] < largest
    assert found[1] < typical


class _RoundedInputs:
    """`reference.linear` with x rounded as the integer kernels do it: int8 by groups of 32, scale
    max|x| / 127. `nearest_tie` is how near the nearest input lay to the middle between two
    levels."""

    def __init__(self) -> None:
        self.nearest_tie = 0.5

    def linear(self, weights, name, x):
        padded = np.pad(x, ((0, 0), (0, -x.shape[1] % core.GROUP_SIZE)))
        groups = padded.reshape(len(x), -1, core.GROUP_SIZE)
        scale = np.abs(groups).max(axis=-1, keepdims=True) / np.float32(127)
        levels = np.divide(groups, scale, out=np.zeros_like(groups), where=scale > 0)
        tie = np.abs(levels - np.floor(levels) - np.float32(0.5)).min()
        self.nearest_tie = min(self.nearest_tie, float(tie))
        rounded = (np.rint(levels) * scale).reshape(padded.shape)[:, : x.shape[1]]
        y = rounded @ weights[f"{name}.weight"].T
        return y + weights[f"{name}.bias"] if f"{name}.bias" in weights else y


@pytest.mark.parametrize("isa", ISA_TARGETS)
@pytest.mark.parametrize("target", ["q8", "q4", "q4_1", "q4_sparse", "q3"])
@pytest.mark.parametrize("name", SPECS)
def test_integer_weights_stay_near_the_reference_on_the_same_weights(
    name: str, target, isa: str
) -> None:
    spec = SPECS[name]
    weights, tokens = random_weights(spec, seed=5), random_tokens(spec, 90, seed=5)
    packed = pack_weights(spec, weights, target)
    ours = NativeRun(core.CoreModel(spec, packed, isa=isa, num_threads=1), spec).prefill(tokens)
    largest, typical = _errors(
        ours, reference.forward(spec, unpack_weights(weights, packed), tokens)
    )
    assert largest < 0.25
    assert typical < 0.04


@pytest.mark.parametrize("isa", ISA_TARGETS)
@pytest.mark.parametrize("target", ["q8", "q4", "q4_1", "q4_sparse", "q3"])
@pytest.mark.parametrize("name", SPECS)
def test_integer_weights_equal_the_reference_that_rounds_alike(
    name: str, target, isa: str, monkeypatch
) -> None:
    """An input in the middle between two levels is rounded either way in another order of sums, and
    the rest follows it: by no more than above. Every sequence without such an input is exact."""
    spec = SPECS[name]
    weights = random_weights(spec, seed=5)
    packed = pack_weights(spec, weights, target)
    model, same = (
        core.CoreModel(spec, packed, isa=isa, num_threads=1),
        unpack_weights(weights, packed),
    )
    num_clear = 0
    for seed in range(MAX_SEQUENCES):
        inputs, tokens = _RoundedInputs(), random_tokens(spec, 3, seed=seed)
        monkeypatch.setattr(reference, "linear", inputs.linear)
        expected = reference.forward(spec, same, tokens)
        error = _errors(NativeRun(model, spec).prefill(tokens), expected)[0]
        is_clear = inputs.nearest_tie > TIE
        assert error < (EXACT if is_clear else 0.25), (seed, inputs.nearest_tie)
        num_clear += is_clear
        if num_clear == CLEAR_SEQUENCES:
            return
    pytest.fail(f"{num_clear} sequences without an input between two levels")


@pytest.mark.parametrize("isa", ISA_TARGETS)
def test_only_the_rows_asked_for_are_scored(isa: str) -> None:
    spec = SPECS["nemotron"]
    weights, tokens = random_weights(spec, seed=6), random_tokens(spec, 40, seed=6)
    run = NativeRun(native_model(spec, weights, isa=isa), spec)
    rows = np.array([39, 3, 3], np.int32)
    zeros = np.zeros(40, np.int32)
    got = core.step(
        run.model, run.cache, tokens, np.arange(40, dtype=np.int32), zeros, run.page_tables, rows
    )
    assert np.array_equal(got, NativeRun(run.model, spec).prefill(tokens)[rows])


@pytest.mark.parametrize("isa", ISA_TARGETS)
@pytest.mark.parametrize("target", ["q8", "q4", "q4_1", "q4_sparse", "q3"])
@pytest.mark.parametrize("name", SPECS)
def test_fine_inputs_leave_hardly_any_rounding(name: str, target, isa: str) -> None:
    spec = SPECS[name]
    weights, tokens = random_weights(spec, seed=5), random_tokens(spec, 40, seed=5)
    packed = pack_weights(spec, weights, target)
    every = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj", "lm_head")
    ours = NativeRun(
        core.CoreModel(spec, packed, isa=isa, num_threads=1, int12=every), spec
    ).prefill(tokens)
    assert _errors(ours, reference.forward(spec, unpack_weights(weights, packed), tokens))[0] < 8e-3
