"""The engine's promises, on a fake model whose answer depends on every cell of the cache that it reads."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.engine.fake import VOCAB, FakeRunner, continuation, letters
from understudy.engine import Engine, Request, SamplingParams
from understudy.errors import ContextError, UsageError


def make(num_pages: int = 16, *, eos: tuple[int, ...] = (), context: int = 64, **options) -> Engine:
    return Engine(FakeRunner(num_pages), letters(eos), context=context, **options)


def run(engine: Engine, cancel_after: dict[int, int] | None = None) -> dict[tuple[int, int], list]:
    """All outputs by (request, answer); a request of `cancel_after` is cancelled once it has so many outputs."""
    outputs = defaultdict(list)
    for _ in range(10_000):
        if not engine.has_work:
            break
        for output in engine.step():
            outputs[output.id, output.index].append(output)
            if cancel_after and len(outputs[output.id, output.index]) == cancel_after.get(output.id):
                engine.cancel(output.id)
    assert not engine.has_work, "the engine does not come to an end"
    return outputs


def tokens_of(outputs: list) -> list[int]:
    return [token for output in outputs for token in output.new_tokens]


def test_one_request_gives_the_models_own_continuation():
    engine = make()
    id = engine.add(Request([5, 6, 7], SamplingParams(max_tokens=20)))
    outputs = run(engine)[id, 0]
    assert tokens_of(outputs) == continuation([5, 6, 7], 20)
    assert outputs[-1].finish_reason == "length"
    assert outputs[-1].usage.prompt_tokens == 3
    assert outputs[-1].usage.completion_tokens == 20
    assert engine.pool.num_free == 16


prompts = st.lists(st.integers(0, VOCAB - 1), min_size=1, max_size=24)
requests = st.lists(st.tuples(prompts, st.integers(1, 24), st.integers(1, 3)), min_size=1, max_size=6)


@settings(max_examples=150, deadline=None)
@given(
    work=requests,
    num_pages=st.integers(12, 40),
    budget=st.integers(1, 32),
    sequences=st.integers(1, 5),
    speculate=st.integers(0, 5),
    cancels=st.dictionaries(st.integers(0, 5), st.integers(1, 8), max_size=2),
)
def test_any_workload_ends_right(work, num_pages, budget, sequences, speculate, cancels):
    """Batching, chunking, preemption, prefix reuse, speculation and cancels of others never change a text or lose a page."""
    engine = make(num_pages, max_batch_tokens=budget, max_sequences=sequences, speculate=speculate, context=48)
    ids = [engine.add(Request(p, SamplingParams(max_tokens=m, n=n))) for p, m, n in work]
    outputs = run(engine, {ids[i]: k for i, k in cancels.items() if i < len(ids)})
    for id, (prompt, most, n) in zip(ids, work, strict=True):
        expected = continuation(prompt, most)
        for index in range(n):
            got = tokens_of(outputs[id, index])
            reason = outputs[id, index][-1].finish_reason
            assert [o.finish_reason for o in outputs[id, index][:-1]] == [None] * (len(outputs[id, index]) - 1)
            assert got == expected[: len(got)]
            assert reason == "cancelled" or got == expected
    assert engine.pool.num_free == num_pages


@pytest.mark.parametrize("speculate", [0, 4])
def test_sampled_text_depends_on_the_seed_alone(speculate):
    params = SamplingParams(max_tokens=15, temperature=30.0, seed=9)  # hot enough to leave the greedy path
    alone = make()
    id = alone.add(Request([1, 2, 3, 1, 2, 3], params))
    expected = tokens_of(run(alone)[id, 0])
    assert expected != continuation([1, 2, 3, 1, 2, 3], 15)
    crowd = make(40, max_batch_tokens=7, speculate=speculate)
    others = [crowd.add(Request([i, 3, 5] * 5, SamplingParams(max_tokens=20, temperature=5.0, seed=i))) for i in range(3)]
    id = crowd.add(Request([1, 2, 3, 1, 2, 3], params))
    assert tokens_of(run(crowd)[id, 0]) == expected
    assert others


def test_answers_of_one_request_use_following_seeds():
    engine = make()
    id = engine.add(Request([4, 4], SamplingParams(max_tokens=10, temperature=30.0, seed=7, n=3)))
    outputs = run(engine)
    answers = [tokens_of(outputs[id, i]) for i in range(3)]
    for index, answer in enumerate(answers):
        single = make()
        other = single.add(Request([4, 4], SamplingParams(max_tokens=10, temperature=30.0, seed=7 + index)))
        assert tokens_of(run(single)[other, 0]) == answer
    assert len({tuple(a) for a in answers}) == 3


def test_a_second_turn_computes_only_its_tail():
    engine = make(40, context=128)
    prompt = list(range(30))
    id = engine.add(Request(prompt, SamplingParams(max_tokens=9)))
    said = tokens_of(run(engine)[id, 0])
    before = engine.runner.computed
    turn = [*prompt, *said, 1, 2, 3]
    id = engine.add(Request(turn, SamplingParams(max_tokens=4)))
    last = run(engine)[id, 0]
    assert tokens_of(last) == continuation(turn, 4)
    assert last[-1].usage.cached_tokens == 36  # 30 + 8 tokens were computed: nine full pages of four
    assert engine.runner.computed - before == len(turn) - 36 + 3


def test_further_answers_share_the_prompt():
    engine = make(40)
    engine.add(Request(list(range(21)), SamplingParams(max_tokens=1, n=4)))
    run(engine)
    assert engine.runner.computed == 21 + 3 * 1  # five full pages are shared, the last token is computed by each


def test_nobody_starves():
    engine = make(16, max_batch_tokens=4, max_sequences=2)
    ids = [engine.add(Request([i] * 20, SamplingParams(max_tokens=20))) for i in range(6)]
    finished = []
    while engine.has_work:
        finished += [o.id for o in engine.step() if o.finish_reason]
    assert sorted(finished) == ids


def test_priority_goes_first():
    engine = make(16, max_sequences=1)
    late = engine.add(Request([1], SamplingParams(max_tokens=3), priority=1))
    soon = engine.add(Request([2], SamplingParams(max_tokens=3), priority=0))
    finished = []
    while engine.has_work:
        finished += [o.id for o in engine.step() if o.finish_reason]
    assert finished == [soon, late]


def test_stop_tokens_end_the_answer_and_are_not_text():
    expected = continuation([9, 9], 30)
    stop = expected[6]
    engine = make(eos=(stop,))
    id = engine.add(Request([9, 9], SamplingParams(max_tokens=30)))
    outputs = run(engine)[id, 0]
    cut = expected[: expected.index(stop)]
    assert "".join(o.text for o in outputs) == "".join(chr(32 + t) for t in cut)
    assert (outputs[-1].finish_reason, outputs[-1].stop) == ("stop", stop)
    engine = make(eos=(stop,))
    id = engine.add(Request([9, 9], SamplingParams(max_tokens=30, ignore_eos=True)))
    assert tokens_of(run(engine)[id, 0]) == expected


@pytest.mark.parametrize("speculate", [0, 3])
def test_stop_strings_over_token_borders(speculate):
    whole = "".join(chr(32 + t) for t in continuation([3], 24))
    stop = whole[7:11]
    engine = make(speculate=speculate)
    id = engine.add(Request([3], SamplingParams(max_tokens=24, stop=(stop, "never there"))))
    outputs = run(engine)[id, 0]
    text = ""
    for output in outputs:
        text += output.text
        assert whole.startswith(text)
    assert text == whole[: whole.index(stop)]
    assert (outputs[-1].finish_reason, outputs[-1].stop) == ("stop", stop)


def test_text_held_back_for_a_stop_comes_at_the_end():
    whole = "".join(chr(32 + t) for t in continuation([3], 8))
    engine = make()
    id = engine.add(Request([3], SamplingParams(max_tokens=8, stop=(whole[-2:] + "x",))))
    assert "".join(o.text for o in run(engine)[id, 0]) == whole


def test_context_is_refused_with_its_numbers():
    engine = make(context=32)
    with pytest.raises(ContextError, match=r"at most 32 tokens.*30 of the prompt and 5 for the answer"):
        engine.add(Request([1] * 30, SamplingParams(max_tokens=5)))
    assert not engine.has_work


@pytest.mark.parametrize(("policy", "kept"), [("keep_start", slice(0, 27)), ("keep_end", slice(3, 30))])
def test_overflow_policies_say_what_they_drop(policy, kept):
    engine = make(context=32)
    prompt = [(i * 7) % VOCAB for i in range(30)]
    id = engine.add(Request(prompt, SamplingParams(max_tokens=5), overflow=policy))
    outputs = run(engine)[id, 0]
    assert tokens_of(outputs) == continuation(prompt[kept], 5)
    assert outputs[-1].usage.dropped_tokens == 3


def test_without_a_limit_the_answer_ends_with_the_context():
    engine = make(context=32)
    id = engine.add(Request([1] * 10, SamplingParams()))
    outputs = run(engine)[id, 0]
    assert len(tokens_of(outputs)) == 22
    assert outputs[-1].finish_reason == "length"


@pytest.mark.parametrize("prompt", [[], [VOCAB], [-1]])
def test_impossible_prompts_are_refused(prompt):
    with pytest.raises(UsageError):
        make().add(Request(prompt))


def test_prompt_logprobs_cover_every_token_after_the_first():
    engine = make(40, max_batch_tokens=5)
    prompt = [3, *continuation([3], 6), 60, 61]
    id = engine.add(Request(prompt, SamplingParams(max_tokens=2, prompt_logprobs=2, logprobs=1)))
    outputs = run(engine)[id, 0]
    scores = next(o.prompt_logprobs for o in outputs if o.prompt_logprobs is not None)
    assert len(scores) == len(prompt)
    assert scores[0] is None
    assert [entry.token for entry in scores[1:]] == prompt[1:]
    assert all(entry.logprob > -1e-6 for entry in scores[1:7])  # what the fake would have said itself
    assert scores[7].logprob < -10
    assert all(len(entry.top) == 2 for entry in scores[1:])
    assert all(len(o.logprobs) == len(o.new_tokens) for o in outputs)


class Spelled:
    """A mask that lets only one text come: its second half without asking the model."""

    def __init__(self, text: list[int]) -> None:
        self.text, self.is_finished = text, False

    def allowed(self, generated):
        bits = np.zeros((VOCAB + 31) // 32, np.uint32)
        token = self.text[len(generated)]
        bits[token // 32] |= np.uint32(1 << (token % 32))
        return bits

    def forced(self, generated):
        count = len(generated)
        self.is_finished = count >= len(self.text) // 2 and self.text[:count] == list(generated)
        return self.text[count:] if count == len(self.text) // 2 else []


def test_a_mask_rules_and_forced_tokens_need_no_model():
    text = [5, 4, 3, 2, 1, 0, 1, 2]
    engine = make()
    id = engine.add(Request([9], SamplingParams(max_tokens=30), make_mask=lambda: Spelled(text)))
    outputs = run(engine)[id, 0]
    assert "".join(o.text for o in outputs) == "".join(chr(32 + t) for t in text)
    assert outputs[-1].finish_reason == "stop"
    assert outputs[-1].usage.completion_tokens == len(text)
    assert engine.runner.steps == 4


@pytest.mark.parametrize("change", [
    {"temperature": -1}, {"top_p": 0}, {"top_p": 1.5}, {"n": 0}, {"max_tokens": 0}, {"top_k": -1}, {"min_p": 2},
    {"stop": ("",)}, {"logit_bias": {"a": 1}}, {"logprobs": 1000}, {"repetition_penalty": 0}, {"temperature": float("nan")},
])  # fmt: skip
def test_settings_are_checked_when_made(change):
    with pytest.raises(UsageError, match=next(iter(change))):
        SamplingParams(**change)
