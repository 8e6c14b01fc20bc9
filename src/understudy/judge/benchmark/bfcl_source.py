"""Java and JavaScript literals as Python values, by the rules of BFCL's checker.

The rules are those of patterns, not of parsers: what does not look like the literal stays the text
that it is, and commas inside quotes separate. They are followed to the letter, for figures are
comparable only so.
"""

from __future__ import annotations

import re
from typing import Any

JAVA_TYPES: dict[str, type] = {
    "byte": int,
    "short": int,
    "integer": int,
    "long": int,
    "float": float,
    "double": float,
    "boolean": bool,
    "char": str,
    "Array": list,
    "ArrayList": list,
    "HashMap": dict,
    "String": str,
    "any": str,
}
JAVASCRIPT_TYPES: dict[str, type] = {
    "String": str,
    "integer": int,
    "float": float,
    "Bigint": int,
    "Boolean": bool,
    "dict": dict,
    "array": list,
    "any": str,
}

_EXPONENT = r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?"
_JAVA_NUMBERS = {
    "byte": r"-?\d+$",
    "short": r"-?\d+$",
    "integer": r"-?\d+$",
    "long": r"-?\d+[lL]$",
    "float": _EXPONENT + "[fF]$",
    "double": _EXPONENT + "$",
}
_JAVASCRIPT_NUMBERS = {"integer": r"-?\d+$", "float": r"-?\d+(?:\.\d+)?$", "Bigint": r"-?\d+n$"}
_NEW_LIST = r"new\s+ArrayList<\w*>\("
_NEW_MAP = r"new\s+HashMap<.*?>\s*\(\)"
_ROWS = r"\s*\[.*?\]\s*(?:,\s*\[.*?\]\s*)*"


def java_value(text: str, kind: str, element: str | None = None) -> Any:
    """What a Java literal of a declared type stands for; the text itself where it is no such
    literal."""
    if kind in _JAVA_NUMBERS:
        return _number(text, _JAVA_NUMBERS[kind], JAVA_TYPES[kind], "lLfF")
    if kind == "boolean":
        return {"true": True, "false": False}.get(text, text)
    if kind == "ArrayList":
        return _java_list(text, element)
    if kind == "Array":
        found = re.search(r"new\s+\w+\[\]\s*\{(.*?)\}", text)
        if not found:
            return text
        return [
            _java_element(part.strip(), element) for part in found[1].split(",") if part.strip()
        ]
    return _java_map(text) if kind == "HashMap" else text


def javascript_value(text: str, kind: str, element: str | None = None) -> Any:
    """What a JavaScript literal of a declared type stands for; the text itself where it is no such
    literal."""
    if kind in _JAVASCRIPT_NUMBERS:
        return _number(text, _JAVASCRIPT_NUMBERS[kind], JAVASCRIPT_TYPES[kind], "n")
    if kind == "Boolean":
        return {"true": True, "false": False}.get(text, text)
    if kind == "String":
        return text[1:-1] if _is_quoted(text) else text
    if kind == "array":
        return _javascript_list(text.strip(), element)
    return _javascript_object(text.strip()) if kind == "dict" else text


def _number(text: str, pattern: str, kind: type, suffixes: str) -> Any:
    return kind(text.strip().rstrip(suffixes)) if re.match(pattern, text) else text


def _java_list(text: str, element: str | None) -> Any:
    listed = re.search(_NEW_LIST + r"Arrays\.asList\((.+?)\)\)", text)
    if listed:
        return [_java_member(part.strip(), element) for part in listed[1].split(",")]
    added = re.search(_NEW_LIST + r"\)\s*\{\{\s*(.+?)\s*\}\}", text, re.DOTALL)
    if added:
        return [
            _java_member(part.strip(), element) for part in re.findall(r"add\((.+?)\)", added[1])
        ]
    return [] if re.search(_NEW_LIST + r"\)", text) else text


def _java_member(text: str, element: str | None) -> Any:
    return text[1:-1] if element in ("char", "String") else _java_element(text, element)


def _java_element(text: str, element: str | None) -> Any:
    return java_value(text, element) if element else _java_guess(text)


def _java_map(text: str) -> Any:
    filled = re.search(_NEW_MAP + r"\s*\{\s*\{?\s*(.*?)\s*\}?\s*\}", text, re.DOTALL)
    if filled:
        return {
            key: _java_guess(value.strip())
            for key, value in re.findall(r'put\("(.*?)",\s*(.*?)\)', filled[1])
        }
    return {} if re.search(_NEW_MAP, text) else text


def _java_guess(text: str) -> Any:
    """A literal whose type nobody declared."""
    if text in ("true", "false"):
        return text == "true"
    if text.startswith('"') and text.endswith('"'):
        return text[1:-1]
    for kind in ("long", "float"):
        value = java_value(text, kind)
        if value is not text:
            return value
    return _plain_number(text)


def _javascript_list(text: str, element: str | None) -> Any:
    rows = re.match(rf"\[{_ROWS}\]|\bnew\s+Array\({_ROWS}\)", text)
    if rows:
        inner = [row.strip() for row in re.findall(r"\[(.*?)\]", rows[0])]
        inner[0] = inner[0].removeprefix("[")
        return [[_javascript_guess(part) for part in row.split(",")] for row in inner]
    flat = re.match(r"\[(.*?)\]|\bnew\s+Array\((.*?)\)", text)
    if not flat:
        return text
    content = (flat[1] if flat[1] is not None else flat[2]).strip()
    parts = [part.strip() for part in content.split(",")] if content else []
    return [
        javascript_value(part, element) if element else _javascript_guess(part) for part in parts
    ]


def _javascript_object(text: str) -> Any:
    if text == "{}":
        return {}
    found = re.match(r"\{(.*?)\}", text)
    if not found:
        return text
    result: dict[str, Any] = {}
    for entry in _entries(found[1]):
        key, _, value = entry.partition(":")
        value = value.strip()
        if value.startswith("[") and value.endswith("]"):
            result[key.strip().strip("'\"")] = _javascript_list(value, None)
        elif value.startswith("{") and value.endswith("}"):
            result[key.strip().strip("'\"")] = _javascript_object(value)
        else:
            result[key.strip().strip("'\"")] = _javascript_guess(value.strip("'\""))
    return result


def _entries(content: str) -> list[str]:
    """`key: value` pieces: a comma separates only where a key and its colon follow before the next
    comma."""
    entries: list[str] = []
    for part in content.split(","):
        if entries and (":" not in part[1:] or ":" not in entries[-1]):
            entries[-1] += "," + part
        else:
            entries.append(part)
    return [entry for entry in entries if ":" in entry]


def _javascript_guess(text: str) -> Any:
    text = text.strip()
    if text in ("true", "false"):
        return text == "true"
    return text[1:-1] if _is_quoted(text) else _plain_number(text)


def _is_quoted(text: str) -> bool:
    return any(text.startswith(quote) and text.endswith(quote) for quote in ('"', "'"))


def _plain_number(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
