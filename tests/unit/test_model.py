"""`understudy.load` and `Model` on made-up weights: ways in, endings, threads, saved states,
refusals.
"""

from __future__ import annotations

import asyncio
import gc
import json
import threading

import numpy as np
import pytest

import understudy
from tests.support.byte_tokenizer import write_tokenizer
from tests.support.checkpoints import SPECS, random_weights, write_folder
from understudy.checkpoint import pack as packing
from understudy.engine import loading
from understudy.errors import (
    ContextError,
    FormatError,
    MemoryBudgetError,
    MissingError,
    UnderstudyError,
    UsageError,
)
from understudy.text.grammar import Grammar
from understudy.text.templates.base import Prompt, PromptPart

HOT = {"temperature": 2.0, "max_tokens": 12, "ignore_eos": True}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = write_folder(
        SPECS["llama"],
        random_weights(SPECS["llama"], seed=3),
        tmp_path_factory.mktemp("model") / "m",
    )
    write_tokenizer(folder, 512)
    return folder


@pytest.fixture
def model(folder):
    with understudy.load(folder, context=256, num_threads=1, use_cache=False) as loaded:
        yield loaded


def test_a_prompt_may_be_text_or_ids_of_any_kind(model):
    text = "The bridge keeper counts the boats"
    ids = model.tokenizer.encode(text)
    replies = [
        model.generate(prompt, max_tokens=8) for prompt in (text, ids, tuple(ids), np.asarray(ids))
    ]
    assert len({reply.tokens for reply in replies}) == 1
    assert (model.logits(ids) == model.logits(np.asarray(ids, np.int64))).all()
    chat = [{"role": "user", "content": "Hello"}]
    rendered = model.chat_template.render(chat)
    assert (
        model.generate(chat, max_tokens=8).tokens == model.generate(rendered, max_tokens=8).tokens
    )


@pytest.mark.parametrize("prompt", ["", [], np.zeros(0, np.int64)])
def test_empty_prompts_are_refused(model, prompt):
    with pytest.raises(UsageError, match="the prompt is empty"):
        model.generate(prompt)


@pytest.mark.parametrize("prompt", [[1.5], [1, "2"], [512], [-1]])
def test_what_is_no_token_is_refused(model, prompt):
    with pytest.raises(UsageError, match="token"):
        model.generate(prompt)
    with pytest.raises(UsageError, match="token"):
        model.logits(prompt)


def test_a_stream_is_the_first_answer(model):
    options = HOT | {"seed": 4, "n": 3}
    replies = model.generate_all("The river", **options)
    assert "".join(model.stream("The river", **options)) == replies[0].raw_text
    assert [reply.tokens for reply in replies] == [
        model.generate("The river", **HOT, seed=4 + index).tokens for index in range(3)
    ]


class Dead:
    is_finished = False

    def allowed(self, generated):
        return np.zeros(16, np.uint32) if len(generated) == 2 else None

    def forced(self, generated):
        return []


def test_what_fails_midway_is_raised_in_a_stream_too(model):
    free = model.engine.pool.num_free
    with pytest.raises(UnderstudyError, match="the mask allows no token"):
        list(model.stream("The river", make_mask=Dead, **HOT))
    with pytest.raises(UnderstudyError, match="the mask allows no token"):
        model.generate("The river", make_mask=Dead, **HOT)
    assert model.engine.pool.num_free == free


def test_a_stream_collected_inside_a_step_waits_for_no_lock(model):
    free = model.engine.pool.num_free
    stream = model.stream("The river", max_tokens=100, ignore_eos=True)
    next(stream)
    with (
        model.driver._ownership._lock
    ):  # as if the collector ran in the middle of a step of this thread
        del stream
        gc.collect()
    model.generate("At night", max_tokens=2)
    assert model.engine.pool.num_free == free
    assert not model.engine.has_work


def test_threads_get_what_they_would_get_alone(model):
    expected = [model.generate("The boats", seed=seed, **HOT).tokens for seed in range(6)]
    found = {}
    threads = [
        threading.Thread(
            target=lambda s=seed: found.update(
                {s: model.generate("The boats", seed=s, **HOT).tokens}
            )
        )
        for seed in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[seed] for seed in range(6)] == expected


def test_cancelling_a_task_cancels_its_request(model):
    async def main() -> None:
        task = asyncio.create_task(model.agenerate("The river", max_tokens=200, ignore_eos=True))
        while not model.engine.has_work:
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    gc.collect()
    assert len(model.generate("x", max_tokens=1).tokens) == 1
    assert not model.engine.has_work


def test_async_is_the_same(model):
    async def main() -> tuple:
        pieces = [piece async for piece in model.astream("The river", seed=1, **HOT)]
        return "".join(pieces), await model.agenerate("The river", seed=1, **HOT)

    text, reply = asyncio.run(main())
    assert text == reply.raw_text == model.generate("The river", seed=1, **HOT).raw_text


def test_a_closed_model_says_so(folder):
    model = understudy.load(folder, context=64, num_threads=1, use_cache=False)
    stream = model.stream("The river", max_tokens=30)
    next(stream)
    model.close()
    model.close()
    for use in (
        lambda: model.generate("x"),
        lambda: next(stream),
        lambda: model.logits([1]),
        lambda: model.save_state("x", [1]),
    ):
        with pytest.raises(UsageError, match="the model is closed"):
            use()


