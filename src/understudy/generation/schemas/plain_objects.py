"""Objects that are no more than a list of properties: what notations beside JSON can say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from understudy.errors import SchemaError
from understudy.generation.schemas.contract import contract_of

# What may stand beside the properties of an object that is no more than a list of them.
_PLAIN_KEYS = frozenset(
    [
        "type",
        "properties",
        "required",
        "additionalProperties",
        "description",
        "title",
        "$defs",
        "definitions",
        "$schema",
        "$id",
        "default",
        "examples",
        "strict",
        "$comment",
    ]
)


@dataclass(frozen=True, slots=True)
class Property:
    """`schema` stands alone: it holds the definitions that it points to."""

    name: str
    schema: Mapping[str, Any]
    is_required: bool


def properties_of(schema: Mapping[str, Any]) -> list[Property] | None:
    """The properties of an object that is a list of them; None where its schema says more, or
    leaves open what it may hold.
    """
    listed, required = schema.get("properties"), schema.get("required", ())
    is_open = schema.get("additionalProperties") not in (None, False, True)
    if set(schema) - _PLAIN_KEYS or not isinstance(listed, Mapping) or is_open:
        return None
    if schema.get("additionalProperties") is True and not listed:
        return None
    if not isinstance(required, list | tuple) or not set(required) <= set(listed):
        return None
    shared = definitions_of(schema)
    found = []
    for name, inner in listed.items():
        own = {**inner, **shared} if isinstance(inner, Mapping) else shared if inner else None
        if own is None or not _is_whole(own):
            return None
        found.append(Property(name, own, name in required))
    return found


def definitions_of(schema: Mapping[str, Any]) -> dict[str, Any]:
    """What a part of a schema needs beside itself to stand alone."""
    return {key: schema[key] for key in ("$defs", "definitions") if key in schema}


def _is_whole(schema: Mapping[str, Any]) -> bool:
    """Whether a property's schema has all that it points to, and some value satisfies it."""
    try:
        return bool(contract_of(schema).rule)
    except SchemaError:
        return False
