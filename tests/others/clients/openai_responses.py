"""openai, responses."""

import openai
from openai_chat import TOOL, Town, client

FUNCTION = {"type": "function", **TOOL["function"]}


def ask(url, model, **more):
    options = {"input": "Say hello.", "max_output_tokens": 16, "temperature": 0} | more
    return client(url).responses.create(model=model, **options)


def plain(url, model):
    return ask(url, model).output_text


def stream(url, model):
    events = ask(url, model, stream=True)
    return "".join(event.delta for event in events if event.type == "response.output_text.delta")


def tools(url, model):
    talk = [{"role": "user", "content": "What is the weather in Paris?"}]
    first = ask(
        url, model, input=talk, tools=[FUNCTION], tool_choice="required", max_output_tokens=64
    )
    call = next(item for item in first.output if item.type == "function_call")
    talk += [item.model_dump() for item in first.output]
    talk.append({"type": "function_call_output", "call_id": call.call_id, "output": "sunny"})
    return f"{call.name} {ask(url, model, input=talk, tools=[FUNCTION]).object}"


def structured(url, model):
    talk = [{"role": "user", "content": "Paris has 2 people. Answer in JSON."}]
    found = client(url).responses.parse(
        model=model, input=talk, text_format=Town, max_output_tokens=64, temperature=0
    )
    return type(found.output_parsed).__name__


def wrong_model(url, model):
    return plain(url, "no-such-model")


def too_long(url, model):
    try:
        ask(url, model, input="word " * 6000)
    except openai.BadRequestError as error:
        return f"BadRequestError {error.code}"


def cancel(url, model):
    with ask(url, model, stream=True, max_output_tokens=2000) as events:
        next(iter(events))
    return "left"


def more(url, model):
    first = ask(url, model)
    return ask(url, model, previous_response_id=first.id, max_output_tokens=4).object
