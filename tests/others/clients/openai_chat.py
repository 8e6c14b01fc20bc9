"""openai, chat completions."""

import json

import openai
from pydantic import BaseModel

ASK = [{"role": "user", "content": "Say hello."}]
TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}


class Town(BaseModel):
    name: str
    people: int


def client(url):
    return openai.OpenAI(base_url=url + "/v1", api_key="none", max_retries=0)


def ask(url, model, **more):
    options = {"messages": ASK, "max_tokens": 16, "temperature": 0} | more
    return client(url).chat.completions.create(model=model, **options)


def plain(url, model):
    return ask(url, model).choices[0].message.content


def stream(url, model):
    chunks = ask(url, model, stream=True)
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


def tools(url, model):
    talk = [{"role": "user", "content": "What is the weather in Paris?"}]
    first = ask(url, model, messages=talk, tools=[TOOL], tool_choice="required", max_tokens=64)
    message = first.choices[0].message
    call = message.tool_calls[0]
    json.loads(call.function.arguments)["city"]
    talk += [message, {"role": "tool", "tool_call_id": call.id, "content": "sunny"}]
    last = ask(url, model, messages=talk, tools=[TOOL])
    return f"{call.function.name} {last.choices[0].message.role}"


def structured(url, model):
    talk = [{"role": "user", "content": "Paris has 2 people. Answer in JSON."}]
    found = client(url).chat.completions.parse(
        model=model, messages=talk, response_format=Town, max_tokens=64, temperature=0
    )
    return type(found.choices[0].message.parsed).__name__


def wrong_model(url, model):
    return plain(url, "no-such-model")


def too_long(url, model):
    try:
        ask(url, model, messages=[{"role": "user", "content": "word " * 6000}])
    except openai.BadRequestError as error:
        return f"BadRequestError {error.code}"


def cancel(url, model):
    with ask(url, model, stream=True, max_tokens=2000) as chunks:
        next(iter(chunks))
    return "left"


def more(url, model):
    """What was streamed goes back as it came, with the nulls of `model_dump`."""
    message = ask(url, model).choices[0].message.model_dump()
    return ask(
        url, model, messages=[*ASK, message, *ASK], max_tokens=100_000, stop=["a", "e"]
    ).object
