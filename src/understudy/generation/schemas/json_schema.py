"""A JSON Schema as people bring it, made one form that the rest of this room reads.

schema = standard({"$schema": "http://json-schema.org/draft-07/schema#", ...})

The form is draft 2020-12, whole in itself: every `$ref` points into `$defs` of its root. What
drafts 4 to 2019-09 say otherwise is said in its words. Annotations are gone. An object that lists
its properties takes no others unless it says so: `unevaluatedProperties: false` stands where a
value is described, never on a part of a composition, so that allOf, anyOf, `$ref` beside others and
if/then/else stay satisfiable.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from understudy.errors import SchemaError
from understudy.text import ecma

Schema = Mapping[str, Any] | bool
PARTS = ("allOf", "anyOf", "oneOf")  # lists of schemas of the same value
BRANCHES = ("if", "then", "else", "not")
_VALUES = ("additionalProperties", "unevaluatedProperties", "items", "unevaluatedItems", "contains")
_MAPS = ("properties", "patternProperties")
_COPIED = (
    *("type", "enum", "const", "required", "minProperties", "maxProperties", "dependentRequired"),
    *("minItems", "maxItems", "uniqueItems", "minContains", "maxContains"),
    *("minLength", "maxLength", "pattern", "format"),
    *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
)
_BELOW = (*_VALUES, *_MAPS, *PARTS, *BRANCHES, "propertyNames", "prefixItems", "dependentSchemas")
_REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")
_OPENING = ("additionalProperties", "unevaluatedProperties")
_SINCE_2019 = (
    *("dependentRequired", "dependentSchemas", "unevaluatedItems", "unevaluatedProperties"),
    *("minContains", "maxContains"),
)
MAX_DEPTH = 200


def standard(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema in the one form.

    Raises:
        SchemaError: it is none of its draft, points at nothing, or goes too deep; `where` is the
            place in it.
    """
    return _Reader(dict(schema)).whole()


def draft_of(schema: Mapping[str, Any]) -> Any:
    """The validator class of the draft that `$schema` names; without it of the newest in which this
    is a schema."""
    from jsonschema import validators

    named = validators.validator_for(schema, default=None)
    if named is not None:
        return named
    drafts = (
        validators.Draft202012Validator,
        validators.Draft7Validator,
        validators.Draft4Validator,
    )
    return next(
        (draft for draft in drafts if next(_faults(draft, schema), None) is None), drafts[0]
    )


def _faults(draft: Any, schema: Any) -> Iterator[Any]:
    """What the draft's own schema says of this one; `format` is left out: patterns are not
    Python's."""
    from jsonschema.exceptions import best_match

    worst = best_match(draft(draft.META_SCHEMA).iter_errors(schema))
    if worst is not None:
        yield worst


