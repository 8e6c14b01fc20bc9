"""`core.sample` against a slow definition in NumPy: which tokens can come, how often, and what may
not change them.
"""

from __future__ import annotations

import numpy as np
import pytest

from understudy import core
from understudy.core import SampleSettings

VOCAB = 211


@pytest.fixture
def logits() -> np.ndarray:
    return (np.random.default_rng(3).standard_normal(VOCAB) * 3).astype(np.float32)


def softmax(x: np.ndarray) -> np.ndarray:
    weights = np.exp(x.astype(np.float64) - x.max())
    return weights / weights.sum()


def distribution(
    logits: np.ndarray, temperature: float, top_k: int, top_p: float, min_p: float
) -> np.ndarray:
    """Temperature, then top-k, then top-p of what is left, then min-p of the likeliest."""
    p = softmax(logits / temperature)
    order = np.argsort(-p, kind="stable")
    if top_k:
        order = order[:top_k]
    kept = p[order] / p[order].sum()
    before = np.cumsum(kept) - kept
    order = order[before < top_p]
    order = order[p[order] >= min_p * p[order[0]]]
    out = np.zeros_like(p)
    out[order] = p[order] / p[order].sum()
    return out


@pytest.mark.parametrize(
    ("temperature", "top_k", "top_p", "min_p"),
    [
        (1.0, 0, 1.0, 0.0),
        (0.7, 5, 1.0, 0.0),
        (1.3, 0, 0.8, 0.0),
        (1.0, 0, 1.0, 0.1),
        (2.0, 40, 0.9, 0.05),
        (1.0, 1, 1.0, 0.0),
    ],
)
def test_draws_follow_the_distribution(logits, temperature, top_k, top_p, min_p):
    expected = distribution(logits, temperature, top_k, top_p, min_p)
    settings = SampleSettings(
        temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p, seed=11
    )
    draws = 20_000
    counts = np.bincount(
        [core.sample(logits, settings, counter=i)[0] for i in range(draws)], minlength=VOCAB
    )
    assert not counts[expected == 0].any()
    likely = expected * draws >= 5
    chi_square = ((counts - expected * draws) ** 2 / np.maximum(expected * draws, 1e-9))[
        likely
    ].sum()
    assert chi_square < likely.sum() + 5 * np.sqrt(2 * likely.sum()) + 5


def test_chance_is_a_function_of_seed_and_counter_alone(logits):
    settings = SampleSettings(temperature=1.0, seed=5)
    first = [core.sample(logits, settings, counter=i)[0] for i in range(50)]
    assert first == [core.sample(logits, settings, counter=i)[0] for i in range(50)]
    assert first != [
        core.sample(logits, SampleSettings(temperature=1.0, seed=6), counter=i)[0]
        for i in range(50)
    ]


def test_greedy_takes_the_first_of_the_largest(logits):
    logits[[17, 90]] = logits.max() + 1
    token, logprob, _, _ = core.sample(logits, SampleSettings())
    assert token == 17
    assert logprob == pytest.approx(np.log(softmax(logits)[17]), abs=1e-5)


def test_top_logprobs_are_the_models_own(logits):
    settings = SampleSettings(
        temperature=0.3, repetition_penalty=1.5, num_top=6, logit_bias={3: 5.0}
    )
    _, _, ids, values = core.sample(logits, settings, history=[1, 2, 3], num_generated=1)
    expected = np.log(softmax(logits))
    assert ids == list(np.argsort(-expected, kind="stable")[:6])
    assert values == pytest.approx(expected[ids], abs=1e-5)


def test_penalties(logits):
    history = [4, 4, 9, 9, 9, 12]  # the last three are generated
    positive, negative = int(np.argmax(logits)), int(np.argmin(logits))
    shaped = logits.copy()
    for token in {*history, positive, negative}:
        shaped[token] = shaped[token] / 1.4 if shaped[token] > 0 else shaped[token] * 1.4
    shaped[9] -= 0.5 + 2 * 0.25
    shaped[12] -= 0.5 + 0.25
    settings = {"repetition_penalty": 1.4, "frequency_penalty": 0.25, "presence_penalty": 0.5}
    for target in range(
        0, VOCAB, 7
    ):  # raise each token by the exact gap and see it become the choice, and not before
        gap = float(shaped.max() - shaped[target])
        for extra, wins in ((1e-3, True), (-1e-3, gap == 0)):
            bias = SampleSettings(**settings, logit_bias={target: gap + extra})
            chosen = core.sample(
                logits, bias, history=[positive, negative, *history], num_generated=3
            )[0]
            assert (chosen == target) is wins


def test_a_mask_is_absolute(logits):
    allowed = {5, 64, 200}
    mask = np.zeros((VOCAB + 31) // 32, np.uint32)
    for token in allowed:
        mask[token // 32] |= np.uint32(1 << (token % 32))
    settings = SampleSettings(temperature=5.0, logit_bias={7: 1000.0})
    assert {core.sample(logits, settings, counter=i, mask=mask)[0] for i in range(300)} == allowed
    with pytest.raises(ValueError, match="allows no token"):
        core.sample(logits, settings, mask=np.zeros_like(mask))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"history": [VOCAB]}, "outside the vocabulary"),
        ({"history": [1], "num_generated": 2}, "outside the history"),
        ({"mask": np.zeros(2, np.uint32)}, "shorter than the vocabulary"),
    ],
)
def test_a_broken_contract_is_refused(logits, change, message):
    with pytest.raises(ValueError, match=message):
        core.sample(logits, SampleSettings(temperature=1.0), **change)


def test_logits_that_are_not_numbers_are_refused(logits):
    logits[3] = np.nan
    logits[0] = np.inf
    with pytest.raises(ValueError, match="not numbers"):
        core.sample(logits, SampleSettings())


def test_row_scores(logits):
    rows = np.stack([logits, logits[::-1]])
    targets = np.array([7, -1], np.int32)
    (logprob, rank, ids, _), (best, best_rank, _, _) = core.logprobs(rows, targets, 3)
    expected = np.log(softmax(logits))
    assert logprob == pytest.approx(expected[7], abs=1e-5)
    assert rank == int((expected > expected[7]).sum())
    assert ids == list(np.argsort(-expected)[:3])
    assert (best, best_rank) == (pytest.approx(expected.max(), abs=1e-5), 0)
