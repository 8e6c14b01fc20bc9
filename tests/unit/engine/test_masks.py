"""Grammars at the engine: what they allow is sampled, what they force is fed forward and told like
everything else.
"""

from __future__ import annotations

import numpy as np
import pytest

from tests.unit.engine.fake import VOCAB, FakeRunner, letters
from understudy.engine import Engine, Request, SamplingParams

TEXT = [5, 4, 3, 2, 1, 10, 1, 2]


class Spelled:
    """Lets only one text come. `forces` are the stretches (begin, end) of it that are not asked of
    the model.
    """

    def __init__(self, text: list[int], forces: list[tuple[int, int]]) -> None:
        self.text, self.forces, self.seen = text, forces, 0

    def allowed(self, generated):
        bits = np.zeros((VOCAB + 31) // 32, np.uint32)
        token = self.text[len(generated)]
        bits[token // 32] |= np.uint32(1 << (token % 32))
        return bits

    def forced(self, generated):
        self.seen = len(generated)
        end = next((end for begin, end in self.forces if begin <= self.seen < end), self.seen)
        self.seen = max(self.seen, end)
        return self.text[len(generated) : end]

    @property
    def is_finished(self):
        return self.seen >= len(self.text)


def answer(forces, speculate: int = 0, **settings):
    engine = Engine(FakeRunner(16), letters(), context=64, speculate=speculate)
    id = engine.add(
        Request(
            [9], SamplingParams(max_tokens=30, **settings), make_mask=lambda: Spelled(TEXT, forces)
        )
    )
    outputs = []
    while engine.has_work:
        outputs += engine.step()
    assert {output.id for output in outputs} == {id}
    assert engine.pool.num_free == 16
    return engine, outputs


@pytest.mark.parametrize("speculate", [0, 3])
@pytest.mark.parametrize(
    ("forces", "steps"),
    [([], 8), ([(0, 3)], 5), ([(4, 8)], 4), ([(0, 2), (4, 6)], 4), ([(0, 8)], 0)],
)
def test_forced_tokens_need_no_step_and_are_told(forces, steps, speculate):
    engine, outputs = answer(forces, speculate, logprobs=0)
    assert "".join(o.text for o in outputs) == "".join(chr(32 + t) for t in TEXT)
    assert [t for o in outputs for t in o.new_tokens] == TEXT
    assert [entry.token for o in outputs for entry in o.logprobs] == TEXT
    assert outputs[-1].finish_reason == "stop"
    assert outputs[-1].usage.completion_tokens == len(TEXT)
    assert engine.runner.steps == steps


def test_a_stop_inside_forced_tokens_ends_the_answer():
    stop = "".join(chr(32 + t) for t in TEXT[4:6])
    _, outputs = answer([(3, 8)], stop=(stop,))
    assert "".join(o.text for o in outputs) == "".join(chr(32 + t) for t in TEXT[:4])
    assert (outputs[-1].finish_reason, outputs[-1].stop) == ("stop", stop)


def test_forced_tokens_keep_to_the_limit():
    engine = Engine(FakeRunner(16), letters(), context=64)
    engine.add(
        Request([9], SamplingParams(max_tokens=4), make_mask=lambda: Spelled(TEXT, [(1, 8)]))
    )
    outputs = []
    while engine.has_work:
        outputs += engine.step()
    assert [t for o in outputs for t in o.new_tokens] == TEXT[:4]
    assert outputs[-1].finish_reason == "length"


def test_prompt_scores_come_once_even_behind_forced_tokens():
    _, outputs = answer([(0, 2)], prompt_logprobs=0)
    assert [o.prompt_logprobs for o in outputs if o.prompt_logprobs is not None] == [(None,)]


class Narrow(Spelled):
    def allowed(self, generated):
        return super().allowed(generated)[:1]


def test_a_mask_may_know_fewer_tokens_than_the_model_has_rows():
    engine = Engine(FakeRunner(16), letters(), context=64)
    engine.add(Request([9], SamplingParams(max_tokens=8), make_mask=lambda: Narrow(TEXT, [])))
    outputs = []
    while engine.has_work:
        outputs += engine.step()
    assert [t for o in outputs for t in o.new_tokens] == TEXT
    assert outputs[-1].error is None


class Broken(Spelled):
    def allowed(self, generated):
        if len(generated) == 3:
            raise RuntimeError("the grammar fell over")
        return super().allowed(generated)


class Dead(Spelled):
    def allowed(self, generated):
        return np.zeros((VOCAB + 31) // 32, np.uint32)


class Wild(Spelled):
    def forced(self, generated):
        return [VOCAB]


@pytest.mark.parametrize(
    ("mask", "said"),
    [
        (Broken, "the grammar fell over"),
        (Dead, "the mask allows no token"),
        (Wild, "outside the vocabulary"),
    ],
)
def test_a_broken_grammar_ends_its_own_request_only(mask, said):
    engine = Engine(FakeRunner(16), letters(), context=64)
    broken = engine.add(
        Request([9], SamplingParams(max_tokens=8), make_mask=lambda: mask(TEXT, []))
    )
    sound = engine.add(
        Request([9], SamplingParams(max_tokens=8), make_mask=lambda: Spelled(TEXT, []))
    )
    last = {}
    while engine.has_work:
        for output in engine.step():
            last[output.id] = output
    assert (last[broken].finish_reason, said in last[broken].error) == ("error", True)
    assert last[sound].finish_reason in ("stop", "length")
    assert engine.pool.num_free == 16


def test_a_prompt_that_was_there_counts_as_cached_although_the_grammar_begins():
    engine = Engine(FakeRunner(40), letters(), context=128)
    prompt = list(range(21))
    usages = []
    for _ in range(2):
        engine.add(
            Request(
                prompt, SamplingParams(max_tokens=30), make_mask=lambda: Spelled(TEXT, [(0, 3)])
            )
        )
        while engine.has_work:
            usages += [output.usage for output in engine.step() if output.usage is not None]
    assert [usage.cached_tokens for usage in usages] == [0, 21]