class _Reader:
    """Reads one schema: first all of its nodes (`part`), then where values are described
    (`_described`)."""

    def __init__(self, schema: dict[str, Any]) -> None:
        import referencing.jsonschema

        self._schema, self._way = schema, list[str]()
        try:
            draft = draft_of(schema)
            fault = next(_faults(draft, schema), None)
        except RecursionError:
            raise SchemaError("the schema goes too deep") from None
        if fault is not None:
            place = ".".join(map(str, fault.absolute_path)) or None
            raise SchemaError(f"not a JSON Schema ({fault.message[:160]})", where=place)
        uri = str(draft.META_SCHEMA.get("$schema", draft.META_SCHEMA.get("id", "")))
        self._year = _year_of(uri)
        self._spec = referencing.jsonschema.specification_with(uri)
        resource = self._spec.create_resource(schema)
        registry: Any = referencing.Registry().with_resource("", resource).crawl()
        self._resolver = registry.resolver_with_root(resource)
        self._defs: dict[str, Any] = {}
        self._names: dict[int, str] = {}

    def whole(self) -> dict[str, Any]:
        try:
            made = self.part(self._schema, self._resolver)
            made = made if isinstance(made, dict) else {} if made else {"not": {}}
            return _Closer(made, self._defs).whole()
        except RecursionError:
            raise SchemaError("the schema goes too deep") from None

    def part(self, node: Any, resolver: Any) -> Any:
        if isinstance(node, bool) or not isinstance(node, Mapping):
            return bool(node)
        if isinstance(node.get("$id", node.get("id")), str):
            resolver = resolver.in_subresource(self._spec.create_resource(node))
        said = _as_2020(node, self._year)
        made: dict[str, Any] = {}
        for key, entry in said.items():
            if key in _COPIED:
                made[key] = self._checked(key, entry)
            elif key in _REFERENCES:
                made["$ref"] = self._reference(str(entry), resolver)
            elif key in _MAPS:
                made[key] = {
                    name: self._named(name, inner, resolver) for name, inner in entry.items()
                }
            elif key in _BELOW:
                made |= mapped({key: entry}, lambda inner: self.part(inner, resolver))
        for pattern in made.get("patternProperties", ()):
            self._checked("pattern", pattern)
        return made

    def _named(self, name: str, node: Any, resolver: Any) -> Any:
        self._way.append(name)
        made = self.part(node, resolver)
        self._way.pop()
        return made

    def _checked(self, key: str, entry: Any) -> Any:
        if key == "pattern":
            try:
                ecma.compiled(entry)
            except ValueError as error:
                where = ".".join([*self._way, "pattern"])
                raise SchemaError(
                    f"not a pattern ({error})", where=where, found=entry[:80]
                ) from None
        return entry

    def _reference(self, pointer: str, resolver: Any) -> str:
        import referencing.exceptions

        try:
            found = resolver.lookup(pointer)
        except (referencing.exceptions.Unresolvable, ValueError, TypeError) as error:
            raise SchemaError(
                "a $ref points at nothing in this schema",
                where=".".join(self._way) or None,
                found=pointer[:120],
                do="give its target under $defs of the schema's root; nothing is fetched",
            ) from error
        target = found.contents
        known = isinstance(target, Mapping) and self._names.get(id(target))
        if known:
            return f"#/$defs/{known}"
        name = self._name(pointer)
        if isinstance(target, Mapping):
            self._names[id(target)] = name
        self._defs[name] = {}
        self._defs[name] = self.part(target, found.resolver)
        return f"#/$defs/{name}"

    def _name(self, pointer: str) -> str:
        """A name for what a pointer means: its last step, plain letters, not given before."""
        base = re.sub(r"\W", "_", pointer.rsplit("/", 1)[-1], flags=re.ASCII).strip("_") or "root"
        name, number = base, 2
        while name in self._defs:
            name, number = f"{base}_{number}", number + 1
        return name


class _Closer:
    """Puts `unevaluatedProperties: false` where a value is described that lists its properties."""

    def __init__(self, root: dict[str, Any], defs: Mapping[str, Any]) -> None:
        self._root, self._defs = root, defs
        self._shared: set[tuple[str, str]] = (
            set()
        )  # places that several parts of one value describe
        for node in (root, *defs.values()):
            self._note_shared(node)

    def whole(self) -> dict[str, Any]:
        result = self._described(self._inner(self._root))
        defs = {name: self._inner(node) for name, node in self._defs.items()}
        return {**result, "$defs": defs} if defs else dict(result)

    def _note_shared(self, node: Any) -> None:
        if not isinstance(node, dict):
            return
        self._shared |= {place for place, number in self._places(node, set()).items() if number > 1}
        mapped(node, self._note_shared)

    def _places(self, node: Any, seen: set[str]) -> Counter[tuple[str, str]]:
        """How often the parts that hold together describe each place below a value; of alternatives
        one counts."""
        places: Counter[tuple[str, str]] = Counter()
        if not isinstance(node, dict):
            return places
        places.update((key, "") for key in _VALUES if key in node)
        places.update(("properties", name) for name in node.get("properties", ()))
        for key in ("anyOf", "oneOf"):
            either: Counter[tuple[str, str]] = Counter()
            for part in node.get(key, ()):
                either |= self._places(part, seen)
            places += either
        for part in parts_of(node):
            if not any(part is other for key in ("anyOf", "oneOf") for other in node.get(key, ())):
                places += self._places(part, seen)
        name = target_of(node)
        if name and name not in seen:
            places += self._places(self._defs.get(name), seen | {name})
        return places

    def _inner(self, node: Any) -> Any:
        """A node with the values below it closed; itself it may be a part of a composition."""
        if not isinstance(node, dict):
            return node
        made: dict[str, Any] = {}
        for key, entry in node.items():
            if key in ("properties", "patternProperties"):
                made[key] = {
                    name: inner
                    if (key, name) in self._shared
                    else self._described(self._inner(inner))
                    for name, inner in entry.items()
                }
            elif key in ("not", "if", "contains", "propertyNames") or (key, "") in self._shared:
                made[key] = entry
            elif key in (*_VALUES, "prefixItems"):
                made |= mapped({key: entry}, lambda inner: self._described(self._inner(inner)))
            else:
                made |= mapped({key: entry}, self._inner)
        return made

    def _described(self, node: Any) -> Any:
        """A node that stands alone for a value: closed where it lists properties and does not say
        what others may be."""
        if not isinstance(node, dict):
            return node
        lists, opens = self._shape(node, set())
        if lists and not opens:
            unlisted = dict.fromkeys(self._unlisted(node), True)
            also = {"properties": {**node.get("properties", {}), **unlisted}} if unlisted else {}
            return {**node, **also, "unevaluatedProperties": False}
        union = next((key for key in ("anyOf", "oneOf") if set(node) <= {key}), None)
        if not opens or union is None:
            return node
        return {union: [self._described(member) for member in node[union]]}

    def _unlisted(self, node: Any) -> list[str]:
        """Names that a composition requires, or lists under a condition only: they are known
        whatever holds."""
        listed: set[str] = set()
        wanted: dict[str, None] = {}
        waiting, seen = [(node, False)], set[str]()
        while waiting:
            part, is_conditional = waiting.pop()
            if not isinstance(part, dict):
                continue
            names = part.get("properties", ())
            listed |= set() if is_conditional else set(names)
            wanted |= dict.fromkeys((*(names if is_conditional else ()), *part.get("required", ())))
            for entry in part.get("dependentRequired", {}).values():
                wanted |= dict.fromkeys(entry)
            conditions = [part.get(key) for key in ("if", "then", "else")]
            conditions += part.get("dependentSchemas", {}).values()
            waiting += [(inner, is_conditional) for key in PARTS for inner in part.get(key, ())]
            waiting += [(inner, True) for inner in conditions]
            if (name := target_of(part)) and name not in seen:
                seen.add(name)
                waiting.append((self._defs.get(name), is_conditional))
        return [name for name in wanted if name not in listed]

    def _shape(self, node: Any, seen: set[str]) -> tuple[bool, bool]:
        """Whether properties are listed in a composition, and whether it says itself what others
        there may be."""
        if not isinstance(node, dict):
            return False, False
        found = ["properties" in node], [any(key in node for key in _OPENING)]
        parts, name = list(parts_of(node)), target_of(node)
        if name and name not in seen:
            parts.append(self._defs.get(name))
        for part in parts:
            lists, opens = self._shape(part, seen | {name})
            found[0].append(lists)
            found[1].append(opens)
        return any(found[0]), any(found[1])


