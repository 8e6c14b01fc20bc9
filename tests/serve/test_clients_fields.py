"""Fields that today's clients send: each taken, or refused with its name."""

from __future__ import annotations

import json

import httpx
import pytest

from tests.serve.conftest import live
from understudy.serve.keys import new_key

CHAT = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 2, "temperature": 0}
CALL = {
    "type": "function",
    "function": {"name": "wait", "parameters": {"type": "object", "properties": {}}},
}


def post(served, route, **body):
    return httpx.post(served.url + route, json=body, timeout=60)


def chat(served, **body):
    return post(served, "/v1/chat/completions", **CHAT | body)


def messages(served, **body):
    return post(served, "/v1/messages", **CHAT | body)


def responses(served, **body):
    return post(served, "/v1/responses", **{"input": "Hi", "max_output_tokens": 2} | body)


@pytest.mark.parametrize(
    "more",
    [
        {"prediction": None, "reasoning_effort": "none", "stop": None, "tools": None},
        {"prediction": {"type": "content", "content": "Hi"}},
        {"verbosity": "medium", "functions": None, "web_search_options": None},
        {"functions": [], "mcp_servers": [], "tools": [], "stop": [], "extra_body": {}},
        {"tools": [], "tool_choice": "auto", "logit_bias": {}, "metadata": {}},
        {"top_k": -1, "service_tier": "flex"},
        {"tools": [{**CALL, "cache_control": {"type": "ephemeral"}}]},
        {
            "messages": [
                {
                    "role": "user",
                    "cache_control": {"type": "ephemeral"},
                    "content": [{"type": "text", "text": "Hi", "cache_control": {}}],
                }
            ]
        },
        {
            "messages": [
                {"role": "assistant", "content": None, "audio": None, "function_call": None}
            ]
        },
    ],
)
def test_chat_takes(served, more):
    more = {**more, "messages": [*CHAT["messages"], *more.get("messages", []), *CHAT["messages"]]}
    assert chat(served, **more).status_code == 200


@pytest.mark.parametrize(
    "more",
    [
        {"thinking": {"type": "adaptive"}, "context_management": {"edits": []}},
        {"cache_control": {"type": "ephemeral"}},
        {
            "thinking": {"type": "enabled", "budget_tokens": 1024},
            "output_config": {"effort": "max"},
        },
        {
            "tools": [
                {"name": "a", "input_schema": {"type": "object"}, "eager_input_streaming": True}
            ]
        },
        {
            "max_tokens": 128_000,
            "messages": [*CHAT["messages"], {"role": "system", "content": "Be brief."}],
            "metadata": {"user_id": "u"},
            "stop_sequences": ["i", "a", "e", " "],
        },
        {
            "messages": [
                {"role": "user", "content": "Hi"},
                {"role": "assistant", "content": [{"type": "redacted_thinking", "data": "x"}]},
                {"role": "user", "content": "Hi"},
            ]
        },
    ],
)
def test_messages_takes(served, more):
    answer = messages(served, **more)
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    "more",
    [
        {"reasoning": {"effort": "low", "summary": "auto"}},
        {"include": ["reasoning.encrypted_content"], "conversation": None},
        {"input": [{"role": "user", "content": [{"type": "input_text", "text": "Hi"}]}]},
        {
            "input": [
                {"role": "user", "content": "Hi"},
                {
                    "type": "function_call",
                    "call_id": "c",
                    "name": "f",
                    "arguments": "{}",
                    "async_": None,
                },
                {"type": "function_call_output", "call_id": "c", "output": "1"},
                {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]},
                {"role": "user", "content": "Hi"},
            ]
        },
    ],
)
def test_responses_takes(served, more):
    answer = responses(served, **more)
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    ("ask", "param"),
    [
        (lambda s: chat(s, stop=[""]), "stop[0]"),
        (lambda s: chat(s, prediction_of=1), "prediction_of"),
        (
            lambda s: responses(s, input=[{"type": "function_call", "name": "f"}]),
            "input[0].call_id",
        ),
        (lambda s: responses(s, input=[{"type": "computer_call"}]), "input[0].type"),
        (lambda s: responses(s, tools=[{"type": "web_search"}]), "tools[0].type"),
        (lambda s: responses(s, tools=[{"type": "mcp", "server_label": "x"}]), "tools[0].type"),
        (
            lambda s: chat(
                s, messages=[{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]
            ),
            "messages[0].content[0].type",
        ),
    ],
)
def test_what_is_wrong_is_named(served, ask, param):
    answer = ask(served)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param, answer.text
    assert "<|" not in answer.text


