"""Type annotations as JSON Schema, and JSON values back as what the annotations promise.

Known: bool, int, float, str, None, Any, Literal, enums, unions, Optional, list, tuple, set, dict,
TypedDict, dataclasses, Annotated with a description, every class with `model_json_schema` and
`model_validate` (pydantic), and, where pydantic is
installed, all that it knows a schema of: dates, paths, decimals, `Annotated[int, Field(ge=1)]`.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import enum
import json
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, Literal, Union, get_args, get_origin

from understudy.errors import SchemaError
from understudy.generation.schemas.contract import contract_of

_PLAIN: dict[Any, dict[str, Any]] = {
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    str: {"type": "string"},
    type(None): {"type": "null"},
    None: {"type": "null"},
    list: {"type": "array"},
    tuple: {"type": "array"},
    set: {"type": "array", "uniqueItems": True},
    dict: {"type": "object"},
    Any: {},
}
_LISTS = (
    list,
    tuple,
    set,
    frozenset,
    collections.abc.Sequence,
    collections.abc.Iterable,
    collections.abc.Set,
)
_MAPPINGS = (dict, collections.abc.Mapping, collections.abc.MutableMapping)
MAX_DEPTH = 16
_DATA = ("enum", "const", "default", "examples")


def schema_of(annotation: Any) -> dict[str, Any]:
    """The JSON Schema of an annotation, whole in itself: what it points at lies under its own
    `$defs`.

    Raises:
        SchemaError: a type that JSON cannot carry, or one that contains itself.
    """
    definitions: dict[str, Any] = {}
    schema = schema_beside(annotation, definitions)
    return {**schema, "$defs": definitions} if definitions else schema


def schema_beside(annotation: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    """As `schema_of`, for a part of a larger schema: what it points at is added to that one's
    `definitions`."""
    schema: dict[str, Any] = _lifted(_schema_of(annotation, 0), definitions)
    return schema


def _lifted(schema: Any, definitions: dict[str, Any]) -> Any:
    """The schema with the `$defs` of its parts, which point from their own root, moved to a common
    root."""
    if isinstance(schema, list):
        return [_lifted(entry, definitions) for entry in schema]
    if not isinstance(schema, dict):
        return schema
    own, names = schema.get("$defs"), {}
    if isinstance(own, dict):
        names = {name: _free_name(name, entry, definitions) for name, entry in own.items()}
        schema = _repointed({key: entry for key, entry in schema.items() if key != "$defs"}, names)
        for name, entry in own.items():
            definitions[names[name]] = _repointed(entry, names)
    return {
        key: entry if key in _DATA else _lifted(entry, definitions) for key, entry in schema.items()
    }


def _free_name(name: str, entry: Any, definitions: Mapping[str, Any]) -> str:
    """The name, numbered where another definition has it."""
    free, number = name, 2
    while free in definitions and definitions[free] != entry:
        free, number = f"{name}_{number}", number + 1
    return free


def _repointed(schema: Any, names: Mapping[str, str]) -> Any:
    if isinstance(schema, list):
        return [_repointed(entry, names) for entry in schema]
    if not isinstance(schema, dict):
        return schema
    made = {
        key: entry if key in _DATA else _repointed(entry, names) for key, entry in schema.items()
    }
    target = made.get("$ref")
    if isinstance(target, str) and target.startswith("#/$defs/"):
        name, slash, rest = target.removeprefix("#/$defs/").partition("/")
        made["$ref"] = f"#/$defs/{names.get(name, name)}{slash}{rest}"
    return made


def _schema_of(annotation: Any, depth: int) -> dict[str, Any]:
    if depth > MAX_DEPTH:
        raise SchemaError(
            "the annotation contains itself",
            where=_name(annotation),
            do="give the schema as an OpenAI tool",
        )
    try:
        if annotation in _PLAIN:
            return dict(_PLAIN[annotation])
    except TypeError:  # an unhashable annotation is none of the plain ones
        pass
    for is_kind, build in _KINDS:
        if is_kind(annotation):
            return build(annotation, depth + 1)
    adapter = _adapter(annotation)
    if adapter is not None:
        return dict(adapter.json_schema())
    raise SchemaError(
        "a tool's argument has a type that JSON cannot carry", found=_name(annotation)
    )


def _adapter(annotation: Any) -> Any:
    """pydantic's reader of a type, None where it has none or is not installed."""
    try:
        import pydantic

        adapter = pydantic.TypeAdapter(annotation)
        adapter.json_schema()
    except ImportError:
        return None
    except (pydantic.errors.PydanticUserError, pydantic.errors.PydanticUndefinedAnnotation):
        return None
    return adapter


def _is_noted(annotation: Any) -> bool:
    """Whether the notes of an `Annotated` are texts for people, and not pydantic's fields."""
    return get_origin(annotation) is typing.Annotated and not any(
        type(note).__module__.partition(".")[0] in ("pydantic", "annotated_types")
        for note in get_args(annotation)[1:]
    )


def _annotated(annotation: Any, depth: int) -> dict[str, Any]:
    inner, *notes = get_args(annotation)
    text = next((note for note in notes if isinstance(note, str)), None)
    return _schema_of(inner, depth) | ({"description": text} if text else {})