def target_of(node: Mapping[str, Any]) -> str:
    """The name under `$defs` that a node points at; empty: none."""
    return str(node.get("$ref", "")).removeprefix("#/$defs/")


def parts_of(node: Mapping[str, Any]) -> Iterator[Any]:
    """What a schema says of the same value beside its own keywords, `not` apart."""
    for key in PARTS:
        yield from node.get(key, ())
    yield from (node[key] for key in ("if", "then", "else") if key in node)
    yield from node.get("dependentSchemas", {}).values()


def _year_of(uri: str) -> int:
    for mark, year in (("2020-12", 2020), ("2019-09", 2019), ("draft-07", 7), ("draft-06", 6)):
        if mark in uri:
            return year
    return 4


def _as_2020(node: Mapping[str, Any], year: int) -> dict[str, Any]:
    """One node in the words of 2020-12. Forms that 2020-12 has not are read as the draft that has
    them."""
    said = dict(node)
    if year <= 7 and "$ref" in said:
        return {"$ref": said["$ref"]}
    if year <= 7:
        for key in _SINCE_2019:
            said.pop(key, None)
        _split_dependencies(said)
    for strict, bound in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if isinstance(said.get(strict), bool):
            is_strict = said.pop(strict)
            if is_strict and bound in said:
                said[strict] = said.pop(bound)
    rest = said.pop("additionalItems", None)
    if year < 2020:
        said.pop("prefixItems", None)
    if isinstance(said.get("items"), list):
        said["prefixItems"] = said.pop("items")
        if rest is not None:
            said["items"] = rest
    return said


def _split_dependencies(said: dict[str, Any]) -> None:
    given = said.pop("dependencies", None) or {}
    names = {name: entry for name, entry in given.items() if isinstance(entry, list)}
    names |= {name: [entry] for name, entry in given.items() if isinstance(entry, str)}
    schemas = {name: entry for name, entry in given.items() if name not in names}
    if names:
        said["dependentRequired"] = names
    if schemas:
        said["dependentSchemas"] = schemas


def mapped(node: Any, change: Callable[[Any], Any]) -> Any:
    """A node of the form with `change` made of each schema directly below it."""
    if not isinstance(node, Mapping):
        return node
    made: dict[str, Any] = {}
    for key, entry in node.items():
        if key in (*_MAPS, "$defs", "dependentSchemas"):
            made[key] = {name: change(inner) for name, inner in entry.items()}
        elif key in (*PARTS, "prefixItems"):
            made[key] = [change(inner) for inner in entry]
        elif key in (*_VALUES, *BRANCHES, "propertyNames"):
            made[key] = change(entry)
        else:
            made[key] = entry
    return made
