"""Tool calls in a model's text: written exactly, read tolerantly.

Real checkpoints leave out closing tags, put several objects or a list into one tag, name the
arguments `parameters`, write them as a JSON string, fence them, or write XML or Python instead
(`call_notations.py`). What cannot be read stays text. Reading takes time linear in the text,
whatever it holds.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from typing import Any

from understudy.text.call_forms import END_TAGS, TAGS, TOOL_CALL_FORM
from understudy.text.call_notations import (
    DECODER,
    ParsedCall,
    gemma_call,
    named_call,
    python_call,
    xml_call,
)

OPENINGS = (*TAGS, "<function_calls>")
"""Tags with calls behind them."""
XML_OPENINGS = ("<function=", "<function name=", "<invoke name=")
"""Tags that are the beginning of a call themselves."""
_ARGUMENTS = {"arguments", "parameters"}
_BESIDE = {"name", "type", "id", "index", "call_id"}  # what may stand in a call without arguments
CLOSINGS = (*END_TAGS, "</function_calls>")
_TAG = re.compile(
    "(?P<open>{})|(?P<xml>{})|{}".format(
        *("|".join(map(re.escape, tags)) for tags in (OPENINGS, XML_OPENINGS, CLOSINGS))
    )
)
_FENCE = re.compile(r"```([^\n`]*)\n(.*?)(?:```|\Z)", re.DOTALL)
FENCE_LANGUAGES = ("", "json", "tool", "tool_call", "toolcall", "tool_code", "xml", "python", "py")
_BETWEEN = re.compile(
    r"(?:[\s,;\]]|\[(?!TOOL_CALLS\]))*"
)  # around the objects of one tag: a list is nothing else
_BROKEN_END = re.compile(r"(?:[\s,;\]}]|\[(?!TOOL_CALLS\]))*")
MAX_DEPTH = 64
MAX_FAILURES = 32  # each may have read the text to its end


def write_call(name: str, arguments: Mapping[str, Any] | str) -> str:
    """`{"name": ..., "arguments": {...}}` as transformers' `tojson` writes it; arguments given as a
    JSON string are kept.
    """
    return TOOL_CALL_FORM.write_call(name, arguments)


def calls_of_message(message: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any] | str]]:
    """(name, arguments) of an assistant message's `tool_calls`, OpenAI's wrapper or bare."""
    calls = []
    for call in message.get("tool_calls") or []:
        function = call.get("function", call) if isinstance(call, Mapping) else {}
        if isinstance(function, Mapping) and isinstance(function.get("name"), str):
            calls.append((function["name"], function.get("arguments") or {}))
    return calls


def parse_calls(text: str, names: Collection[str] | None = None) -> tuple[str, list[ParsedCall]]:
    """The text around the calls, and the calls in order.

    Args:
        names: the tools there are, where they are known. Then a call of one of them may stand bare
            in Python's notation, and a bare call at the beginning may have text behind it.
    """
    reader = _Reader(text, names)
    if any(match["open"] or match["xml"] for match in _TAG.finditer(text)):
        return _parse_tagged(reader)
    calls, end = reader.calls(0, len(text), is_marked=names is None and _is_list(text))
    rest = text[end:].strip()
    if calls and (not rest or (names is not None and calls[0].name in names)):
        return rest, calls
    return _parse_fenced(reader)


def _is_list(text: str) -> bool:
    return text.lstrip().startswith("[")


def _parse_tagged(reader: _Reader) -> tuple[str, list[ParsedCall]]:
    text, tags = reader.text, list(_TAG.finditer(reader.text))
    outside: list[str] = []
    calls: list[ParsedCall] = []
    at = 0  # everything before is read
    i = 0
    while i < len(tags):
        tag = tags[i]
        i += 1
        found, end = reader.behind(tag)
        if not found:
            continue
        outside.append(text[at : tag.start()])
        calls += found
        while i < len(tags) and tags[i].start() < end:
            i += 1  # inside of a call
        if i < len(tags) and not tags[i]["open"] and not tags[i]["xml"]:
            outside.append(text[end : tags[i].start()])
            end = tags[i].end()
            i += 1
        at = end
    outside.append(text[at:])
    return "".join(outside).strip() if calls else text, calls


def _parse_fenced(reader: _Reader) -> tuple[str, list[ParsedCall]]:
    text = reader.text
    outside: list[str] = []
    calls: list[ParsedCall] = []
    at = 0
    for match in _FENCE.finditer(text):
        found, end = (
            reader.calls(match.start(2), match.end(2))
            if match[1].strip() in FENCE_LANGUAGES
            else ([], 0)
        )
        if found and not text[end : match.end(2)].strip():
            calls += found
            outside.append(text[at : match.start()])
            at = match.end()
    outside.append(text[at:])
    return "".join(outside).strip() if calls else text, calls


class _Reader:
    """Calls at places of one text, with a common limit on failed attempts."""

    def __init__(self, text: str, names: Collection[str] | None) -> None:
        self.text, self._names = text, names
        self._failures = 0

    def behind(self, tag: re.Match[str]) -> tuple[list[ParsedCall], int]:
        """The calls that a tag opens; none behind one that closes."""
        if tag["xml"]:
            return self.calls(tag.start(), len(self.text))
        return self.calls(tag.end(), len(self.text), is_marked=True) if tag["open"] else ([], 0)

    def calls(
        self, start: int, stop: int, *, is_marked: bool = False
    ) -> tuple[list[ParsedCall], int]:
        """The calls that stand one after the other from `start` on, and where something else
        begins.

        Args:
            is_marked: something says that calls follow; then Python's notation needs no known name.
        """
        found: list[ParsedCall] = []
        end = start
        while True:
            match = _BETWEEN.match(self.text, end, stop)
            assert match is not None
            at = match.end()
            call, after = self._call_at(at, stop, is_marked)
            if call is None:
                break
            found.append(call)
            end = after
        if found and (rest := _BROKEN_END.match(self.text, end, stop)):
            end = rest.end()
        return found, end

    def _call_at(self, at: int, stop: int, is_marked: bool) -> tuple[ParsedCall | None, int]:
        if self._failures >= MAX_FAILURES or at >= stop:
            return None, at
        if self.text[at] == "{":
            return self._json_call(at, stop)
        found = None
        if self.text.startswith(XML_OPENINGS, at, stop):
            found = xml_call(self.text, at, stop)
        elif self.text[at].isidentifier():
            names = None if is_marked else self._names or ()
            found = python_call(self.text, at, stop, names)
            if found is None and is_marked:
                found = gemma_call(self.text, at, stop) or named_call(self.text, at, stop)
        if found is None or is_deep(found[0].arguments):
            self._failures += 1
            return None, at
        return found

    def _json_call(self, at: int, stop: int) -> tuple[ParsedCall | None, int]:
        while at < stop and self.text[at] == "{" and self._failures < MAX_FAILURES:
            try:
                value, end = DECODER.raw_decode(self.text, at)
            except (ValueError, RecursionError):
                self._failures += 1
                at += 1  # a second brace may follow one that is too much
                continue
            return (_call(value), end) if end <= stop else (None, at)
        return None, at


def is_deep(value: Any) -> bool:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for node in level
            if isinstance(node, (dict, list))
            for inner in (node.values() if isinstance(node, dict) else node)
        ]
        if not level:
            return False
    return True


def _call(value: Any) -> ParsedCall | None:
    if not isinstance(value, dict) or is_deep(value):
        return None
    inner = value.get("function")
    if isinstance(inner, dict):
        value = inner
    name = value.get("name")
    if not value.keys() & _ARGUMENTS and value.keys() - _BESIDE:
        return None  # a person or a place that has a name
    arguments = value.get("arguments", value.get("parameters"))
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments, strict=False) if arguments.strip() else {}
        except (ValueError, RecursionError):
            return None
    arguments = {} if arguments is None else arguments
    if (
        not isinstance(name, str)
        or not name
        or not isinstance(arguments, dict)
        or is_deep(arguments)
    ):
        return None
    return ParsedCall(name, arguments)


__all__ = ["OPENINGS", "ParsedCall", "calls_of_message", "parse_calls", "write_call"]
