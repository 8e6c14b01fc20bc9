"""Whether a value satisfies a schema, and if not, where and by which keyword.

    fault = SchemaCheck(standard(schema)).fault({"amount": 0.07})
    # None, or Fault("amount", "multipleOf", …)

jsonschema decides, but for what it leaves to Python: patterns are ECMAScript's, a multiple is
counted in decimals (0.07 is one of 0.01), and `format` says something to people only, as draft
2020-12 has it.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from understudy.generation.schemas.json_schema import PARTS, target_of
from understudy.text import ecma


@dataclass(frozen=True, slots=True)
class Fault:
    """`place` is the way to the value (`stops[2].name`), empty for the whole; `keyword` the
    schema's word that it breaks."""

    place: str
    keyword: str
    message: str

    def __str__(self) -> str:
        return f"{self.place or 'arguments'}: {self.message} ({self.keyword})"


class SchemaCheck:
    """Of one schema in the form of `json_schema.standard`."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self._validator = _draft()(schema)

    def fault(self, value: Any) -> Fault | None:
        """The fault that says most, None where there is none."""
        from jsonschema.exceptions import best_match

        try:
            errors = list(self._validator.iter_errors(value))
            known = [error for error in errors if error.validator != "unevaluatedProperties"]
            error = best_match(known or errors)  # a part that fails has not looked at its names
        except RecursionError:
            return Fault("", "$ref", "goes too deep to be checked")
        if error is None:
            return None
        return Fault(place_of(error.absolute_path), str(error.validator), error.message[:200])


def place_of(path: Iterable[str | int]) -> str:
    """`stops[2].name` of its steps."""
    steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return "".join(steps).lstrip(".")


@functools.cache
def _draft() -> Any:
    from jsonschema import validators

    own = {
        "pattern": _pattern,
        "multipleOf": _multiple_of,
        "patternProperties": _pattern_properties,
        "additionalProperties": _additional_properties,
        "unevaluatedProperties": _unevaluated_properties,
    }
    return validators.extend(validators.Draft202012Validator, own)


def _error(message: str) -> Any:
    from jsonschema.exceptions import ValidationError

    return ValidationError(message)


def _pattern(validator: Any, pattern: str, value: Any, schema: Any) -> Iterator[Any]:
    if isinstance(value, str) and not ecma.compiled(pattern).search(value):
        yield _error(f"{value[:80]!r} does not match {pattern[:80]!r}")


def _multiple_of(validator: Any, step: Any, value: Any, schema: Any) -> Iterator[Any]:
    if not validator.is_type(value, "number") or value != value or abs(value) == float("inf"):
        return
    if Fraction(str(value)) % Fraction(str(step)):
        yield _error(f"{value} is not a multiple of {step}")


def _pattern_properties(validator: Any, patterns: Any, value: Any, schema: Any) -> Iterator[Any]:
    if not isinstance(value, Mapping):
        return
    for pattern, inner in patterns.items():
        for name, entry in value.items():
            if ecma.compiled(pattern).search(name):
                yield from validator.descend(entry, inner, path=name, schema_path=pattern)


def _additional_properties(validator: Any, rest: Any, value: Any, schema: Any) -> Iterator[Any]:
    if isinstance(value, Mapping):
        yield from _other_properties(validator, rest, value, _named(schema, value))


def _unevaluated_properties(validator: Any, rest: Any, value: Any, schema: Any) -> Iterator[Any]:
    if isinstance(value, Mapping):
        below = {key: entry for key, entry in schema.items() if key != "unevaluatedProperties"}
        yield from _other_properties(validator, rest, value, _evaluated(validator, below, value))


def _other_properties(validator: Any, rest: Any, value: Any, known: set[str]) -> Iterator[Any]:
    others = [name for name in value if name not in known]
    if rest is False and others:
        yield _error(f"there is no property {', '.join(map(repr, others[:5]))}")
    elif rest is not False:
        for name in others:
            yield from validator.descend(value[name], rest, path=name)


def _named(schema: Mapping[str, Any], value: Mapping[str, Any]) -> set[str]:
    names = {name for name in value if name in schema.get("properties", ())}
    for pattern in schema.get("patternProperties", ()):
        names |= {name for name in value if ecma.compiled(pattern).search(name)}
    return names


def _evaluated(validator: Any, schema: Any, value: Mapping[str, Any]) -> set[str]:
    """The names that some part of a composition which holds has looked at (2020-12, core, 11.3)."""
    if not isinstance(schema, Mapping):
        return set()
    if "additionalProperties" in schema or "unevaluatedProperties" in schema:
        return set(value)
    names = _named(schema, value)
    if target_of(schema):
        names |= _evaluated(validator, validator._resolver.lookup(schema["$ref"]).contents, value)
    for part in _holding(validator, schema, value):
        names |= _evaluated(validator, part, value)
    return names


def _holding(validator: Any, schema: Mapping[str, Any], value: Any) -> Iterator[Any]:
    """The parts of a composition that the value satisfies."""

    def holds(part: Any) -> bool:
        return bool(validator.evolve(schema=part).is_valid(value))

    for key in PARTS:
        yield from (part for part in schema.get(key, ()) if holds(part))
    if "if" in schema:
        is_met = holds(schema["if"])
        yield from [schema["if"]] if is_met else []
        if (branch := schema.get("then" if is_met else "else")) is not None:
            yield branch
    yield from (part for name, part in schema.get("dependentSchemas", {}).items() if name in value)
