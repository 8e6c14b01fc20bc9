"""LangChain with OpenAI's chat completions."""

from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel


class Town(BaseModel):
    """A town."""

    name: str
    people: int


@tool
def weather(city: str) -> str:
    """The weather of a city."""
    return "sunny"


def chat(url, model, **more):
    options = {"base_url": url + "/v1", "api_key": "none", "max_retries": 0, "max_tokens": 64}
    return ChatOpenAI(model=model, **options | more)


def plain(url, model):
    return chat(url, model).invoke("Say hello.").content


def stream(url, model):
    return "".join(piece.content for piece in chat(url, model).stream("Say hello."))


def tools(url, model):
    talk = [HumanMessage("What is the weather in Paris?")]
    first = chat(url, model).bind_tools([weather], tool_choice="any").invoke(talk)
    call = first.tool_calls[0]
    talk += [first, ToolMessage("sunny", tool_call_id=call["id"])]
    return f"{call['name']} {chat(url, model).bind_tools([weather]).invoke(talk).type}"


def structured(url, model):
    found = chat(url, model).with_structured_output(Town).invoke("Paris has 2 people.")
    return type(found).__name__


def wrong_model(url, model):
    return plain(url, "no-such-model")


def too_long(url, model):
    return chat(url, model).invoke("word " * 6000).content


def cancel(url, model):
    next(iter(chat(url, model, max_tokens=2000).stream("Say hello.")))
    return "left"
