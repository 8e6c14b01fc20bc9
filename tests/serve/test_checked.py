"""What a grammar cannot hold is checked: one more try, then an error that names the keyword."""

from __future__ import annotations

import contextlib
import json

import httpx
import pytest

from tests.serve.conftest import live
from understudy.chat.session import Session

ASK = [{"role": "user", "content": "Give me two numbers."}]


def tool(*values):
    """One that takes just these numbers, and wants them to differ: the grammar cannot hold that."""
    numbers = {
        "type": "array",
        "prefixItems": [{"const": value} for value in values],
        "minItems": len(values),
        "maxItems": len(values),
        "uniqueItems": True,
    }
    parameters = {"type": "object", "properties": {"n": numbers}, "required": ["n"]}
    return {"type": "function", "function": {"name": "pick", "parameters": parameters}}


def ask(served, values, **more):
    body = {"messages": ASK, "max_tokens": 60, "tool_choice": "required", "seed": 1}
    body |= {"tools": [tool(*values)], "temperature": 0}
    return httpx.post(served.url + "/v1/chat/completions", json=body | more, timeout=120)


def test_a_call_that_satisfies_its_schema_goes_out_whole(served):
    answer = ask(served, (1, 2))
    assert answer.status_code == 200, answer.text
    call = answer.json()["choices"][0]["message"]["tool_calls"][0]
    assert json.loads(call["function"]["arguments"]) == {"n": [1, 2]}


@pytest.mark.parametrize("stream", [False, True])
def test_one_that_cannot_is_an_error_that_names_it(served, stream):
    answer = ask(served, (1, 1), stream=stream)
    assert answer.status_code == (200 if stream else 422)
    events = [line[6:] for line in answer.text.splitlines() if line.startswith("data: {")]
    error = (json.loads(events[-1]) if stream else answer.json())["error"]
    assert error["code"] == "schema_broken"
    assert "pick: n: " in error["message"]
    assert "(uniqueItems)" in error["message"]
    assert "tool_calls" not in answer.text


def test_the_error_event_of_responses_is_one(served):
    """Flat as the reference has it, nested as openai's and Vercel's clients read it."""
    items = {"const": 1}
    schema = {"type": "array", "items": items, "minItems": 2, "maxItems": 2, "uniqueItems": True}
    form = {"format": {"type": "json_schema", "name": "x", "schema": schema}}
    body = {"input": "Hi", "max_output_tokens": 30, "text": form, "stream": True}
    text = httpx.post(served.url + "/v1/responses", json=body, timeout=120).text
    events = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: ")]
    last = events[-1]
    assert (last["type"], last["code"]) == ("error", "schema_broken")
    assert last["sequence_number"] == len(events) - 1
    assert last["error"]["message"] == last["message"]


def test_an_answer_is_held_and_checked_like_a_call(served):
    schema = {"type": "array", "items": {"const": 1}, "minItems": 2, "maxItems": 2}
    for unique, status in ((False, 200), (True, 422)):
        form = {"name": "x", "schema": {**schema, "uniqueItems": unique}}
        body = {"messages": ASK, "max_tokens": 40}
        body["response_format"] = {"type": "json_schema", "json_schema": form}
        answer = httpx.post(served.url + "/v1/chat/completions", json=body, timeout=120)
        assert answer.status_code == status, answer.text
        if status == 200:
            assert answer.json()["choices"][0]["message"]["content"] == "[1, 1]"
        else:
            assert "response format: " in answer.json()["error"]["message"]


