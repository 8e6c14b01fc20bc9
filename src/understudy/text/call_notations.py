"""Calls that are not JSON: XML as Qwen3-Coder, Nemotron 3 and Llama write it, Python as LFM2 does,
and the notation of FunctionGemma and Gemma 4.

    <function=weather><parameter=city>Paris</parameter></function>
    <function=weather>{"city": "Paris"}</function>
    <invoke name="weather"><parameter name="city">Paris</parameter></invoke>
    weather(city="Paris", days=3)
    call:weather{city:<escape>Paris<escape>,days:3}
    weather[ARGS]{"city": "Paris"}

Each reader gets a place in a text and gives the call that stands there, and where it ends; None
where none can be read. Reading takes time linear in the stretch that it looks at.
"""

from __future__ import annotations

import ast
import json
import math
import re
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, NoReturn

_HEAD = re.compile(r"<(?P<tag>function|invoke)(?:=|\s+name=)\"?(?P<name>[^\">\s]+)\"?\s*>")
_PARAMETER = re.compile(
    r"<parameter(?:=|\s+name=)\"?(?P<name>[^\">]+)\"?\s*>"
    r"(?P<value>.*?)(?:</parameter>|(?=<parameter[=\s])|\Z)",
    re.DOTALL,
)
_PYTHON_HEAD = re.compile(r"(?P<name>[^\W\d][\w.:/-]*)\(")
_PYTHON_KEY = re.compile(r"[\s,]*(?:(?P<end>\))|(?P<key>[^\W\d]\w*)\s*=\s*)")
_GEMMA_HEAD = re.compile(r"call:(?P<name>[\w.:/-]+)(?=\{)")
_GEMMA_KEY = re.compile(
    r"\s*(?:(?P<end>\})|(?P<key>[^\s:{}\[\],<>\"]+)\s*:|(?=<escape>|<\|\"\|>|\"))"
)
_GEMMA_QUOTES = ("<escape>", '<|"|>', '"')
_BARE = re.compile(r"[^,\[\]{}]+")
_NAMED_HEAD = re.compile(r"(?P<name>[\w.:/-]+)\[ARGS\]\s*(?=\{)")
_PYTHON_STEP = re.compile(
    r"""(?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')|"""
    r"""(?P<open>[(\[{])|(?P<close>[)\]}])|["']""",
    re.DOTALL,
)
_WORDS = {"true": True, "false": False, "null": None}
_PYTHON_WORDS = {"True": True, "False": False, "None": None}
MAX_BRACKETS = 64


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is too large")
    return number


DECODER = json.JSONDecoder(strict=False, parse_constant=_refuse, parse_float=_finite)
"""JSON as models write it: line ends may stand in texts, numbers are finite."""


@dataclass(frozen=True, slots=True)
class ParsedCall:
    """A call that the model asked for; `arguments` is a JSON object.

    With `is_text` the values came without types, as XML has them: a schema says what they are.
    """

    name: str
    arguments: dict[str, Any]
    is_text: bool = field(default=False, compare=False)


def xml_call(text: str, at: int, stop: int) -> tuple[ParsedCall, int] | None:
    """The call whose tag begins at `at`; one that is not closed ends with the text."""
    head = _HEAD.match(text, at, stop)
    if head is None:
        return None
    closing = f"</{head['tag']}>"
    close = text.find(closing, head.end(), stop)
    end = stop if close < 0 else close + len(closing)
    body = text[head.end() : stop if close < 0 else close]
    if body.lstrip().startswith("{"):
        arguments = _json_object(body)
        return None if arguments is None else (ParsedCall(head["name"], arguments), end)
    values = {
        match["name"].strip(): _line_ends(match["value"]) for match in _PARAMETER.finditer(body)
    }
    if not values and (body.strip() or close < 0):
        return None
    return ParsedCall(head["name"], values, is_text=True), end


