"""Dialects: how messages become a prompt that a checkpoint was trained on, and how its tool calls are read back.

To add one: `text/dialects/<name>.py` with a class like the others, and a line in `DIALECTS`.
"""

from __future__ import annotations

from collections.abc import Callable

from understudy.text.dialects.base import Dialect, Message, Part, Prompt, Stops
from understudy.text.dialects.chatml import ChatmlDialect
from understudy.text.dialects.jinja import JinjaDialect
from understudy.text.dialects.nemotron import NemotronDialect
from understudy.text.dialects.plain import PlainDialect
from understudy.text.tokenizer import Tokenizer
from understudy.text.toolcalls import ParsedCall

DIALECTS: dict[str, Callable[[Tokenizer], Dialect]] = {
    "nemotron": NemotronDialect,
    "chatml": ChatmlDialect,
    "jinja": JinjaDialect,
    "plain": PlainDialect,
}


def dialect_for(architecture: str, tokenizer: Tokenizer) -> Dialect:
    """The dialect that fits a checkpoint: Nemotron's own, ChatML, the checkpoint's template, or none."""
    template = tokenizer.chat_template or ""
    has_nemotron_markers = tokenizer.marker_id("<extra_id_0>") is not None and tokenizer.marker_id("<extra_id_1>") is not None
    if has_nemotron_markers and (architecture == "nemotron" or "<extra_id_1>" in template):
        return NemotronDialect(tokenizer)
    if tokenizer.marker_id("<|im_start|>") is not None and (not template or "<|im_start|>" in template):
        return ChatmlDialect(tokenizer)
    if template:
        return JinjaDialect(tokenizer)
    return PlainDialect(tokenizer)


__all__ = ["DIALECTS", "Dialect", "Message", "ParsedCall", "Part", "Prompt", "Stops", "dialect_for"]
