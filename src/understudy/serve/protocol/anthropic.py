"""Bodies of `/v1/messages` and `/v1/messages/count_tokens`."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import Field

from understudy.serve.protocol.common import Body, JsonObject, Probability, Tokens


class Block(Body):
    cache_control: JsonObject | None = None  # the cache here needs no hints


class TextBlock(Block):
    type: Literal["text"]
    text: str
    citations: list[Any] | None = None


class ToolUseBlock(Block):
    type: Literal["tool_use"]
    id: str
    name: str
    input: JsonObject
    caller: JsonObject | None = None
    toolset_name: None = None


class ToolResultBlock(Block):
    type: Literal["tool_result"]
    tool_use_id: str
    content: str | list[TextBlock] | None = None
    is_error: bool | None = None


class Message(Body):
    role: Literal["user", "assistant"]
    content: (
        str
        | list[Annotated[TextBlock | ToolUseBlock | ToolResultBlock, Field(discriminator="type")]]
    )

    def to_messages(self) -> list[dict[str, Any]]:
        """As chat templates take it: results of tools are messages of their own and come first, as they were asked for."""
        if isinstance(self.content, str):
            return [{"role": self.role, "content": self.content}]
        results = [
            {"role": "tool", "content": result_text(b)}
            for b in self.content
            if isinstance(b, ToolResultBlock)
        ]
        text = "".join(block.text for block in self.content if isinstance(block, TextBlock))
        calls = [
            {
                "type": "function",
                "function": {"name": b.name, "arguments": json.dumps(b.input, ensure_ascii=False)},
            }
            for b in self.content
            if isinstance(b, ToolUseBlock)
        ]
        if calls:
            return [*results, {"role": self.role, "content": text, "tool_calls": calls}]
        return (
            [*results, {"role": self.role, "content": text}]
            if text or not results
            else list(results)
        )


def result_text(block: ToolResultBlock) -> str:
    content = block.content or ""
    text = content if isinstance(content, str) else "".join(part.text for part in content)
    return f"Error: {text}" if block.is_error else text


class Tool(Body):
    type: Literal["custom"] | None = None
    name: str
    description: str | None = None
    input_schema: JsonObject
    cache_control: JsonObject | None = None
    strict: bool | None = None

    def to_openai(self) -> dict[str, Any]:
        function = {
            "name": self.name,
            "description": self.description or "",
            "parameters": self.input_schema,
        }
        return {"type": "function", "function": function}


class ToolChoice(Body):
    type: Literal["auto", "any", "tool", "none"]
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


class Metadata(Body):
    user_id: str | None = None


class Thinking(Body):
    type: Literal["disabled"]


class CountRequest(Body):
    model: str | None = None
    messages: Annotated[list[Message], Field(min_length=1)]
    system: str | list[TextBlock] | None = None
    tools: list[Tool] | None = None
    tool_choice: ToolChoice | None = None
    thinking: Thinking | None = None

    def to_messages(self) -> list[dict[str, Any]]:
        system = (
            self.system
            if isinstance(self.system, str)
            else "".join(block.text for block in self.system or ())
        )
        head = [{"role": "system", "content": system}] if system else []
        return [*head, *(one for message in self.messages for one in message.to_messages())]


class OutputFormat(Body):
    type: Literal["json_schema"]
    schema_: Annotated[JsonObject, Field(alias="schema")]


class OutputConfig(Body):
    format: OutputFormat | None = None


class MessagesRequest(CountRequest):
    max_tokens: Tokens
    stop_sequences: Annotated[list[str], Field(max_length=32)] | None = None
    stream: bool | None = None
    temperature: Probability | None = None
    top_k: Annotated[int, Field(ge=0, le=1 << 30)] | None = None
    top_p: Probability | None = None
    metadata: Metadata | None = None
    service_tier: Literal["auto", "standard_only"] | None = None
    output_config: OutputConfig | None = None
