"""The real `openai` package against a live server: chat and completions, streamed and not, sync and
async.
"""

from __future__ import annotations

import asyncio
import json
import math

import httpx
import numpy as np
import openai
import pytest

from tests.serve.conftest import MODEL

ASK = [{"role": "user", "content": "Name three colours."}]


@pytest.fixture(scope="module")
def client(served):
    return openai.OpenAI(base_url=served.url + "/v1", api_key="none", max_retries=0)


def test_health_and_models(served, client):
    assert httpx.get(served.url + "/health").json() == {"status": "ok"}
    assert httpx.get(served.url + "/ready").status_code == 200
    assert [model.id for model in client.models.list()] == [MODEL]
    assert client.models.retrieve(MODEL).id == MODEL
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("other")
    assert "/v1/chat/completions" in httpx.get(served.url + "/openapi.json").json()["paths"]


def test_an_answer_is_the_models(served, client):
    answer = client.chat.completions.create(model=MODEL, messages=ASK, max_tokens=24, temperature=0)
    assert answer.choices[0].message.content == served.model.generate(ASK, max_tokens=24).text
    usage = answer.usage
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    ledger = usage.context
    parts = (
        "template",
        "system",
        "persona",
        "lore",
        "memory",
        "history",
        "documents",
        "tools",
        "user",
    )
    assert sum(ledger[name] for name in parts) == usage.prompt_tokens == ledger["total"]
    again = client.chat.completions.create(model=MODEL, messages=ASK, max_tokens=24, temperature=0)
    assert again.usage.prompt_tokens_details.cached_tokens > 0


def test_streamed_text_is_the_same(client):
    settings = {
        "model": MODEL,
        "messages": ASK,
        "max_tokens": 24,
        "temperature": 0.9,
        "seed": 5,
        "n": 2,
    }
    whole = client.chat.completions.create(**settings)
    texts, finishes, usage = ["", ""], [None, None], None
    for chunk in client.chat.completions.create(
        **settings, stream=True, stream_options={"include_usage": True}
    ):
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
            finishes[choice.index] = choice.finish_reason or finishes[choice.index]
        usage = chunk.usage or usage
    assert texts == [choice.message.content for choice in whole.choices]
    assert texts[0] != texts[1]
    assert finishes == [choice.finish_reason for choice in whole.choices]
    assert usage.completion_tokens == whole.usage.completion_tokens


def test_async(served):
    async def ask():
        async with openai.AsyncOpenAI(base_url=served.url + "/v1", api_key="none") as client:
            settings = {"model": MODEL, "messages": ASK, "max_tokens": 12, "temperature": 0}
            whole, stream = await asyncio.gather(
                client.chat.completions.create(**settings),
                client.chat.completions.create(**settings, stream=True),
            )
            text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
            return whole.choices[0].message.content, text

    whole, text = asyncio.run(ask())
    assert whole == text


def test_stop_bias_and_logprobs(served, client):
    answer = client.chat.completions.create(
        model=MODEL,
        messages=ASK,
        max_tokens=16,
        temperature=0,
        logprobs=True,
        top_logprobs=3,
        stop=["zzz"],
    )
    entries = answer.choices[0].logprobs.content
    assert len(entries) == answer.usage.completion_tokens
    assert all(
        entry.token == entry.top_logprobs[0].token and entry.logprob <= 0 for entry in entries
    )
    assert (
        b"".join(bytes(entry.bytes) for entry in entries).decode().strip()
        == answer.choices[0].message.content
    )
    word = answer.choices[0].message.content.split()[2]
    stopped = client.chat.completions.create(
        model=MODEL, messages=ASK, max_tokens=16, temperature=0, stop=word
    )
    assert word not in stopped.choices[0].message.content
    assert stopped.choices[0].finish_reason == "stop"
    first = served.model.tokenizer.encode(answer.choices[0].message.content)[0]
    other = client.chat.completions.create(
        model=MODEL, messages=ASK, max_tokens=4, temperature=0, logit_bias={str(first): -100}
    )
    assert not answer.choices[0].message.content.startswith(other.choices[0].message.content)


