"""Keywords of logic in the words that a grammar knows: not, if/then/else, dependencies, rules of
names, oneOf.

    {"not": {"required": ["a"]}}
        -> {"properties": {"a": false}}
    {"if": C, "then": T, "else": E}
        -> {"anyOf": [{"allOf": [C, T]}, {"allOf": [not C, E]}]}
    {"dependentRequired": {"a": ["b"]}}
        -> {"anyOf": [{"properties": {"a": false}}, {"required": ["b"]}]}

What has no such form is said to `loosen`, and the schema becomes wider, never narrower.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from understudy.generation.schemas.json_schema import target_of

Loosen = Callable[[str], None]
MAX_FORKS = 6  # each doubles the alternatives of an object
_TYPES = ("null", "boolean", "number", "string", "array", "object")
_SILENT = ("$defs", "format")


def without_logic(
    said: Mapping[str, Any], defs: Mapping[str, Any], loosen: Loosen
) -> dict[str, Any]:
    """A node of the standard form without `not`, `if`, `dependentRequired` and
    `dependentSchemas`.
    """
    rest = {key: entry for key, entry in said.items() if key not in _LOGIC}
    parts: list[Any] = []
    if "not" in said:
        inverse = complement(said["not"], said, defs)
        parts += _taken(inverse, "not", loosen)
    if "if" in said and ("then" in said or "else" in said):
        parts += _conditional(said, defs, loosen)
    forks = [*_required_with(said), *_schemas_with(said)]
    for keyword, fork in forks[:MAX_FORKS]:
        parts.append(fork)
        del keyword
    for keyword, _ in forks[MAX_FORKS:]:
        loosen(keyword)
    return {**rest, "allOf": [*rest.get("allOf", ()), *parts]} if parts else rest


_LOGIC = ("not", "if", "then", "else", "dependentRequired", "dependentSchemas")


def _taken(part: Any, keyword: str, loosen: Loosen) -> list[Any]:
    if part is None:
        loosen(keyword)
    return [] if part is None else [part]


def _conditional(said: Mapping[str, Any], defs: Mapping[str, Any], loosen: Loosen) -> list[Any]:
    condition = said["if"]
    inverse = complement(condition, said, defs)
    if inverse is None:
        loosen("if")
    met = {"allOf": [condition, said.get("then", True)]}
    unmet = {"allOf": [True if inverse is None else inverse, said.get("else", True)]}
    return [{"anyOf": [met, unmet]}]


def _required_with(said: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return [
        ("dependentRequired", {"anyOf": [_absent(name), {"required": list(names)}]})
        for name, names in said.get("dependentRequired", {}).items()
        if names
    ]


def _schemas_with(said: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return [
        ("dependentSchemas", {"anyOf": [_absent(name), schema]})
        for name, schema in said.get("dependentSchemas", {}).items()
    ]


def _absent(name: str) -> dict[str, Any]:
    return {"properties": {name: False}}


def complement(node: Any, beside: Mapping[str, Any], defs: Mapping[str, Any]) -> Any | None:
    """A schema of just the values that `node` refuses, among those that `beside` takes; None where
    none is known.

    Args:
        beside: what else is said of the value: an enumeration there makes the complement of one of
            its members known.
    """
    if isinstance(node, bool):
        return not node
    if target_of(node):
        return complement(defs.get(target_of(node), {}), beside, defs) if len(node) == 1 else None
    words = {key: entry for key, entry in node.items() if key not in _SILENT}
    options = [_complement_of(key, entry, words, beside, defs) for key, entry in words.items()]
    if any(option is None for option in options) or "format" in node:
        return None
    options = [option for option in options if option is not False]
    return options[0] if len(options) == 1 else {"anyOf": options} if options else False


def _complement_of(
    key: str,
    entry: Any,
    words: Mapping[str, Any],
    beside: Mapping[str, Any],
    defs: Mapping[str, Any],
) -> Any | None:
    if key == "required":
        return {"anyOf": [_absent(name) for name in entry]} if entry else False
    if key in ("enum", "const"):
        refused = [entry] if key == "const" else entry
        values = _values(beside, defs)
        return None if values is None else {"enum": [v for v in values if not _is_in(v, refused)]}
    if key == "type":
        return _other_types([entry] if isinstance(entry, str) else list(entry))
    if key == "properties":
        return _some_other(entry, beside, defs)
    if key in ("anyOf", "allOf"):
        parts = [complement(part, beside, defs) for part in entry]
        joined = "allOf" if key == "anyOf" else "anyOf"
        return None if any(part is None for part in parts) else {joined: parts}
    if key == "not":
        return entry
    return None


def _other_types(kinds: list[str]) -> Any | None:
    if "integer" in kinds and "number" not in kinds:
        return None
    return {"type": others} if (others := [kind for kind in _TYPES if kind not in kinds]) else False


def _some_other(
    properties: Mapping[str, Any], beside: Mapping[str, Any], defs: Mapping[str, Any]
) -> Any:
    """An object of which at least one of these properties is there and is otherwise."""
    options = []
    for name, inner in properties.items():
        given = beside.get("properties", {}).get(name, {})
        other = complement(inner, given if isinstance(given, Mapping) else {}, defs)
        if other is None:
            return None
        if other is not False:
            options.append({"properties": {name: other}, "required": [name], "type": "object"})
    return {"anyOf": options} if options else False


def _values(node: Any, defs: Mapping[str, Any]) -> list[Any] | None:
    """All values that a node takes, where it says them."""
    if not isinstance(node, Mapping):
        return None
    if "enum" in node:
        return list(node["enum"])
    if "const" in node:
        return [node["const"]]
    if target_of(node):
        return _values(defs.get(target_of(node)), defs)
    if node.get("type") == "boolean":
        return [True, False]
    return None


def _is_in(value: Any, values: Sequence[Any]) -> bool:
    """Equality of JSON: true is not 1."""
    return any(value == v and isinstance(value, bool) == isinstance(v, bool) for v in values)


def listed_names(names: Any) -> list[str] | None:
    """The names that a rule lists; None where it lists none."""
    values = None if isinstance(names, bool) else _values(names, {})
    if values is None or set(names) - {"type", "enum", "const"}:
        return None
    return [value for value in values if isinstance(value, str)]


def pattern_of_names(names: Any) -> str | None:
    """A pattern of the names that a rule allows; empty: any; None: not known."""
    if isinstance(names, bool):
        return "" if names else None
    words = {key: entry for key, entry in names.items() if key != "type"}
    if "string" not in (
        [names["type"]] if isinstance(names.get("type"), str) else names.get("type", ["string"])
    ):
        return None
    if not words:
        return ""
    if set(words) == {"pattern"}:
        return str(words["pattern"])
    if set(words) <= {"minLength", "maxLength"}:
        return f"^[\\s\\S]{{{words.get('minLength', 0)},{words.get('maxLength', '')}}}$"
    values = words.get("enum", [words["const"]] if "const" in words else None)
    if values is not None and len(words) == 1:
        escaped = (re.sub(r"([^\w -])", r"\\\1", str(value)) for value in values)
        return f"^(?:{'|'.join(escaped)})$"
    return None


def are_disjoint(
    options: Sequence[Any], defs: Mapping[str, Any], required: Sequence[str] = ()
) -> bool:
    """Whether no value can satisfy two of them, as far as types and named values tell.

    Args:
        required: names that an object must have whichever option it follows.
    """
    given = [_with_required(_target(option, defs), required) for option in options]
    return all(_apart(a, b, defs, 0) for a, b in itertools.combinations(given, 2))


def _with_required(node: Any, required: Sequence[str]) -> Any:
    if not isinstance(node, Mapping) or not required or "properties" not in node:
        return node
    return {**node, "required": [*node.get("required", ()), *required]}


def _apart(a: Any, b: Any, defs: Mapping[str, Any], depth: int) -> bool:
    a, b = (_target(node, defs) for node in (a, b))
    if a is False or b is False:
        return True
    if not isinstance(a, Mapping) or not isinstance(b, Mapping) or depth > 8:
        return False
    for one, other in ((a, b), (b, a)):
        if "anyOf" in one and all(_apart(part, other, defs, depth + 1) for part in one["anyOf"]):
            return True
        if any(_apart(part, other, defs, depth + 1) for part in one.get("allOf", ())):
            return True
    first, second = _values(a, defs), _values(b, defs)
    if first is not None and second is not None:
        return not any(_is_in(value, second) for value in first)
    kinds = [_kinds_of(node) for node in (a, b)]
    if kinds[0] and kinds[1] and not kinds[0] & kinds[1]:
        return True
    names = {*a.get("required", ()), *b.get("required", ())}
    both = [
        name
        for name in names
        if name in a.get("properties", ()) and name in b.get("properties", ())
    ]
    is_object = kinds[0] == kinds[1] == {"object"} or bool(both)
    return is_object and any(
        _apart(a["properties"][name], b["properties"][name], defs, depth + 1) for name in both
    )


def _target(node: Any, defs: Mapping[str, Any]) -> Any:
    for _ in range(8):
        if not isinstance(node, Mapping) or not target_of(node):
            break
        node = defs.get(target_of(node), {})
    return node


def _kinds_of(node: Mapping[str, Any]) -> set[str]:
    kinds = node.get("type", ())
    found = {kinds} if isinstance(kinds, str) else set(kinds)
    return {"number" if kind == "integer" else kind for kind in found}
