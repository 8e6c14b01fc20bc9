"""Tool calls through the real clients: every choice, streamed and not; arguments always are JSON
that fits the schema.
"""

from __future__ import annotations

import asyncio
import json

import anthropic
import httpx
import openai
import pytest

from tests.serve.conftest import MODEL, live

WEATHER = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 12}, "unit": {"enum": ["C", "F"]}},
    "required": ["city", "unit"],
    "additionalProperties": False,
}
TIME = {
    "type": "object",
    "properties": {"zone": {"enum": ["UTC", "CET"]}},
    "required": ["zone"],
    "additionalProperties": False,
}
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "The weather.",
            "parameters": WEATHER,
            "strict": True,
        },
    },
    {
        "type": "function",
        "function": {"name": "time", "description": "The time.", "parameters": TIME},
    },
]
ASK = [{"role": "user", "content": "What is the weather in Paris?"}]


@pytest.fixture(scope="module")
def client(served):
    return openai.OpenAI(base_url=served.url + "/v1", api_key="none", max_retries=0)


@pytest.fixture(scope="module")
def claude(served):
    return anthropic.Anthropic(base_url=served.url, api_key="none", max_retries=0)


def ask(client, **options):
    settings = {
        "model": MODEL,
        "messages": ASK,
        "tools": TOOLS,
        "max_tokens": 80,
        "temperature": 1,
        "seed": 3,
        **options,
    }
    return client.chat.completions.create(**settings)


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "time"}}])
def test_a_call_that_must_come(client, choice):
    answer = ask(client, tool_choice=choice).choices[0]
    assert answer.finish_reason == "tool_calls"
    call = answer.message.tool_calls[0]
    arguments = json.loads(call.function.arguments)
    assert set(arguments) == ({"zone"} if call.function.name == "time" else {"city", "unit"})
    assert choice == "required" or call.function.name == "time"


def test_none_and_auto(client):
    assert ask(client, tool_choice="none").choices[0].message.tool_calls is None
    message = ask(client, tool_choice="auto").choices[0].message
    assert message.content or message.tool_calls
    allowed = {
        "type": "allowed_tools",
        "allowed_tools": {
            "mode": "required",
            "tools": [{"type": "function", "function": {"name": "time"}}],
        },
    }
    assert {
        c.function.name for c in ask(client, tool_choice=allowed).choices[0].message.tool_calls
    } == {"time"}


def test_one_call_where_one_is_asked(client):
    both = "What is the weather in Paris? Also tell me the time in CET."
    messages = [{"role": "user", "content": both}]
    options = {"tool_choice": "required", "max_tokens": 200, "messages": messages}
    many = ask(client, **options)
    one = [ask(client, **options, seed=seed, parallel_tool_calls=False) for seed in range(4)]
    assert [c.function.name for c in many.choices[0].message.tool_calls] == ["weather", "time"]
    assert {len(answer.choices[0].message.tool_calls) for answer in one} == {1}


def test_streamed_calls_are_the_whole_ones(client):
    whole = ask(client, tool_choice="required").choices[0].message.tool_calls
    calls = {}
    for chunk in ask(client, tool_choice="required", stream=True):
        for piece in chunk.choices[0].delta.tool_calls or ():
            name, text = calls.get(piece.index, ("", ""))
            calls[piece.index] = (
                name + (piece.function.name or ""),
                text + (piece.function.arguments or ""),
            )
    assert list(calls.values()) == [(call.function.name, call.function.arguments) for call in whole]


@pytest.mark.parametrize("tokens", range(8, 24, 3))
def test_cut_arguments_are_json(client, tokens):
    answer = ask(
        client, tool_choice={"type": "function", "function": {"name": "weather"}}, max_tokens=tokens
    ).choices[0]
    for call in answer.message.tool_calls or ():
        assert isinstance(json.loads(call.function.arguments), dict)
    assert answer.finish_reason in ("length", "tool_calls")


