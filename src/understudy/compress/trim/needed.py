"""The ids that a model cannot do without: its ends, what its template writes, what its settings
name.
"""

from __future__ import annotations

from typing import Any

from understudy.compress.data import TextEncoder
from understudy.compress.trim.tokenizer import processor_ids
from understudy.formats.tokenizer_source import TokenizerSource

# What a template writes around words: a conversation with every role, a call and its result.
_TOOL = {"name": "look_up", "description": "Looks it up.", "parameters": {"type": "object"}}
_CALL = {
    "function": {"name": "look_up", "arguments": {"name": "Ann", "count": [1, 2.5, None, True]}}
}
_CHAT: list[dict[str, Any]] = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Hello?"},
    {"role": "assistant", "content": "", "tool_calls": [{"type": "function", **_CALL}]},
    {"role": "tool", "name": "look_up", "content": '{"found": "yes"}'},
    {"role": "assistant", "content": "Hello."},
]


def needed_ids(source: TokenizerSource, encoder: TextEncoder) -> frozenset[int]:
    """Ids that settings, post-processor or chat template need."""
    single = (source.bos_id, source.unk_id, source.pad_id)
    several = (*source.eos_ids, *source.opening_ids, *source.closing_ids)
    ids = {token for token in (*single, *several) if token is not None}
    if source.kind == "tokenizer.json":
        ids |= processor_ids(source.payload or b"")
    for tools in (None, [{"type": "function", "function": _TOOL}]):
        prompt = encoder.chat_template.render(_CHAT, tools=tools, add_generation_prompt=True)
        ids.update(prompt.encode(encoder.tokenizer))
    return frozenset(ids)