def test_a_list_that_is_empty_is_called_one(served):
    assert "list" in responses(served, input=[]).json()["error"]["message"].lower()


def test_chunks_have_a_usage_to_come(served):
    options = {"stream": True, "stream_options": {"include_usage": True}}
    for route, body in (("chat/completions", CHAT), ("completions", {"prompt": "Hi"})):
        lines = post(served, f"/v1/{route}", **{"max_tokens": 2, **body, **options}).text.split(
            "\n"
        )
        chunks = [json.loads(line[6:]) for line in lines if line.startswith("data: {")]
        assert [chunk["usage"] for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)
        assert chunks[-1]["usage"]["completion_tokens"] == 2
    plain = post(served, "/v1/chat/completions", **CHAT, stream=True).text
    assert '"usage"' not in plain


def test_limits_of_a_parameter_and_words_of_the_message_do_not_shut_each_other_out(served):
    """The smallest models copy values out of the message; where none fits, any may be written."""
    port = {"type": "integer", "minimum": 1024, "maximum": 9999}
    name = {"type": "string", "minLength": 5, "maxLength": 8}
    parameters = {"type": "object", "properties": {"port": port, "name": name}}
    listen = {"name": "listen", "parameters": {**parameters, "required": ["port", "name"]}}
    answer = chat(
        served,
        messages=[{"role": "user", "content": "Open 5 up"}],
        tools=[{"type": "function", "function": listen}],
        tool_choice="required",
        max_tokens=60,
    )
    assert answer.status_code == 200, answer.text
    call = answer.json()["choices"][0]["message"]["tool_calls"][0]["function"]
    given = json.loads(call["arguments"])
    assert 1024 <= given["port"] <= 9999
    assert 5 <= len(given["name"]) <= 8


def test_an_item_of_an_earlier_response_can_be_named(served):
    said = responses(served).json()
    item = {"type": "item_reference", "id": said["output"][0]["id"]}
    asked = [{"role": "user", "content": "Hi"}, item, {"role": "user", "content": "And?"}]
    whole = [asked[0], said["output"][0], asked[2]]
    counts = [responses(served, input=i).json()["usage"]["input_tokens"] for i in (asked, whole)]
    assert counts[0] == counts[1]
    missing = responses(served, input=[{**item, "id": "msg_0"}])
    assert (missing.status_code, missing.json()["error"]["param"]) == (404, "input[0]")


def test_threads_are_refused_as_the_sdk_knows_it(served):
    error = messages(served, thread={"type": "create"}).json()["error"]
    assert error["details"] == {
        "error_code": "thread_unsupported_request",
        "unsupported": ["thread"],
    }


def test_at_most_is_capped_and_said(served):
    answer = chat(served, max_tokens=1_000_000, stop=["e", "a", "i", "o"]).json()
    assert answer["usage"]["context"]["dropped"][0].startswith("answer: at most ")
    long = [{"role": "user", "content": "word " * 3000}]
    for ask in (chat, messages):
        error = ask(served, messages=long).json()["error"]
        assert error["message"].startswith("prompt is too long: 30")
        assert " tokens + 2 for the answer > " in error["message"]


def test_one_bad_tool_is_left_out_and_named(served):
    bad = {"type": "function", "function": {"name": "bad name", "parameters": {"type": "object"}}}
    answer = chat(served, tools=[bad, CALL])
    assert answer.status_code == 200
    assert "bad name" in answer.json()["usage"]["context"]["dropped"][0]
    named = {"type": "function", "function": {"name": "bad name"}}
    assert chat(served, tools=[bad, CALL], tool_choice=named).status_code == 400


