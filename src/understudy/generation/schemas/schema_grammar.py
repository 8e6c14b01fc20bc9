"""What of a schema a grammar can hold: the schema for llguidance, and what was loosened and is
checked afterwards.

    held = hold(standard(schema))
    # held.schema -> `%json`, held.loosened -> [Loosened("tags", "uniqueItems")]

Nothing that the schema allows is lost but three things, so that a reply ends: whole numbers have at
most 19 digits, others ten decimals and no exponent, and objects that list their properties take no
others. Each keyword that llguidance 1.x does not know is rewritten where an equal form exists, and
else left out and named.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from understudy.generation.schemas import schema_logic, schema_numbers
from understudy.generation.schemas.json_schema import PARTS, parts_of, target_of
from understudy.generation.schemas.schema_check import SchemaCheck, place_of
from understudy.text import ecma
from understudy.text.grammar import json_fault

FORMATS = frozenset(
    ["date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid", "uri"]
)
ANY = "any_value"
_KEPT = ("type", "required", "minItems", "maxItems", "minLength", "maxLength")
_OF_SCALARS = (*schema_numbers.LIMITS, "multipleOf", "pattern", "minLength", "maxLength")
_OPENING = ("additionalProperties", "unevaluatedProperties")


@dataclass(frozen=True, slots=True)
class Loosened:
    """A keyword that the grammar leaves to the check, and the place of the value that it speaks
    of.
    """

    place: str
    keyword: str

    def __str__(self) -> str:
        return f"{self.place or 'arguments'}: {self.keyword}"


@dataclass(frozen=True, slots=True)
class Known:
    """Names and patterns of names that parts of a composition speak of, in their order."""

    names: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()

    def __or__(self, other: Known) -> Known:
        return Known(
            tuple(dict.fromkeys((*self.names, *other.names))),
            tuple(dict.fromkeys((*self.patterns, *other.patterns))),
        )

    def __bool__(self) -> bool:
        return bool(self.names or self.patterns)

    def covers(self, other: Known) -> bool:
        return {*other.names} <= {*self.names} and {*other.patterns} <= {*self.patterns}

    @classmethod
    def of(cls, node: Mapping[str, Any]) -> Known:
        patterns = tuple(ecma.for_grammar(one) for one in node.get("patternProperties", ()))
        return cls(tuple(node.get("properties", ())), patterns)


@dataclass(frozen=True, slots=True)
class GrammarSchema:
    schema: dict[str, Any]
    loosened: tuple[Loosened, ...] = ()


def hold(schema: Mapping[str, Any]) -> GrammarSchema:
    """The schema for a grammar, of one in the form of `json_schema.standard`."""
    return _Holder(schema).whole()


@dataclass
class _Holder:
    root: Mapping[str, Any]
    defs: dict[str, Any] = field(default_factory=dict)
    loosened: dict[Loosened, None] = field(default_factory=dict)

    def whole(self) -> GrammarSchema:
        self._names: dict[tuple[str, Known | None], str] = {}
        self._source: Mapping[str, Any] = self.root.get("$defs", {})
        made = self.value(self.root, ())
        made = made if isinstance(made, dict) else {} if made else {"not": {}}
        return GrammarSchema(
            {**made, "$defs": self.defs} if self.defs else made, tuple(self.loosened)
        )

    def loosen(self, way: tuple[str | int, ...], keyword: str) -> None:
        self.loosened[Loosened(place_of(way).replace("[-1]", "[]"), keyword)] = None

    def value(self, node: Any, way: tuple[str | int, ...]) -> Any:
        """What stands alone for a value."""
        if node is True or (isinstance(node, Mapping) and not set(node) - {"$defs"}):
            return self._any()
        return self.part(node, way, None)

    def part(self, node: Any, way: tuple[str | int, ...], known: Known | None) -> Any:
        """What stands beside others. `known`: it is to take no names but these and its own."""
        if isinstance(node, bool):
            return node
        said = {k: v for k, v in node.items() if k not in ("$defs", "unevaluatedProperties")}
        rest = node.get("unevaluatedProperties", True)
        if rest is False:
            known = None if _opens(said, self._source) else Known()
            if known is None:  # what opens may be an alternative that does not hold
                self.loosen(way, "unevaluatedProperties")
        elif rest is not True and (target_of(node) or any(True for _ in parts_of(node))):
            self.loosen(way, "unevaluatedProperties")
        elif rest is not True:
            said["additionalProperties"] = rest
        name = target_of(said)
        if name and len(said) == 1:
            return {"$ref": f"#/$defs/{self._variant(name, known)}"}
        if name:
            said["allOf"] = [{"$ref": said.pop("$ref")}, *said.get("allOf", ())]
        said = schema_logic.without_logic(said, self._source, lambda key: self.loosen(way, key))
        said = _chosen(said)
        made: dict[str, Any] = {}
        for key, entry in said.items():
            made |= self._keyword(key, entry, said, way)
        wide, composed = made.pop("allOf", []), self._composed(said, way, known)
        if wide or "allOf" in composed:
            composed["allOf"] = [*wide, *composed.get("allOf", ())]
        made |= composed
        if known is None:
            return self._opened(made)
        if not known.covers(conditional_of(node, self._source)):
            self.loosen(way, "unevaluatedProperties")
        return _closed(made, known | known_of(node, self._source))

    def _variant(self, name: str, known: Known | None) -> str:
        """The definition as this use wants it: open, or closed with the names known around it."""
        place = name, known
        if place not in self._names:
            made, number = name, 2
            while made in self.defs or made == ANY:
                made, number = f"{name}_{number}", number + 1
            self._names[place] = made
            self.defs[made] = {}
            node = self._source.get(name, {})
            is_any = known is not None and not known and node in (True, {})
            self.defs[made] = self._any() if is_any else self.part(node, (name,), known)
        return self._names[place]

    def _any(self) -> dict[str, Any]:
        """Any JSON, its numbers bounded like those of others."""
        if ANY not in self.defs:
            this = {"$ref": f"#/$defs/{ANY}"}
            plain = [{"type": "null"}, {"type": "boolean"}, {"type": "string"}]
            self.defs[ANY] = {
                "anyOf": [
                    *plain,
                    schema_numbers.NUMBER,
                    {"type": "array", "items": this},
                    {"type": "object", "additionalProperties": this},
                ]
            }
        return {"$ref": f"#/$defs/{ANY}"}

    def _opened(self, made: dict[str, Any]) -> dict[str, Any]:
        """What is left open of a lone array or object is any value, with bounded numbers."""
        if made.keys() & {"allOf", "anyOf", "enum", "properties", "additionalProperties", "items"}:
            return _unwrapped(made)
        if made.get("type") == "array":
            return {**made, "items": self._any()}
        if made.get("type") == "object":
            return {**made, "additionalProperties": self._any()}
        return made

    # ---- one keyword ----

    def _keyword(
        self, key: str, entry: Any, said: Mapping[str, Any], way: tuple[str | int, ...]
    ) -> dict[str, Any]:
        if key == "pattern":
            return {key: ecma.for_grammar(entry)}
        if key in _KEPT:
            bounds = schema_numbers.bounds(said, lambda word: self.loosen(way, word))
            return {key: entry, **(bounds if key == "type" else {})}
        if key in ("properties", "patternProperties"):
            is_named = key == "properties"
            return {
                key: {
                    name if is_named else ecma.for_grammar(name): self.value(
                        inner, (*way, name if is_named else f"/{name}/")
                    )
                    if inner is not True
                    else True
                    for name, inner in entry.items()
                }
            }
        if key == "additionalProperties" and _rule_of_names(said):
            return {}
        if key in ("additionalProperties", "items"):
            return {key: self.value(entry, (*way, "*" if key != "items" else -1))}
        if key == "prefixItems":
            return {key: [self.value(inner, (*way, i)) for i, inner in enumerate(entry)]}
        if key in ("enum", "const"):
            values, wide = schema_numbers.choice(entry if key == "enum" else [entry])
            if wide:
                self.loosen(way, key)
            return values
        if key == "format":
            return {key: entry} if _is_held_format(entry, said) else {}
        return self._counted(key, entry, said, way)

    def _counted(
        self, key: str, entry: Any, said: Mapping[str, Any], way: tuple[str | int, ...]
    ) -> dict[str, Any]:
        if key in (*schema_numbers.LIMITS, "multipleOf"):
            return {} if "type" in said else {key: entry}  # with a type `bounds` writes them
        if key == "propertyNames":
            return self._names_of_properties(entry, said, way)
        if key == "contains":
            self.loosen(way, key)
            return {"minItems": max(said.get("minItems", 0), said.get("minContains", 1))}
        if key == "uniqueItems" and entry and said.get("maxItems", 2) > 1:
            self.loosen(way, key)
        if key == "unevaluatedItems" and entry is not True:
            self.loosen(way, key)
        if key in ("minProperties", "maxProperties"):
            is_idle = key == "minProperties" and entry <= len(said.get("required", ()))
            return {} if is_idle else {key: entry}
        return {}

    def _names_of_properties(
        self, names: Any, said: Mapping[str, Any], way: tuple[str | int, ...]
    ) -> dict[str, Any]:
        """A rule of names is a pattern of them, where it can be one."""
        pattern = schema_logic.pattern_of_names(names)
        if pattern == "":
            return {}
        if not _rule_of_names(said):
            self.loosen(way, "propertyNames")
            return {}
        rest = self.value(said.get("additionalProperties", True), (*way, "*"))
        listed = schema_logic.listed_names(names)
        if listed is not None:  # a pattern would leave a comma behind the last name that is free
            return {"properties": dict.fromkeys(listed, rest), "additionalProperties": False}
        pattern = ecma.for_grammar(pattern)
        return {"patternProperties": {pattern: rest}, "additionalProperties": False}

    # ---- compositions ----

    def _composed(
        self, said: Mapping[str, Any], way: tuple[str | int, ...], known: Known | None
    ) -> dict[str, Any]:
        """allOf and anyOf. The names of the others are known to the branches of one of them, which
        close themselves."""
        made: dict[str, Any] = {}
        fork = next((key for key in ("oneOf", "anyOf") if key in said), None)
        for key in PARTS:
            if key not in said:
                continue
            required = said.get("required", ())
            if key == "oneOf" and not schema_logic.are_disjoint(said[key], self._source, required):
                self.loosen(way, key)
            inner = None
            if known is not None and key == fork:
                inner = known | known_of({k: v for k, v in said.items() if k != fork}, self._source)
            parts = [self.part(member, way, inner) for member in said[key]]
            if key == "oneOf" and "anyOf" in said:
                made.setdefault("allOf", []).append({"anyOf": parts})
            elif key == "allOf":
                made["allOf"] = [*made.get("allOf", []), *parts]
            else:
                made["anyOf"] = parts
        return made


def known_of(node: Any, defs: Mapping[str, Any], seen: frozenset[str] = frozenset()) -> Known:
    """What the parts of a composition speak of."""
    if not isinstance(node, Mapping):
        return Known()
    known, name = Known.of(node), target_of(node)
    for part in parts_of(node):
        known |= known_of(part, defs, seen)
    if name and name not in seen:
        known |= known_of(defs.get(name), defs, seen | {name})
    return known


def conditional_of(node: Mapping[str, Any], defs: Mapping[str, Any]) -> Known:
    """What only alternatives speak of that do not close themselves: those below an allOf or a
    condition. Their names are known to a grammar whichever of them holds.
    """
    fork = next((key for key in ("oneOf", "anyOf") if key in node), None)
    besides = {key: entry for key, entry in node.items() if key != fork}
    sure = _sure_of(besides, defs)
    spoken = known_of(besides, defs)
    return Known(
        tuple(name for name in spoken.names if name not in sure.names),
        tuple(pattern for pattern in spoken.patterns if pattern not in sure.patterns),
    )


def _sure_of(node: Any, defs: Mapping[str, Any], seen: frozenset[str] = frozenset()) -> Known:
    """What the parts that always hold speak of."""
    if not isinstance(node, Mapping):
        return Known()
    known, name = Known.of(node), target_of(node)
    for part in node.get("allOf", ()):
        known |= _sure_of(part, defs, seen)
    if name and name not in seen:
        known |= _sure_of(defs.get(name), defs, seen | {name})
    return known


def _opens(node: Any, defs: Mapping[str, Any], seen: frozenset[str] = frozenset()) -> bool:
    """Whether some part of a composition looks at all properties."""
    if not isinstance(node, Mapping):
        return False
    if any(node.get(key, False) is not False for key in _OPENING):
        return True
    name, below = target_of(node), list(parts_of(node))
    if name and name not in seen:
        below.append(defs.get(name))
    return any(_opens(part, defs, seen | {name}) for part in below)


def _closed(made: dict[str, Any], known: Known) -> dict[str, Any]:
    if {"anyOf", "additionalProperties"} & made.keys() or not _may_be_object(made):
        return _unwrapped(made)
    names = {name: True for name in known.names if name not in made.get("properties", ())}
    properties = {**made.get("properties", {}), **names}
    patterns = {**dict.fromkeys(known.patterns, True), **made.get("patternProperties", {})}
    made = {**made, "properties": properties, "additionalProperties": False}
    return {**made, "patternProperties": patterns} if patterns else made


def _unwrapped(made: dict[str, Any]) -> dict[str, Any]:
    """A composition of one part and nothing beside it is that part."""
    for key in ("allOf", "anyOf"):
        if set(made) == {key} and len(made[key]) == 1 and isinstance(made[key][0], dict):
            return dict(made[key][0])
    return made


def _chosen(said: dict[str, Any]) -> dict[str, Any]:
    """A choice of values, those alone that the rules of texts and numbers beside it take: a grammar
    divides in binary, and looks around nowhere.
    """
    choices = [key for key in ("enum", "const") if key in said]
    beside = {key: said[key] for key in (*_OF_SCALARS, *choices[1:]) if key in said}
    if not choices or not beside:
        return said
    check = SchemaCheck(beside)
    values = said["enum"] if choices[0] == "enum" else [said["const"]]
    rest = {key: entry for key, entry in said.items() if key not in (*beside, *choices)}
    return {**rest, "enum": [value for value in values if check.fault(value) is None]}


def _is_held_format(name: str, said: Mapping[str, Any]) -> bool:
    """A format is an annotation: one that contradicts what else is said of a text says nothing."""
    if name not in FORMATS or said.keys() & {"enum", "const"}:
        return False
    beside = {key: said[key] for key in ("minLength", "maxLength") if key in said}
    if "pattern" in said:
        beside["pattern"] = ecma.for_grammar(said["pattern"])
    return not beside or not json_fault({"type": "string", "format": name, **beside})


def _rule_of_names(said: Mapping[str, Any]) -> bool:
    """Whether `propertyNames` becomes a pattern: all names come under it."""
    if "propertyNames" not in said or said.keys() & {"properties", "patternProperties"}:
        return False
    return bool(schema_logic.pattern_of_names(said["propertyNames"]))


def _may_be_object(node: Mapping[str, Any]) -> bool:
    kinds = node.get("type", "object")
    if "enum" in node or "const" in node:
        return False
    return "object" in ([kinds] if isinstance(kinds, str) else kinds)
