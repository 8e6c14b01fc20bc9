"""pydantic-ai over chat completions, responses and messages."""

import asyncio

from pydantic import BaseModel
from pydantic_ai import Agent
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.openai import OpenAIProvider


class Town(BaseModel):
    name: str
    people: int


def agents(url, model, **more):
    openai = OpenAIProvider(base_url=url + "/v1", api_key="none")
    anthropic = AnthropicProvider(base_url=url, api_key="none")
    kinds = (
        OpenAIChatModel(model, provider=openai),
        OpenAIResponsesModel(model, provider=openai),
        AnthropicModel(model, provider=anthropic),
    )
    return [Agent(kind, **more) for kind in kinds]


def plain(url, model):
    settings = {"max_tokens": 16}
    return [a.run_sync("Say hello.", model_settings=settings).output for a in agents(url, model)]


def stream(url, model):
    async def read(agent):
        async with agent.run_stream("Say hello.", model_settings={"max_tokens": 16}) as run:
            return await run.get_output()

    return [asyncio.run(read(agent)) for agent in agents(url, model)[:1]]


def tools(url, model):
    def weather(city: str) -> str:
        """The weather of a city."""
        return "sunny"

    settings = {"max_tokens": 48}
    asked = "What is the weather in Paris?"
    return [
        type(a.run_sync(asked, model_settings=settings).output).__name__
        for a in agents(url, model, tools=[weather])
    ]


def structured(url, model):
    settings = {"max_tokens": 64}
    return [
        type(a.run_sync("Paris has 2 people.", model_settings=settings).output).__name__
        for a in agents(url, model, output_type=Town)
    ]


def wrong_model(url, model):
    return agents(url, "no-such-model")[0].run_sync("Hi").output


def too_long(url, model):
    return agents(url, model)[2].run_sync("word " * 6000).output
