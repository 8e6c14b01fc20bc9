"""Settings of a checkpoint that hold tokens back or force them, named where nothing obeys them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from understudy.errors import CheckpointWarning
from understudy.formats.safetensors_folder import read_json

# transformers' names; its door here obeys `suppress_tokens` and refuses the others as arguments.
_NAMES = (
    "suppress_tokens",
    "begin_suppress_tokens",
    "bad_words_ids",
    "sequence_bias",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "forced_decoder_ids",
)
_GGUF_KEY = "tokenizer.ggml.suppress_tokens"


def note_folder(folder: Path, config: Mapping[str, Any]) -> None:
    """Warns of such settings in generation_config.json, or of old in config.json."""
    path = folder / "generation_config.json"
    settings = read_json(path) if path.exists() else config
    found = [name for name in _NAMES if settings.get(name) not in (None, [], {})]
    if found:
        _warn(path if path.exists() else folder / "config.json", found)


def note_gguf(metadata: Mapping[str, Any]) -> None:
    """Warns of the key under which a GGUF has them."""
    if metadata.get(_GGUF_KEY):
        _warn("GGUF", [_GGUF_KEY])


def _warn(where: Path | str, names: list[str]) -> None:
    warnings.warn(
        f"{where}: {', '.join(names)}: tokens are neither held back nor forced by this file; "
        "logit_bias of a request does it, and AutoModelForCausalLM.generate obeys suppress_tokens",
        CheckpointWarning,
        stacklevel=4,
    )