def test_results_go_back(client):
    first = ask(client, tool_choice="required", parallel_tool_calls=False).choices[0].message
    messages = [
        *ASK,
        first.model_dump(),
        {"role": "tool", "tool_call_id": first.tool_calls[0].id, "content": "12 degrees"},
    ]
    answer = client.chat.completions.create(
        model=MODEL, messages=messages, tools=TOOLS, max_tokens=12, temperature=0
    )
    assert answer.usage.context["tools"] > 0


CLAUDE = [{"name": "weather", "description": "The weather.", "input_schema": WEATHER}]


def test_messages(served, claude):
    settings = {
        "model": MODEL,
        "max_tokens": 20,
        "messages": ASK,
        "extra_body": {"temperature": 0},
        "system": "Be brief.",
    }
    answer = claude.messages.create(**settings)
    expected = served.model.generate(
        [{"role": "system", "content": "Be brief."}, *ASK], max_tokens=20
    )
    assert answer.content[0].text == expected.text
    assert answer.stop_reason == (
        "max_tokens" if expected.finish_reason == "length" else "end_turn"
    )
    counted = claude.messages.count_tokens(
        model=MODEL, messages=ASK, system="Be brief."
    ).input_tokens
    assert counted == expected.usage.prompt_tokens
    assert answer.usage.input_tokens + answer.usage.cache_read_input_tokens == counted
    with claude.messages.stream(**settings) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert text == answer.content[0].text
    assert final.stop_reason == answer.stop_reason
    word = text.split()[1]
    stopped = claude.messages.create(**settings, stop_sequences=[word])
    assert (stopped.stop_reason, stopped.stop_sequence) == ("stop_sequence", word)


@pytest.mark.parametrize("is_streamed", [False, True])
def test_messages_with_tools(claude, is_streamed):
    settings = {
        "model": MODEL,
        "max_tokens": 80,
        "messages": ASK,
        "tools": CLAUDE,
        "tool_choice": {"type": "any", "disable_parallel_tool_use": True},
    }
    if is_streamed:
        with claude.messages.stream(**settings) as stream:
            answer = stream.get_final_message()
    else:
        answer = claude.messages.create(**settings)
    assert answer.stop_reason == "tool_use"
    (block,) = answer.content
    assert block.name == "weather"
    assert set(block.input) == {"city", "unit"}
    result = {
        "type": "tool_result",
        "tool_use_id": block.id,
        "content": [{"type": "text", "text": "12 degrees"}],
    }
    messages = [
        *ASK,
        {"role": "assistant", "content": [block.model_dump()]},
        {"role": "user", "content": [result]},
    ]
    assert claude.messages.create(
        model=MODEL, max_tokens=8, messages=messages, tools=CLAUDE
    ).content


def test_faults_have_anthropics_shape(claude):
    with pytest.raises(anthropic.BadRequestError) as caught:
        claude.messages.create(model=MODEL, max_tokens=8, messages=ASK, extra_body={"colour": 1})
    assert caught.value.body["type"] == "error"
    assert "colour" in caught.value.body["error"]["message"]
    with pytest.raises(anthropic.NotFoundError):
        claude.messages.create(model="other", max_tokens=8, messages=ASK)


def test_messages_async(served):
    async def ask():
        async with anthropic.AsyncAnthropic(
            base_url=served.url, api_key="none", max_retries=0
        ) as client:
            settings = {
                "model": MODEL,
                "max_tokens": 12,
                "messages": ASK,
                "extra_body": {"temperature": 0},
            }
            whole = await client.messages.create(**settings)
            async with client.messages.stream(**settings) as stream:
                text = "".join([piece async for piece in stream.text_stream])
            return whole.content[0].text, text

    whole, text = asyncio.run(ask())
    assert whole == text


