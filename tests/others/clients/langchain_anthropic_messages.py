"""LangChain with Anthropic's messages, at its defaults."""

import langchain_openai_chat as base
from langchain_anthropic import ChatAnthropic


def _chat(url, model, **more):
    options = {"base_url": url, "api_key": "none", "max_retries": 0, "max_tokens": 64}
    return ChatAnthropic(model=model, **options | more)


def _with(run):
    def driven(url, model):
        original, base.chat = base.chat, _chat
        try:
            return run(url, model)
        finally:
            base.chat = original

    return driven


plain, stream, tools, structured = map(
    _with, (base.plain, base.stream, base.tools, base.structured)
)
wrong_model, too_long, cancel = map(_with, (base.wrong_model, base.too_long, base.cancel))


def more(url, model):
    """At its own limit of the answer, which is more than the context."""
    return _chat(url, model, max_tokens=None, stop=["a", "e", "i"]).invoke("Say hello.").type
