"""llm, as its OpenAI plugin talks to other servers."""

import os
import tempfile

os.environ.setdefault("LLM_USER_PATH", tempfile.mkdtemp())

from llm.default_plugins.openai_models import Chat


def chat(url, model):
    made = Chat(
        model, api_base=url + "/v1", can_stream=True, supports_schema=True, supports_tools=True
    )
    made.key = "none"
    return made


def plain(url, model):
    return chat(url, model).prompt("Say hello.", stream=False, max_tokens=16).text()


def stream(url, model):
    return "".join(chat(url, model).prompt("Say hello.", max_tokens=16))


def structured(url, model):
    schema = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
    return (
        chat(url, model).prompt("A dog.", stream=False, schema=schema, max_tokens=64).json()
        is not None
    )


def wrong_model(url, model):
    return chat(url, "no-such-model").prompt("Hi", stream=False).text()


def too_long(url, model):
    return chat(url, model).prompt("word " * 6000, stream=False).text()