def test_messages_held_to_a_schema(claude):
    config = {"format": {"type": "json_schema", "schema": {"enum": ["red", "green"]}}}
    answer = claude.messages.create(
        model=MODEL, max_tokens=8, messages=ASK, extra_body={"output_config": config}
    )
    assert json.loads(answer.content[0].text) in ("red", "green")


PARIS = '{"name": "weather", "arguments": {"city": "Paris", "unit": "C"}}'
NOTATIONS = {
    "fenced": f"```json\n{PARIS}\n```",
    "bare": PARIS,
    "list": f"[{PARIS}]",
    "xml": "<function=weather><parameter=city>Paris</parameter><parameter=unit>C</parameter></function>",
    "python": 'weather(city="Paris", unit="C")',
}


@pytest.mark.parametrize("is_streamed", [False, True])
@pytest.mark.parametrize("raw", NOTATIONS.values(), ids=NOTATIONS)
def test_a_call_of_another_notation_is_a_call(client, raw, is_streamed):
    """A grammar makes the model write what small ones write where they were taught another form."""
    options = {
        "extra_body": {"grammar": f"start: {json.dumps(raw)}"},
        "tool_choice": "auto",
        "stream": is_streamed,
    }
    answer = ask(client, **options)
    if is_streamed:
        chunks = [chunk.choices[0] for chunk in answer]
        called = [c for chunk in chunks for c in chunk.delta.tool_calls or ()]
        name = called[0].function.name
        arguments = "".join(c.function.arguments for c in called)
        text = "".join(chunk.delta.content or "" for chunk in chunks)
        finish = chunks[-1].finish_reason
    else:
        (choice,) = answer.choices
        (call,) = choice.message.tool_calls
        name, arguments, finish = call.function.name, call.function.arguments, choice.finish_reason
        text = choice.message.content or ""
    assert (name, json.loads(arguments)) == ("weather", {"city": "Paris", "unit": "C"})
    assert (text, finish) == ("", "tool_calls")


@pytest.mark.parametrize("route", ["chat/completions", "messages", "messages/count_tokens"])
def test_more_tools_than_are_read_are_refused(served, route):
    names = [f"tool{i}" for i in range(129)]
    tools = [{"type": "function", "function": {"name": name, "parameters": TIME}} for name in names]
    if route != "chat/completions":
        tools = [{"name": name, "input_schema": TIME} for name in names]
    body = {"messages": ASK, "tools": tools}
    body |= {"max_tokens": 4} if route != "messages/count_tokens" else {}
    answer = httpx.post(f"{served.url}/v1/{route}", json=body, timeout=60)
    assert answer.status_code == 400
    assert "tools: too many; expected at most 128; found 129" in answer.json()["error"]["message"]


def test_a_servers_switches_decide_what_small_talk_sees(served):
    """Of a model as small as this one tools are hidden where no call is wanted."""
    body = {"model": MODEL, "messages": [{"role": "user", "content": "Good night!"}]}
    body |= {"tools": TOOLS, "max_tokens": 1, "temperature": 0}
    with live(served.model, calls={"hide_tools": False}) as shown:
        hidden, seen, asked = (
            httpx.post(url + "/v1/chat/completions", json=body | more, timeout=60).json()["usage"]
            for url, more in (
                (served.url, {}),
                (shown.url, {}),
                (served.url, {"calls": {"hide_tools": "off"}}),
            )
        )
    assert asked["prompt_tokens"] == seen["prompt_tokens"]
    assert "tools: 2 not shown, the message asks for none" in hidden["context"]["dropped"]
    assert seen["context"]["dropped"] == []
    assert hidden["prompt_tokens"] < seen["prompt_tokens"]


def test_a_request_may_set_its_switches(served):
    body = {"messages": ASK, "tools": TOOLS, "max_tokens": 1, "calls": {"gat": "on"}}
    answer = httpx.post(served.url + "/v1/chat/completions", json=body, timeout=60)
    assert answer.status_code == 400
    assert "no such switch; expected gate" in answer.json()["error"]["message"]
