"""Thoughts over HTTP: switched, bounded, told apart, counted, and given back to the template."""

from __future__ import annotations

import pytest

from tests.serve.conftest import live
from tests.support.thinker import thinker

httpx = pytest.importorskip("httpx")
OPENED = {"chat_template_kwargs": {"opens": True}}
ASK = {"messages": [{"role": "user", "content": "Hm?"}], "seed": 3, "temperature": 1.0}


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    with (
        thinker(tmp_path_factory.mktemp("thinker")) as model,
        live({"thinker": model}) as running,
        httpx.Client(base_url=running.url, timeout=60) as client,
    ):
        yield client


def posted(client, path, body):
    response = client.post(path, json=body)
    assert response.status_code == 200, response.text
    return response.json()


@pytest.mark.parametrize(
    ("fields", "end"),
    [
        ({}, "assistant\n"),
        (OPENED, "<think>\n"),
        ({"chat_template_kwargs": {"enable_thinking": False}}, "<think>\n\n</think>\n\n"),
        ({"reasoning_effort": "none"}, "<think>\n\n</think>\n\n"),
        ({"reasoning_effort": "high"}, "assistant\n"),
        ({"reasoning_budget": 0}, "<think>\n\n</think>\n\n"),
        ({**OPENED, "reasoning_budget": 0}, "<think>\n\n</think>\n\n"),
    ],
)
def test_the_prompt_of_each_switch(client, fields, end):
    assert posted(client, "/apply-template", {**ASK, **fields})["prompt"].endswith(end)


@pytest.mark.parametrize(
    "name",
    [
        "reasoning_budget",
        "thinking_token_budget",
        "thinking_budget_tokens",
        "reasoning_budget_tokens",
    ],
)
def test_a_budget_under_each_of_its_names(client, name):
    document = posted(client, "/v1/chat/completions", {**ASK, **OPENED, name: 6, "max_tokens": 30})
    message = document["choices"][0]["message"]
    assert 0 < len(message["reasoning_content"]) <= 48  # six tokens, marks among them perhaps
    assert "</think>" not in message["content"]
    details = document["usage"]["completion_tokens_details"]
    assert 0 < details["reasoning_tokens"] <= document["usage"]["completion_tokens"]


def test_anthropic_s_thinking(client):
    body = {"messages": ASK["messages"], "max_tokens": 60}
    thinking = {"type": "enabled", "budget_tokens": 8}
    tool = {"name": "go", "input_schema": {"type": "object", "properties": {"a": {"enum": [1]}}}}
    asked = {**body, "thinking": thinking, "tools": [tool], "tool_choice": {"type": "any"}}
    for _ in range(6):
        blocks = posted(client, "/v1/messages", {**asked, "temperature": 1.0})["content"]
        kinds = [block["type"] for block in blocks]
        assert kinds[kinds[0] == "thinking" :].count("tool_use") == len(kinds) - (
            kinds[0] == "thinking"
        )
    off = posted(client, "/v1/messages", {**body, "thinking": {"type": "disabled"}})
    assert all(block["type"] != "thinking" for block in off["content"])


def test_thoughts_that_come_back_stand_where_the_template_has_them(client):
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a": "b"}'}}
    asked = {"role": "assistant", "content": "", "tool_calls": [call]}
    result = {"role": "tool", "tool_call_id": "c", "content": "r"}
    for name in ("reasoning_content", "reasoning"):
        messages = [*ASK["messages"], {**asked, name: "I see."}, result]
        prompt = posted(client, "/apply-template", {"messages": messages})["prompt"]
        assert "<think>\nI see.\n</think>" in prompt
        assert "<function=f>\n<parameter=a>\nb\n</parameter>\n</function>" in prompt


def test_a_switch_that_is_none(client):
    wrong = {**ASK, "chat_template_kwargs": {"enable_thinking": "no"}}
    response = client.post("/v1/chat/completions", json=wrong)
    assert response.status_code == 400
    assert "enable_thinking" in response.json()["error"]["message"]
    response = client.post("/v1/chat/completions", json={**ASK, "reasoning_budget": -1})
    assert response.status_code == 400


def test_responses_take_an_effort_and_earlier_thoughts(client):
    items = [
        {"type": "message", "role": "user", "content": "Hm?"},
        {
            "type": "reasoning",
            "id": "r",
            "summary": [],
            "content": [{"type": "reasoning_text", "text": "Well."}],
        },
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "done"},
    ]
    body = {"input": items, "reasoning": {"effort": "none"}, "max_output_tokens": 8, "store": False}
    document = posted(client, "/v1/responses", body)
    assert document["usage"]["output_tokens_details"]["reasoning_tokens"] == 0
    longer = {
        **body,
        "input": [
            items[0],
            {**items[1], "content": [{"type": "reasoning_text", "text": "Well, " * 9}]},
            *items[2:],
        ],
    }
    assert (
        posted(client, "/v1/responses", longer)["usage"]["input_tokens"]
        > document["usage"]["input_tokens"]
    )
