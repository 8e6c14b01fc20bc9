"""What clients send to `/v1/messages` and `/v1/messages/count_tokens`."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import Field

from understudy.generation.thinking import Thinking
from understudy.serve.api.bodies import (
    Body,
    DrawSamplers,
    JsonObject,
    Probability,
    Several,
    StopText,
    Tokens,
)


class AnthropicBlock(Body):
    cache_control: JsonObject | None = None  # the cache here needs no hints


class TextBlock(AnthropicBlock):
    type: Literal["text"]
    text: str
    citations: Several[Any] | None = None


class RedactedBlock(Body):
    type: Literal["redacted_thinking"]
    data: str


class ThinkingBlock(Body):
    """An earlier answer's reasoning; what of it is still in a prompt its chat template decides."""

    type: Literal["thinking"]
    thinking: str
    signature: str | None = None


class ToolUseBlock(AnthropicBlock):
    type: Literal["tool_use"]
    id: str
    name: str
    input: JsonObject
    caller: JsonObject | None = None
    toolset_name: None = None


class ToolReference(AnthropicBlock):
    """What a client's search for tools found: a tool that was deferred is offered from here on."""

    type: Literal["tool_reference"]
    tool_name: str


ResultPart = Annotated[TextBlock | ToolReference, Field(discriminator="type")]


class ToolResultBlock(AnthropicBlock):
    type: Literal["tool_result"]
    tool_use_id: str
    content: str | Several[ResultPart] | None = None
    is_error: bool | None = None


class AnthropicMessage(Body):
    role: Literal["user", "assistant", "system"]
    content: (
        str
        | Several[
            Annotated[
                TextBlock | ThinkingBlock | RedactedBlock | ToolUseBlock | ToolResultBlock,
                Field(discriminator="type"),
            ]
        ]
    )

    def to_messages(self) -> list[dict[str, Any]]:
        """As chat templates take it: results of tools are messages of their own and come first, as
        they were asked for.
        """
        if isinstance(self.content, str):
            return [{"role": self.role, "content": self.content}]
        results = [
            {"role": "tool", "tool_call_id": b.tool_use_id, "content": result_text(b)}
            for b in self.content
            if isinstance(b, ToolResultBlock)
        ]
        text = "".join(block.text for block in self.content if isinstance(block, TextBlock))
        calls = [
            {
                "type": "function",
                "id": b.id,
                "function": {"name": b.name, "arguments": json.dumps(b.input, ensure_ascii=False)},
            }
            for b in self.content
            if isinstance(b, ToolUseBlock)
        ]
        thoughts = "".join(b.thinking for b in self.content if isinstance(b, ThinkingBlock))
        said: dict[str, Any] = {"role": self.role, "content": text}
        said |= {"reasoning_content": thoughts} if thoughts else {}
        if calls:
            return [*results, {**said, "tool_calls": calls}]
        return [*results, said] if text or not results else list(results)


def result_text(block: ToolResultBlock) -> str:
    content = block.content or ""
    text = content if isinstance(content, str) else "".join(map(_part_text, content))
    return f"Error: {text}" if block.is_error else text


def _part_text(part: TextBlock | ToolReference) -> str:
    return part.text if isinstance(part, TextBlock) else f"The tool {part.tool_name} can be called."


class AnthropicTool(Body):
    type: Literal["custom"] | None = None
    name: str
    description: str | None = None
    input_schema: JsonObject
    cache_control: JsonObject | None = None
    strict: bool | None = None
    eager_input_streaming: bool | None = None  # pieces of a call come as they are written anyway
    defer_loading: bool | None = None  # shown once a result names it

    def to_openai(self) -> dict[str, Any]:
        function = {
            "name": self.name,
            "description": self.description or "",
            "parameters": self.input_schema,
        }
        return {"type": "function", "function": function}


class AnthropicChoice(Body):
    type: Literal["auto", "any", "tool", "none"]
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


class Metadata(Body):
    user_id: str | None = None


class ThinkingBody(Body):
    """Whether the model thinks, and for how many tokens; `adaptive` is as its template has it."""

    type: Literal["disabled", "enabled", "adaptive"]
    budget_tokens: Annotated[int, Field(ge=1)] | None = None
    display: str | None = None

    def asked(self) -> Thinking:
        enabled = {"disabled": False, "enabled": True}.get(self.type)
        return Thinking(enabled, self.budget_tokens if enabled else None)


class OutputFormat(Body):
    type: Literal["json_schema"]
    schema_: Annotated[JsonObject, Field(alias="schema")]


class OutputConfig(Body):
    format: OutputFormat | None = None
    effort: Literal["low", "medium", "high", "xhigh", "max"] | None = None  # says nothing here


class CountRequest(Body):
    model: str | None = None
    messages: Annotated[Several[AnthropicMessage], Field(min_length=1)]
    system: str | Several[TextBlock] | None = None
    tools: Several[AnthropicTool] | None = None
    tool_choice: AnthropicChoice | None = None
    thinking: ThinkingBody | None = None
    output_config: OutputConfig | None = None
    cache_control: JsonObject | None = None
    context_management: JsonObject | None = None  # nothing is edited here: what is sent is read
    thread: JsonObject | None = None

    def to_messages(self) -> list[dict[str, Any]]:
        system = (
            self.system
            if isinstance(self.system, str)
            else "".join(block.text for block in self.system or ())
        )
        turns = [one for message in self.messages for one in message.to_messages()]
        said = [system, *(str(one["content"]) for one in turns if one["role"] == "system")]
        whole = "\n\n".join(text for text in said if text)  # most templates have one, at the top
        head = [{"role": "system", "content": whole}] if whole else []
        return [*head, *(one for one in turns if one["role"] != "system")]

    def offered(self) -> list[AnthropicTool]:
        """The tools that may be called: deferred ones only after a result has named them."""
        parts = (
            part
            for message in self.messages
            if isinstance(message.content, list)
            for block in message.content
            if isinstance(block, ToolResultBlock) and isinstance(block.content, list)
            for part in block.content
        )
        named = {part.tool_name for part in parts if isinstance(part, ToolReference)}
        return [tool for tool in self.tools or () if not tool.defer_loading or tool.name in named]


class MessagesRequest(CountRequest, DrawSamplers):
    max_tokens: Tokens
    stop_sequences: Annotated[Several[StopText], Field(max_length=32)] | None = None
    stream: bool | None = None
    temperature: Probability | None = None
    top_k: Annotated[int, Field(ge=0, le=1 << 30)] | None = None
    top_p: Probability | None = None
    metadata: Metadata | None = None
    service_tier: Literal["auto", "standard_only"] | None = None
