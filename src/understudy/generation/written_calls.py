"""A call of the template's own form while a model writes it under a grammar.

Arguments in JSON are handed on as they come; calls in another notation when they are whole, as JSON
too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Protocol

from understudy.generation.partial_json import PartialJson
from understudy.generation.tools import Tool
from understudy.text.call_forms import CallForm, json_text
from understudy.text.call_notations import gemma_call, python_call, xml_call
from understudy.text.toolcalls import ParsedCall

_JSON_HEAD = r'\{"name": (?P<json>"(?:[^"\\]|\\.)*"), "(?:arguments|parameters)": '
_HEADS = {
    "json": _JSON_HEAD,
    "named": r"(?P<name>[\w.:/-]+)\[ARGS\]\s*",
    "xml": r"<function=(?P<name>[^>]+)>|" + _JSON_HEAD,
    "python": r"(?P<name>[^\W\d][\w.:/-]*)\(|" + _JSON_HEAD,
    "gemma": r"call:(?P<name>[\w.:/-]+)\{|" + _JSON_HEAD,
}
_PATTERNS = {notation: re.compile(head) for notation, head in _HEADS.items()}
_Read = Callable[[str], tuple[ParsedCall, int] | None]


class WrittenCall(Protocol):
    """One that has begun. `is_held`: handed on only when it is whole and checked; `rest` is what
    came behind it.
    """

    name: str
    arguments: str
    is_held: bool

    @property
    def is_done(self) -> bool: ...

    @property
    def rest(self) -> str: ...

    @property
    def parsed(self) -> ParsedCall: ...

    def push(self, text: str) -> str:
        """Takes text; returns the part of the arguments that it makes certain."""
        ...

    def closing(self) -> str:
        """What makes the arguments that are there whole JSON."""
        ...


class JsonCall:
    """A call whose arguments are JSON."""

    def __init__(self, name: str, *, is_held: bool) -> None:
        self.name, self.is_held, self.arguments = name, is_held, ""
        self._json = PartialJson()

    @property
    def is_done(self) -> bool:
        return self._json.is_done

    @property
    def rest(self) -> str:
        return self._json.rest

    @property
    def parsed(self) -> ParsedCall:
        return ParsedCall(self.name, json.loads(self.arguments))

    def push(self, text: str) -> str:
        piece = self._json.push(text)
        self.arguments += piece
        return piece

    def closing(self) -> str:
        return self._json.closing()


class WholeCall:
    """A call in another notation, from its name on."""

    is_held = True

    def __init__(self, name: str, head: str, read: _Read) -> None:
        self.name, self.arguments, self.rest = name, "", ""
        self._text, self._read = head, read
        self._found: ParsedCall | None = None

    @property
    def is_done(self) -> bool:
        return self._found is not None

    @property
    def parsed(self) -> ParsedCall:
        assert self._found is not None
        return self._found

    def push(self, text: str) -> str:
        self._text += text
        read = self._read(self._text)
        if read is None:
            return ""
        self._found, end = read
        self.rest, self.arguments = self._text[end:], json_text(self._found.arguments)
        return self.arguments

    def closing(self) -> str:
        return "" if self.is_done else "{}"


def _xml(text: str) -> tuple[ParsedCall, int] | None:
    return xml_call(text, 0, len(text)) if "</function>" in text else None


def _python(text: str) -> tuple[ParsedCall, int] | None:
    return python_call(text, 0, len(text), None)


def _gemma(text: str) -> tuple[ParsedCall, int] | None:
    return gemma_call(text, 0, len(text))


_READERS: dict[str, _Read] = {"xml": _xml, "python": _python, "gemma": _gemma}


def begun_call(form: CallForm, text: str, tools: Sequence[Tool]) -> tuple[WrittenCall, str] | None:
    """The next call that a text begins, and the rest of it, to be pushed; None where there is not
    yet a name.
    """
    head = _PATTERNS[form.notation].search(text)
    if head is None:
        return None
    groups = head.groupdict()
    if groups.get("name") is None or form.notation == "named":
        name = groups.get("name") or str(json.loads(groups["json"]))
        return JsonCall(name, is_held=_is_loosened(tools, name)), text[head.end() :]
    read = _READERS[form.notation]
    return WholeCall(groups["name"], head[0], read), text[head.end() :]


def _is_loosened(tools: Sequence[Tool], name: str) -> bool:
    return any(tool.name == name and tool.contract.loosened for tool in tools)
