"""Understudy: a small language model out of a big one, run on the device.

    import understudy
    model = understudy.load("smollm2-135m-instruct")
    print(model.generate([{"role": "user", "content": "Hello"}]).text)

Names are imported when they are first used, so `import understudy` is fast and light.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_PLACES = {
    "load": "understudy.model",
    "Model": "understudy.model",
    "Reply": "understudy.model",
    "Session": "understudy.chat.session",
    "SessionSettings": "understudy.chat.reply",
    "Tool": "understudy.generation.tools",
    "SamplingParams": "understudy.engine",
    "open_checkpoint": "understudy.checkpoint.checkpoint",
    "save_checkpoint": "understudy.checkpoint.convert",
    "AutoTokenizer": "understudy.compat.transformers",
    "AutoModelForCausalLM": "understudy.compat.transformers",
    "pipeline": "understudy.compat.transformers",
    "TextStreamer": "understudy.compat.transformers",
    "UnderstudyError": "understudy.errors",
}
__all__ = [*_PLACES, "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'understudy' has no attribute {name!r}")
    value = getattr(importlib.import_module(_PLACES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
