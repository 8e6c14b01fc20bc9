"""Arguments that the conversation supports: what a call may say, narrowed to what somebody said.

Two rules, each a switch of its own, both on the schema that the grammar holds a call to:

- **Optional parameters** are offered only where the conversation holds something for them: a word
  of their name, of their description or of one of their values, or (for numbers) more numbers than
  the required parameters use up. Small models fill in every parameter they see; five of fourteen
  wrong calls of a 0.5B model only added one that nobody mentioned.
- **Copied values** (for the smallest models): a text without a format or a list of values must be a
  run of words of the conversation, a number one of its numbers. Where nothing can be copied that
  the parameter's own limits take, it stays as it is.

Where a schema says more of its properties than what each is (conditions, alternatives, how many,
others that may follow), none is left out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from understudy.generation.contract import contract_of
from understudy.generation.words import content_words

MAX_SPAN_WORDS = 8
MAX_SPANS = 1500
_NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?!\w)")
# Beside these, a schema's root speaks of properties by name or number.
_LISTING = frozenset(
    (
        *("type", "properties", "required", "unevaluatedProperties", "$defs", "definitions"),
        *("title", "description", "default", "examples", "$schema", "$id", "id", "$comment"),
    )
)
_COMPOSED = ("enum", "const", "format", "pattern", "$ref", "anyOf", "oneOf", "allOf", "not", "if")
_LENGTHS = ("minLength", "maxLength")
_LIMITS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")
_SPACE = re.compile(r"\s+")
_EDGE = ".,;:!?()[]{}\"'“”‘’"
_NUMBER_WORDS = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
    "twenty",
]
_WORD_NUMBERS = {word: number for number, word in enumerate(_NUMBER_WORDS)}
_BOOLEAN_HINTS = frozenset(
    ["without", "not", "no", "only", "include", "including", "exclude", "also"]
)


def supported(schema: Mapping[str, Any], said: str) -> dict[str, Any]:
    """An object's schema without the optional properties that nothing in `said` speaks of.

    Args:
        schema: of a tool's parameters (type object).
        said: the conversation that may hold values: messages, results, defaults.
    """
    properties = schema.get("properties")
    if not isinstance(properties, Mapping) or not _only_lists(schema):
        return dict(schema)
    required = set(schema.get("required") or ())
    words = content_words(said)
    numbers = len(numbers_of(said)) - sum(
        _kind(inner) == "number" for name, inner in properties.items() if name in required
    )
    kept = {
        name: inner
        for name, inner in properties.items()
        if name in required or _is_spoken_of(name, inner, said, words, numbers)
    }
    return {**schema, "properties": kept}


def copied(schema: Mapping[str, Any], said: str) -> dict[str, Any]:
    """An object's schema whose free texts and numbers must stand in `said`."""
    properties = schema.get("properties")
    if not isinstance(properties, Mapping):
        return dict(schema)
    spans, numbers, words = spans_of(said), numbers_of(said), content_words(said)
    return {
        **schema,
        "properties": {
            name: _copied(_named(inner, words), spans, numbers)
            for name, inner in properties.items()
        },
    }


def numbers_of(said: str) -> list[str]:
    """The numbers of a text, once each, in order; the first twenty number words count."""
    found = _NUMBER.findall(said)
    found += [
        str(_WORD_NUMBERS[word])
        for word in re.findall(r"[a-z]+", said.lower())
        if word in _WORD_NUMBERS
    ]
    return list(dict.fromkeys(found))


def spans_of(said: str, most: int = MAX_SPANS) -> list[str]:
    """The runs of at most `MAX_SPAN_WORDS` words, without punctuation at their edges, once each."""
    words = _SPACE.split(said.strip())
    spans: dict[str, None] = {}
    for length in range(1, MAX_SPAN_WORDS + 1):
        for first in range(len(words) - length + 1):
            text = " ".join(words[first : first + length]).strip(_EDGE)
            if text:
                spans[text] = None
            if len(spans) >= most:
                return list(spans)
    return list(spans)


def _kind(schema: Any) -> str:
    kind = schema.get("type") if isinstance(schema, Mapping) else None
    return "number" if kind in ("integer", "number") else str(kind or "")


def _is_spoken_of(name: str, schema: Any, said: str, words: set[str], spare_numbers: int) -> bool:
    if not isinstance(schema, Mapping):
        return True
    values = [str(value) for value in _values(schema)]
    if any(
        value and re.search(rf"(?<!\w){re.escape(value)}(?!\w)", said, re.I) for value in values
    ):
        return True
    if words & content_words(name):
        return True
    described = content_words(str(schema.get("description", "")))
    share = len(words & described) / max(1, len(described))
    kind = _kind(schema)
    if kind == "number":
        return spare_numbers > 0 and (share > 0 or spare_numbers > 1)
    if kind == "boolean":
        return share >= 0.5 or bool(_BOOLEAN_HINTS & set(said.lower().split()) and share > 0)
    return share >= 0.34


def _values(schema: Mapping[str, Any]) -> Iterable[Any]:
    values = schema.get("enum")
    yield from values if isinstance(values, list) else ()
    for key in ("anyOf", "oneOf"):
        for inner in schema.get(key) or ():
            if isinstance(inner, Mapping):
                yield from _values(inner)


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


def _copied(schema: Any, spans: list[str], numbers: list[str]) -> Any:
    if not isinstance(schema, Mapping) or any(key in schema for key in _COMPOSED):
        return schema
    values = _copies(schema, spans, numbers)
    if schema.get("type") == "string" and values:
        return {**schema, "pattern": f"^(?:{'|'.join(map(re.escape, values))})$"}
    if values:
        return {**schema, "enum": values}
    items = schema.get("items")
    if schema.get("type") == "array" and isinstance(items, Mapping):
        narrow = _copied(items, spans, numbers)
        num_values = len(_copies(items, spans, numbers)) if schema.get("uniqueItems") else None
        is_enough = num_values is None or num_values >= schema.get("minItems", 0)
        return {**schema, "items": narrow} if is_enough else schema
    return schema


def _copies(schema: Mapping[str, Any], spans: list[str], numbers: list[str]) -> list[Any]:
    """What of a conversation may be copied into a text or a number with these limits."""
    kind = schema.get("type")
    if kind == "string":
        least, most = (schema.get(key) for key in _LENGTHS)
        return [s for s in spans if (least or 0) <= len(s) <= (len(s) if most is None else most)]
    if kind not in ("integer", "number"):
        return []
    given = [float(n) if "." in n else int(n) for n in numbers if kind == "number" or "." not in n]
    limits = contract_of({key: schema[key] for key in _LIMITS if key in schema})
    return [value for value in given if limits.fault(value) is None]