def test_an_answer_goes_on_the_last_message(served):
    begun = [
        {"role": "user", "content": "Count from 1 to 5."},
        {"role": "assistant", "content": "1, 2,"},
    ]
    more = {"messages": begun, "max_tokens": 6}
    said = messages(served, **more).json()["content"][0]["text"]
    assert said.startswith(" 3")
    whole = chat(served, **more, continue_final_message=True, add_generation_prompt=False).json()
    assert whole["choices"][0]["message"]["content"] == said
    assert not chat(served, **more).json()["choices"][0]["message"]["content"].startswith(" 3")
    wrong = chat(served, continue_final_message=True)
    assert (wrong.status_code, wrong.json()["error"]["param"]) == (400, "continue_final_message")


def test_without_a_generation_prompt_the_model_opens_the_turn_itself(served):
    """As in vLLM: the prompt ends behind the last message."""
    more = {"max_tokens": 1, "add_generation_prompt": False}
    usage = [
        chat(served, **{**more, **change}).json()["usage"]
        for change in ({}, {"add_generation_prompt": True})
    ]
    assert usage[0]["prompt_tokens"] < usage[1]["prompt_tokens"]
    template = {"messages": CHAT["messages"], "add_generation_prompt": False}
    prompt = httpx.post(served.url + "/apply-template", json=template, timeout=60).json()["prompt"]
    assert prompt.endswith("<|im_end|>\n")


def test_a_deferred_tool_is_shown_once_a_result_names_it(served):
    """Claude Code's tools are searched by the client."""
    tools = [
        {"name": "search", "input_schema": {"type": "object"}},
        {"name": "far", "input_schema": {"type": "object"}, "defer_loading": True},
    ]
    found = [{"type": "tool_reference", "tool_name": "far"}]
    asked = {"type": "tool_use", "id": "t", "name": "search", "input": {}}
    talk = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": [asked]},
        {
            "role": "user",
            "content": [{"type": "tool_result", "tool_use_id": "t", "content": found}],
        },
    ]
    far = {"type": "tool", "name": "far"}
    assert messages(served, tools=tools, tool_choice=far).status_code == 400
    said = messages(served, tools=tools, tool_choice=far, messages=talk, max_tokens=60)
    assert said.json()["content"][0]["name"] == "far"


def test_models_are_listed_for_both_big_protocols(served):
    listed = httpx.get(served.url + "/v1/models/").json()  # with a slash at the end too
    assert listed["object"] == "list"
    assert listed["has_more"] is False
    assert listed["first_id"] == listed["data"][0]["id"]
    assert {"type", "display_name", "created_at", "object", "created"} <= set(listed["data"][0])


def test_a_page_that_may_ask_reads_why_it_was_refused(served, tmp_path):
    """Without the header a browser shows the SDK a connection error."""
    keys = tmp_path / "keys"
    new_key(keys)
    page, foreign = "http://localhost:3000", "https://evil.example"
    with live(served.model, key_file=keys) as closed:
        for origin, status in ((page, 401), (foreign, 403)):
            answer = httpx.post(
                closed.url + "/v1/chat/completions", json=CHAT, headers={"Origin": origin}
            )
            assert answer.status_code == status
            allowed = answer.headers.get("access-control-allow-origin")
            assert allowed == (page if origin == page else None)


def test_an_origin_that_may_ask_may_send_what_it_asks_for(served):
    asked = "authorization,x-stainless-os,anthropic-beta,x-of-tomorrow"
    headers = {
        "Origin": "http://localhost:3000",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": asked,
    }
    answer = httpx.options(served.url + "/v1/chat/completions", headers=headers)
    assert answer.headers["access-control-allow-headers"] == asked
    foreign = {**headers, "Origin": "https://evil.example"}
    assert httpx.options(served.url + "/v1/messages", headers=foreign).status_code == 403


@pytest.mark.parametrize("route", ["/v1/messages", "/v1/messages/count_tokens"])
def test_messages_of_nothing_are_named(served, route):
    body = {"messages": [{"role": "system", "content": ""}]}
    if not route.endswith("count_tokens"):
        body["max_tokens"] = 2
    answer = httpx.post(served.url + route, json=body, timeout=60)
    assert answer.status_code == 400
    assert "messages" in answer.json()["error"]["message"]