@pytest.mark.parametrize("length", [31, 32, 33, 75])
def test_a_saved_state_spares_all_but_the_last_token(model, folder, tmp_path, length):
    prompt = [(7 * i) % 500 + 3 for i in range(length)]
    expected = model.generate(prompt, max_tokens=20, ignore_eos=True)
    text = [*prompt, *expected.tokens]
    assert (
        model.save_state(tmp_path / "state", text) == len(text) - 1
    )  # what came last was never computed
    with understudy.load(folder, context=256, num_threads=1, use_cache=False) as other:
        assert other.load_state(tmp_path / "state") == text[:-1]
        assert other.load_state(tmp_path / "state") == text[:-1]  # known already
        again = other.generate(prompt, max_tokens=20, ignore_eos=True)
        assert again.tokens == expected.tokens
        assert again.usage.cached_tokens == length - 1
        further = other.generate([*text, 9], max_tokens=4, ignore_eos=True)
        assert (
            further.usage.cached_tokens >= length
        )  # at least; the place after the prompt may have been overwritten
    assert further.tokens == model.generate([*text, 9], max_tokens=4, ignore_eos=True).tokens


def test_a_state_larger_than_the_cache_is_taken_in_part(model, folder, tmp_path):
    prompt = [(7 * i) % 500 + 3 for i in range(200)]
    expected = model.generate(prompt, max_tokens=2, ignore_eos=True)
    model.save_state(tmp_path / "state", prompt)
    with understudy.load(folder, context=96, num_threads=1, use_cache=False) as small:
        small.load_state(tmp_path / "state")
        assert small.engine.pool.num_free == 3
        assert small.generate(prompt[:90], max_tokens=1).usage.cached_tokens == 89
    assert expected.finish_reason == "length"


def test_a_damaged_state_is_refused_wherever_it_is_damaged(model, tmp_path):
    model.generate(list(range(3, 50)), max_tokens=1)
    model.save_state(tmp_path / "state", list(range(3, 50)))
    data = (tmp_path / "state").read_bytes()
    places = [*range(200), *np.random.default_rng(0).integers(200, len(data), 200).tolist()]
    for place in places:
        mutated = bytearray(data)
        mutated[place] ^= 1 << (place % 8)
        (tmp_path / "bad").write_bytes(mutated)
        with pytest.raises(FormatError):
            model.load_state(tmp_path / "bad")
    for cut in (0, 10, 30, len(data) // 2, len(data) - 1):
        (tmp_path / "bad").write_bytes(data[:cut])
        with pytest.raises(FormatError):
            model.load_state(tmp_path / "bad")
    with pytest.raises(MissingError):
        model.load_state(tmp_path / "none")


def test_a_text_beyond_the_context_is_refused_with_its_numbers(model):
    with pytest.raises(
        ContextError, match=r"at most 256 tokens.*250 of the prompt and 7 for the answer"
    ):
        model.generate([5] * 250, max_tokens=7)
    with pytest.raises(ContextError, match=r"at most 256 tokens.*257"):
        model.logits([5] * 257)
    reply = model.generate([5] * 250, max_tokens=7, overflow="keep_end")
    assert reply.usage.dropped_tokens == 1


def test_too_little_memory_is_said_before_anything_is_read(folder, monkeypatch):
    monkeypatch.setattr(packing, "available_memory", lambda: 100_000)
    monkeypatch.setattr(loading, "pack", lambda *_a, **_k: pytest.fail("weights were read"))
    with pytest.raises(
        MemoryBudgetError, match=r"m with keys and values of 256 tokens: not enough memory.*0.00 GB"
    ):
        understudy.load(folder, context=256)


@pytest.mark.parametrize(
    "change",
    [
        {"context": 0},
        {"context": 513},
        {"context": 1.5},
        {"cache_tokens": 0},
        {"cache_tokens": "x"},
        {"max_batch_tokens": 0},
        {"speculate": -1},
        {"kv": "q4"},
        {"weights": "q5"},
        {"num_threads": 0},
        {"isa": "abacus"},
    ],
)
def test_settings_out_of_range_are_refused(folder, change):
    with pytest.raises(UsageError):
        understudy.load(folder, **({"use_cache": False, "num_threads": 1} | change))


def test_unknown_and_doubled_options_are_refused(model):
    with pytest.raises(UsageError, match="tempo: unknown option"):
        model.generate("x", tempo=1)
    with pytest.raises(UsageError, match="either params or single settings"):
        model.generate("x", params=understudy.SamplingParams(), seed=1)


def test_a_json_answer_with_a_name_stays_text_where_no_tools_stand(model):
    answer = '{"name": "f", "arguments": {"a": 1}}'
    make_mask = Grammar(model.tokenizer).lark(f"start: {json.dumps(answer)}")
    chat = [{"role": "user", "content": "Who?"}]
    rendered = model.chat_template.render(chat)
    for prompt in (chat, rendered):
        reply = model.generate(prompt, make_mask=make_mask, max_tokens=64)
        assert (reply.text, reply.tool_calls) == (answer, ())
    announced = Prompt((*rendered.parts, PromptPart("f", origin="tools")))
    reply = model.generate(announced, make_mask=make_mask, max_tokens=64)
    assert [call.name for call in reply.tool_calls] == ["f"]
