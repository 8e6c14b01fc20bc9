"""LlamaIndex's OpenAILike."""

from llama_index.core.llms import ChatMessage
from llama_index.core.tools import FunctionTool
from llama_index.llms.openai_like import OpenAILike
from pydantic import BaseModel


class Town(BaseModel):
    """A town."""

    name: str
    people: int


def weather(city: str) -> str:
    """The weather of a city."""
    return "sunny"


def chat(url, model, **more):
    options = {"api_base": url + "/v1", "api_key": "none", "max_retries": 0, "max_tokens": 48}
    options |= {"is_chat_model": True, "is_function_calling_model": True, "context_window": 2048}
    return OpenAILike(model=model, **options | more)


def plain(url, model):
    return chat(url, model).chat([ChatMessage("Say hello.")]).message.content


def stream(url, model):
    pieces = chat(url, model).stream_chat([ChatMessage("Say hello.")])
    return "".join(piece.delta or "" for piece in pieces)


def tools(url, model):
    tool = FunctionTool.from_defaults(weather)
    said = chat(url, model).chat_with_tools(
        [tool], user_msg="What is the weather in Paris?", tool_required=True
    )
    return chat(url, model).get_tool_calls_from_response(said)[0].tool_name


def structured(url, model):
    made = chat(url, model, max_tokens=96).as_structured_llm(Town)
    return type(made.chat([ChatMessage("Paris has 2 people.")]).raw).__name__


def wrong_model(url, model):
    return plain(url, "no-such-model")


def too_long(url, model):
    return chat(url, model).chat([ChatMessage("word " * 6000)]).message.content
