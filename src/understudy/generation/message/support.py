"""Arguments that the conversation supports: what a call may say, narrowed to what somebody said.

Two rules, each a switch of its own, both on the schema that the grammar holds a call to:

- **Optional parameters** are offered only where the conversation speaks of them (`spoken.py`).
  Small models fill in every parameter they see. Whether one that is spoken of is given stays with
  the model: asked for, it was wrong more often than right.
- **Copied values** (for small models): a number is one of the conversation's, as the parameter
  wants it (0.05 for 5 %), a text a run of its words, a date one of its days in the form that the
  description names. A parameter that wants a text of a form of its own (code, a query, a format)
  stays as it is, and so does one for which nothing can be copied that its own limits take.

Where a schema says more of its properties than what each is (conditions, alternatives, how many,
others that may follow), none is left out.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from understudy.generation.message.copying import SaidValues
from understudy.generation.message.spoken import Heard, Parameters
from understudy.generation.message.words import content_words
from understudy.generation.schemas.contract import contract_of

# Beside these, a schema's root speaks of properties by name or number.
_LISTING = frozenset(
    (
        *("type", "properties", "required", "unevaluatedProperties", "$defs", "definitions"),
        *("title", "description", "default", "examples", "$schema", "$id", "id", "$comment"),
    )
)
_COMPOSED = ("enum", "const", "format", "pattern", "$ref", "anyOf", "oneOf", "allOf", "not", "if")
_LENGTHS = ("minLength", "maxLength")
_LIMITS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", *_LENGTHS)


def supported(schema: Mapping[str, Any], said: str) -> dict[str, Any]:
    """An object's schema without the optional properties that nothing in `said` speaks of.

    Args:
        schema: of a tool's parameters (type object).
        said: the conversation that may hold values: messages, results, defaults.
    """
    properties = schema.get("properties")
    if not isinstance(properties, Mapping) or not _only_lists(schema):
        return dict(schema)
    parameters, heard = Parameters(schema), Heard.of(said)
    logits = {name: parameters.logit(name, heard) for name in parameters.optional}
    kept = {name: inner for name, inner in properties.items() if logits.get(name, 1.0) > 0}
    return {**schema, "properties": kept}


def copied(schema: Mapping[str, Any], said: str) -> dict[str, Any]:
    """An object's schema whose free texts, numbers and dates must stand in `said`."""
    properties = schema.get("properties")
    if not isinstance(properties, Mapping):
        return dict(schema)
    values, words = SaidValues(said), content_words(said)
    return {
        **schema,
        "properties": {
            name: _copied(name, _named(inner, words), values) for name, inner in properties.items()
        },
    }


def _named(schema: Any, words: set[str]) -> Any:
    """A list of values cut to those that were named, where any was."""
    if not isinstance(schema, Mapping) or not isinstance(schema.get("enum"), list):
        return schema
    named = [value for value in schema["enum"] if content_words(str(value)) & words]
    return {**schema, "enum": named} if named else schema


def _only_lists(schema: Mapping[str, Any]) -> bool:
    """Whether a property that is left out is missed nowhere else in the schema."""
    if schema.get("additionalProperties") is not False and "additionalProperties" in schema:
        return False
    is_plain = schema.keys() <= _LISTING | {"additionalProperties"}
    return is_plain and "#/properties/" not in json.dumps(schema)


def _copied(name: str, schema: Any, said: SaidValues) -> Any:
    if not isinstance(schema, Mapping) or any(key in schema for key in _COMPOSED):
        return schema
    kind = schema.get("type")
    if kind == "array" and isinstance(schema.get("items"), Mapping):
        items = _copied(name, schema["items"], said)
        is_enough = len(items.get("enum", ())) >= schema.get("minItems", 0)
        return {**schema, "items": items} if is_enough or not schema.get("uniqueItems") else schema
    if kind == "object" and isinstance(schema.get("properties"), Mapping):
        inner = {key: _copied(key, one, said) for key, one in schema["properties"].items()}
        return {**schema, "properties": inner}
    find = _RULES.get(str(kind))
    return schema if find is None else within_limits(schema, find(said, name, schema))


def within_limits(schema: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    """A schema of a text or number with the keywords that were found for it, as far as its own
    limits take them.
    """
    if "pattern" in found:
        return dict(schema) if schema.keys() & {*_LENGTHS} else {**schema, **found}
    limits = contract_of({key: schema[key] for key in _LIMITS if key in schema})
    fitting = [value for value in found.get("enum", ()) if limits.fault(value) is None]
    return {**schema, "enum": fitting} if fitting else dict(schema)


_Rule = Callable[[SaidValues, str, Mapping[str, Any]], dict[str, Any]]
_RULES: dict[str, _Rule] = {
    "string": SaidValues.text,
    "integer": SaidValues.number,
    "number": SaidValues.number,
}
