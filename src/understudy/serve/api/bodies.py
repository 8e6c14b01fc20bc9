"""What all bodies have in common."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Probability = Annotated[float, Field(ge=0, le=1)]
Penalty = Annotated[float, Field(ge=-2, le=2)]
Temperature = Annotated[float, Field(ge=0, le=2)]
Seed = Annotated[int, Field(ge=-(1 << 63), le=(1 << 63) - 1)]
Tokens = Annotated[int, Field(ge=1, le=1 << 30)]
StopText = Annotated[str, Field(min_length=1)]
Stop = StopText | Annotated[list[StopText], Field(max_length=32)] | None
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


_Window = Annotated[int, Field(ge=-1, le=1 << 30)]


class RepetitionSamplers(Body):
    """DRY and XTC, as llama.cpp names them."""

    dry_multiplier: Annotated[float, Field(ge=0, le=100)] | None = None
    dry_base: Annotated[float, Field(ge=0, le=100)] | None = None
    dry_allowed_length: Annotated[int, Field(ge=0, le=1 << 30)] | None = None
    dry_penalty_last_n: _Window | None = None
    dry_sequence_breakers: list[Annotated[str, Field(min_length=1)]] | None = None
    xtc_probability: Probability | None = None
    xtc_threshold: Probability | None = None

    def repetition_sampling(self) -> dict[str, Any]:
        """These settings, as `SamplingParams` takes them."""
        return {name: getattr(self, name) for name in RepetitionSamplers.model_fields}


class LoraScale(Body):
    """How strongly an adapter acts, as llama-server says it; those not named do not."""

    id: int
    scale: Annotated[float, Field(ge=-100, le=100)] = 0.0


class AdapterBody(Body):
    """A request that may choose adapters."""

    lora: list[LoraScale] | None = None


class DrawSamplers(RepetitionSamplers):
    """How tokens are drawn, beyond temperature and top_p: on every route that writes, named as in
    `SamplingParams`.
    """

    top_k: Annotated[int, Field(ge=0, le=1 << 30)] | None = None
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
