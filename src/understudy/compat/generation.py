"""How an answer is made, said as transformers says it: arguments before a GenerationConfig before
the checkpoint's file.

generation_config.json of a folder counts as it does there: lengths, sampling, penalties, tokens
that are held back. What it asks for and is not implemented is named in a warning when the model is
loaded; the same as an argument is refused.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from understudy.checkpoint.token_bias import HELD_BACK
from understudy.engine import SamplingParams
from understudy.errors import CheckpointWarning, UsageError

DEFAULTS: dict[str, Any] = {
    "max_new_tokens": None,
    "max_length": 20,
    "do_sample": False,
    "temperature": 1.0,
    "top_k": 50,
    "top_p": 1.0,
    "min_p": None,
    "repetition_penalty": 1.0,
    "num_return_sequences": 1,
    "eos_token_id": None,
    "pad_token_id": None,
    "bos_token_id": None,
    "stop_strings": None,
    "suppress_tokens": None,
}
# Settings without effect, by the values that they may have.
_IDLE: dict[str, tuple[Any, ...]] = {
    "use_cache": (True, False, None),
    "num_beams": (1, None),
    "num_beam_groups": (1, None),
    "no_repeat_ngram_size": (0, None),
    "typical_p": (1.0, None),
    "epsilon_cutoff": (0.0, None),
    "eta_cutoff": (0.0, None),
    "min_length": (0, None),
    "min_new_tokens": (0, None),
    "early_stopping": (False, None),
    "length_penalty": (1.0, None),
    "encoder_repetition_penalty": (1.0, None),
    "encoder_no_repeat_ngram_size": (0, None),
    "diversity_penalty": (0.0, None),
    "return_dict_in_generate": (False, None),
    "output_scores": (False, None),
    "output_logits": (False, None),
    "output_attentions": (False, None),
    "output_hidden_states": (False, None),
    "remove_invalid_values": (False, None),
    "renormalize_logits": (False, None),
    "synced_gpus": (False, None),
    "trust_remote_code": (True, False, None),
}
_MARKS = {"transformers_version", "chat_format", "_from_model_config", "decoder_start_token_id"}
_OF_ENGINE = {
    "begin_suppress_tokens",
    "bad_words_ids",
    "sequence_bias",
}  # every API obeys the file


def read_generation_config(path: Path) -> SimpleNamespace:
    """The settings of a checkpoint: those of its generation_config.json on top of transformers'
    defaults.
    """
    file = path / "generation_config.json"
    found: dict[str, Any] = {}
    if file.is_file():
        try:
            found = dict(json.loads(file.read_text(encoding="utf-8")))
        except (ValueError, TypeError) as error:
            warnings.warn(f"{file}: not read ({error})", CheckpointWarning, stacklevel=2)
    settings = {name: value for name, value in found.items() if name in DEFAULTS}
    if left := sorted(set(found) - set(settings) - _MARKS - _OF_ENGINE - _idle(found)):
        warnings.warn(
            f"{file}: not implemented, answers may differ: {', '.join(left)}",
            CheckpointWarning,
            stacklevel=2,
        )
    return SimpleNamespace(**(DEFAULTS | settings))


def _idle(settings: Mapping[str, Any]) -> set[str]:
    return {
        name
        for name, value in settings.items()
        if value is None or (name in _IDLE and value in _IDLE[name])
    }


def settled(
    checkpoint: SimpleNamespace, config: Any, given: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """(settings, what is left of the arguments) of one call.

    Args:
        checkpoint: what `read_generation_config` gave.
        config: a GenerationConfig, a mapping, or None.
        given: the call's keyword arguments.
    """
    between = dict(config) if isinstance(config, Mapping) else dict(getattr(config, "__dict__", {}))
    settings = dict(vars(checkpoint))
    for source in (between, given):
        settings |= {k: v for k, v in source.items() if k in DEFAULTS and v is not None}
    if given.get("max_length") is not None and given.get("max_new_tokens") is None:
        settings["max_new_tokens"] = None
    # What the file holds back and the call does not is free in this call.
    settings["freed_tokens"] = {*(checkpoint.suppress_tokens or ())} - {
        *(settings["suppress_tokens"] or ())
    }
    idle = _idle({**between, **given})
    left = {k: v for k, v in given.items() if k not in DEFAULTS and k not in idle}
    return settings, left


def sampling_params(
    settings: Mapping[str, Any], prompt_length: int, seed: int | None
) -> SamplingParams:
    """The engine's settings for a prompt of some length.

    Raises:
        UsageError: `max_length` leaves no room behind the prompt.
    """
    max_tokens = settings["max_new_tokens"]
    if max_tokens is None:
        # transformers' own default of 20 counts what is new, a `max_length` that somebody set
        # counts all.
        is_default = settings["max_length"] == DEFAULTS["max_length"]
        max_tokens = settings["max_length"] - (0 if is_default else prompt_length)
    if max_tokens < 1:
        raise UsageError(
            "max_length leaves no room for an answer",
            expected=f"more than {prompt_length}",
            found=settings["max_length"],
            do="set max_new_tokens",
        )
    samples = bool(settings["do_sample"])
    stops, ends = settings["stop_strings"], settings["eos_token_id"]
    return SamplingParams(
        max_tokens=max_tokens,
        temperature=settings["temperature"] if samples else 0.0,
        top_k=settings["top_k"] if samples else 0,
        top_p=settings["top_p"] if samples else 1.0,
        min_p=(settings["min_p"] or 0.0) if samples else 0.0,
        repetition_penalty=settings["repetition_penalty"],
        penalty_last_n=-1,  # transformers looks at the whole text
        logit_bias=dict.fromkeys(settings["freed_tokens"], 0.0)
        | dict.fromkeys(settings["suppress_tokens"] or (), HELD_BACK),
        seed=seed,
        stop=(stops,) if isinstance(stops, str) else tuple(stops or ()),
        stop_token_ids=(ends,) if isinstance(ends, int) else tuple(ends or ()),
        n=settings["num_return_sequences"],
    )
