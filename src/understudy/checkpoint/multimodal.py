"""Folders of networks that see or hear as well, or predict several tokens at once: the text network
is taken out of them, what is left out is named in a warning.

Written as transformers writes them: the text network's config stands under `text_config`, its
tensors under `model.language_model.` or `language_model.model.`, its head beside them.
"""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Mapping
from typing import Any

from understudy.checkpoint.config import is_object
from understudy.checkpoint.registry import ARCHITECTURES
from understudy.checkpoint.weights import Weights
from understudy.errors import CheckpointWarning

# Keys of the whole that are the text network's too, where it does not say otherwise.
_SHARED = ("bos_token_id", "eos_token_id", "pad_token_id", "torch_dtype", "dtype", "understudy")
_TEXT_PART = re.compile(r"(?:model\.)?language_model\.(?:model\.)?(?:(lm_head\.).*|(.+))")
_FURTHER = re.compile(r"(?:model\.)?mtp\.")


def text_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """The config of the text network: the config itself where it is one's."""
    inner = config.get("text_config")
    is_text = config.get("model_type") in ARCHITECTURES
    if is_text or not is_object(inner) or inner.get("model_type") not in ARCHITECTURES:
        return dict(config)
    shared = {key: config[key] for key in _SHARED if key in config}
    quantized = {k: v for k, v in config.items() if k.startswith("quantization")}
    return shared | quantized | dict(inner)


def keep_text(weights: Weights, where: object) -> None:
    """Gives the tensors of the text network their own names, and removes those of other parts."""
    has_parts = any(_TEXT_PART.match(name) for name in weights)
    left_out: Counter[str] = Counter()
    for name in list(weights):
        match = _TEXT_PART.fullmatch(name)
        if match is not None:
            rest = name[match.start(1) :] if match[1] else f"model.{match[2]}"
            weights.rename(name, rest)
        elif _FURTHER.match(name) or (has_parts and not name.startswith("lm_head.")):
            left_out[_part(name)] += 1
            weights.remove(name)
    if left_out:
        parts = ", ".join(f"{number} of {part}" for part, number in left_out.items())
        warnings.warn(
            f"{where}: the text network alone is opened; tensors left out: {parts}",
            CheckpointWarning,
            stacklevel=3,
        )


def _part(name: str) -> str:
    """`visual` of `model.visual.blocks.0…`."""
    return name.removeprefix("model.").partition(".")[0]
