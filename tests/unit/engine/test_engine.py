"""The engine's promises, on a fake model whose answer depends on every cell of the cache that it
reads.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.engine.fake import VOCAB, FakeRunner, continuation, letters
from understudy.engine import Engine, Request, SamplingParams
from understudy.engine.scheduler import PROMPT_LOGPROB_ROWS
from understudy.errors import ContextError, UsageError


def make(num_pages: int = 16, *, eos: tuple[int, ...] = (), context: int = 64, **options) -> Engine:
    return Engine(FakeRunner(num_pages), letters(eos), context=context, **options)


def run(engine: Engine) -> dict[tuple[int, int], list]:
    """All outputs by (request, answer)."""
    outputs = defaultdict(list)
    for _ in range(10_000):
        if not engine.has_work:
            break
        for output in engine.step():
            outputs[output.id, output.index].append(output)
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


# Beginnings of a few texts with short tails of two letters: prompts that share much, end anywhere
# in a page and differ late.
STEMS = [[(7 * i + k) % VOCAB for i in range(20)] for k in range(2)]
prompts = st.builds(
    lambda stem, length, tail: STEMS[stem][:length] + tail,
    st.integers(0, 1),
    st.integers(0, 20),
    st.lists(st.integers(1, 2), min_size=1, max_size=4),
)


@dataclass
class Work:
    prompt: list[int]
    most: int
    n: int
    arrives_at: int  # step
    priority: int
    scores_prompt: bool
    cancel_after: int | None  # outputs


works = st.builds(
    Work,
    prompts,
    st.integers(1, 24),
    st.integers(1, 3),
    st.integers(0, 30),
    st.integers(0, 1),
    st.booleans(),
    st.none() | st.integers(1, 8),
)


@settings(max_examples=300, deadline=None)
@given(
    works=st.lists(works, min_size=1, max_size=7),
    num_pages=st.integers(12, 40),
    budget=st.integers(1, 32),
    sequences=st.integers(1, 5),
    speculate=st.integers(0, 5),
)
def test_any_workload_ends_right(works, num_pages, budget, sequences, speculate):
    """Batching, chunking, preemption, page reuse, speculation and cancels of others never change a
    text or lose a page.
    """
    engine = make(
        num_pages, max_batch_tokens=budget, max_sequences=sequences, speculate=speculate, context=48
    )
    waiting, of, outputs = sorted(works, key=lambda w: w.arrives_at), {}, defaultdict(list)
    for step in range(10_000):
        while waiting and waiting[0].arrives_at <= step:
            work = waiting.pop(0)
            scores = 1 if work.scores_prompt else None
            params = SamplingParams(max_tokens=work.most, n=work.n, prompt_logprobs=scores)
            of[engine.add(Request(work.prompt, params, priority=work.priority))] = work
        if not waiting and not engine.has_work:
            break
        for output in engine.step():
            outputs[output.id, output.index].append(output)
            if len(outputs[output.id, output.index]) == of[output.id].cancel_after:
                engine.cancel(output.id)
    assert not engine.has_work
    assert engine.pool.num_free == num_pages
    for id, work in of.items():
        for index in range(work.n):
            _check_answer(work, outputs[id, index])


def _check_answer(work: Work, outputs: list) -> None:
    expected = continuation(work.prompt, work.most)
    got, reason = tokens_of(outputs), outputs[-1].finish_reason
    assert [o.finish_reason for o in outputs[:-1]] == [None] * (len(outputs) - 1)
    assert got == expected[: len(got)]
    assert reason == "cancelled" or got == expected
    assert "".join(o.text for o in outputs) == "".join(chr(32 + t) for t in got)
    if work.scores_prompt and got:
        (scores,) = [o.prompt_logprobs for o in outputs if o.prompt_logprobs is not None]
        assert [s.token for s in scores[1:]] == work.prompt[1:]


@pytest.mark.parametrize("speculate", [0, 4])
def test_sampled_text_depends_on_the_seed_alone(speculate):
    params = SamplingParams(
        max_tokens=15, temperature=30.0, seed=9
    )  # hot enough to leave the greedy path
    alone = make()
    id = alone.add(Request([1, 2, 3, 1, 2, 3], params))
    expected = tokens_of(run(alone)[id, 0])
    assert expected != continuation([1, 2, 3, 1, 2, 3], 15)
    crowd = make(40, max_batch_tokens=7, speculate=speculate)
    others = [
        crowd.add(Request([i, 3, 5] * 5, SamplingParams(max_tokens=20, temperature=5.0, seed=i)))
        for i in range(3)
    ]
    id = crowd.add(Request([1, 2, 3, 1, 2, 3], params))
    assert tokens_of(run(crowd)[id, 0]) == expected
    assert others


def test_a_seed_goes_on_the_same_way_from_any_place():
    """Chance depends on the place in the text, not on what was prompt and what was answer."""
    engine = make()
    id = engine.add(Request([1, 2, 3], SamplingParams(max_tokens=15, temperature=30.0, seed=9)))
    whole = tokens_of(run(engine)[id, 0])
    id = engine.add(
        Request([1, 2, 3, *whole[:6]], SamplingParams(max_tokens=9, temperature=30.0, seed=9))
    )
    assert tokens_of(run(engine)[id, 0]) == whole[6:]


def test_answers_of_one_request_use_following_seeds():
    engine = make()
    id = engine.add(Request([4, 4], SamplingParams(max_tokens=10, temperature=30.0, seed=7, n=3)))
    outputs = run(engine)
    answers = [tokens_of(outputs[id, i]) for i in range(3)]
    for index, answer in enumerate(answers):
        single = make()
        other = single.add(
            Request([4, 4], SamplingParams(max_tokens=10, temperature=30.0, seed=7 + index))
        )
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
    assert (
        last[-1].usage.cached_tokens == 38
    )  # 30 + 8 tokens were computed: nine pages of four and half of a tenth
    assert engine.runner.computed - before == len(turn) - 38 + 3


@pytest.mark.parametrize("length", [20, 21, 22, 23])
def test_further_answers_share_the_prompt(length):
    engine = make(40)
    id = engine.add(
        Request(list(range(length)), SamplingParams(max_tokens=9, temperature=30.0, seed=1, n=4))
    )
    outputs = run(engine)
    assert (
        engine.runner.computed == length + 3 * 1 + 4 * 8
    )  # only the prompt's last token is computed by each
    for index in range(4):
        single = make()
        other = single.add(
            Request(
                list(range(length)), SamplingParams(max_tokens=9, temperature=30.0, seed=1 + index)
            )
        )
        assert tokens_of(run(single)[other, 0]) == tokens_of(outputs[id, index])


def test_further_answers_share_the_prompts_scores():
    engine = make(40)
    id = engine.add(Request(list(range(22)), SamplingParams(max_tokens=1, n=3, prompt_logprobs=1)))
    outputs = run(engine)
    assert engine.runner.computed == 22 + 2
    assert outputs[id, 0][0].prompt_logprobs == outputs[id, 2][0].prompt_logprobs
    assert len(outputs[id, 2][0].prompt_logprobs) == 22


def test_another_answer_to_the_same_prompt_computes_one_token():
    """Ask again after an answer: the page in the middle of which the prompt ends holds the old
    answer too.
    """
    engine = make(40)
    prompt = list(range(22))
    id = engine.add(Request(prompt, SamplingParams(max_tokens=9)))
    first = tokens_of(run(engine)[id, 0])
    for _ in range(3):
        id = engine.add(Request(prompt, SamplingParams(max_tokens=9)))
        outputs = run(engine)[id, 0]
        assert tokens_of(outputs) == first
        assert outputs[-1].usage.cached_tokens == 21


def test_a_page_that_is_gone_on_with_is_no_longer_known_by_its_old_end():
    engine = make(40)
    prompt = list(range(22))
    id = engine.add(Request(prompt, SamplingParams(max_tokens=2)))
    old = tokens_of(run(engine)[id, 0])
    engine.add(
        Request(prompt, SamplingParams(max_tokens=3, logit_bias={7: 1000.0}))
    )  # overwrites the old answer's place
    engine.step()
    engine.step()
    text = [*prompt, *old]
    id = engine.add(Request(text, SamplingParams(max_tokens=5)))
    assert tokens_of(run(engine)[id, 0]) == continuation(text, 5)


def test_prompts_that_part_inside_a_page_share_its_beginning():
    engine = make(40)
    one, two = [*range(18), 40, 41, 42, 43], [*range(18), 50, 51]
    engine.add(Request(one, SamplingParams(max_tokens=2)))
    run(engine)
    id = engine.add(Request(two, SamplingParams(max_tokens=5)))
    outputs = run(engine)[id, 0]
    assert outputs[-1].usage.cached_tokens == 18
    assert tokens_of(outputs) == continuation(two, 5)
    id = engine.add(Request(one, SamplingParams(max_tokens=5)))
    outputs = run(engine)[id, 0]
    assert outputs[-1].usage.cached_tokens == 21  # the full page was copied, not overwritten
    assert tokens_of(outputs) == continuation(one, 5)


def test_a_prompt_as_long_as_the_cache_starts_from_the_cache():
    """Every page is known and taken over: the last one must be gone on with, for there is none to
    copy it to.
    """
    engine = make(4, context=16)
    prompt = list(range(14))
    for _ in range(2):
        id = engine.add(Request(prompt, SamplingParams(max_tokens=2)))
        outputs = run(engine)[id, 0]
        assert tokens_of(outputs) == continuation(prompt, 2)
    assert outputs[-1].usage.cached_tokens == 13


def test_the_scores_of_prompts_share_a_steps_rows():
    engine = make(64, context=256, max_batch_tokens=512)
    widest = 0
    runner_step = engine.runner.step

    def step(sequences, counts):
        nonlocal widest
        widest = max(widest, sum(counts))
        return runner_step(sequences, counts)

    engine.runner.step = step
    for i in range(4):
        engine.add(Request([i] * 50, SamplingParams(max_tokens=1, prompt_logprobs=0)))
    run(engine)
    assert widest <= PROMPT_LOGPROB_ROWS


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
    with pytest.raises(
        ContextError, match=r"at most 32 tokens.*30 of the prompt and 5 for the answer"
    ):
        engine.add(Request([1] * 30, SamplingParams(max_tokens=5)))
    assert not engine.has_work


@pytest.mark.parametrize(
    ("policy", "kept"), [("keep_start", slice(0, 27)), ("keep_end", slice(3, 30))]
)
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
    assert all(
        entry.logprob > -1e-6 for entry in scores[1:7]
    )  # what the fake would have said itself
    assert scores[7].logprob < -10
    assert all(len(entry.top) == 2 for entry in scores[1:])
    assert all(len(o.logprobs) == len(o.new_tokens) for o in outputs)


@pytest.mark.parametrize(
    "change",
    [
        {"temperature": -1},
        {"top_p": 0},
        {"top_p": 1.5},
        {"n": 0},
        {"max_tokens": 0},
        {"top_k": -1},
        {"min_p": 2},
        {"stop": ("",)},
        {"stop": 3},
        {"stop_token_ids": (-1,)},
        {"stop_token_ids": "12"},
        {"logit_bias": {"a": 1}},
        {"logit_bias": {-1: 1}},
        {"logit_bias": {1: "2"}},
        {"logit_bias": {1: float("inf")}},
        {"logit_bias": None},
        {"logprobs": 1000},
        {"repetition_penalty": 0},
        {"temperature": float("nan")},
    ],
)
def test_settings_are_checked_when_made(change):
    with pytest.raises(UsageError, match=next(iter(change))):
        SamplingParams(**change)


def test_no_stops_may_be_said_as_none():
    assert SamplingParams(stop=None, stop_token_ids=None) == SamplingParams()
    assert SamplingParams(stop="x").stop == ("x",)


@pytest.mark.parametrize(
    "change", [{"max_batch_tokens": 0}, {"max_sequences": 0}, {"speculate": -1}, {"context": 0}]
)
def test_the_engines_own_settings_are_checked(change):
    with pytest.raises(UsageError, match=next(iter(change))):
        make(**change)


def test_a_bias_outside_the_vocabulary_is_refused():
    with pytest.raises(UsageError, match="biased token is outside the vocabulary"):
        make().add(Request([1], SamplingParams(logit_bias={VOCAB: 1.0})))


def test_rows_that_only_pad_the_models_matrix_have_no_text():
    tokenizer = letters()
    tokenizer.vocab_size = 32  # the fake has 64 rows
    engine = Engine(FakeRunner(16), tokenizer, context=64, vocab_size=VOCAB)
    id = engine.add(Request([40, 50], SamplingParams(max_tokens=20)))
    outputs = run(engine)[id, 0]
    expected = continuation([40, 50], 20)
    assert tokens_of(outputs) == expected
    assert "".join(o.text for o in outputs) == "".join(chr(32 + t) for t in expected if t < 32)


def test_a_higher_priority_takes_the_pages():
    engine = make(8, context=32)
    slow = engine.add(Request([1] * 20, SamplingParams(max_tokens=12), priority=1))
    for _ in range(6):
        engine.step()
    soon = engine.add(Request([2] * 20, SamplingParams(max_tokens=12)))
    finished, said = [], []
    while engine.has_work:
        for output in engine.step():
            said += output.new_tokens if output.id == soon else ()
            finished += [output.id] * (output.finish_reason is not None)
    assert finished == [soon, slow]
    assert said == continuation([2] * 20, 12)


@pytest.mark.parametrize(("continues", "text"), [(True, " A"), (False, "A")])
def test_the_first_space_of_a_continuation_is_the_models_own(continues, text, monkeypatch):
    """Where decoding drops a space before the first word, a text that goes on keeps it."""
    tokenizer = letters()
    monkeypatch.setattr(type(tokenizer._segmenter), "strips_first_space", True)
    engine = Engine(FakeRunner(16), tokenizer, context=64)
    params = SamplingParams(max_tokens=1, logit_bias={0: 1000.0})
    engine.add(Request([5], params, continues=continues))
    outputs = [output for _ in range(3) for output in engine.step()]
    assert "".join(o.text for o in outputs) + "A" == text


@pytest.mark.parametrize("change", [{"overflow": "cut"}, {"priority": 0.5}])
def test_requests_are_checked_when_made(change):
    with pytest.raises(UsageError, match=next(iter(change))):
        Request([1], **change)
