"""Requests made from a tool list without any model: values by type and name, words by template.

Two sources: functions with ways to ask for them (`read_phrased`), and any tool list, for which the
words are put together out of names and descriptions. Every call that comes out satisfies its schema
and every value of it stands in the message.

    made = phrased.make(chance, values) -> Made("Wake me at 7 pm.", {"time": "7 pm"})
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from understudy.errors import DocumentError

Values = Mapping[str, Sequence[str]]
JSON_TYPES = {
    "str": "string",
    "int": "integer",
    "num": "number",
    "bool": "boolean",
    "date": "string",
}
_SLOT = re.compile(r"\{(\w+)\}")
_OPTIONAL = re.compile(r"\[([^\[\]]*)\]")
_EXAMPLES = re.compile(r"\((?:e\.g\.?|for example|such as)[,:]?\s*([^)]*)\)", re.I)
_WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")
_KINDS_BY_NAME = (
    (r"city|town|destination|origin", "city"),
    (r"country|nation", "country"),
    (r"location|place|area|region|address|site", "location"),
    (r"date|day|deadline", "date"),
    (r"time\b|hour", "time"),
    (r"e_?mail", "email"),
    (r"language", "language"),
    (r"currency", "currency"),
    (r"(_id|^id|code|number|account|key|token)$", "code"),
    (r"artist|author|person|user|customer|patient|employee|student|owner|player|^name", "person"),
    (r"song|track", "song"),
    (r"movie|film|show", "movie"),
    (r"book|title", "book"),
    (r"team|club", "team"),
    (r"dish|recipe|meal", "dish"),
    (r"food|ingredient", "food"),
    (r"room", "room"),
    (r"file|path", "file"),
    (r"message|text|comment|content|body", "sentence"),
    (r"restaurant", "restaurant"),
)


@dataclass(frozen=True, slots=True)
class Made:
    """A message and the arguments of the call that it asks for."""

    text: str
    arguments: Mapping[str, Any]


def read_values(path: Path) -> dict[str, list[str]]:
    """Pools of values by kind: lines `kind: a; b; …`."""
    pools: dict[str, list[str]] = {}
    for line in _lines(path):
        kind, _, values = line.partition(":")
        pools[kind.strip()] = [value.strip() for value in values.split(";") if value.strip()]
    return pools


@dataclass(frozen=True, slots=True)
class Phrased:
    """A function with ways to ask for it."""

    tool: Mapping[str, Any]
    kinds: Mapping[str, str]  # parameter -> kind of value
    requests: tuple[str, ...]

    def make(self, chance: random.Random, values: Values) -> Made:
        """One request with values drawn. Optional parts are there half of the time."""
        template = chance.choice(self.requests)
        text = _OPTIONAL.sub(lambda m: m[1] if chance.random() < 0.5 else "", template)
        names = list(dict.fromkeys(_SLOT.findall(text)))
        required = self.tool["parameters"]["required"]
        if missing := [name for name in required if name not in names]:
            raise DocumentError(
                "a request leaves out what is required", where=template, found=missing
            )
        drawn = {name: self._value(name, chance, values) for name in names}
        said = _SLOT.sub(lambda m: spoken(drawn[m[1]]), text)
        return Made(said[0].upper() + said[1:], drawn)

    def _value(self, name: str, chance: random.Random, values: Values) -> Any:
        schema = self.tool["parameters"]["properties"][name]
        return value_of(name, schema, chance, values, self.kinds.get(name, ""))


def read_phrased(path: Path) -> list[Phrased]:
    """Functions with requests: lines `name | description | parameters | request | …`.

    Raises:
        DocumentError: a line has too few parts, or a type that is none.
    """
    return [_phrased(line, str(path)) for line in _lines(path)]


def _lines(path: Path) -> Iterable[str]:
    lines = path.read_text("utf-8").splitlines()
    return (line for line in lines if line.strip() and not line.startswith("#"))


def _phrased(line: str, where: str) -> Phrased:
    parts = [part.strip() for part in line.split(" | ")]
    if len(parts) < 4:
        raise DocumentError("a function needs four parts", where=where, found=line[:60])
    name, description, listed, *requests = parts
    properties: dict[str, Any] = {}
    kinds: dict[str, str] = {}
    required: list[str] = []
    for parameter in listed.split(";"):
        key, kind, text = (part.strip() for part in parameter.split(":", 2))
        is_optional, kind = kind.endswith("?"), kind.removesuffix("?")
        kind, _, pool = kind.partition("@")
        kinds[key] = pool or ("date" if kind == "date" else "")
        properties[key] = {**_schema(kind, where), "description": text}
        required += [] if is_optional else [key]
    parameters = {"type": "object", "properties": properties, "required": required}
    tool = {"name": name, "description": description, "parameters": parameters}
    return Phrased(tool, kinds, tuple(requests))


def _schema(kind: str, where: str) -> dict[str, Any]:
    if kind.startswith("list["):
        return {"type": "array", "items": _schema(kind[5:-1], where)}
    if "/" in kind:
        return {"type": "string", "enum": kind.split("/")}
    if kind not in JSON_TYPES:
        raise DocumentError("no such type", where=where, found=kind)
    return {"type": JSON_TYPES[kind]}


def value_of(
    name: str, schema: Mapping[str, Any], chance: random.Random, values: Values, kind: str = ""
) -> Any:
    """A value that fits a parameter's schema and, as far as can be told, its name."""
    if schema.get("enum"):
        return chance.choice(list(schema["enum"]))
    kinds = schema.get("type")
    if kinds in ("integer", "number") and values.get(kind):
        return json.loads(chance.choice(list(values[kind])))
    match kinds:
        case "integer":
            return _integer(name, chance)
        case "number":
            return chance.choice([chance.randint(2, 900), round(chance.uniform(0.5, 99), 1)])
        case "boolean":
            return chance.random() < 0.7
        case "array":
            inner = schema.get("items") or {"type": "string"}
            count = chance.randint(2, 4)
            found = [value_of(name, inner, chance, values, kind) for _ in range(count)]
            return (
                found if inner.get("type") in ("integer", "number") else list(dict.fromkeys(found))
            )
    return _text(name, schema, chance, values, kind)


