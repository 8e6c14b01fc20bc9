"""What clients send to llama-server's `/completion`, in all names that front ends have for it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from understudy.serve.api.bodies import (
    AdapterBody,
    JsonObject,
    Probability,
    RepetitionSamplers,
    Seed,
    Several,
)
from understudy.serve.errors import ApiError

# Fields that are taken and change nothing, with the values that ask for nothing; (): any does.
TOLERATED: dict[str, tuple[Any, ...]] = {
    "typical_p": (1,),
    "typical": (1,),
    "tfs": (1,),
    "tfs_z": (1,),
    "top_a": (0,),
    "mirostat": (0,),
    "mirostat_mode": (0,),
    "mirostat_tau": (),
    "mirostat_eta": (),
    "top_n_sigma": (0, -1),
    "nsigma": (0, -1),
    "min_keep": (0,),
    "adaptive_target": (-1,),
    "adaptive_decay": (),
    "dynatemp_range": (0,),
    "dynatemp_exponent": (),
    "dynatemp_min": (),
    "dynatemp_max": (),
    "dynatemp_low": (),
    "dynatemp_high": (),
    "dynatemp_mode": (0,),
    "dynamic_temperature": (False,),
    "smoothing_factor": (0,),
    "smoothing_curve": (),
    "sampler_order": (),
    "sampler_priority": (),
    "samplers": (),
    "samplers_priorities": (),
    "sampler_seed": (),
    "temperature_last": (),
    "rep_pen_slope": (),
    "rep_pen_size": (),
    "encoder_repetition_penalty": (1,),
    "no_repeat_ngram_size": (0,),
    "penalty_alpha": (0,),
    "penalize_nl": (False,),
    "epsilon_cutoff": (0,),
    "eta_cutoff": (0,),
    "guidance_scale": (1,),
    "negative_prompt": ("",),
    "num_beams": (1,),
    "length_penalty": (),
    "early_stopping": (False,),
    "do_sample": (True,),
    "use_default_badwordsids": (),
    "use_mancer": (),
    "api_type": (),
    "api_server": (),
    "legacy_api": (),
    "add_bos_token": (True,),
    "ban_eos_token": (False,),
    "skip_special_tokens": (True,),
    "spaces_between_special_tokens": (True,),
    "include_reasoning": (),
    "speculative_ngram": (False,),
    "custom_token_bans": ("",),
    "banned_strings": ([],),
    "banned_tokens": ([], ""),
    "bans": ([],),
    "proxy_password": ("",),
    "proxy_preset": (),
    "reverse_proxy": (),
    "truncation_length": (),
    "num_ctx": (),
    "max_context_length": (),
    "min_length": (0,),
    "min_tokens": (0,),
    "sampler": (),
    "id_slot": (-1,),
    "n_keep": (),
    "n_discard": (),
    "t_max_predict_ms": (-1,),
    "return_tokens": (False,),
    "post_sampling_probs": (False,),
    "timings_per_token": (False,),
    "image_data": ([],),
    "cfg_scale": (1,),
    "extra_body": (),
}


_LOW_INT = Annotated[int, Field(ge=-1, le=1 << 30)]


class LlamaCompletionBody(RepetitionSamplers, AdapterBody):
    """llama-server's `/completion`. Aliases are read in the order in which they stand here; the
    first that is given counts.
    """

    model_config = ConfigDict(extra="allow", strict=True, allow_inf_nan=False)

    prompt: str | Several[int | str] = ""
    model: str | None = None
    n_predict: _LOW_INT | None = None
    max_tokens: _LOW_INT | None = None
    max_new_tokens: _LOW_INT | None = None
    temperature: Annotated[float, Field(ge=0, le=100)] | None = None
    top_k: _LOW_INT | None = None
    top_p: Probability | None = None
    min_p: Probability | None = None
    repeat_penalty: Annotated[float, Field(ge=0.01, le=100)] | None = None
    repetition_penalty: Annotated[float, Field(ge=0.01, le=100)] | None = None
    rep_pen: Annotated[float, Field(ge=0.01, le=100)] | None = None
    repeat_last_n: _LOW_INT | None = None
    repetition_penalty_range: _LOW_INT | None = None
    rep_pen_range: _LOW_INT | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    seed: Seed | None = None
    stop: str | Several[str] | None = None
    stopping_strings: Several[str] | None = None
    stop_sequence: Several[str] | None = None
    logit_bias: Several[Several[int | float | bool | str]] | dict[str, float] | None = None
    grammar: str | None = None
    grammar_string: str | None = None
    json_schema: JsonObject | None = None
    n_probs: Annotated[int, Field(ge=0, le=100)] | None = None
    n: Literal[1] | None = None
    cache_prompt: bool | None = None
    ignore_eos: bool | None = None
    stream: bool | None = None

    def first(self, *names: str) -> Any:
        """The value of the first of some aliases that is given."""
        return next(
            (getattr(self, name) for name in names if getattr(self, name) is not None), None
        )

    def ignored_fields(self) -> list[str]:
        """Tolerated fields that asked for something.

        Raises:
            ApiError: a field that is not tolerated either.
        """
        extra = self.model_extra or {}
        if unknown := sorted(set(extra) - set(TOLERATED)):
            raise ApiError(
                400,
                f"{unknown[0][:80]}: unknown parameter",
                param=unknown[0][:80],
                code="unknown_parameter",
            )
        return sorted(
            name
            for name, value in extra.items()
            if TOLERATED[name] and value is not None and value not in TOLERATED[name]
        )
