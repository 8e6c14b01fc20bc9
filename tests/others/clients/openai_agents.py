"""The OpenAI Agents SDK over chat completions and responses, with a tool and a session."""

import agents
from openai import AsyncOpenAI
from pydantic import BaseModel

agents.set_tracing_disabled(True)


class Town(BaseModel):
    name: str
    people: int


@agents.function_tool
def weather(city: str) -> str:
    """The weather of a city."""
    return "sunny"


def run(url, model, asked="Say hello.", *, is_chat=False, max_tokens=48, choice=None, **more):
    client = AsyncOpenAI(base_url=url + "/v1", api_key="none", max_retries=0)
    kind = agents.OpenAIChatCompletionsModel if is_chat else agents.OpenAIResponsesModel
    settings = agents.ModelSettings(max_tokens=max_tokens, tool_choice=choice)
    agent = agents.Agent(
        name="a", model=kind(model=model, openai_client=client), model_settings=settings, **more
    )
    return agents.Runner.run_sync(agent, asked).final_output


def plain(url, model):
    return [run(url, model, is_chat=is_chat) for is_chat in (True, False)]


def tools(url, model):
    asked = "What is the weather in Paris?"
    options = {"tools": [weather], "choice": "required", "max_tokens": 96}
    said = [run(url, model, asked, is_chat=is_chat, **options) for is_chat in (True, False)]
    return [type(one).__name__ for one in said]


def structured(url, model):
    asked = "Paris has 2 people."
    said = [
        run(url, model, asked, is_chat=i, output_type=Town, max_tokens=96) for i in (True, False)
    ]
    return [type(one).__name__ for one in said]


def wrong_model(url, model):
    return run(url, "no-such-model")


def too_long(url, model):
    return run(url, model, "word " * 6000)
