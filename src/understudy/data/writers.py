"""Who writes the words of made cases: the local engine, or a teacher behind OpenAI's interface.

writer = open_writer("qwen.gguf")       # or open_writer("http://host:8000/v1")
writer.write("Say it as a person would: …")
writer.call("Wake me at 7", tools)
"""

from __future__ import annotations

import json
import os
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol
from urllib.error import URLError

from understudy.data.forms import openai_tools
from understudy.errors import UnderstudyError, UsageError
from understudy.generation.calls import call_mask, read_calls
from understudy.generation.tools import Tool

if TYPE_CHECKING:
    from understudy.model import Model

MAX_WORDS_TOKENS = 96
MAX_CALL_TOKENS = 160
TIMEOUT_S = 120


class Writer(Protocol):
    """`name` stands in the provenance of what was made."""

    @property
    def name(self) -> str: ...

    def write(self, request: str, *, seed: int) -> str:
        """A text of one paragraph."""

    def call(self, message: str, tools: Sequence[Any]) -> dict[str, Any] | None:
        """The call that it makes for a message, one of bare functions; None: none."""


@dataclass
class EngineWriter:
    """A model of this machine. Calls are held to their schemas by a grammar."""

    model: Model
    name: str = "engine"
    temperature: float = 0.8

    def write(self, request: str, *, seed: int) -> str:
        messages = [{"role": "user", "content": request}]
        prompt = self.model.chat_template.render(messages)
        reply = self.model.generate(
            prompt, max_tokens=MAX_WORDS_TOKENS, temperature=self.temperature, seed=seed
        )
        return _line(reply.text)

    def call(self, message: str, tools: Sequence[Any]) -> dict[str, Any] | None:
        offered = [Tool.from_openai(tool) for tool in openai_tools(tools)]
        template = self.model.chat_template
        prompt = template.render(
            [{"role": "user", "content": message}], tools=[tool.to_openai() for tool in offered]
        )
        mask = call_mask(self.model.tokenizer, template, offered, "required", is_parallel=False)
        reply = self.model.generate(
            prompt, make_mask=mask, max_tokens=MAX_CALL_TOKENS, temperature=0.0
        )
        found = read_calls(template, reply.raw_text, offered).calls
        return {"name": found[0].name, "arguments": dict(found[0].arguments)} if found else None


@dataclass
class HttpWriter:
    """A server with OpenAI's chat completions; a key, where one is needed: OPENAI_API_KEY."""

    url: str
    model: str = "default"
    temperature: float = 0.8

    @property
    def name(self) -> str:
        return f"{self.url} {self.model}"

    def write(self, request: str, *, seed: int) -> str:
        body = {"max_tokens": MAX_WORDS_TOKENS, "temperature": self.temperature, "seed": seed}
        message = self._ask([{"role": "user", "content": request}], body)
        return _line(str(message.get("content") or ""))

    def call(self, message: str, tools: Sequence[Any]) -> dict[str, Any] | None:
        body = {
            "tools": openai_tools(tools),
            "tool_choice": "required",
            "temperature": 0,
            "max_tokens": MAX_CALL_TOKENS,
        }
        reply = self._ask([{"role": "user", "content": message}], body)
        calls = reply.get("tool_calls") or ()
        if not calls:
            return None
        function = calls[0]["function"]
        try:
            return {"name": function["name"], "arguments": json.loads(function["arguments"])}
        except ValueError:
            return None

    def _ask(self, messages: list[dict[str, Any]], body: dict[str, Any]) -> dict[str, Any]:
        content = json.dumps({"model": self.model, "messages": messages, **body}).encode()
        headers = {"Content-Type": "application/json"}
        if key := os.environ.get("OPENAI_API_KEY"):
            headers["Authorization"] = f"Bearer {key}"
        request = urllib.request.Request(
            f"{self.url.rstrip('/')}/chat/completions", content, headers
        )
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
                document = json.load(answer)
            message: dict[str, Any] = document["choices"][0]["message"]
        except (URLError, ValueError, KeyError, IndexError, TimeoutError) as error:
            raise UnderstudyError(
                "the writer did not answer", where=self.url, found=str(error)
            ) from error
        return message


def open_writer(name: str, model: str | None = None) -> Writer:
    """A writer by an address or by what `understudy.load` takes.

    Raises:
        UsageError: a model beside a local one, which it names itself.
    """
    if name.startswith(("http://", "https://")):
        return HttpWriter(name, model or "default")
    if model:
        raise UsageError("a local writer is its own model", where="--writer-model", found=model)
    from understudy.model import load

    return EngineWriter(load(name), name)


def _line(text: str) -> str:
    """The first paragraph, without quotation marks around all of it."""
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    line = line.removeprefix("User:").strip()
    return line[1:-1].strip() if len(line) > 2 and line[0] == line[-1] == '"' else line
