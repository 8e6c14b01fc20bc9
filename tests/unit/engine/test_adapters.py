"""Adapters of a running model: chosen by request, mixed, replaced and dropped under way; cached
beginnings of one never serve another."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import understudy
from tests.support.adapters import random_adapter
from tests.support.checkpoints import SPECS, random_tokens, random_weights, write_folder
from understudy.adapters import gguf, peft
from understudy.adapters.adapter import as_weights
from understudy.checkpoint import reference
from understudy.engine import Request, SamplingParams
from understudy.engine.params import adapter_choice
from understudy.errors import FormatError, MissingError, UsageError
from understudy.spec import ModelSpec

SPEC = SPECS["llama"].replace(vocab_size=64)
ADAPTERS = {name: random_adapter(SPEC, seed, rank=3 + seed) for seed, name in enumerate("abc")}
Asked = Any


@dataclass
class Loaded:
    model: understudy.Model
    fresh: understudy.Model  # another one of it


@pytest.fixture(params=["f32", "q4"])
def loaded(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Loaded]:
    folder = write_folder(SPEC, random_weights(SPEC, seed=4), tmp_path / "m")
    options: Any = {"weights": request.param, "kv": "f32", "cache_tokens": 2048}
    with (
        understudy.load(folder, use_cache=False, **options) as model,
        understudy.load(folder, use_cache=False, **options) as fresh,
    ):
        for name, adapter in ADAPTERS.items():
            model.adapters.add(name, adapter)
            fresh.adapters.add(name, adapter)
        yield Loaded(model, fresh)


def _text(model: understudy.Model, prompt: list[int], adapter: Asked, **more: Any) -> list[int]:
    params = SamplingParams(max_tokens=6, adapter=adapter, ignore_eos=True, **more)
    outputs = model.outputs(Request(prompt, params))
    return [token for output in outputs for token in output.new_tokens]


def _mix(asked: Asked) -> list[tuple[Any, float]]:
    return [(ADAPTERS[name], factor) for name, factor in adapter_choice(asked or "")]


def _greedy(spec: ModelSpec, prompt: list[int], asked: Asked) -> list[int]:
    weights = {**random_weights(spec, seed=4), **as_weights(_mix(asked))}
    tokens = list(prompt)
    for _ in range(6):
        tokens.append(int(reference.forward(spec, weights, tokens)[-1].argmax()))
    return tokens[len(prompt) :]


CHOICES: list[Asked] = [None, "", "a", "b", "c:0.5", {"a": 0.5, "b": -0.25}, ["b", ["c", 1]]]


@pytest.mark.parametrize("loaded", ["f32"], indirect=True)
def test_a_request_has_the_adapters_that_it_chose(loaded: Loaded) -> None:
    prompt = random_tokens(SPEC, 9, seed=2).tolist()
    texts = [_text(loaded.model, prompt, asked) for asked in CHOICES]
    assert texts == [_greedy(SPEC, prompt, asked) for asked in CHOICES]
    assert len({tuple(text) for text in texts}) == len(CHOICES) - 1  # None and "" are one


def _mixed_requests(loaded: Loaded, count: int, seed: int) -> int:
    """Runs `count` requests of few beginnings under random adapters, up to 16 at once, and counts
    those whose text is not that of the request alone.
    """
    rng = random.Random(seed)
    beginnings = [random_tokens(SPEC, 70, seed=n).tolist() for n in range(3)]
    alone: dict[str, list[int]] = {}
    engine, texts, waiting = loaded.model.engine, {}, {}
    done = wrong = 0
    while done < count:
        while len(waiting) < 16 and done + len(waiting) < count:
            prompt = rng.choice(beginnings)[: rng.choice([5, 31, 32, 40, 64, 70])]
            asked, seed = rng.choice(CHOICES), rng.randrange(2)
            params = SamplingParams(
                max_tokens=6, adapter=asked, temperature=0.7, seed=seed, ignore_eos=True
            )
            id = engine.add(Request(prompt, params))
            waiting[id], texts[id] = (prompt, params), []
        for output in engine.step():
            texts[output.id] += output.new_tokens
            if output.finish_reason is None:
                continue
            prompt, params = waiting.pop(output.id)
            key = repr((prompt, params.adapter, params.seed))
            if key not in alone:
                alone[key] = _alone(loaded.fresh, prompt, params)
            wrong += texts.pop(output.id) != alone[key]
            done += 1
    return wrong


def _alone(fresh: understudy.Model, prompt: list[int], params: SamplingParams) -> list[int]:
    """With nothing computed before."""
    fresh.engine.pool.forget_all()
    outputs = fresh.outputs(Request(prompt, params))
    return [token for output in outputs for token in output.new_tokens]


@pytest.mark.parametrize("count", [400, pytest.param(10_000, marks=pytest.mark.slow)])
def test_mixed_requests_do_not_touch_each_other(loaded: Loaded, count: int) -> None:
    assert _mixed_requests(loaded, count, seed=count) == 0


def test_replacing_and_dropping_change_later_requests_only(loaded: Loaded) -> None:
    model, prompt = loaded.model, random_tokens(SPEC, 40, seed=2).tolist()
    first, second = _text(model, prompt, "a"), _text(model, prompt, "b")
    running = model.outputs(
        Request(prompt, SamplingParams(max_tokens=6, adapter="a", ignore_eos=True))
    )
    begun = [*next(running).new_tokens]
    model.adapters.add("a", ADAPTERS["b"])
    assert _text(model, prompt, "a") == second
    model.adapters.drop("a")
    assert begun + [token for output in running for token in output.new_tokens] == first
    with pytest.raises(UsageError, match=r"no such adapter is loaded; expected b \| c; found a"):
        _text(model, prompt, "a")
    assert [adapter.name for adapter in model.adapters.list()] == ["b", "c"]


def test_factors_act_on_requests_that_choose_nothing_and_on_scores(loaded: Loaded) -> None:
    model, prompt = loaded.model, random_tokens(SPEC, 9, seed=2).tolist()
    plain, chosen = model.logits(prompt), _text(model, prompt, "a:0.5")
    model.adapters.set_factors({"a": 0.5})
    assert _text(model, prompt, None) == chosen
    assert _text(model, prompt, "") != chosen
    assert np.abs(model.logits(prompt) - plain).max() > 0.1
    score = model.score_continuations([(prompt[:4], prompt[4:])])[0].logprob
    model.adapters.set_factors({})
    np.testing.assert_array_equal(model.logits(prompt), plain)
    assert model.score_continuations([(prompt[:4], prompt[4:])])[0].logprob != score


def test_load_takes_files_of_both_kinds_and_what_acts_by_default(tmp_path: Path) -> None:
    folder = write_folder(SPEC, random_weights(SPEC, seed=4), tmp_path / "m")
    peft.write(ADAPTERS["a"], tmp_path / "a")
    gguf.write(ADAPTERS["b"], tmp_path / "b.gguf", SPEC)
    files = {"a": tmp_path / "a", "b": tmp_path / "b.gguf"}
    prompt = random_tokens(SPEC, 9, seed=2).tolist()
    with understudy.load(folder, use_cache=False, kv="f32", adapters=files, adapter="b") as model:
        assert [(a.name, a.factor) for a in model.adapters.list()] == [("a", 0.0), ("b", 1.0)]
        assert model.adapters.list()[0].sha256 == ADAPTERS["a"].sha256
        assert _text(model, prompt, None) == _greedy(SPEC, prompt, "b")
    with pytest.raises(UsageError, match="no such adapter"):
        understudy.load(folder, use_cache=False, adapters=files, adapter="c")


@pytest.mark.parametrize("asked", [3, "a:x", [("a", True)], {"a": float("nan")}, [("a", 1, 2)]])
def test_what_is_no_choice_is_refused(asked: Asked) -> None:
    with pytest.raises(UsageError, match="adapter"):
        SamplingParams(adapter=asked)


@pytest.mark.parametrize("name", ["", "a:b", "a+b", " a", "a\n"])
def test_names_that_could_not_be_chosen_are_refused(loaded: Loaded, name: str) -> None:
    with pytest.raises(UsageError, match="not a name"):
        loaded.model.adapters.add(name, ADAPTERS["a"])


# ---- saved states ----


def test_a_saved_state_remembers_its_adapters_by_content(loaded: Loaded, tmp_path: Path) -> None:
    model, prompt = loaded.model, random_tokens(SPEC, 80, seed=3).tolist()
    text = _text(model, prompt, "a:0.5")
    assert model.save_state(tmp_path / "s", prompt) == 0  # of the model alone
    assert model.save_state(tmp_path / "s", prompt, adapter="a:0.5") >= 79
    model.adapters.add("other", ADAPTERS["a"])
    model.adapters.drop("a")
    model.engine.pool.forget_all()
    model.load_state(tmp_path / "s")
    params = SamplingParams(max_tokens=6, adapter="other:0.5", ignore_eos=True)
    outputs = list(model.outputs(Request(prompt, params)))
    assert [token for output in outputs for token in output.new_tokens] == text
    assert outputs[-1].usage is not None
    assert outputs[-1].usage.cached_tokens >= 64
    model.adapters.drop("other")
    with pytest.raises(MissingError, match="needs an adapter that is not loaded"):
        model.load_state(tmp_path / "s")


def test_an_adapter_of_another_model_is_refused(loaded: Loaded) -> None:
    with pytest.raises(FormatError, match="made for another model"):
        loaded.model.adapters.add("d", random_adapter(SPEC.replace(intermediate_size=64)))


def test_the_fingerprint_names_what_acts_by_content(loaded: Loaded) -> None:
    model = loaded.model
    plain = model.fingerprint
    model.adapters.set_factors({"a": 0.5})
    assert model.fingerprint == f"{plain}-adapters:{ADAPTERS['a'].sha256}*0.5"
    model.adapters.set_factors({})
    assert model.fingerprint == plain
