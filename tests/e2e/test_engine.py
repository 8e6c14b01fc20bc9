"""The engine on the embedded model: what is shared, batched, taken away or guessed changes no token
and no log-probability.
"""

from __future__ import annotations

import numpy as np
import pytest

import understudy
from understudy.engine import Request, SamplingParams

QUESTIONS = [
    "What is a bridge?",
    "Name three rivers.",
    "Why is the sky blue?",
    "Tell me about apples.",
]


@pytest.fixture(scope="module")
def model():
    with understudy.load(
        "smollm2-135m-instruct", context=512, cache_tokens=1024, speculate=4
    ) as loaded:
        yield loaded


def prompts(model) -> list[list[int]]:
    return [model.encode_prompt([{"role": "user", "content": text}]) for text in QUESTIONS]


def settings(index: int, **changes) -> SamplingParams:
    values = {
        "max_tokens": 40,
        "temperature": 0.9 * (index % 2),
        "seed": index,
        "logprobs": 2,
        "repetition_penalty": 1.1,
    }
    return SamplingParams(**(values | changes))


def run(engine, requests: list[Request]) -> list[list]:
    """The log-probabilities of every first answer, request by request."""
    ids = [engine.add(request) for request in requests]
    found = {id: [] for id in ids}
    while engine.has_work:
        for output in engine.step():
            if output.index == 0:
                found[output.id] += output.logprobs
    return [found[id] for id in ids]


def alone(model, request: Request) -> list:
    model.engine.pool.forget_all()
    return run(model.engine, [request])[0]


@pytest.fixture(scope="module")
def expected(model):
    return [alone(model, Request(prompt, settings(i))) for i, prompt in enumerate(prompts(model))]


def test_together_with_others(model, expected):
    model.engine.pool.forget_all()
    assert (
        run(model.engine, [Request(prompt, settings(i)) for i, prompt in enumerate(prompts(model))])
        == expected
    )


def test_when_everything_is_remembered(model, expected):
    run(model.engine, [Request(prompt, settings(i)) for i, prompt in enumerate(prompts(model))])
    for i, prompt in enumerate(prompts(model)):
        assert run(model.engine, [Request(prompt, settings(i))])[0] == expected[i]


def test_when_pages_are_too_few_for_all(model, expected):
    with understudy.load("smollm2-135m-instruct", context=128, max_batch_tokens=48) as small:
        assert (
            run(
                small.engine,
                [Request(prompt, settings(i)) for i, prompt in enumerate(prompts(model))],
            )
            == expected
        )
        assert small.engine.pool.num_free == small.engine.pool.num_pages


def test_further_answers_compute_one_token_of_the_prompt(model):
    model.engine.pool.forget_all()
    prompt = prompts(model)[0]
    replies = model.generate_all(prompt, n=3, temperature=0.8, seed=5, max_tokens=12)
    assert [reply.usage.cached_tokens for reply in replies] == [0, len(prompt) - 1, len(prompt) - 1]
    for index, reply in enumerate(replies):
        model.engine.pool.forget_all()
        assert (
            model.generate(prompt, temperature=0.8, seed=5 + index, max_tokens=12).tokens
            == reply.tokens
        )


def test_a_second_turn_computes_what_is_new_and_nothing_else(model):
    turns = [{"role": "user", "content": QUESTIONS[0]}]
    first = model.generate(turns, max_tokens=30)
    turns += [{"role": "assistant", "content": first.raw_text}, {"role": "user", "content": "Why?"}]
    prompt = model.encode_prompt(turns)
    second = model.generate(turns, max_tokens=20)
    assert second.usage.cached_tokens >= len(model.encode_prompt(turns[:1])) + len(first.tokens) - 2
    model.engine.pool.forget_all()
    assert (
        model.generate(
            prompt, max_tokens=20, stop_token_ids=model.chat_template.stops.token_ids
        ).tokens
        == second.tokens
    )


def test_log_probabilities_are_those_of_the_logits(model):
    prompt = prompts(model)[2]
    reply = model.generate(
        prompt, max_tokens=10, logprobs=3, prompt_logprobs=3, temperature=1.0, seed=1
    )
    text = [*prompt, *reply.tokens]
    logits = model.logits(text).astype(np.float64)
    scores = (
        logits
        - np.log(np.exp(logits - logits.max(-1, keepdims=True)).sum(-1, keepdims=True))
        - logits.max(-1, keepdims=True)
    )
    told = [*reply.prompt_logprobs[1:], *reply.logprobs]
    assert len(told) == len(text) - 1
    for row, entry, token in zip(scores, told, text[1:], strict=False):
        assert entry.token == token
        assert entry.logprob == pytest.approx(row[token], abs=1e-4)
        assert [id for id, _ in entry.top] == np.argsort(-row, kind="stable")[:3].tolist()
