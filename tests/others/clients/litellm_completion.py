"""LiteLLM over chat completions and messages."""

import litellm
from pydantic import BaseModel

litellm.suppress_debug_info = True


class Town(BaseModel):
    name: str
    people: int


def ask(url, model, kind="openai", **more):
    base = url + "/v1" if kind == "openai" else url
    options = {"messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 16}
    options |= {"api_base": base, "api_key": "none", "max_retries": 0}
    return litellm.completion(model=f"{kind}/{model}", **options | more)


def plain(url, model):
    return [ask(url, model, kind).choices[0].message.content for kind in ("openai", "anthropic")]


def stream(url, model):
    pieces = ask(url, model, stream=True)
    return "".join(piece.choices[0].delta.content or "" for piece in pieces)


def tools(url, model):
    parameters = {"type": "object", "properties": {"city": {"type": "string"}}}
    tool = {"type": "function", "function": {"name": "weather", "parameters": parameters}}
    names = []
    for kind in ("openai", "anthropic"):
        talk = [{"role": "user", "content": "What is the weather in Paris?"}]
        options = {"tools": [tool], "max_tokens": 64}
        first = ask(url, model, kind, messages=talk, tool_choice="required", **options)
        message = first.choices[0].message
        call = message.tool_calls[0]
        talk += [
            message.model_dump(),
            {"role": "tool", "tool_call_id": call.id, "content": "sunny"},
        ]
        ask(url, model, kind, messages=talk, **options)
        names.append(call.function.name)
    return names


def structured(url, model):
    talk = [{"role": "user", "content": "Paris has 2 people."}]
    said = ask(url, model, messages=talk, response_format=Town, max_tokens=64)
    return type(Town.model_validate_json(said.choices[0].message.content)).__name__


def wrong_model(url, model):
    return plain(url, "no-such-model")


def too_long(url, model):
    return ask(url, model, messages=[{"role": "user", "content": "word " * 6000}])


def cancel(url, model):
    pieces = ask(url, model, stream=True, max_tokens=2000)
    next(iter(pieces))
    pieces.completion_stream.close()
    return "left"


def more(url, model):
    """Anthropic's way at LiteLLM's own limit of the answer."""
    return ask(url, model, "anthropic", max_tokens=None, stop=["a", "e", "i"]).object
