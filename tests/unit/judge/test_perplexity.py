"""Perplexity against its two definitions, written out plainly over whole logits."""

from __future__ import annotations

import math

import numpy as np
import pytest

import understudy
from tests.support.byte_tokenizer import write_tokenizer
from tests.support.checkpoints import SPECS, random_weights, write_folder
from understudy.errors import UsageError
from understudy.judge.benchmark.perplexity import perplexity

TOKENS = np.random.default_rng(5).integers(3, 512, 90).tolist()


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = write_folder(
        SPECS["llama"],
        random_weights(SPECS["llama"], seed=3),
        tmp_path_factory.mktemp("model") / "m",
    )
    write_tokenizer(folder, 512)
    with understudy.load(folder, context=128, kv="f32", num_threads=1, use_cache=False) as loaded:
        yield loaded


def losses_of(model, tokens: list[int]) -> list[float]:
    """Negative log-likelihood of tokens 1, 2, ... of a text."""
    logits = model.logits(tokens).astype(np.float64)
    return [
        float(np.log(np.exp(row).sum()) - row[target])
        for row, target in zip(logits[:-1], tokens[1:], strict=True)
    ]


def check(result, losses: list[float]) -> None:
    mean = sum(losses) / len(losses)
    variance = sum((loss - mean) ** 2 for loss in losses) / (len(losses) - 1)
    assert result.num_scored == len(losses)
    assert result.num_tokens == len(TOKENS)
    assert result.nll == pytest.approx(mean, rel=1e-5)
    assert result.perplexity == pytest.approx(math.exp(mean), rel=1e-5)
    assert result.standard_error == pytest.approx(
        math.exp(mean) * math.sqrt(variance / len(losses)), rel=1e-5
    )


@pytest.mark.parametrize("context", [2, 30, 44, 45, 89, 90, 128])
def test_windows_side_by_side(model, context):
    losses = []
    for begin in range(0, 90, context):
        losses += losses_of(model, TOKENS[begin : begin + context])
    check(perplexity(model, TOKENS, context=context), losses)


@pytest.mark.parametrize(("context", "stride"), [(30, 10), (32, 7), (64, 63), (90, 1), (2, 1)])
def test_the_sliding_window_as_transformers_documents_it(model, context, stride):
    losses, end_before = [], 0
    for begin in range(0, 90, stride):
        end = min(begin + context, 90)
        own = losses_of(model, TOKENS[begin:end])
        losses += own[-(end - end_before) :] if begin else own
        end_before = end
        if end == 90:
            break
    check(perplexity(model, TOKENS, context=context, stride=stride), losses)
    assert len(losses) == 89


@pytest.mark.parametrize("context", [16, 17, 45, 90])
def test_second_halves_as_llama_cpp_scores_them(model, context):
    losses = []
    for begin in range(0, 90 - context + 1, context):
        losses += losses_of(model, TOKENS[begin : begin + context])[context // 2 :]
    check(perplexity(model, TOKENS, context=context, definition="llama.cpp"), losses)


def test_a_bos_token_takes_the_place_of_each_windows_first(model, monkeypatch):
    monkeypatch.setattr(model.tokenizer, "opening_ids", (1,))
    monkeypatch.setattr(model.tokenizer, "bos_id", 1)
    losses = [
        loss
        for begin in (0, 45)
        for loss in losses_of(model, [1, *TOKENS[begin + 1 : begin + 45]])[22:]
    ]
    check(perplexity(model, TOKENS, context=45, definition="llama.cpp"), losses)


def test_a_text_is_encoded_and_progress_reaches_its_end(model):
    text = "The bridge keeper counts the boats that pass below the old stone arch. " * 3
    seen = []
    result = perplexity(
        model, text, context=16, progress=lambda done, whole: seen.append((done, whole))
    )
    assert result == perplexity(model, model.tokenizer.encode(text), context=16)
    assert seen == sorted(seen)
    assert seen[-1] == (result.num_tokens, result.num_tokens)


@pytest.mark.parametrize(
    ("tokens", "options"),
    [
        ([], {}),
        ([5], {}),
        (TOKENS, {"context": 1}),
        (TOKENS, {"context": 129}),
        (TOKENS, {"context": 20, "stride": 21}),
        (TOKENS, {"stride": 0}),
        (TOKENS, {"definition": "mine"}),
        (TOKENS, {"definition": "llama.cpp", "context": 91}),
        (TOKENS, {"definition": "llama.cpp", "context": 20, "stride": 10}),
    ],
)
def test_impossible_measurements_are_refused(model, tokens, options):
    with pytest.raises(UsageError):
        perplexity(model, tokens, **options)
