"""A tool as briefly as a model can still call it: its name, the first sentence of what it is for,
and names, types and choices of its parameters. For prompts that have no room for more; grammar and
checks know the whole tool all the same.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from understudy.generation.tools import Tool

SHORTENED = "tools: what describes their parameters"  # a line of a ledger
MAX_DESCRIPTION = 120  # characters
_KEPT = ("type", "enum", "const", "format", "required", "$ref", "additionalProperties")
_INNER = ("items",)
_NAMED = ("properties", "$defs", "definitions")
_LISTED = ("anyOf", "oneOf", "allOf")
_SENTENCE = re.compile(r"[^\n]*?[.!?](?=\s|$)")


def signature(tool: Tool) -> dict[str, Any]:
    """OpenAI's dict of a tool without descriptions of its parameters."""
    return {
        "type": "function",
        "function": {
            "name": tool.name,
            "description": first_sentence(tool.description),
            "parameters": _bare(tool.parameters),
        },
    }


def first_sentence(text: str) -> str:
    """As far as it is not long."""
    match = _SENTENCE.match(text.strip())
    found = match[0] if match else text.strip()
    if len(found) <= MAX_DESCRIPTION:
        return found
    return found[:MAX_DESCRIPTION].rsplit(" ", 1)[0] + " …"


def _bare(schema: Any) -> Any:
    """A schema without what only explains it."""
    if not isinstance(schema, Mapping):
        return schema
    found = {key: schema[key] for key in _KEPT if key in schema}
    found |= {key: _bare(schema[key]) for key in _INNER if key in schema}
    for key in _NAMED:
        if isinstance(schema.get(key), Mapping):
            found[key] = {name: _bare(inner) for name, inner in schema[key].items()}
    for key in _LISTED:
        if isinstance(schema.get(key), list):
            found[key] = [_bare(inner) for inner in schema[key]]
    return found