def test_a_session_writes_such_a_call_once_more(served):
    """It refuses the second with the reason; nothing of it stands in the reply's calls."""
    session = Session(served.model, tools=[tool(1, 1)])
    reply = session.say("Give me two numbers.", tool_choice="required")
    assert reply.tool_calls == ()
    assert len(reply.usages) >= 2
    assert "n: " in reply.refused[0][1]
    assert "(uniqueItems)" in reply.refused[0][1]
    good = Session(served.model, tools=[tool(1, 2)])
    waiting = good.say("Give me two numbers.", tool_choice="required")
    assert [call.name for call in waiting.tool_calls] == ["pick"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("route", ["/v1/completions", "/completion"])
def test_an_answer_to_a_text_prompt_is_held_and_checked_too(served, route, stream):
    schema = {"type": "array", "items": {"const": 1}, "minItems": 2, "maxItems": 2}
    for unique in (False, True):
        shape = {**schema, "uniqueItems": unique}
        body = {"prompt": "Two numbers:", "max_tokens": 40, "stream": stream}
        if route == "/completion":
            body["json_schema"] = shape
        else:
            form = {"name": "x", "schema": shape}
            body["response_format"] = {"type": "json_schema", "json_schema": form}
        answer = httpx.post(served.url + route, json=body, timeout=120)
        assert answer.status_code == (422 if unique and not stream else 200), answer.text
        assert ("schema_broken" in answer.text) == unique
        assert ("uniqueItems" in answer.text) == unique


def ask_after_result(url, *, stream=False, **more):
    """The text behind a result, why it ended, and what is told beside it."""
    call = {"id": "c1", "type": "function", "function": {"name": "price", "arguments": "{}"}}
    messages = [
        {"role": "user", "content": "What does a rope cost?"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "A rope costs 14731 coins."},
    ]
    price = {"name": "price", "parameters": {"type": "object", "properties": {}}}
    body = {"messages": messages, "max_tokens": 200, "seed": 1, "stream": stream}
    body |= {"tools": [{"type": "function", "function": price}], "tool_choice": "none"}
    if stream:
        body["stream_options"] = {"include_usage": True}
    answer = httpx.post(url + "/v1/chat/completions", json=body | more, timeout=120)
    assert answer.status_code == 200, answer.text
    if not stream:
        document = answer.json()
        choice = document["choices"][0]
        dropped = document["usage"]["context"]["dropped"]
        return choice["message"]["content"], choice["finish_reason"], dropped
    chunks = [json.loads(line[6:]) for line in answer.text.splitlines() if "choices" in line]
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    pieces = [choice["delta"].get("content") or "" for choice in choices]
    reason, dropped = choices[-1]["finish_reason"], chunks[-1]["usage"]["context"]["dropped"]
    return [piece for piece in pieces if piece], reason, dropped


@pytest.fixture(scope="module")
def checking(served):
    """A server for each way of checking, of one model."""
    with contextlib.ExitStack() as stack:
        yield {
            level: stack.enter_context(live(served.model, check_results=level)).url
            for level in ("off", "complete")
        }


@pytest.mark.parametrize("stream", [False, True])
def test_a_server_that_completes_answers_tells_each_result(checking, stream):
    """The server runs no tools; what a client gives back is what the answer must tell."""
    stops = {"stop": list("eaoi")}
    text, reason, _ = ask_after_result(checking["complete"], stream=stream, **stops)
    assert "".join(text).endswith("A rope costs 14731 coins.")
    assert reason == "stop"


@pytest.mark.parametrize("stop", [["rope"], ["costs"], ["coins"], []])
def test_else_answers_are_the_models_own_words(served, checking, stop):
    plain = ask_after_result(checking["off"], stop=stop, temperature=0)
    assert ask_after_result(served.url, stop=stop, temperature=0) == plain
    pieces, *rest = ask_after_result(served.url, stop=stop, temperature=0, stream=True)
    assert ("".join(pieces), *rest) == plain
    assert len(pieces) > 1 or len(plain[0].split()) < 2


def test_numbers_of_no_result_are_written_once_more_and_said(served, checking):
    """Digits alone can be written; the second answer is that of the next seed."""
    digits = [served.model.tokenizer.encode(digit)[0] for digit in "78"]
    settings = {"logit_bias": {str(d): 100 for d in digits}, "temperature": 1, "stop": ["77"]}
    first, _, said = ask_after_result(checking["off"], **settings)
    second, _, _ = ask_after_result(checking["off"], **settings | {"seed": 2})
    assert first != second
    assert not said
    text, reason, said = ask_after_result(served.url, **settings)
    assert (text, reason, said) == (second, "stop", [f"answer: {second} stands in no result"])
    pieces, reason, said = ask_after_result(served.url, stream=True, **settings)
    assert ("".join(pieces), reason, len(said)) == (second, "stop", 1)
    cut, reason, said = ask_after_result(served.url, **settings | {"max_tokens": 1})
    assert (cut, reason, said) == (first[0], "length", [])
