"""A result never depends on its company: bit for bit, on every kernel target and format."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.checkpoints import SPECS, random_tokens, random_weights
from tests.support.native import NativeRun, native_model
from understudy import core
from understudy.judge.benchmark import shapes, synthetic
from understudy.spec import QuantSpec

ISA_TARGETS = core.isa_targets()
SHAPES = ["nemotron", "nemotron_odd", "llama_tied", "qwen2"]
# Weight and cache formats together, so that each occurs on each row; the third says whether inputs
# have 12 bits.
FORMATS = [
    ("f32", "f32", ""),
    ("bf16", "f16", ""),
    ("q8", "int8", "int12"),
    ("q4", "f16", ""),
    ("q4_1", "f16", "int12"),
    ("q8", "f16", ""),
    ("q4_sparse", "int8", ""),
    ("q3", "int8", ""),
]
INT12_MATRICES = ("k_proj", "o_proj", "up_proj", "down_proj", "lm_head")


CASES = [
    (name, isa, *formats)
    for name in SHAPES
    for isa in ISA_TARGETS
    for formats in FORMATS
    if isa != "reference" or name == "nemotron_odd"  # it is slow
]


@pytest.fixture(params=CASES, ids=lambda case: "-".join(case))
def case(request):
    name, isa, target, kv_format, int12 = request.param
    spec = SPECS[name]
    weights = random_weights(spec, seed=1)

    def make(num_threads: int = 1, num_sequences: int = 1) -> NativeRun:
        model = native_model(
            spec,
            weights,
            target,
            isa=isa,
            num_threads=num_threads,
            int12=INT12_MATRICES if int12 else (),
        )
        return NativeRun(
            model, spec, num_sequences=num_sequences, max_tokens=330, kv_format=kv_format
        )

    return spec, make


def test_chunks_threads_and_decoding_do_not_change_a_bit(case) -> None:
    spec, make = case
    tokens = random_tokens(spec, 300, seed=2)
    whole = make().prefill(tokens)
    for num_threads, chunk in [(1, 13), (3, 111), (2, 256)]:
        np.testing.assert_array_equal(make(num_threads).prefill(tokens, chunk), whole)
    run = make(2)
    run.prefill(tokens[:262])
    for position in range(262, 268):  # decoding over more than one chunk of attention
        np.testing.assert_array_equal(run.feed([(0, [tokens[position]])])[0][0], whole[position])


def test_other_sequences_do_not_change_a_bit(case) -> None:
    spec, make = case
    lengths = [40, 1, 17, 33, 64]
    sequences = [random_tokens(spec, length + 3, seed=length) for length in lengths]
    alone = [make().prefill(tokens) for tokens in sequences]
    run = make(2, num_sequences=5)
    together = run.feed([(slot, tokens[:-3]) for slot, tokens in enumerate(sequences)])
    for slot in range(5):
        np.testing.assert_array_equal(together[slot], alone[slot][:-3])
    for step in (3, 2, 1):
        order = [4, 2, 0, 1, 3]
        rows = run.feed([(slot, [sequences[slot][-step]]) for slot in order])
        for slot, row in zip(order, rows, strict=True):
            np.testing.assert_array_equal(row[0], alone[slot][-step])


def test_verifying_several_tokens_equals_decoding_them(case) -> None:
    """What speculation rests on: five tokens in one step give the logits of five steps."""
    spec, make = case
    tokens = random_tokens(spec, 50, seed=3)
    one_by_one = make()
    one_by_one.prefill(tokens[:45])
    steps = np.concatenate([one_by_one.feed([(0, [token])])[0] for token in tokens[45:]])
    at_once = make()
    at_once.prefill(tokens[:45])
    np.testing.assert_array_equal(at_once.feed([(0, tokens[45:])])[0], steps)


@pytest.mark.skipif(
    "amx" not in ISA_TARGETS,
    reason="this processor has no AMX tiles, or the system does not hand them out",
)
@pytest.mark.parametrize(
    ("target", "int12"),
    [
        ("q8", ()),
        ("q4", ()),
        ("q4_1", INT12_MATRICES),
        ("q4", INT12_MATRICES),
        ("q4_sparse", INT12_MATRICES),
        ("q3", ()),
        ("q3", INT12_MATRICES),
    ],
)
@pytest.mark.parametrize("name", SHAPES)
def test_tiles_do_not_change_a_bit(name: str, target, int12) -> None:
    """AMX multiplies many tokens in another way than AVX-512 does one: the bits are the same."""
    spec = SPECS[name]
    weights, tokens = random_weights(spec, seed=6), random_tokens(spec, 150, seed=6)
    models = [
        native_model(spec, weights, target, isa=isa, num_threads=2, int12=int12)
        for isa in ("avx512", "amx")
    ]
    plain, tiles = (NativeRun(model, spec, max_tokens=150).prefill(tokens) for model in models)
    np.testing.assert_array_equal(tiles, plain)


@pytest.mark.parametrize("kv_format", ["f32", "f16", "int8"])
def test_copied_and_restored_pages_continue_alike(kv_format) -> None:
    spec = SPECS["nemotron"]
    run = NativeRun(
        native_model(spec, random_weights(spec, seed=4)),
        spec,
        num_sequences=3,
        max_tokens=64,
        kv_format=kv_format,
    )
    tokens = random_tokens(spec, 40, seed=4)
    run.feed([(0, tokens)])
    run.cache.copy_pages(run.page_tables[0].copy(), run.page_tables[1].copy())
    for source, target in zip(run.page_tables[0], run.page_tables[2], strict=True):
        data = run.cache.read_page(int(source))
        assert data.nbytes == run.cache.page_bytes
        run.cache.write_page(int(target), data)
    run.lengths = [40, 40, 40]
    rows = run.feed([(0, [7]), (1, [7]), (2, [7])])
    np.testing.assert_array_equal(rows[1], rows[0])
    np.testing.assert_array_equal(rows[2], rows[0])


@pytest.mark.parametrize("isa", ISA_TARGETS)
@pytest.mark.parametrize("zero_share", [0.5, 0.95])
def test_skipping_what_zeros_would_meet_does_not_change_a_bit(
    isa, zero_share: float, monkeypatch
) -> None:
    """One token alone skips the columns of `down_proj` that meet a zero, several read them all, and
    so does `q4`.
    """
    monkeypatch.setitem(
        shapes.SHAPES, "tiny", SPECS["nemotron"].replace(hidden_size=256, intermediate_size=1024)
    )
    made = synthetic.synthetic_packed("tiny", QuantSpec("q4"), zero_share=zero_share)
    tokens = random_tokens(made.spec, 12, seed=5)
    monkeypatch.setattr(synthetic, "packed_layout", lambda spec, name, format: format)
    plain = synthetic.synthetic_packed("tiny", QuantSpec("q4"), zero_share=zero_share).tensors
    assert (
        sum(tensor.format == "q4_sparse" for tensor in made.tensors.values())
        == made.spec.num_layers
    )
    expected = NativeRun(
        core.CoreModel(made.spec, plain, isa=isa, num_threads=1), made.spec
    ).prefill(tokens)
    model = core.CoreModel(made.spec, made.tensors, isa=isa, num_threads=2)
    model.count_zeros(True)
    np.testing.assert_array_equal(NativeRun(model, made.spec).prefill(tokens), expected)
    assert np.mean(model.zero_shares()) == pytest.approx(zero_share, abs=0.08)
    run = NativeRun(model, made.spec)
    np.testing.assert_array_equal(
        np.concatenate([run.feed([(0, [token])])[0] for token in tokens]), expected
    )
