"""What bodies of several routes have in common, and what they ask for."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from understudy.generation.chat_request import AnswerForm
from understudy.generation.thinking import Thinking
from understudy.serve.errors import ApiError

T = TypeVar("T")
# One fault is enough: a million are not looked for.
Several = Annotated[list[T], Field(fail_fast=True)]
Probability = Annotated[float, Field(ge=0, le=1)]
Penalty = Annotated[float, Field(ge=-2, le=2)]
Temperature = Annotated[float, Field(ge=0, le=2)]
Seed = Annotated[int, Field(ge=-(1 << 63), le=(1 << 63) - 1)]
Tokens = Annotated[int, Field(ge=1, le=1 << 30)]
StopText = Annotated[str, Field(min_length=1)]
Stop = StopText | Annotated[Several[StopText], Field(max_length=32)] | None
JsonObject = dict[str, Any]


class Body(BaseModel):
    """A request: unknown fields are faults, and nothing is converted silently. Null of what may be
    left out is absence, and so is an empty list or object of a field that is not known."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _without_absences(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        fields = cls.model_fields.items()
        known = {field.alias or name for name, field in fields}
        needed = {field.alias or name for name, field in fields if field.is_required()}
        return {
            key: entry
            for key, entry in given.items()
            if (entry is not None or key in needed) and (key in known or entry not in ([], {}))
        }


Tier = Literal["auto", "default", "flex", "priority"]  # one queue here: nothing changes
# -1 is vLLM's word for all of them.
TopK = Annotated[int, Field(ge=-1, le=1 << 30), AfterValidator(lambda top_k: max(top_k, 0))]
_Window = Annotated[int, Field(ge=-1, le=1 << 30)]


class RepetitionSamplers(Body):
    """DRY and XTC, as llama.cpp names them."""

    dry_multiplier: Annotated[float, Field(ge=0, le=100)] | None = None
    dry_base: Annotated[float, Field(ge=0, le=100)] | None = None
    dry_allowed_length: Annotated[int, Field(ge=0, le=1 << 30)] | None = None
    dry_penalty_last_n: _Window | None = None
    dry_sequence_breakers: Several[Annotated[str, Field(min_length=1)]] | None = None
    xtc_probability: Probability | None = None
    xtc_threshold: Probability | None = None

    def repetition_sampling(self) -> dict[str, Any]:
        """These settings, as `SamplingParams` takes them."""
        return {name: getattr(self, name) for name in RepetitionSamplers.model_fields}


Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh"]


def thinks(effort: Effort | None) -> bool | None:
    """Whether an answer is thought about, as an effort says it; how much is the model's affair."""
    return None if effort is None else effort != "none"


class ThinkingFields(Body):
    """Thoughts as OpenAI's clients, vLLM (`thinking_token_budget`) and llama-server (the next two)
    ask for them.
    """

    reasoning_effort: Effort | None = None
    chat_template_kwargs: JsonObject | None = None
    reasoning_budget: Annotated[int, Field(ge=0, le=1 << 30)] | None = None
    thinking_token_budget: Annotated[int, Field(ge=0, le=1 << 30)] | None = None
    thinking_budget_tokens: Annotated[int, Field(ge=-1, le=1 << 30)] | None = None
    reasoning_budget_tokens: Annotated[int, Field(ge=-1, le=1 << 30)] | None = None

    def thinking(self) -> Thinking:
        given = (
            *(self.reasoning_budget, self.thinking_token_budget),
            *(self.thinking_budget_tokens, self.reasoning_budget_tokens),
        )
        budget = next((number for number in given if number is not None), None)
        variables = dict(self.chat_template_kwargs or {})
        enabled = variables.pop("enable_thinking", thinks(self.reasoning_effort))
        if enabled is not None and not isinstance(enabled, bool):
            raise ApiError(
                400,
                "chat_template_kwargs.enable_thinking: true or false",
                param="chat_template_kwargs",
                code="invalid_value",
            )
        return Thinking(enabled, None if budget == -1 else budget, variables)


class LoraScale(Body):
    """How strongly an adapter acts, as llama-server says it; those not named do not."""

    id: int
    scale: Annotated[float, Field(ge=-100, le=100)] = 0.0


class AdapterBody(Body):
    """A request that may choose adapters."""

    lora: Several[LoraScale] | None = None


class DrawSamplers(RepetitionSamplers):
    """How tokens are drawn, beyond temperature and top_p: on every route that writes, named as in
    `SamplingParams`.
    """

    top_k: TopK | None = None
    min_p: Probability | None = None
    repetition_penalty: Annotated[float, Field(ge=0.01, le=100)] | None = None
    penalty_last_n: _Window | None = None
    penalize_prompt: bool | None = None

    def draw_sampling(self) -> dict[str, Any]:
        """These settings, as `SamplingParams` takes them."""
        return {name: getattr(self, name) for name in DrawSamplers.model_fields}


class Samplers(DrawSamplers, AdapterBody):
    """Settings beyond OpenAI's that its own two routes take."""

    grammar: str | None = None
    overflow: Literal["refuse", "keep_start", "keep_end"] | None = None
    ignore_eos: bool | None = None


class StreamOptions(Body):
    include_usage: bool | None = None
    include_obfuscation: bool | None = None


def usage_to_come(options: StreamOptions | None) -> dict[str, Any]:
    """What each chunk has in the place of a usage that the last one brings."""
    return {"usage": None} if options is not None and options.include_usage else {}


class SchemaFormat(Body):
    name: str
    description: str | None = None
    schema_: Annotated[JsonObject | None, Field(alias="schema")] = None
    strict: bool | None = None


class ResponseFormat(Body):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: SchemaFormat | None = None


def answer_of(form: ResponseFormat | None, grammar: str | None) -> AnswerForm:
    if form is None or form.type == "text":
        return AnswerForm(lark=grammar)
    if grammar is not None:
        raise ApiError(
            400, "grammar: not together with response_format", param="grammar", code="invalid_value"
        )
    if form.type == "json_object":
        return AnswerForm(json_schema={"type": "object"})
    if form.json_schema is None or form.json_schema.schema_ is None:
        name = "response_format.json_schema"
        raise ApiError(
            400, f"{name}: a schema is needed", param=name, code="missing_required_parameter"
        )
    return AnswerForm(json_schema=form.json_schema.schema_)


def bias_of(bias: dict[str, float] | None) -> dict[int, float] | None:
    try:
        return None if bias is None else {int(token): value for token, value in bias.items()}
    except ValueError as error:
        raise ApiError(
            400, "logit_bias: keys are token ids", param="logit_bias", code="invalid_value"
        ) from error


def stops_of(stop: str | list[str] | None) -> tuple[str, ...]:
    return (stop,) if isinstance(stop, str) else tuple(stop or ())


def sampled(body: Any) -> dict[str, Any]:
    """What a body says of sampling, named as in `SamplingParams`; None for what it leaves open."""
    names = (
        "temperature",
        "top_p",
        "top_k",
        "min_p",
        "repetition_penalty",
        "penalty_last_n",
        "penalize_prompt",
        "frequency_penalty",
        "presence_penalty",
        "seed",
        "n",
        "ignore_eos",
    )
    return {name: getattr(body, name) for name in names}