def _literal(annotation: Any, depth: int) -> dict[str, Any]:
    return _choice(list(get_args(annotation)))


def _enum(annotation: Any, depth: int) -> dict[str, Any]:
    return _choice([member.value for member in annotation])


def _choice(values: list[Any]) -> dict[str, Any]:
    kinds = {type(value) for value in values}
    plain = _PLAIN.get(next(iter(kinds))) if len(kinds) == 1 else None
    return {**(plain or {}), "enum": values}


def _union(annotation: Any, depth: int) -> dict[str, Any]:
    return {"anyOf": [_schema_of(member, depth) for member in get_args(annotation)]}


def _list(annotation: Any, depth: int) -> dict[str, Any]:
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is tuple and not (len(inner) == 2 and inner[1] is ...):
        return {
            "type": "array",
            "prefixItems": [_schema_of(member, depth) for member in inner],
            "minItems": len(inner),
            "maxItems": len(inner),
        }
    return {"type": "array", "items": _schema_of(inner[0], depth)}


def _mapping(annotation: Any, depth: int) -> dict[str, Any]:
    key, value = get_args(annotation)
    if key is not str:
        raise SchemaError("the keys of a JSON object are strings", found=_name(annotation))
    return {"type": "object", "additionalProperties": _schema_of(value, depth)}


def _typed_dict(annotation: Any, depth: int) -> dict[str, Any]:
    hints = typing.get_type_hints(annotation, include_extras=True)
    kinds = {
        name: get_origin(hint) for name, hint in hints.items()
    }  # annotations that are strings hide them from the class
    required = [
        name
        for name, kind in kinds.items()
        if kind is typing.Required
        or (kind is not typing.NotRequired and name in annotation.__required_keys__)
    ]
    return _object({name: _schema_of(_bare(hint), depth) for name, hint in hints.items()}, required)


def _bare(hint: Any) -> Any:
    return get_args(hint)[0] if get_origin(hint) in (typing.Required, typing.NotRequired) else hint


def _dataclass(annotation: Any, depth: int) -> dict[str, Any]:
    hints = typing.get_type_hints(annotation, include_extras=True)
    fields = {
        field.name: _schema_of(hints[field.name], depth)
        for field in dataclasses.fields(annotation)
        if field.init
    }
    required = [
        field.name
        for field in dataclasses.fields(annotation)
        if field.init
        and field.default is dataclasses.MISSING
        and field.default_factory is dataclasses.MISSING
    ]
    return _object(fields, required)


def _object(properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


_KINDS: tuple[tuple[Callable[[Any], bool], Callable[[Any, int], dict[str, Any]]], ...] = (
    (_is_noted, _annotated),
    (lambda a: get_origin(a) is Literal, _literal),
    (lambda a: get_origin(a) in (Union, types.UnionType), _union),
    (lambda a: get_origin(a) in _LISTS, _list),
    (lambda a: get_origin(a) in _MAPPINGS, _mapping),
    (lambda a: isinstance(a, type) and issubclass(a, enum.Enum), _enum),
    (lambda a: hasattr(a, "model_json_schema"), lambda a, _: dict(a.model_json_schema())),
    (typing.is_typeddict, _typed_dict),
    (lambda a: isinstance(a, type) and dataclasses.is_dataclass(a), _dataclass),
)


def value_of(annotation: Any, value: Any) -> Any:
    """A JSON value as the annotation promises it: members of enums, dataclasses, tuples, sets; the
    rest as it is.
    """
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is typing.Annotated and _is_noted(annotation):
        return value_of(inner[0], value)
    if origin in (Union, types.UnionType):
        return value_of(next((member for member in inner if _fits(member, value)), None), value)
    if annotation is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, list) and (annotation in (set, tuple) or origin in _LISTS):
        return _sequence(origin or annotation, inner, value)
    if isinstance(value, Mapping) and origin in _MAPPINGS:
        return {key: value_of(inner[1], entry) for key, entry in value.items()}
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return annotation(value)
    if hasattr(annotation, "model_validate"):
        return annotation.model_validate(value)
    if (
        isinstance(annotation, type)
        and dataclasses.is_dataclass(annotation)
        and isinstance(value, Mapping)
    ):
        hints = typing.get_type_hints(annotation, include_extras=True)
        return annotation(**{name: value_of(hints[name], entry) for name, entry in value.items()})
    if not any(is_kind(annotation) for is_kind, _ in _KINDS) and not _is_plain(annotation):
        adapter = _adapter(annotation)
        return value if adapter is None else adapter.validate_json(json.dumps(value))
    return value


def _is_plain(annotation: Any) -> bool:
    try:
        return annotation in _PLAIN
    except TypeError:
        return False


def _sequence(kind: Any, inner: tuple[Any, ...], value: list[Any]) -> Any:
    if kind is tuple and inner and inner[-1] is not ...:
        return tuple(value_of(member, entry) for member, entry in zip(inner, value, strict=True))
    entries = [value_of(inner[0], entry) for entry in value] if inner else value
    return kind(entries) if kind in (set, frozenset, tuple) else entries


def _fits(annotation: Any, value: Any) -> bool:
    return contract_of(schema_of(annotation)).fault(value) is None


def _name(annotation: Any) -> str:
    return getattr(annotation, "__qualname__", None) or str(annotation)