def test_answers_held_to_schemas(client):
    schema = {
        "type": "object",
        "properties": {
            "colour": {"enum": ["red", "green"]},
            "n": {"type": "integer", "minimum": 0, "maximum": 9},
        },
        "required": ["colour", "n"],
        "additionalProperties": False,
    }
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema, "strict": True}}
    answer = client.chat.completions.create(
        model=MODEL, messages=ASK, max_tokens=40, temperature=1, seed=1, response_format=form
    )
    found = json.loads(answer.choices[0].message.content)
    assert set(found) == {"colour", "n"}
    answer = client.chat.completions.create(
        model=MODEL,
        messages=ASK,
        max_tokens=8,
        temperature=1,
        extra_body={"grammar": 'start: "yes" | "no"'},
    )
    assert answer.choices[0].message.content in ("yes", "no")
    answer = client.chat.completions.create(
        model=MODEL,
        messages=ASK,
        max_tokens=60,
        temperature=0,
        response_format={"type": "json_object"},
    )
    assert answer.choices[0].message.content.startswith("{")


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"functions": [{"name": "f"}]}, "functions"),
        ({"store": True}, "store"),
        ({"temperature": 3}, "temperature"),
        ({"messages": []}, "messages"),
        (
            {
                "messages": [
                    {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}
                ]
            },
            "messages[0].content",
        ),
        ({"messages": [{"role": "user", "content": "x", "colour": 1}]}, "messages[0].colour"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"model": "other"}, "model"),
    ],
)
def test_what_cannot_be_done_is_named(served, change, param):
    body = {"model": MODEL, "messages": ASK, **change}
    answer = httpx.post(served.url + "/v1/chat/completions", json=body)
    assert answer.status_code in (400, 404)
    error = answer.json()["error"]
    assert error["param"].startswith(param)
    assert error["message"]
    assert error["code"]


def test_too_long_is_said_in_numbers(served):
    body = {"messages": [{"role": "user", "content": "word " * 2000}]}
    answer = httpx.post(served.url + "/v1/chat/completions", json=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "context_length_exceeded"
    body |= {"overflow": "keep_end", "max_tokens": 4}
    answer = httpx.post(served.url + "/v1/chat/completions", json=body, timeout=60)
    usage = answer.json()["usage"]
    context = usage["context"]
    assert len(context["dropped"]) == 1
    assert context["dropped"][0].endswith("tokens of the prompt (keep_end)")
    assert usage["prompt_tokens"] == context["total"] == context["context"] - 4
    assert (context["free"], context["reserve"]) == (0, 4)


def test_prompts_of_all_kinds(served, client):
    text = "The capital of France is"
    ids = served.model.tokenizer.encode(text)
    settings = {"model": MODEL, "max_tokens": 6, "temperature": 0}
    one = client.completions.create(prompt=text, **settings).choices[0].text
    assert one == served.model.generate(text, max_tokens=6).text
    assert client.completions.create(prompt=ids, **settings).choices[0].text == one
    many = client.completions.create(prompt=[ids, ids[:3]], **settings)
    assert [choice.index for choice in many.choices] == [0, 1]
    assert many.choices[0].text == one
    assert (
        client.completions.create(prompt=[text], echo=True, **settings).choices[0].text
        == text + one
    )
    streamed = "".join(
        c.choices[0].text for c in client.completions.create(prompt=text, stream=True, **settings)
    )
    assert streamed == one


def test_prompt_logprobs_are_those_of_the_logits(served, client):
    """What lm-eval asks: token ids, echo, one token more."""
    ids = served.model.tokenizer.encode("The capital of France is Paris, a city on the Seine.")
    answer = client.completions.create(
        model=MODEL, prompt=[ids], max_tokens=1, logprobs=1, echo=True, temperature=0, seed=1
    )
    found = answer.choices[0].logprobs
    assert len(found.token_logprobs) == len(ids) + 1
    assert found.token_logprobs[0] is None
    logits = served.model.logits(ids).astype(np.float64)
    scores = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    expected = [scores[i, token] for i, token in enumerate(ids[1:])]
    assert found.token_logprobs[1:-1] == pytest.approx(expected, abs=1e-3)
    is_greedy = [
        max(top, key=top.get) == token
        for token, top in zip(found.tokens[1:], found.top_logprobs[1:], strict=True)
    ]
    assert is_greedy[: len(ids) - 1] == [
        int(scores[i].argmax()) == token for i, token in enumerate(ids[1:])
    ]
    assert all(math.isfinite(value) for value in found.token_logprobs[1:])
