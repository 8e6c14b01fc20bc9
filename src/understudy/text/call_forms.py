"""The forms in which families write tool calls: the tags around them, and the notation inside.

    json      {"name": "go", "arguments": {"to": "mill"}}                    Hermes, Qwen, Nano v2
    xml       <function=go>\n<parameter=to>\nmill\n</parameter>\n</function> Qwen3-Coder, Nemotron 3
    python    go(to="mill")                                                  LFM2
    gemma     call:go{to:<escape>mill<escape>}                               FunctionGemma, Gemma 4
    named     go[ARGS]{"to": "mill"}                                         Mistral since 2025

A call that cannot be said in the notation of its family (arguments that are more than a list of
properties, names with signs that it gives a meaning) is written as JSON between the same tags.
"""

from __future__ import annotations

import json
import keyword
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Notation = Literal["json", "xml", "python", "gemma", "named"]
_PYTHON_NAME = re.compile(r"[^\W\d][\w.:/-]*\Z")
KEYS = {  # what a property may be called
    "xml": re.compile(r"[^\s<>\"=/][^<>\"\n]*(?<!\s)\Z"),
    "python": re.compile(r"[^\W\d]\w*\Z"),
    "gemma": re.compile(r"[^\W\d][\w.-]*\Z"),
}


@dataclass(frozen=True, slots=True)
class CallForm:
    """How a reply with tool calls is written: `open first CALL close (again CALL close)* last`,
    CALL in a notation. An empty `again` means one call only; `quote` stands around texts in
    Gemma's notation.
    """

    open: str
    first: str
    close: str
    again: str
    last: str = ""
    arguments_key: str = "arguments"
    notation: Notation = "json"
    quote: str = ""

    @property
    def end_tags(self) -> tuple[str, ...]:
        return tuple(tag for text in (self.close, self.last) if (tag := text.strip().lstrip("]")))

    @property
    def marks(self) -> tuple[str, ...]:
        """What may be markers of a vocabulary."""
        quotes = (self.quote,) if self.quote else ()
        between = ("[ARGS]",) if self.notation == "named" else ()
        return (self.open, *self.end_tags, *quotes, *between)

    def write(self, calls: Sequence[str]) -> str:
        """Calls that are written already, between their tags."""
        written = self.again.join(call + self.close for call in calls)
        return self.open + self.first + written + self.last

    def write_call(self, name: str, arguments: Mapping[str, Any] | str) -> str:
        """One call as the family writes it; arguments may be JSON in a string, and stay as they
        are where they are none.
        """
        if isinstance(arguments, str):
            try:
                arguments = json.loads(arguments)
            except (ValueError, RecursionError):
                return json_call(name, arguments, self.arguments_key)
        if self.notation == "json" or not isinstance(arguments, Mapping):
            return json_call(name, arguments, self.arguments_key)
        if self.notation == "named":
            return f"{name}[ARGS]{json_text(arguments)}"
        if not self.can_say(name, arguments):
            return json_call(name, arguments, self.arguments_key)
        return _WRITERS[self.notation](name, arguments, self.quote)

    def can_say(self, name: str, keys: Iterable[str]) -> bool:
        """Whether a call of these arguments has a place in the notation."""
        if self.notation in ("json", "named"):
            return True
        is_python = self.notation == "python"
        if is_python and not (_PYTHON_NAME.match(name) and not any(map(keyword.iskeyword, keys))):
            return False
        return all(KEYS[self.notation].match(key) for key in keys)


def json_text(value: Any) -> str:
    """JSON as transformers' `tojson` writes it."""
    return json.dumps(value, ensure_ascii=False)


def json_call(name: str, arguments: Any, arguments_key: str = "arguments") -> str:
    return json_text({"name": name, arguments_key: arguments})


def _xml_call(name: str, arguments: Mapping[str, Any], quote: str) -> str:
    lines = [
        f"<parameter={key}>\n{text if isinstance(text, str) else json_text(text)}\n</parameter>\n"
        for key, text in arguments.items()
    ]
    return f"<function={name}>\n" + "".join(lines) + "</function>"


def _python_call(name: str, arguments: Mapping[str, Any], quote: str) -> str:
    values = ", ".join(f"{key}={_python_value(value)}" for key, value in arguments.items())
    return f"{name}({values})"


