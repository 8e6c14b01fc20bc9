"""Functions made strange, so that a model must read their schemas: other names, another order,
descriptions left out.

Each variation keeps what a call means; `Variation.call` carries a call over.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_WORDS = re.compile(r"[A-Za-z]+")
_SMALL = frozenset(
    ("a", "an", "the", "of", "in", "on", "for", "to", "and", "or", "with", "by", "such", "as")
)
_PREFIXES = ("app", "api", "svc", "tool", "client", "my", "home", "v2")


@dataclass(frozen=True, slots=True)
class Variation:
    """`tools` as they are offered now; `names` from old to new."""

    tools: tuple[Mapping[str, Any], ...]
    names: Mapping[str, str]

    def call(self, call: Mapping[str, Any]) -> dict[str, Any]:
        """The same call, its arguments in the schema's order, as a grammar writes them."""
        name = self.names.get(call["name"], call["name"])
        tool = next((tool for tool in self.tools if tool["name"] == name), None)
        return {"name": name, "arguments": in_order(call["arguments"], tool)}


def in_order(arguments: Mapping[str, Any], tool: Mapping[str, Any] | None) -> dict[str, Any]:
    """Arguments in the order of a tool's properties; others behind."""
    properties = ((tool or {}).get("parameters") or {}).get("properties") or {}
    known = {name: arguments[name] for name in properties if name in arguments}
    return {**known, **{name: value for name, value in arguments.items() if name not in known}}


def vary(
    tools: Sequence[Mapping[str, Any]], chance: random.Random, *, renamed: float = 0.5
) -> Variation:
    """Tools in another order, a share of them renamed, a few without descriptions."""
    changed = []
    names: dict[str, str] = {}
    for tool in tools:
        name = tool["name"]
        if chance.random() < renamed:
            name = _renamed(tool, chance)
        if name in names.values():
            name = tool["name"]
        names[tool["name"]] = name
        changed.append(_varied({**tool, "name": name}, chance))
    chance.shuffle(changed)
    return Variation(tuple(changed), names)


def _renamed(tool: Mapping[str, Any], chance: random.Random) -> str:
    told = [w.lower() for w in _WORDS.findall(str(tool.get("description", "")))]
    told = [word for word in told if word not in _SMALL][:4]
    own = [word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", tool["name"])]
    words = told if len(told) > 1 and chance.random() < 0.4 else own or told
    if not words:
        return str(tool["name"])
    if chance.random() < 0.15:
        words = [chance.choice(_PREFIXES), *words]
    match chance.randrange(4):
        case 0:
            return str(words[0]) + "".join(word.capitalize() for word in words[1:])
        case 1:
            return "".join(word.capitalize() for word in words)
        case 2:
            return "-".join(words)
        case _:
            return "_".join(words)


def _varied(tool: dict[str, Any], chance: random.Random) -> dict[str, Any]:
    parameters = tool.get("parameters") or {}
    properties = dict(parameters.get("properties") or {})
    keys = list(properties)
    if chance.random() < 0.3:
        chance.shuffle(keys)
    bare = chance.random() < 0.1
    shown = {
        key: {k: v for k, v in properties[key].items() if k != "description" or not bare}
        if isinstance(properties[key], Mapping)
        else properties[key]
        for key in keys
    }
    ordered = {"type": "object", "properties": shown}
    if required := parameters.get("required"):
        ordered["required"] = list(required)
    return {
        "name": tool["name"],
        "description": str(tool.get("description", "")),
        "parameters": ordered,
    }
