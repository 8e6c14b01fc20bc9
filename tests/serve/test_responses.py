"""`/v1/responses` through the real `openai` package: state, streams, tools, schemas."""

from __future__ import annotations

import json

import openai
import pytest

from tests.serve.conftest import MODEL
from tests.serve.test_tools import WEATHER

ASK = "Name three colours."
TOOLS = [
    {
        "type": "function",
        "name": "weather",
        "description": "The weather.",
        "parameters": WEATHER,
        "strict": True,
    }
]


@pytest.fixture(scope="module")
def client(served):
    return openai.OpenAI(base_url=served.url + "/v1", api_key="none", max_retries=0)


def test_a_conversation_is_remembered(served, client):
    settings = {"model": MODEL, "temperature": 0, "max_output_tokens": 12}
    first = client.responses.create(input=ASK, instructions="Be brief.", **settings)
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": ASK}]
    assert first.output_text == served.model.generate(messages, max_tokens=12).text
    assert first.status in ("completed", "incomplete")
    second = client.responses.create(input="And more?", previous_response_id=first.id, **settings)
    turns = [
        {"role": "user", "content": ASK},
        {"role": "assistant", "content": first.output_text},
        {"role": "user", "content": "And more?"},
    ]
    assert second.output_text == served.model.generate(turns, max_tokens=12).text
    assert client.responses.retrieve(second.id).output_text == second.output_text
    client.responses.delete(second.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(second.id)
    forgotten = client.responses.create(input=ASK, store=False, **settings)
    with pytest.raises(openai.NotFoundError):
        client.responses.create(input="x", previous_response_id=forgotten.id, **settings)


@pytest.mark.parametrize("options", [{}, {"tools": TOOLS, "tool_choice": "required"}])
def test_events_add_up_to_the_response(client, options):
    with client.responses.stream(
        model=MODEL, input=ASK, temperature=0, max_output_tokens=60, **options
    ) as stream:
        events = list(stream)
    final = events[-1].response
    assert events[-1].type == f"response.{final.status}"
    assert [event.sequence_number for event in events] == list(range(len(events)))
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    arguments = "".join(
        event.delta for event in events if event.type == "response.function_call_arguments.delta"
    )
    assert text == final.output_text
    assert arguments == "".join(
        item.arguments for item in final.output if item.type == "function_call"
    )
    assert bool(options) == bool(arguments)
    assert client.responses.retrieve(final.id).status == final.status


def test_tools_and_their_results(client):
    settings = {"model": MODEL, "tools": TOOLS, "temperature": 0, "max_output_tokens": 60}
    first = client.responses.create(
        input="Weather in Paris?", tool_choice={"type": "function", "name": "weather"}, **settings
    )
    calls = [item for item in first.output if item.type == "function_call"]
    assert set(json.loads(calls[0].arguments)) == {"city", "unit"}
    results = [
        {"type": "function_call_output", "call_id": call.call_id, "output": "12 degrees"}
        for call in calls
    ]
    second = client.responses.create(
        input=results, previous_response_id=first.id, tool_choice="none", **settings
    )
    assert second.output_text
    assert second.usage.context["tools"] > 0


def test_held_to_a_schema_and_refused(client):
    form = {
        "type": "json_schema",
        "name": "x",
        "schema": {"enum": ["red", "green"]},
        "strict": True,
    }
    answer = client.responses.create(
        model=MODEL, input=ASK, text={"format": form}, max_output_tokens=8
    )
    assert json.loads(answer.output_text) in ("red", "green")
    for change in (
        {"background": True},
        {"max_tool_calls": 2},
        {"tools": [{"type": "web_search"}]},
    ):
        with pytest.raises(openai.BadRequestError) as caught:
            client.responses.create(model=MODEL, input=ASK, **change)
        assert caught.value.param.startswith(next(iter(change)))