def _python_value(value: Any) -> str:
    if isinstance(value, Mapping):
        inner = (f"{json_text(str(key))}: {_python_value(v)}" for key, v in value.items())
        return "{" + ", ".join(inner) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_python_value, value)) + "]"
    return repr(value) if value is None or isinstance(value, bool) else json_text(value)


def _gemma_call(name: str, arguments: Mapping[str, Any], quote: str) -> str:
    return f"call:{name}" + _gemma_value(arguments, quote)


def _gemma_value(value: Any, quote: str) -> str:
    if isinstance(value, str):
        return quote + value + quote
    if isinstance(value, Mapping):
        inner = (f"{key}:{_gemma_value(entry, quote)}" for key, entry in value.items())
        return "{" + ",".join(inner) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(_gemma_value(entry, quote) for entry in value) + "]"
    return json_text(value)


_WRITERS: dict[str, Callable[[str, Mapping[str, Any], str], str]] = {
    "xml": _xml_call,
    "python": _python_call,
    "gemma": _gemma_call,
}

TOOLCALL_FORM = CallForm("<toolcall>", " ", " </toolcall>", "\n<toolcall> ")
TOOL_CALL_FORM = CallForm("<tool_call>", "\n", "\n</tool_call>", "\n<tool_call>\n")
XML_FORM = CallForm("<tool_call>", "\n", "\n</tool_call>", "\n<tool_call>\n", notation="xml")
NEMOTRON_LIST_FORM = CallForm("<TOOLCALL>", "[", "", ", ", "]</TOOLCALL>")
PYTHON_FORM = CallForm(
    "<|tool_call_start|>", "[", "", ", ", "]<|tool_call_end|>", notation="python"
)
GEMMA_FORM = CallForm(
    *("<start_function_call>", "", "<end_function_call>", "<start_function_call>"),
    notation="gemma",
    quote="<escape>",
)
GEMMA4_FORM = CallForm(
    "<|tool_call>", "", "<tool_call|>", "<|tool_call>", notation="gemma", quote='<|"|>'
)
GRANITE_FORM = CallForm("<|tool_call|>", "[", "", ", ", "]")
PHI_FORM = CallForm("<|tool_call|>", "[", "", ", ", "]<|/tool_call|>")
MISTRAL_FORM = CallForm("[TOOL_CALLS]", "[", "", ", ", "]")
MISTRAL_NAMED_FORM = CallForm("[TOOL_CALLS]", "", "", "[TOOL_CALLS]", notation="named")
LLAMA_FORM = CallForm("<|python_tag|>", "", "", "", arguments_key="parameters")
_FORMS: tuple[tuple[CallForm, tuple[str, ...]], ...] = (  # and what a template of it holds
    (TOOLCALL_FORM, ("<toolcall>",)),
    (NEMOTRON_LIST_FORM, ("<TOOLCALL>",)),
    (XML_FORM, ("<tool_call>", "<function=", "<parameter=")),
    (TOOL_CALL_FORM, ("<tool_call>",)),
    (PYTHON_FORM, ("<|tool_call_start|>",)),
    (GEMMA_FORM, ("<start_function_call>",)),
    (GEMMA4_FORM, ("<|tool_call>",)),
    (PHI_FORM, ("<|tool_call|>", "<|/tool_call|>")),
    (GRANITE_FORM, ("<|tool_call|>",)),
    (MISTRAL_NAMED_FORM, ("[TOOL_CALLS]", "[ARGS]")),
    (MISTRAL_FORM, ("[TOOL_CALLS]",)),
    (LLAMA_FORM, ("<|python_tag|>",)),
)
_OF_VOCABULARY = (PYTHON_FORM, GEMMA_FORM, GEMMA4_FORM, PHI_FORM, GRANITE_FORM)
TAGS = tuple(dict.fromkeys(form.open for form, _ in _FORMS))
"""What opens the calls of one form or another."""
END_TAGS = tuple(dict.fromkeys(tag for form, _ in _FORMS for tag in form.end_tags))
"""What closes them."""


def form_of(template: str, is_marker: Callable[[str], bool]) -> CallForm:
    """The form that a chat template speaks of; where it announces tools and says no more, the one
    whose tags the vocabulary has; else that of Hermes.
    """
    for form, signs in _FORMS:
        if all(sign in template for sign in signs):
            return form
    if "tools" not in template:
        return TOOL_CALL_FORM
    known = (
        form for form, signs in _FORMS if form in _OF_VOCABULARY and all(map(is_marker, signs))
    )
    return next(known, TOOL_CALL_FORM)
