"""A Python function as the tool that transformers 5.24 shows a chat template (`get_json_schema`).

`Tool.from_function` says more (defaults, closed objects); a template of a prompt that was made for
transformers should see what it sees there. What that refuses gets `Tool.from_function`'s schema.
"""

from __future__ import annotations

import enum
import inspect
import json
import re
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from understudy.generation.tools import Tool

_SCALARS = {int: "integer", float: "number", str: "string", bool: "boolean", type(None): "null"}
_PLAIN = {**_SCALARS, list: "array", tuple: "array", dict: "object"}
_SECTION = re.compile(r"\s*^[ \t]*(Args|Returns|Raises):[ \t]*$\n?|\Z", re.MULTILINE)
_ENTRY = re.compile(r"(?P<indent>[ \t]*)(?P<name>\w+)(?:[ \t]*\([^()\n]*\))?:\s*(?P<text>.*)")
_CHOICES = re.compile(r"\(choices:\s*(.*?)\)\s*\Z", re.DOTALL | re.IGNORECASE)


def function_tool(function: Callable[..., Any]) -> Mapping[str, Any]:
    """The tool in OpenAI's form: from type hints and a docstring in Google's style."""
    try:
        return {"type": "function", "function": _described(function)}
    except (TypeError, NameError, KeyError, ValueError):
        return Tool.from_function(function).to_openai()


def _described(function: Callable[..., Any]) -> dict[str, Any]:
    sections = _sections(inspect.getdoc(function) or "")
    told = _entries(sections.get("Args", ""))
    hints = typing.get_type_hints(function)
    properties = {
        name: _with_text(_schema(hints[name]), told[name]) for name in _parameters(function)
    }
    defaults = inspect.signature(function).parameters
    required = [name for name in properties if defaults[name].default is inspect.Parameter.empty]
    parameters: dict[str, Any] = {"type": "object", "properties": properties}
    described = {
        "name": function.__name__,
        "description": sections[""],
        "parameters": parameters | ({"required": required} if required else {}),
    }
    return described | _returned(hints, sections.get("Returns"))


def _parameters(function: Callable[..., Any]) -> list[str]:
    found = inspect.signature(function).parameters
    own = {name for name in list(found)[:1] if name in ("self", "cls")}
    return [
        name for name in found if not (name in own and found[name].annotation is inspect._empty)
    ]


def _returned(hints: Mapping[str, Any], text: str | None) -> dict[str, Any]:
    try:
        found = _schema(hints["return"])
    except (TypeError, KeyError):
        return {}
    return {"return": found if text is None else {**found, "description": text}}


def _sections(doc: str) -> dict[str, str]:
    """The text before the first heading under "", the others under theirs.

    Raises:
        KeyError: there is no docstring.
    """
    if not doc.strip():
        raise KeyError(doc)
    heads = [m for m in _SECTION.finditer(doc) if m[1]]
    ends = [*(head.start() for head in heads), len(doc)]
    found = {"": doc[: ends[0]].strip()}
    for head, end in zip(heads, ends[1:], strict=True):
        found.setdefault(head[1], doc[head.end() : end].strip("\n").rstrip())
    if "Returns" in found:
        found["Returns"] = found["Returns"].strip()
    return found


def _entries(text: str) -> dict[str, str]:
    """Descriptions by parameter; lines that stand deeper belong to the one above."""
    found: dict[str, list[str]] = {}
    indent = None
    for line in filter(str.strip, text.split("\n")):
        entry = _ENTRY.match(line)
        if entry is not None and (indent is None or len(entry["indent"]) <= indent):
            indent = len(entry["indent"])
            found[entry["name"]] = lines = []
            line = entry["text"]
        elif not found:
            continue
        lines.append(line.strip())
    return {name: " ".join(filter(None, parts)) for name, parts in found.items()}


def _with_text(schema: dict[str, Any], text: str) -> dict[str, Any]:
    choices = _CHOICES.search(text)
    if choices is not None:
        schema = {**schema, "enum": [_stripped(each) for each in json.loads(choices[1])]}
        text = text[: choices.start()].strip()
    return {**schema, "description": text}


def _stripped(value: Any) -> Any:
    return value.strip() if isinstance(value, str) else value


def _schema(hint: Any) -> dict[str, Any]:
    """Raises TypeError for a hint that transformers does not take."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is None:
        return _bare(hint)
    if origin in (typing.Union, types.UnionType):
        return _union(args)
    if origin is Literal:
        return _enumerated(args)
    if origin is list:
        return {"type": "array", **({"items": _schema(args[0])} if args else {})}
    if origin is tuple and len(args) > 1 and ... not in args:
        return {"type": "array", "prefixItems": [_schema(each) for each in args]}
    if origin is dict:
        return {"type": "object", "additionalProperties": _schema(args[1])}
    raise TypeError(hint)


def _bare(hint: Any) -> dict[str, Any]:
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return _enumerated([member.value for member in hint])
    if hint is Any:
        return {}
    if not isinstance(hint, type) or hint not in _PLAIN:
        raise TypeError(hint)
    return {"type": _PLAIN[hint]}


def _union(args: Sequence[Any]) -> dict[str, Any]:
    parts = [_schema(each) for each in args if each is not type(None)]
    found: dict[str, Any]
    if len(parts) == 1:
        found = parts[0]
    elif all(part.keys() == {"type"} and isinstance(part["type"], str) for part in parts):
        names = sorted({part["type"] for part in parts})
        found = {"type": names[0] if len(names) == 1 else names}
    else:
        found = {"anyOf": parts}
    return {**found, "nullable": True} if type(None) in args else found


def _enumerated(values: Sequence[Any]) -> dict[str, Any]:
    if not values or any(type(value) not in _SCALARS for value in values):
        raise TypeError(values)
    names = list(dict.fromkeys(_SCALARS[type(value)] for value in values))
    return {"type": names[0] if len(names) == 1 else names, "enum": list(values)}
