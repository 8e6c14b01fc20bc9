"""Which optional parameters does a conversation speak of? Small models fill in every one they see,
or none.

    said = Heard.of("the weather in Oslo in celsius, please")
    Parameters(schema).logit("unit", said)      # above 0: offered

What counts: words of the name, one of the values that a parameter lists or that its description
gives as an example or default, numbers and names beyond those that the required parameters need,
and days or times for a parameter of such. The weights are those of a logistic regression
(`bench/call_arguments.py`).
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from understudy.generation.message.values import find_values
from understudy.generation.message.words import content_words

WEIGHTS = {
    "bias": -1.12,
    "name_covered": 2.91,
    "value_named": 3.07,
    "example_named": 2.31,
    "default_named": 1.76,
    "is_number": -0.56,
    "is_boolean": -1.0,
    "is_text": -0.64,
    "is_list": 0.76,
    "is_object": 1.1,
    "spare_number": 1.52,
    "spare_names": 2.29,
    "time_named": 2.33,
    "is_time": -0.96,
    "num_optional": -0.61,
    "boolean_described": 1.17,
    "has_examples": 0.63,
}
_TIME_PARAMETER = re.compile(r"date|time|day|year|month|week|period|duration", re.IGNORECASE)
_TIME = re.compile(
    r"\b(?:today|tomorrow|tonight|yesterday|now|week|weekend|month|year|day|hour|minute|monday|"
    r"tuesday|wednesday|thursday|friday|saturday|sunday|january|february|march|april|may|june|"
    r"july|august|september|october|november|december|\d{4})s?\b",
    re.IGNORECASE,
)
_SAY = r"e\.?g\.?,?|such as|for example,?|like"
_EXAMPLES = re.compile(
    rf"\((?:{_SAY}|i\.e\.,?)\s*([^)]*)\)|(?:{_SAY}|could be|can be|either|one of)\s+([^.;]*)",
    re.IGNORECASE,
)
_QUOTED = re.compile(r"'([^']{1,40})'|\"([^\"]{1,40})\"")
_BETWEEN = re.compile(r",|\bor\b|\band\b|/")
_DEFAULT = re.compile(
    r"default(?:s to| is| value is|:| to)?\s*(?:is|:|to)?\s*'?\"?([\w\-.]+)", re.IGNORECASE
)
_BESIDE = re.compile(r"default.*|\be\.g\..*|\(.*?\)", re.IGNORECASE | re.DOTALL)
_TOLD_BY_ALL = content_words("optional value default specific")


@dataclass(frozen=True, slots=True)
class Heard:
    """What was said, read once for all parameters."""

    text: str
    words: frozenset[str]
    num_numbers: int
    num_names: int
    names_time: bool

    @classmethod
    def of(cls, text: str) -> Heard:
        values = find_values(text)
        num_numbers = sum(value.kind == "number" for value in values)
        words, names_time = frozenset(content_words(text)), _TIME.search(text) is not None
        return cls(text, words, num_numbers, len(values) - num_numbers, names_time)


class Parameter:
    """A parameter, and what speaks of it."""

    def __init__(self, name: str, schema: Any) -> None:
        schema = schema if isinstance(schema, Mapping) else {}
        description = str(schema.get("description", ""))
        listed, default = listed_values(schema), default_of(schema)
        examples = [one for one in examples_of(description) if one != default and len(one) > 1]
        self.kind, self.is_listed = str(schema.get("type")), bool(listed)
        self._own = content_words(name)
        self._told = content_words(_BESIDE.sub("", description)) - _TOLD_BY_ALL
        named = [value for value in listed if value.lower() not in ("true", "false")]
        self._listed = [content_words(value) for value in named]
        self._is_named = _any_of(named)
        self._is_example = _any_of(examples)
        self._is_default = _any_of([default] if default and len(default) > 1 else [])
        self._has_examples = bool(examples_of(description))
        self._is_time = _TIME_PARAMETER.search(f"{name} {description[:60]}") is not None

    @property
    def is_number(self) -> bool:
        return self.kind in ("integer", "number")

    @property
    def is_free(self) -> bool:
        """Whether it takes a text of the user's choice."""
        return self.kind == "string" and not self.is_listed

    def features(
        self, said: Heard, spare_numbers: int, spare_names: int, num_optional: int
    ) -> dict[str, float]:
        """What the regression sees.

        Args:
            spare_numbers, spare_names: of what was said, beyond what required parameters need.
        """
        is_listed = any(words and words <= said.words for words in self._listed)
        is_boolean = self.kind == "boolean"
        found = {
            "name_covered": _share(self._own, said.words),
            "value_named": is_listed or self._is_named(said.text),
            "example_named": self._is_example(said.text),
            "default_named": self._is_default(said.text),
            "is_number": self.is_number,
            "is_boolean": is_boolean,
            "is_text": self.is_free,
            "is_list": self.kind == "array",
            "is_object": self.kind == "object",
            "spare_number": self.is_number and spare_numbers > 0,
            "spare_names": min(3, max(0, spare_names)) / 3 if self.is_free else 0.0,
            "time_named": self._is_time and said.names_time,
            "is_time": self._is_time,
            "num_optional": math.log(max(1, num_optional)),
            "boolean_described": _share(self._told, said.words) if is_boolean else 0.0,
            "has_examples": self._has_examples,
        }
        return {"bias": 1.0, **{feature: float(value) for feature, value in found.items()}}


