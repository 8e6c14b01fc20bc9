"""The embedded model through `understudy.load`: quality against float32, saved states, threads,
perplexity.
"""

from __future__ import annotations

import math
import threading
from pathlib import Path

import numpy as np
import pytest

import understudy
from understudy.errors import ContextError, FormatError, UsageError
from understudy.judge.benchmark.perplexity import perplexity

TEXT = (Path(__file__).parents[2] / "docs" / "kernels.md").read_text(encoding="utf-8")
QUESTION = [{"role": "user", "content": "Explain in two sentences what a bridge is."}]


@pytest.fixture(scope="module")
def model():
    with understudy.load("smollm2-135m-instruct", context=1024, cache_tokens=4096) as loaded:
        yield loaded


@pytest.fixture(scope="module")
def tokens(model):
    return model.tokenizer.encode(TEXT)[:256]


def log_softmax(x: np.ndarray) -> np.ndarray:
    x = x.astype(np.float64)
    shifted = x - x.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def test_the_fast_path_keeps_the_distribution(model, tokens):
    """KL from float32 arithmetic on the same dequantised weights, on real text. All inputs in plain
    int8 would be 3.9e-3.
    """
    with understudy.load(
        "smollm2-135m-instruct", weights="f32", kv="f32", context=512, use_cache=False
    ) as exact:
        expected = log_softmax(exact.logits(tokens))
    found = log_softmax(model.logits(tokens))
    divergence = (np.exp(expected) * (expected - found)).sum(axis=-1)
    assert divergence.mean() < 1e-3
    assert (expected.argmax(-1) == found.argmax(-1)).mean() > 0.95


def test_perplexity_is_that_of_the_logits(model, tokens):
    logprobs = log_softmax(model.logits(tokens))
    losses = -logprobs[np.arange(len(tokens) - 1), tokens[1:]]
    whole = perplexity(model, tokens, context=256)
    assert whole.perplexity == pytest.approx(math.exp(losses.mean()), rel=1e-4)
    assert whole.num_scored == 255
    cut = perplexity(model, tokens, context=64)
    assert cut.num_scored == 4 * 63
    assert cut.perplexity > whole.perplexity
    sliding = perplexity(model, tokens, context=128, stride=64)
    assert sliding.num_scored == 255
    assert whole.perplexity < sliding.perplexity < cut.perplexity


def test_chunks_of_logits_are_the_whole(model, tokens):
    rows = [row for _, chunk in model.iterate_logits(tokens) for row in chunk]
    assert (np.asarray(rows) == model.logits(tokens)).all()


def test_a_saved_state_spares_the_prompt(model, tmp_path):
    prompt = model.encode_prompt(QUESTION)
    first = model.generate(QUESTION, max_tokens=40)
    saved = model.save_state(tmp_path / "state", [*prompt, *first.tokens])
    assert saved >= 32
    with understudy.load("smollm2-135m-instruct", context=1024) as other:
        assert other.load_state(tmp_path / "state") == [*prompt, *first.tokens][:saved]
        again = other.generate(QUESTION, max_tokens=40)
        assert again.text == first.text
        assert again.usage.cached_tokens >= 32
    with (
        understudy.load("smollm2-135m-instruct", context=1024, kv="int8") as foreign,
        pytest.raises(FormatError, match="another model"),
    ):
        foreign.load_state(tmp_path / "state")
    data = (tmp_path / "state").read_bytes()
    for cut in (0, 10, 100, len(data) - 1):
        (tmp_path / "cut").write_bytes(data[:cut])
        with pytest.raises(FormatError):
            model.load_state(tmp_path / "cut")


def test_threads_share_the_engine(model):
    expected = {
        seed: model.generate(QUESTION, max_tokens=30, temperature=0.8, seed=seed).text
        for seed in range(3)
    }
    found: dict[int, str] = {}

    def ask(seed: int) -> None:
        found[seed] = model.generate(QUESTION, max_tokens=30, temperature=0.8, seed=seed).text

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == expected


def test_leaving_a_stream_frees_its_pages(model):
    before = model.engine.pool.num_free
    stream = model.stream("Once upon a time", max_tokens=200)
    next(stream)
    stream.close()
    assert model.generate("x", max_tokens=1).text != ""
    assert model.engine.pool.num_free == before


def test_speculation_and_cache_formats_do_not_change_greedy_text(model):
    prompt = "Repeat: red fox, blue hen, old oak. Repeat: red fox, blue hen, old oak. Repeat:"
    plain = model.generate(prompt, max_tokens=40)
    with understudy.load("smollm2-135m-instruct", context=512, speculate=6, num_threads=1) as other:
        guessed = other.generate(prompt, max_tokens=40)
    assert guessed.text == plain.text
    assert guessed.usage.accepted_tokens > 0


def test_refusals(model):
    with pytest.raises(UsageError, match="unknown option"):
        model.generate("x", tempo=1)
    with pytest.raises(ContextError, match="at most 1024 tokens"):
        model.generate("word " * 2000, max_tokens=5)
    with pytest.raises(UsageError, match="context is out of range"):
        understudy.load("smollm2-135m-instruct", context=100_000)
    with pytest.raises(UsageError, match="empty"):
        model.generate("")


def test_an_async_stream_is_the_same(model):
    import asyncio

    async def collect() -> str:
        return "".join([piece async for piece in model.astream(QUESTION, max_tokens=20)])

    assert asyncio.run(collect()).strip() == model.generate(QUESTION, max_tokens=20).text