def _integer(name: str, chance: random.Random) -> int:
    if "year" in name.lower() or "season" in name.lower():
        return chance.randint(1950, 2024)
    return chance.choice([chance.randint(1, 12), chance.randint(2, 90), chance.randint(100, 5000)])


def _text(
    name: str, schema: Mapping[str, Any], chance: random.Random, values: Values, kind: str
) -> str:
    examples = _EXAMPLES.search(str(schema.get("description", "")))
    if not kind and examples:
        listed = [part.strip(" '\"") for part in re.split(r",|;| or ", examples[1])]
        listed = [part for part in listed if 1 < len(part) < 40 and "etc" not in part]
        if listed:
            return chance.choice(listed)
    lower = name.lower()
    kind = kind or next((k for pattern, k in _KINDS_BY_NAME if re.search(pattern, lower)), "thing")
    return chance.choice(list(values.get(kind) or values["thing"]))


def spoken(value: Any) -> str:
    """A value as it stands in a sentence."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        texts = [spoken(one) for one in value]
        return f"{', '.join(texts[:-1])} and {texts[-1]}" if len(texts) > 1 else texts[0]
    return str(value)


def words_of(name: str) -> str:
    """`crop_type`, `cropType` -> "crop type"."""
    return " ".join(word.lower() for word in _WORDS.findall(name))


def described_request(
    tool: Mapping[str, Any], chance: random.Random, values: Values
) -> Made | None:
    """A request for any tool, its words put together out of description and parameter names.

    None for tools without a description, or with parameters that cannot be said in a sentence.
    """
    schema = tool.get("parameters") or {}
    properties = schema.get("properties") or {}
    required = [name for name in schema.get("required") or () if name in properties]
    optional = [name for name in properties if name not in required]
    chosen = required + [name for name in optional if chance.random() < 0.2]
    simple = ("string", "integer", "number", "boolean")
    wish = str(tool.get("description", "")).strip().rstrip(".")
    if not wish or not chosen or any(properties[n].get("type") not in simple for n in chosen):
        return None
    wish = wish[0].lower() + wish[1:]
    drawn = {name: value_of(name, properties[name], chance, values) for name in chosen}
    if chance.random() < 0.4:
        chance.shuffle(chosen)
    text = _sentence(wish, [(words_of(n), drawn[n]) for n in chosen], chance)
    return Made(
        text[0].upper() + text[1:], {name: drawn[name] for name in properties if name in drawn}
    )


def _sentence(wish: str, pairs: Sequence[tuple[str, Any]], chance: random.Random) -> str:
    opening = chance.choice(_OPENINGS).format(wish=wish)
    mark = "?" if opening.startswith(("can", "could", "would")) else "."
    one = chance.choice(_PAIRS)
    listed = [one.format(name=name, value=spoken(value)) for name, value in pairs]
    joined = f"{', '.join(listed[:-1])} and {listed[-1]}" if len(listed) > 1 else listed[0]
    match chance.randrange(4):
        case 0:
            return f"{opening} with {joined}{mark}"
        case 1:
            return f"{opening}{mark} {_capital(joined)}."
        case 2:
            facts = [f"the {name} is {spoken(value)}" for name, value in pairs]
            return f"{opening}{mark} {_capital(' and '.join(facts))}."
        case _:
            values = ", ".join(spoken(value) for _, value in pairs)
            return f"{opening} for {values}{mark}" if len(pairs) == 1 else f"{opening}: {joined}"


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


_OPENINGS = (
    "{wish}",
    "please {wish}",
    "can you {wish}",
    "could you {wish}",
    "i need to {wish}",
    "i want to {wish}",
    "help me {wish}",
    "i'd like you to {wish}",
)
_PAIRS = (
    "{name} {value}",
    "{value} as the {name}",
    "the {name} {value}",
    "{name}: {value}",
    "a {name} of {value}",
)


def tools_of_list(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Bare functions out of a tool list: OpenAI's form, ours, or Seal-Tools'."""
    found = []
    for row in rows:
        if "api_name" in row:
            found.append(_seal_tool(row))
        else:
            function = row.get("function", row)
            found.append(
                {k: function[k] for k in ("name", "description", "parameters") if k in function}
            )
    return found


def _seal_tool(row: Mapping[str, Any]) -> dict[str, Any]:
    kinds = {"str": "string", "int": "integer", "float": "number", "bool": "boolean"}
    properties = {
        name: {
            "type": kinds.get(value.get("type", "str"), "string"),
            "description": value.get("description", ""),
        }
        for name, value in row["parameters"].items()
    }
    required = [name for name in row.get("required") or () if name in properties]
    parameters = {"type": "object", "properties": properties, "required": required}
    return {
        "name": row["api_name"],
        "description": row["api_description"],
        "parameters": parameters,
    }