class Parameters:
    """Those of an object's schema, each held against what was said.

    Args:
        required: names of those that are needed whatever was said; default the schema's.
    """

    def __init__(self, schema: Mapping[str, Any], required: Iterable[str] | None = None) -> None:
        properties = schema.get("properties")
        found = properties if isinstance(properties, Mapping) else {}
        self._all = {str(name): Parameter(str(name), inner) for name, inner in found.items()}
        needed = set(schema.get("required") or () if required is None else required)
        self.optional = [name for name in self._all if name not in needed]
        taken = [one for name, one in self._all.items() if name in needed]
        self._num_numbers = sum(one.is_number for one in taken)
        self._num_names = sum(one.is_free for one in taken)

    def features(self, name: str, said: Heard) -> dict[str, float]:
        """What the regression sees of a parameter."""
        spare_numbers = said.num_numbers - self._num_numbers
        spare_names = said.num_names - self._num_names
        return self._all[name].features(said, spare_numbers, spare_names, len(self.optional))

    def logit(self, name: str, said: Heard) -> float:
        """How sure it is that a parameter is spoken of."""
        found = self.features(name, said)
        return sum(WEIGHTS[feature] * value for feature, value in found.items())


def _any_of(values: Sequence[str]) -> Callable[[str], bool]:
    """Whether one of these stands in a text, as a word or words."""
    if not values:
        return lambda text: False
    either = "|".join(re.escape(value) for value in values)
    pattern = re.compile(rf"(?<!\w)(?:{either})(?!\w)", re.IGNORECASE)
    return lambda text: pattern.search(text) is not None


def listed_values(schema: Mapping[str, Any]) -> list[str]:
    """The values that a parameter, or each entry of a list, may have."""
    items = schema.get("items")
    places = [schema, items if isinstance(items, Mapping) else {}]
    return [str(v) for one in places for v in one.get("enum") or () if isinstance(v, (str, int))]


def default_of(schema: Mapping[str, Any]) -> str | None:
    """The default that a schema or its description names."""
    if "default" in schema:
        return str(schema["default"])
    match = _DEFAULT.search(str(schema.get("description", "")))
    return match[1] if match else None


@functools.lru_cache(maxsize=1024)
def examples_of(description: str) -> tuple[str, ...]:
    """The values that a description gives as examples."""
    found = []
    for match in _EXAMPLES.finditer(description):
        found += _BETWEEN.split(match[1] or match[2] or "")
    found += [one or other for one, other in _QUOTED.findall(description)]
    bare = [one.strip(" '\".()") for one in found]
    return tuple(dict.fromkeys(one for one in bare if one))


def _share(part: set[str], whole: frozenset[str]) -> float:
    return len(part & whole) / max(1, len(part))