def _json_object(text: str) -> dict[str, Any] | None:
    try:
        value = DECODER.decode(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _line_ends(value: str) -> str:
    """A value without the line feeds that only set it apart from its tags."""
    return value.removeprefix("\n").removesuffix("\n")


def python_call(
    text: str, at: int, stop: int, names: Collection[str] | None
) -> tuple[ParsedCall, int] | None:
    """The call `name(key=value, …)` at `at`, of one of `names` where they are given.

    Values are Python's literals or JSON's words; a call with anything else is none.
    """
    head = _PYTHON_HEAD.match(text, at, stop)
    if head is None or (names is not None and head["name"] not in names):
        return None
    read = _json_arguments(text, head.end(), stop)
    if read is not None:
        return ParsedCall(head["name"], read[0]), read[1]
    end = _closing(text, head.end(), stop)
    if end is None:
        return None
    try:
        node = ast.parse(f"f({text[head.end() : end]}", mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    if not isinstance(node, ast.Call) or node.args:
        return None
    try:
        arguments = {entry.arg: _literal(entry.value) for entry in node.keywords if entry.arg}
    except (ValueError, RecursionError):
        return None
    if len(arguments) != len(node.keywords):
        return None
    return ParsedCall(head["name"], arguments), end


def _json_arguments(text: str, at: int, stop: int) -> tuple[dict[str, Any], int] | None:
    """The arguments whose values are JSON or Python's words, as a grammar holds them: read as
    JSON, whose escapes are not Python's. None where there is another value.
    """
    found: dict[str, Any] = {}
    while key := _PYTHON_KEY.match(text, at, stop):
        if key["end"]:
            return found, key.end()
        if key["key"] in found:
            return None
        word = next((w for w in _PYTHON_WORDS if text.startswith(w, key.end())), None)
        if word is not None:
            found[key["key"]], at = _PYTHON_WORDS[word], key.end() + len(word)
            continue
        try:
            found[key["key"]], at = DECODER.raw_decode(text, key.end())
        except (ValueError, RecursionError):
            return None
        if at > stop or text[at : at + 1] not in (",", ")", " ", "\n"):
            return None
    return None


def _closing(text: str, at: int, stop: int) -> int | None:
    """The end of the brackets that are open at `at`; what stands in strings does not count."""
    depth = 1
    for step in _PYTHON_STEP.finditer(text, at, stop):
        if step["open"]:
            depth += 1
        elif step["close"]:
            depth -= 1
        elif not step["string"]:  # a string without an end
            return None
        if depth == 0:
            return step.end()
        if depth > MAX_BRACKETS:
            return None
    return None


def _literal(node: ast.expr) -> Any:
    """The value of a literal, in JSON's kinds.

    Raises:
        ValueError: it is none.
    """
    if isinstance(node, ast.Name) and node.id in _WORDS:
        return _WORDS[node.id]
    if isinstance(node, ast.List | ast.Tuple):
        return [_literal(entry) for entry in node.elts]
    if isinstance(node, ast.Dict):
        pairs = zip(node.keys, node.values, strict=True)
        return {_key(key): _literal(value) for key, value in pairs}
    value = ast.literal_eval(node)
    if value is not None and not isinstance(value, str | bool | int | float):
        raise ValueError("no value of JSON")
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        raise ValueError("too large")
    return value


def _key(node: ast.expr | None) -> str:
    key = None if node is None else ast.literal_eval(node)
    if not isinstance(key, str):
        raise ValueError("a key is a text")
    return key


def named_call(text: str, at: int, stop: int) -> tuple[ParsedCall, int] | None:
    """The call `name[ARGS]{…}` at `at`."""
    head = _NAMED_HEAD.match(text, at, stop)
    if head is None:
        return None
    try:
        arguments, end = DECODER.raw_decode(text, head.end())
    except (ValueError, RecursionError):
        return None
    return (ParsedCall(head["name"], arguments), end) if end <= stop else None


def gemma_call(text: str, at: int, stop: int) -> tuple[ParsedCall, int] | None:
    """The call `call:name{key:value,…}` at `at`; texts stand between two marks of one kind."""
    head = _GEMMA_HEAD.match(text, at, stop)
    if head is None:
        return None
    try:
        arguments, end = _gemma_value(text[:stop], head.end(), MAX_BRACKETS)
    except (ValueError, IndexError):
        return None
    return ParsedCall(head["name"], arguments), end


def _gemma_value(text: str, at: int, depth: int) -> tuple[Any, int]:
    """The value at `at`, and where it ends.

    Raises:
        ValueError, IndexError: it does not end, or goes too deep.
    """
    if depth == 0:
        raise ValueError("goes too deep")
    quote = next((quote for quote in _GEMMA_QUOTES if text.startswith(quote, at)), None)
    if quote is not None:
        end = text.index(quote, at + len(quote))
        return text[at + len(quote) : end], end + len(quote)
    if text[at] == "{":
        return _gemma_object(text, at + 1, depth)
    if text[at] == "[":
        return _gemma_list(text, at + 1, depth)
    bare = _BARE.match(text, at)
    if bare is None:
        raise ValueError("no value")
    word = bare[0].strip()
    try:
        return _WORDS[word] if word in _WORDS else DECODER.decode(word), bare.end()
    except ValueError:
        return word, bare.end()


def _gemma_object(text: str, at: int, depth: int) -> tuple[dict[str, Any], int]:
    found: dict[str, Any] = {}
    while True:
        key = _GEMMA_KEY.match(text, at)
        if key is None:
            raise ValueError("no key")
        if key["end"]:
            return found, key.end()
        name, at = key["key"], key.end()
        if name is None:
            name, at = _gemma_value(text, at, depth - 1)
            at = text.index(":", at) + 1
        found[name], at = _gemma_value(text, at, depth - 1)
        at += text[at] == ","


def _gemma_list(text: str, at: int, depth: int) -> tuple[list[Any], int]:
    found: list[Any] = []
    while text[at] != "]":
        value, at = _gemma_value(text, at, depth - 1)
        found.append(value)
        at += text[at] == ","
    return found, at + 1
