"""What clients send to `/v1/chat/completions`: messages, tools, choices, settings."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from understudy.serve.api.bodies import (
    Body,
    JsonObject,
    Penalty,
    Probability,
    ResponseFormat,
    Samplers,
    Seed,
    Several,
    Stop,
    StreamOptions,
    Temperature,
    ThinkingFields,
    Tier,
    Tokens,
)


class TextPart(Body):
    type: Literal["text"]
    text: str
    cache_control: JsonObject | None = None  # the cache here needs no hints


class RefusalPart(Body):
    type: Literal["refusal"]
    refusal: str


ChatPart = Annotated[TextPart | RefusalPart, Field(discriminator="type")]


class CalledFunction(Body):
    name: str
    arguments: str


class MessageCall(Body):
    id: str
    type: Literal["function"] = "function"
    function: CalledFunction
    index: int | None = None  # clients send back what was streamed


class ChatMessage(Body):
    """A message. Answers of this server can be sent back as they are."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | Several[ChatPart] | None = None
    name: str | None = None
    tool_calls: Several[MessageCall] | None = None
    tool_call_id: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None  # vLLM's name of it
    annotations: Several[Any] | None = None
    audio: None = None
    function_call: None = None
    cache_control: JsonObject | None = None

    def to_message(self) -> dict[str, Any]:
        """As chat templates take it."""
        content = self.content
        if isinstance(content, list):
            content = "".join(
                part.text if isinstance(part, TextPart) else part.refusal for part in content
            )
        message: dict[str, Any] = {"role": self.role, "content": content or self.refusal or ""}
        if thought := self.reasoning_content or self.reasoning:
            message["reasoning_content"] = thought
        if self.tool_calls:
            message["tool_calls"] = [
                {
                    "type": "function",
                    "id": call.id,
                    "function": {"name": call.function.name, "arguments": call.function.arguments},
                }
                for call in self.tool_calls
            ]
        message |= {
            key: entry
            for key, entry in (("name", self.name), ("tool_call_id", self.tool_call_id))
            if entry is not None
        }
        return message


class FunctionTool(Body):
    name: str
    description: str | None = None
    parameters: JsonObject | None = None
    strict: bool | None = None


class ChatTool(Body):
    type: Literal["function"]
    function: FunctionTool
    cache_control: JsonObject | None = None


class NamedFunction(Body):
    name: str


class NamedChoice(Body):
    type: Literal["function"]
    function: NamedFunction


class AllowedTools(Body):
    mode: Literal["auto", "required"]
    tools: Several[JsonObject]


class AllowedChoice(Body):
    type: Literal["allowed_tools"]
    allowed_tools: AllowedTools


class ChatCompletionsBody(Samplers, ThinkingFields):
    model: str | None = None
    messages: Annotated[Several[ChatMessage], Field(min_length=1)]
    frequency_penalty: Penalty | None = None
    presence_penalty: Penalty | None = None
    logit_bias: dict[str, float] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    max_tokens: Tokens | None = None
    max_completion_tokens: Tokens | None = None
    n: Annotated[int, Field(ge=1, le=128)] | None = None
    seed: Seed | None = None
    stop: Stop = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: Temperature | None = None
    top_p: Probability | None = None
    response_format: ResponseFormat | None = None
    tools: Several[ChatTool] | None = None
    tool_choice: Literal["none", "auto", "required"] | NamedChoice | AllowedChoice | None = None
    parallel_tool_calls: bool | None = None
    calls: dict[str, bool | str] | None = None  # of `CallSettings`, for this request
    continue_final_message: bool | None = None  # vLLM's: the answer goes on the last message
    add_generation_prompt: bool | None = None
    # Fields that say something about the caller, or whose only accepted values change nothing.
    user: str | None = None
    metadata: dict[str, str] | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: str | None = None
    store: Literal[False] | None = None
    service_tier: Tier | None = None
    modalities: Several[Literal["text"]] | None = None
    verbosity: Literal["medium"] | None = None
    prediction: JsonObject | None = None  # a guess that could only save time
