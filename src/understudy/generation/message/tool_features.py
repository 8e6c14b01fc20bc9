"""What a message and a tool have in common, as numbers: the features of the gate in `relevance.py`.

The words and vectors of a list of tools are computed once (`ToolFeatures`), those of a message once
a message. "Nearness" of words to words is the mean, over the first, of the largest cosine with one
of the second.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from understudy.generation.background import BACKGROUND
from understudy.generation.message.spoken import Heard, Parameters
from understudy.generation.message.words import (
    TOOL_WORDS,
    content_words,
    stem,
    telling_words,
    words_of,
)
from understudy.text.embed import Embedder

MAX_DEPTH = 3  # of nested parameters that are read
MAX_VALUES = 24  # of an enumeration
MAX_WORDS = 80  # of the parameters of a tool
UNRELATED = 0.35  # cosine of two words that have nothing to do with each other
NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
NAME = re.compile(r"\"[^\"]+\"|'[^']+'|(?<!^)\b[A-Z][\w.\-]*(?:\s+[A-Z][\w.\-]*)*")
_TALK = re.compile(r"(?:i|i'm|my|that|yes|no|oh|wow|me|it|we|you)\b", re.IGNORECASE)
_PROPER = re.compile(r"(?<!^)(?<!\. )\b[A-Z][a-z]+")
_NUMBER_TYPES = ("integer", "number", "float")

FEATURE_NAMES = (
    "name_cosine",
    "description_margin",  # cosine of message and description, beyond that of tools in general
    "lead",  # beyond that of the next tool
    "name_near",  # of the name's words to the message's
    "object_near",  # of those that not every tool has
    "message_near",  # of the message's words to the description's, related ones only
    "message_near_all",  # to those of the parameters too
    "covered",  # shares of exact words, the tool's object in the message last
    "name_covered",
    "description_covered",
    "object_covered",
    "shared",
    "numbers",
    "num_required",
    "supported",  # share of required parameters for which the message may hold a value
    "spoken",  # the logits of `spoken.py` that required parameters are spoken of: mean, and least
    "least_spoken",
    "needs_nothing",
    "length",
    "has_name",
    "is_question",
    "is_talk",
    "num_tools",
    "bias",
)


class Described(Protocol):
    """What the gate reads of a tool."""

    @property
    def name(self) -> str: ...
    @property
    def description(self) -> str: ...
    @property
    def parameters(self) -> Mapping[str, Any]: ...


def background_vector(embedder: Embedder) -> NDArray[np.float32]:
    """(dim,) the mean of what tools in general are for; its cosine is theirs, on average."""
    mean: NDArray[np.float32] = embedder.embed(BACKGROUND).mean(0)
    return mean


class ToolFeatures:
    """Words and vectors of a list of tools."""

    def __init__(
        self,
        tools: Sequence[Described],
        embedder: Embedder | None,
        usual: NDArray[np.float32] | None,
    ) -> None:
        """Args:
        usual: `background_vector` of the embedder.
        """
        names = [" ".join(words_of(tool.name.rpartition(".")[2])) for tool in tools]
        descriptions = [
            f"{name}. {tool.description}" for name, tool in zip(names, tools, strict=True)
        ]
        self._embedder = embedder
        self._tools = [
            _ToolWords(name, description, tool, embedder)
            for name, description, tool in zip(names, descriptions, tools, strict=True)
        ]
        if embedder is not None:
            self._vectors = embedder.embed([*names, *descriptions])  # (2 tools, dim)
        self._usual = usual

    def of(self, message: str) -> NDArray[np.float64]:
        """(tools, features), as `FEATURE_NAMES` has them."""
        words = telling_words(message)
        asked = {stem(word) for word in words}
        common = _message_features(message, len(self._tools))
        near = self._nearness(message, words)
        num_numbers, num_names = len(NUMBER.findall(message)), len(NAME.findall(message))
        said = Heard.of(message)
        rows = []
        for tool, vectors in zip(self._tools, near, strict=True):
            exact = tool.exact(asked)
            held = tool.held(asked, num_numbers, num_names)
            rows.append([*vectors, *exact, *held, *tool.spoken(said), *common])
        return np.array(rows)

    def _nearness(self, message: str, words: list[str]) -> NDArray[np.float64]:
        """(tools, 7): the features that need vectors; zeros without them."""
        count = len(self._tools)
        if self._embedder is None or self._usual is None:
            return np.zeros((count, 7))
        vector = self._embedder.embed([message])[0]
        names, descriptions = (self._vectors @ vector).reshape(2, count).astype(np.float64)
        order = np.sort(descriptions)
        best, second = order[-1], order[-2] if count > 1 else order[-1]
        lead = descriptions - np.where(descriptions == best, second, best)
        usual = float(self._usual @ vector)
        asked = self._embedder.embed(words) if words else np.zeros((0, len(vector)))
        near = np.array([tool.near(asked) for tool in self._tools]).reshape(count, 4)
        return np.column_stack([names, descriptions - usual, lead, near])


class _ToolWords:
    """The words of one tool: of its name, of its description, of its parameters."""

    def __init__(
        self, name: str, description: str, tool: Described, embedder: Embedder | None
    ) -> None:
        words, described = telling_words(name), telling_words(description)
        of_parameters = telling_words(" ".join(_parameter_words(tool.parameters)))[:MAX_WORDS]
        own = [word for word in words if stem(word) not in _TOOL_STEMS] or words
        self.name, self.object, self.description, self.parameters = (
            {stem(word) for word in part} for part in (words, own, described, of_parameters)
        )
        self.required = list(_required(tool.parameters))
        self.num_numbers = sum(_is_number(inner) for _, inner in self.required)
        self._spoken = Parameters(tool.parameters, required=())
        if embedder is not None:
            parts = (words, own, described, [*described, *of_parameters])
            self._vectors = [embedder.embed(part) if part else None for part in parts]

    def near(self, asked: NDArray[Any]) -> list[float]:
        """Nearness of name and object to the message's words (words, dim), and of those to it."""
        if not len(asked):
            return [0.0] * 4
        name, own, described, everything = (
            None if part is None else part @ asked.T for part in self._vectors
        )
        return [
            0.0 if name is None else float(name.max(1).mean()),
            0.0 if own is None else float(own.max(1).mean()),
            *(0.0 if part is None else _related(part.max(0)) for part in (described, everything)),
        ]

    def exact(self, asked: set[str]) -> list[float]:
        known = self.description | self.parameters
        return [
            len(asked & known) / max(1, len(asked)),
            *(
                len(asked & part) / max(1, len(part))
                for part in (self.name, self.description, self.object)
            ),
            min(3, len(asked & known)) / 3,
        ]

    def held(self, asked: set[str], num_numbers: int, num_names: int) -> list[float]:
        """What the message holds for the required parameters."""
        needed = min(self.num_numbers, 3) / 3
        numbers = needed if num_numbers >= self.num_numbers else -needed
        num_held = 0
        for name, schema in self.required:
            if isinstance(schema.get("enum"), list):
                is_held = any(content_words(str(value)) & asked for value in schema["enum"])
            elif _is_number(schema):
                is_held, num_numbers = num_numbers > 0, num_numbers - 1
            else:
                is_held = schema.get("type") == "boolean" or num_names > 0 or num_numbers > 0
                num_names = max(0, num_names - 1)
            num_held += is_held or bool(content_words(name) & asked)
        count = len(self.required)
        return [numbers, min(count, 5) / 5, num_held / count if count else 0.5]

    def spoken(self, said: Heard) -> list[float]:
        """How sure it is that the message speaks of the required parameters."""
        known = [name for name, _ in self.required if name in self._spoken.optional]
        logits = [self._spoken.logit(name, said) for name in known]
        if not logits:
            return [0.0, 0.0, 1.0]
        return [sum(logits) / len(logits) / 3, min(logits) / 3, 0.0]


