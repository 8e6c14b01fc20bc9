"""What `/v1/responses` takes: items of a conversation, tools, the form of the answer."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from understudy.serve.api.bodies import (
    Body,
    DrawSamplers,
    Effort,
    JsonObject,
    Probability,
    Several,
    StreamOptions,
    Temperature,
    Tier,
    Tokens,
)
from understudy.serve.api.openai_chat_bodies import FunctionTool


class TextContent(Body):
    type: Literal["input_text", "output_text"]
    text: str
    annotations: Several[Any] | None = None
    logprobs: Several[Any] | None = None


class RefusalContent(Body):
    """What this server writes where its guard stopped an answer."""

    type: Literal["refusal"]
    refusal: str


Content = Annotated[
    Annotated[TextContent, Tag("text")] | Annotated[RefusalContent, Tag("refusal")],
    Discriminator(lambda part: _kind_of_content(part)),
]


def _kind_of_content(part: Any) -> str:
    kind = str(part.get("type") if isinstance(part, dict) else getattr(part, "type", ""))
    return "text" if kind in ("input_text", "output_text", "text") else kind


class MessageItem(Body):
    type: Literal["message"] = "message"
    role: Literal["user", "assistant", "system", "developer"]
    content: str | Several[Content]
    id: str | None = None
    status: str | None = None
    phase: str | None = None


class CallItem(Body):
    type: Literal["function_call"]
    call_id: str
    name: str
    arguments: str
    id: str | None = None
    status: str | None = None
    namespace: None = None
    caller: JsonObject | None = None
    is_async: Annotated[Literal[False] | None, Field(alias="async")] = None


class ResultItem(Body):
    type: Literal["function_call_output"]
    call_id: str
    output: str | Several[TextContent]
    id: str | None = None
    status: str | None = None


class ReasoningItem(Body):
    """An earlier answer's reasoning; of what is still in a prompt its chat template decides."""

    type: Literal["reasoning"]
    id: str | None = None
    summary: Several[Any] | None = None
    content: Several[Any] | None = None
    encrypted_content: str | None = None
    status: str | None = None

    @property
    def text(self) -> str:
        """What was thought, or its summary."""
        parts = [part for part in self.content or self.summary or () if isinstance(part, dict)]
        return "".join(str(part.get("text", "")) for part in parts)


class ReferenceItem(Body):
    """An item of an earlier response, by its id."""

    type: Literal["item_reference"]
    id: str


Item = Annotated[
    Annotated[MessageItem, Tag("message")]
    | Annotated[CallItem, Tag("function_call")]
    | Annotated[ResultItem, Tag("function_call_output")]
    | Annotated[ReasoningItem, Tag("reasoning")]
    | Annotated[ReferenceItem, Tag("item_reference")],
    Discriminator(lambda item: _kind_of_item(item)),
]


def _kind_of_item(item: Any) -> str:
    """Messages may come without a type."""
    kind = item.get("type") if isinstance(item, dict) else getattr(item, "type", None)
    return "message" if kind is None else str(kind)


def messages_of(items: list[Item]) -> list[dict[str, Any]]:
    """As chat templates take it; neighbouring calls are one message."""
    messages: list[dict[str, Any]] = []
    thought: dict[str, str] = {}
    for item in items:
        if isinstance(item, ReasoningItem):
            thought = {"reasoning_content": item.text} if item.text else {}
        elif isinstance(item, CallItem):
            call = {
                "type": "function",
                "id": item.call_id,
                "function": {"name": item.name, "arguments": item.arguments},
            }
            if messages and messages[-1]["role"] == "assistant":
                messages[-1].setdefault("tool_calls", []).append(call)
            else:
                message = {"role": "assistant", "content": "", "tool_calls": [call]}
                messages.append(message | thought)
                thought = {}
        elif isinstance(item, ResultItem):
            result = {"role": "tool", "tool_call_id": item.call_id}
            messages.append({**result, "content": text_of(item.output)})
        elif isinstance(item, MessageItem):
            said = {"role": item.role, "content": text_of(item.content)}
            messages.append(said | thought if item.role == "assistant" else said)
            thought = {}
    return messages


def text_of(content: str | list[Content] | list[TextContent]) -> str:
    if isinstance(content, str):
        return content
    return "".join(
        part.refusal if isinstance(part, RefusalContent) else part.text for part in content
    )


class ResponsesTool(FunctionTool):
    type: Literal["function"]

    def to_openai(self) -> dict[str, Any]:
        parameters = self.parameters or {"type": "object", "properties": {}}
        return {
            "type": "function",
            "function": {
                "name": self.name,
                "description": self.description or "",
                "parameters": parameters,
            },
        }


class ResponsesChoice(Body):
    type: Literal["function"]
    name: str


class TextFormat(Body):
    type: Literal["text", "json_object", "json_schema"]
    name: str | None = None
    description: str | None = None
    schema_: Annotated[JsonObject | None, Field(alias="schema")] = None
    strict: bool | None = None


class TextOptions(Body):
    format: TextFormat | None = None
    verbosity: Literal["medium"] | None = None


class ReasoningOptions(Body):
    """Whether the model thinks; how much, and what a summary says, is its own affair."""

    effort: Effort | None = None
    summary: Literal["auto", "concise", "detailed"] | None = None
    generate_summary: Literal["auto", "concise", "detailed"] | None = None


Include = Literal["reasoning.encrypted_content"]  # reasoning is not encrypted: nothing is added


class ResponsesRequest(DrawSamplers):
    model: str | None = None
    input: str | Annotated[Several[Item], Field(min_length=1)]
    instructions: str | None = None
    previous_response_id: str | None = None
    store: bool | None = None
    tools: Several[ResponsesTool] | None = None
    tool_choice: Literal["none", "auto", "required"] | ResponsesChoice | None = None
    parallel_tool_calls: bool | None = None
    max_output_tokens: Tokens | None = None
    temperature: Temperature | None = None
    top_p: Probability | None = None
    text: TextOptions | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    metadata: dict[str, str] | None = None
    user: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    truncation: Literal["auto", "disabled"] | None = None
    service_tier: Tier | None = None
    background: Literal[False] | None = None
    include: Several[Include] | None = None
    reasoning: ReasoningOptions | None = None
    top_logprobs: Literal[0] | None = None
    prompt_cache_retention: str | None = None
