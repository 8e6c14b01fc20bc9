"""anthropic: messages, the tool runner, structured answers."""

import anthropic
from pydantic import BaseModel

ASK = [{"role": "user", "content": "Say hello."}]
TOOL = {
    "name": "weather",
    "description": "The weather of a city.",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
    },
}


class Town(BaseModel):
    name: str
    people: int


def client(url):
    return anthropic.Anthropic(base_url=url, api_key="none", max_retries=0)


def ask(url, model, **more):
    options = {"messages": ASK, "max_tokens": 16} | more
    return client(url).messages.create(model=model, **options)


def plain(url, model):
    return ask(url, model).content[0].text


def stream(url, model):
    with client(url).messages.stream(model=model, messages=ASK, max_tokens=16) as events:
        return "".join(events.text_stream)


def tools(url, model):
    talk = [{"role": "user", "content": "What is the weather in Paris?"}]
    forced = {"type": "any"}
    first = ask(url, model, messages=talk, tools=[TOOL], tool_choice=forced, max_tokens=64)
    call = next(block for block in first.content if block.type == "tool_use")
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "sunny"}
    talk += [{"role": "assistant", "content": first.content}, {"role": "user", "content": [result]}]
    return f"{call.name} {ask(url, model, messages=talk, tools=[TOOL]).role}"


def structured(url, model):
    talk = [{"role": "user", "content": "Paris has 2 people. Answer in JSON."}]
    found = client(url).messages.parse(
        model=model, messages=talk, output_format=Town, max_tokens=64
    )
    return type(found.parsed_output).__name__


def wrong_model(url, model):
    return plain(url, "no-such-model")


def too_long(url, model):
    try:
        ask(url, model, messages=[{"role": "user", "content": "word " * 6000}])
    except anthropic.BadRequestError as error:
        return f"BadRequestError {'prompt is too long' in str(error)}"


def cancel(url, model):
    with client(url).messages.stream(model=model, messages=ASK, max_tokens=2000) as events:
        next(iter(events))
    return "left"


def more(url, model):
    """The SDK's own loop, which asks for a thread first and goes on without."""

    @anthropic.beta_tool
    def weather(city: str) -> str:
        """The weather of a city.

        Args:
            city: its name
        """
        return "sunny"

    runner = client(url).beta.messages.tool_runner(
        model=model, messages=ASK, tools=[weather], max_tokens=16
    )
    return runner.until_done().role