_TOOL_STEMS = frozenset(stem(word) for word in TOOL_WORDS)


def _related(cosines: NDArray[Any]) -> float:
    return float(np.maximum((cosines - UNRELATED) / (1 - UNRELATED), 0.0).mean())


def _message_features(message: str, num_tools: int) -> list[float]:
    return [
        min(len(words_of(message)), 40) / 40,
        float(bool(_PROPER.search(message))),
        float("?" in message),
        float(bool(_TALK.match(message))),
        math.log(num_tools) / 3,
        1.0,
    ]


def _parameter_words(schema: Any, depth: int = 0) -> Iterable[str]:
    """Names, descriptions and enumerated values of an object's properties."""
    properties = schema.get("properties") if isinstance(schema, Mapping) else None
    if not isinstance(properties, Mapping) or depth >= MAX_DEPTH:
        return
    for name, inner in properties.items():
        yield str(name)
        if isinstance(inner, Mapping):
            yield str(inner.get("description", ""))
            values = inner.get("enum")
            yield from (str(v) for v in (values if isinstance(values, list) else [])[:MAX_VALUES])
            yield from _parameter_words(inner, depth + 1)


def _required(schema: Mapping[str, Any]) -> Iterable[tuple[str, Mapping[str, Any]]]:
    required, properties = schema.get("required"), schema.get("properties")
    for name in required if isinstance(required, list) else ():
        if isinstance(name, str):
            inner = properties.get(name) if isinstance(properties, Mapping) else None
            yield name, inner if isinstance(inner, Mapping) else {}


def _is_number(schema: Mapping[str, Any]) -> bool:
    return schema.get("type") in _NUMBER_TYPES
