"""Recurrent layers in the engine: any company, turns, edits and answers anew read only what is new,
and the text is that of a run which reads all."""

from __future__ import annotations

import numpy as np
import pytest

import understudy
from tests.support.families import delta_hybrid, hybrid, made_checkpoint
from understudy.checkpoint.convert import save_checkpoint
from understudy.engine import states
from understudy.engine.pages import PagePool
from understudy.engine.params import SamplingParams
from understudy.engine.request import Request
from understudy.engine.states import StateKeeper
from understudy.spec import QuantSpec

_SMALL = {"hidden_size": 32, "intermediate_size": 48, "vocab_size": 64}
SPECS = {
    "mamba2": hybrid("M*-M", state_size=8, **_SMALL),
    "gated_delta": delta_hybrid("DD*D", 4, 2, 8, 8, 4, **_SMALL),
}


@pytest.fixture(scope="module", params=SPECS)
def folder(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("hybrid") / "model.gguf"
    save_checkpoint(made_checkpoint(SPECS[request.param]), path, QuantSpec("f32"))
    return path


@pytest.fixture
def model(folder, monkeypatch):
    monkeypatch.setattr(states, "INTERVAL", 64)
    with understudy.load(folder, context=512, num_threads=1, use_cache=False) as made:
        yield made


def _answer(model, prompt: list[int], count: int = 12) -> tuple[list[int], int]:
    """The greedy tokens behind a prompt, and how many tokens of it were not read again."""
    params = SamplingParams(max_tokens=count, temperature=0.0, ignore_eos=True)
    outputs = list(model.driver.outputs(Request(prompt, params)))
    usage = outputs[-1].usage
    return [token for output in outputs for token in output.new_tokens], usage.cached_tokens


def _cold(model, prompt: list[int], count: int = 12) -> list[int]:
    rows = model.logits(prompt + _answer(model, prompt, count)[0])
    return rows[len(prompt) - 1 : -1].argmax(axis=-1).tolist()


def test_turns_edits_and_swipes_read_only_what_is_new(model) -> None:
    rng = np.random.default_rng(0)
    text = rng.integers(0, 64, 100).tolist()
    for turn in range(24):
        known = list(text)
        match turn % 3:
            case 0:  # another turn
                text = text + rng.integers(0, 64, int(rng.integers(1, 60))).tolist()
                agreed = len(known)
            case 1:  # an edit of what was said before
                agreed = int(rng.integers(1, len(text)))
                text = text[:agreed] + rng.integers(0, 64, 20).tolist()
            case _:  # the same again
                agreed = len(text)
        if len(text) > 400:
            text = text[:90]
            agreed = 90
        answer, cached = _answer(model, text)
        assert answer == _cold(model, text)
        if turn:
            assert agreed - cached <= 64 + model.engine.pool.page_size
        text = text + answer


def test_company_and_chunks_do_not_change_a_token(model) -> None:
    rng = np.random.default_rng(1)
    prompts = [rng.integers(0, 64, int(n)).tolist() for n in rng.integers(1, 200, 6)]
    params = SamplingParams(max_tokens=10, temperature=0.0, ignore_eos=True)

    def together(engine):
        ids = [engine.add(Request(prompt, params)) for prompt in prompts]
        found: dict[int, list[int]] = {}
        while engine.has_work:
            for output in engine.step():
                found.setdefault(output.id, []).extend(output.new_tokens)
        return [found[id] for id in ids]

    answers = model.driver.call(together)
    assert answers == [_cold(model, prompt, 10) for prompt in prompts]


def test_a_saved_session_goes_on_where_it_was(model, folder, tmp_path, monkeypatch) -> None:
    prompt = np.random.default_rng(2).integers(0, 64, 150).tolist()
    answer, _ = _answer(model, prompt)
    count = model.save_state(tmp_path / "state", prompt)
    assert count == 128
    with understudy.load(folder, context=512, num_threads=1, use_cache=False) as again:
        again.load_state(tmp_path / "state")
        assert _answer(again, prompt) == (answer, 128)


def test_scores_are_those_of_the_logits(model) -> None:
    rng = np.random.default_rng(3)
    context = rng.integers(0, 64, 90).tolist()
    pairs = [(context, rng.integers(0, 64, 5).tolist()) for _ in range(3)]
    for (head, tail), found in zip(pairs, model.score_continuations(pairs), strict=True):
        rows = model.logits(head + tail).astype(np.float64)
        rows -= np.log(np.exp(rows).sum(axis=-1, keepdims=True))
        expected = sum(rows[len(head) - 1 + i, token] for i, token in enumerate(tail))
        assert found.logprob == pytest.approx(expected, abs=1e-4)


def test_a_keeper_gives_up_the_longest_unused_and_never_what_is_about_to_be_read() -> None:
    keeper = StateKeeper(2, PagePool(4, 32))
    first, second = keeper.take(), keeper.take()
    keeper.remember(b"a", first)
    keeper.remember(b"b", second)
    keeper._pin(first)
    assert keeper.take() == second
    assert keeper.knows(b"a") == first
    assert keeper.take() is None
    keeper._unpin(first)
    assert keeper.take() == first
