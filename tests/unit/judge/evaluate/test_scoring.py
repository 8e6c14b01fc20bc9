"""Likelihoods computed together are those of one text at a time, bit for bit, however texts share
their beginnings."""

import numpy as np
import pytest

from tests.support.random_model import babbler
from understudy.engine.scoring import Limits, score_continuations
from understudy.errors import ContextError, UsageError
from understudy.judge.evaluate.likelihood import ModelScorer, encode_pair, score_alone


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    with babbler(tmp_path_factory.mktemp("babbler"), context=512) as model:
        yield model


def _pairs(model, seed=0):
    """Groups with beginnings of awkward lengths, with equal texts, with one-token continuations,
    and texts that share nothing."""
    random = np.random.default_rng(seed)
    pairs = []
    for length in (1, 31, 32, 33, 64, 90, 200):
        context = random.integers(5, model.spec.vocab_size, length).tolist()
        ends = [
            random.integers(5, model.spec.vocab_size, count).tolist() for count in (1, 1, 2, 7, 40)
        ]
        pairs += [(context, end) for end in ends]
        pairs.append((context + ends[3][:3], ends[3][3:]))
    pairs.append(pairs[4])
    return pairs


def test_together_is_alone_bit_for_bit(model):
    pairs = _pairs(model)
    assert model.score_continuations(pairs) == [score_alone(model, *pair) for pair in pairs]


@pytest.mark.parametrize(("tokens", "rows"), [(1, 1), (7, 3), (33, 64), (512, 1)])
def test_limits_of_a_step_do_not_matter(model, tokens, rows):
    pairs = _pairs(model, seed=1)[:18]
    expected = [score_alone(model, *pair) for pair in pairs]
    assert (
        score_continuations(model.runner, model.engine.pool, pairs, Limits(tokens, rows))
        == expected
    )


def test_a_full_cache_is_used_in_waves_and_given_back(model):
    pool = model.engine.pool
    held = [pool.take() for _ in range(pool.num_free - pool.pages_for(260))]
    before = pool.num_free
    pairs = _pairs(model, seed=2)
    assert model.score_continuations(pairs) == [score_alone(model, *pair) for pair in pairs]
    assert pool.num_free == before
    more = [pool.take() for _ in range(before - 1)]
    with pytest.raises(UsageError, match="hold the cache"):
        model.score_continuations(pairs)
    pool.release([*held, *more])


def test_far_fewer_tokens_are_computed(model):
    computed = []
    inner = model.runner.rows
    model.runner.rows = lambda pieces, *how: (
        computed.append(sum(len(piece.tokens) for piece in pieces)) or inner(pieces, *how)
    )
    context = list(range(5, 105))
    model.score_continuations([(context, [7 + i]) for i in range(4)])
    assert computed == [100]
    del model.runner.rows


def test_what_cannot_be_scored_is_refused(model):
    for pair in (([], [5]), ([5], []), ([5], [model.spec.vocab_size])):
        with pytest.raises(UsageError):
            model.score_continuations([pair])
    with pytest.raises(ContextError):
        model.score_continuations([([5] * 512, [6, 7])])
    assert model.score_continuations([]) == []


def test_texts_beyond_the_window_lose_their_beginning(model):
    context, end = " ".join(["stone"] * 2000), " falls"
    (score,) = ModelScorer(model).scores([(context, end)])
    before, after = encode_pair(model, context, end)
    assert score == score_alone(model, before[-(512 + 1 - len(after)) :], after)
    with pytest.raises(UsageError, match="fills the window"):
        ModelScorer(model).scores([("a", " ".join(["stone"] * 2000))])
