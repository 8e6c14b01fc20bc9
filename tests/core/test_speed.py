"""The speed test and the synthetic weights: right counts and shares, not figures (a test is no
place to time).
"""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.checkpoints import SPECS, random_weights
from tests.support.native import NativeRun, native_model
from understudy import core
from understudy.checkpoint.checkpoint import open_checkpoint
from understudy.checkpoint.convert import save_checkpoint
from understudy.errors import UsageError
from understudy.judge.benchmark import shapes, synthetic
from understudy.judge.benchmark.speed import SpeedTest, measure_speed
from understudy.spec import QuantSpec, parameter_counts

TINY = SPECS["nemotron"].replace(hidden_size=256, intermediate_size=1024, num_layers=2)


@pytest.fixture(autouse=True)
def _tiny_shape(monkeypatch) -> None:
    monkeypatch.setitem(shapes.SHAPES, "tiny", TINY)


def test_published_shapes_have_the_published_sizes() -> None:
    totals = {
        name: parameter_counts(spec)["total"]
        for name, spec in shapes.SHAPES.items()
        if name != "tiny"
    }
    assert totals["nemotron-mini-4b"] == 4_190_509_056  # 8,381,018,112 bytes of bfloat16 on the hub
    assert round(totals["minitron-8b"] / 1e9, 2) == 8.27
    assert round(totals["llama-3.1-minitron-4b-width"] / 1e9, 2) == 4.51
    assert round(totals["mistral-nemo-minitron-8b"] / 1e9, 2) == 8.41
    assert round(totals["nemotron-3-nano-30b-a3b"] / 1e9, 1) == 31.6
    assert round(totals["granite-4.0-h-tiny"] / 1e9, 1) == 6.9


@pytest.mark.parametrize("weights", ["q3", "q4", "q8"])
@pytest.mark.parametrize("zero_share", [0.5, 0.8, 0.95])
def test_the_share_of_zeros_is_the_one_asked_for(weights, zero_share: float) -> None:
    packed = synthetic.synthetic_packed("tiny", QuantSpec(weights=weights), zero_share=zero_share)
    model = core.CoreModel(packed.spec, packed.tensors, num_threads=1)
    model.count_zeros(True)
    NativeRun(model, packed.spec).prefill(np.arange(100, dtype=np.int32) + 300)
    assert np.mean(model.zero_shares()) == pytest.approx(zero_share, abs=0.04)


def test_a_synthetic_checkpoint_is_written_and_read_like_any_other(tmp_path) -> None:
    made = synthetic.synthetic_checkpoint("tiny", QuantSpec(weights="q4", head="q8"), seed=3)
    save_checkpoint(made, tmp_path / "tiny.gguf")
    read = open_checkpoint(tmp_path / "tiny.gguf")
    assert read.spec == made.spec
    assert len(read.tokenizer_source.tokens) == TINY.vocab_size
    for name in made.weights:
        assert (
            read.weights[name].format
            == made.weights.stored(name).format
            == made.weights[name].format
        )
        np.testing.assert_array_equal(
            read.weights[name].to_float32(), made.weights[name].to_float32()
        )


def test_impossible_requests_are_refused() -> None:
    with pytest.raises(UsageError, match="no such shape"):
        shapes.shape_of("nemotron-giant")
    with pytest.raises(UsageError, match="share of zeros"):
        synthetic.synthetic_checkpoint("tiny", QuantSpec(), zero_share=1.0)
    with pytest.raises(UsageError, match="longer than the context"):
        SpeedTest(
            native_model(TINY, random_weights(TINY)), TINY, max_positions=TINY.max_positions + 1
        )


def test_a_report_holds_every_situation_and_its_limit() -> None:
    model = native_model(TINY, random_weights(TINY), "q4")
    test = SpeedTest(model, TINY, max_positions=96, max_batch=2)
    situations = {"prompt_lengths": (5, 40), "depths": (0, 64), "batches": (1, 2)}
    report = measure_speed(test, **situations, decode_tokens=3, rounds=2)
    assert len(report.rates) == 2 + 4
    for rate in report.rates:
        assert len(rate.samples) == 2
        assert min(rate.samples) > 0
        assert rate.limit > 0
    assert report.rate("prefill", tokens=40).tokens == 40
    with pytest.raises(KeyError):
        report.rate("decode", depth=17)
    assert "decode at 64, 2 at once" in report.table()
    assert report.as_dict()["rates"][0]["median"] == report.rates[0].median


def test_limits_count_the_bytes_and_operations_of_the_shape() -> None:
    model = native_model(TINY, random_weights(TINY), "q8")
    test = SpeedTest(model, TINY, max_positions=64)
    counts = parameter_counts(TINY)
    read = counts["attention"] + counts["mlp"] + counts["head"]
    assert test.decode_bytes(0, 1) == pytest.approx(
        read * 34 / 32, rel=0.03
    )  # and one row of the embedding, norms
    per_position = 2 * TINY.num_layers * TINY.kv_size * 2
    assert test.decode_bytes(32, 2) - test.decode_bytes(0, 2) == pytest.approx(
        2 * 32 * per_position, rel=0.3
    )
    products = 2 * (counts["attention"] + counts["mlp"])
    assert test.prefill_operations(10) == pytest.approx(10 * products + 2 * counts["head"], rel=0.1)
