"""Tool calls in a model's text: written exactly, read tolerantly.

Real checkpoints leave out closing tags, put several objects or a list into one tag, name the arguments `parameters`, write
them as a JSON string, or fence them. What cannot be read stays text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class ParsedCall:
    """A call that the model asked for; `arguments` is a JSON object."""

    name: str
    arguments: dict[str, Any]


# (what opens, what closes); None closes at the end of the text.
_TAGS = (
    ("<toolcall>", "</toolcall>"),
    ("<tool_call>", "</tool_call>"),
    ("[TOOL_CALLS]", None),
    ("<|python_tag|>", None),
)
_FENCE = re.compile(r"```(?:json|tool_call|tool)?\s*\n(.*?)(?:```|\Z)", re.DOTALL)
MAX_DEPTH = 64


def write_call(name: str, arguments: Mapping[str, Any] | str) -> str:
    """`{"name": ..., "arguments": {...}}` as transformers' `tojson` writes it; arguments given as a JSON string are kept."""
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments)
        except ValueError:
            return json.dumps({"name": name, "arguments": arguments}, ensure_ascii=False)
    return json.dumps({"name": name, "arguments": arguments}, ensure_ascii=False)


def calls_of_message(message: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any] | str]]:
    """(name, arguments) of an assistant message's `tool_calls`, OpenAI's wrapper or bare."""
    calls = []
    for call in message.get("tool_calls") or []:
        function = call.get("function", call) if isinstance(call, Mapping) else {}
        if isinstance(function.get("name"), str):
            calls.append((function["name"], function.get("arguments") or {}))
    return calls


def parse_calls(text: str) -> tuple[str, list[ParsedCall]]:
    """The text around the calls, and the calls in order."""
    for opening, closing in _TAGS:
        if opening in text:
            return _parse_tagged(text, opening, closing)
    stripped = text.strip()
    if stripped.startswith(("{", "[")):
        calls, rest = _objects(stripped)
        if calls and not rest.strip():
            return "", calls
    for match in _FENCE.finditer(text):
        calls, rest = _objects(match[1])
        if calls and not rest.strip():
            return (text[: match.start()] + text[match.end() :]).strip(), calls
    return text, []


def _parse_tagged(text: str, opening: str, closing: str | None) -> tuple[str, list[ParsedCall]]:
    outside: list[str] = []
    calls: list[ParsedCall] = []
    at = 0
    while (start := text.find(opening, at)) >= 0:
        outside.append(text[at:start])
        inside_from = start + len(opening)
        next_open = text.find(opening, inside_from)
        end = text.find(closing, inside_from) if closing else -1
        if end < 0 or 0 <= next_open < end:
            end, at = (next_open, next_open) if next_open >= 0 else (len(text), len(text))
        else:
            at = end + len(closing or "")
        found, _ = _objects(text[inside_from:end])
        if found:
            calls += found
        else:
            outside.append(text[start:at])
    outside.append(text[at:])
    return "".join(outside).strip(), calls


def _objects(text: str) -> tuple[list[ParsedCall], str]:
    """All calls in a stretch of JSON objects or lists, however they are joined, and what is no call."""
    decoder = json.JSONDecoder()
    calls: list[ParsedCall] = []
    rest: list[str] = []
    at = 0
    while at < len(text):
        if text[at] in "{[" and _depth(text, at) <= MAX_DEPTH:
            try:
                value, at = decoder.raw_decode(text, at)
            except (ValueError, RecursionError):
                value = None
            else:
                found = [call for entry in (value if isinstance(value, list) else [value]) if (call := _call(entry))]
                calls += found
                if not found:
                    rest.append(json.dumps(value))
                continue
        if text[at] not in ",;[]{} \n\t\r":
            rest.append(text[at])
        at += 1
    return calls, "".join(rest)


def _depth(text: str, at: int) -> int:
    """How many brackets stand in a row: a text of nothing else would make the parser recurse."""
    end = at
    while end < len(text) and text[end] in "[{ \n\t":
        end += 1
    return end - at


def _call(value: Any) -> ParsedCall | None:
    if not isinstance(value, dict):
        return None
    inner = value.get("function")
    if isinstance(inner, dict):
        value = inner
    name = value.get("name")
    arguments = value.get("arguments", value.get("parameters", {}))
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments) if arguments.strip() else {}
        except (ValueError, RecursionError):
            return None
    if not isinstance(name, str) or not name or not isinstance(arguments or {}, dict):
        return None
    return ParsedCall(name, arguments or {})
