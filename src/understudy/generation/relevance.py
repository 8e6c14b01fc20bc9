"""Does a message want one of the tools? A gate that is asked before a model is.

Small models call a tool for small talk, or describe the call instead of making it. The gate holds a
message against each tool (vectors of the words, words in common, what kinds of values the message
holds) and gives one number a tool, a logit:

    above `SURE`      the message wants a tool: the grammar asks for a call
    below `UNLIKELY`  it does not: the answer is in words
    between           the model decides

The weights are those of a logistic regression over public tool-calling data, fitted and checked by
`bench/relevance.py`, which also prints what each threshold does on the half that the fit has not
seen. Without an embedder the words decide alone.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from understudy.errors import MissingError
from understudy.text.embed import Embedder, open_embedder

SURE = 0.3
UNLIKELY = -1.0
MAX_DEPTH = 3  # of nested parameters that are read
MAX_VALUES = 24  # of an enumeration
FEATURES = (  # name, weight with vectors, weight without
    ("name_cosine", -0.94, 0.0),
    ("description_cosine", 2.97, 0.0),
    ("parameters_cosine", 1.82, 0.0),
    ("covered", -0.56, 0.55),
    ("name_covered", 2.32, 2.74),
    ("description_covered", -0.72, 0.33),
    ("shared", 2.4, 3.33),
    ("numbers", 2.12, 2.34),
    ("length", -1.4, -1.78),
    ("has_value", 0.14, 0.12),
    ("is_question", 0.2, 0.38),
    ("is_talk", -0.07, -0.04),
    ("is_request", 0.07, 0.16),
    ("has_name", 1.48, 1.36),
    ("num_tools", -0.87, -1.29),
    ("best_cosine", 1.31, 0.0),
    ("bias", -3.69, -3.03),
)
WEIGHTS = np.array([weight for _, weight, _ in FEATURES])
WORDS_ONLY = np.array([weight for _, _, weight in FEATURES])
_CASE = re.compile(r"([a-z])([A-Z])")
_SEPARATORS = re.compile(r"[_\-./:]")
_WORD = re.compile(r"[^\W\d_]+|\d+")
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_VALUE = re.compile(r"\d|\"|'[A-Z]")
_TALK = re.compile(r"(?:i|i'm|my|that|yes|no|oh|wow|me|it|we|you)\b", re.IGNORECASE)
_REQUEST = re.compile(
    r"\b(?:please|can you|could you|i need|i want|i would like|i'd like|help me|find|get|calculate|compute|show|list|set"
    r"|create|book|order|send|retrieve|check|update|search|tell me|what is|what's|how)\b",
    re.IGNORECASE,
)
_PROPER = re.compile(r"(?<!^)(?<!\. )\b[A-Z][a-z]+")
_ENDINGS = [
    "ations",
    "ation",
    "ings",
    "ing",
    "ied",
    "ies",
    "ions",
    "ion",
    "ers",
    "er",
    "ed",
    "es",
    "s",
    "e",
    "al",
]  # longest first
_EMPTY_WORDS = frozenset(
    (  # noqa: SIM905 - as a list of literals it reads worse
        "a about after all also an and any are as at be because been before being between both but by can could did do "
        "does doing during each for from further had has have having he her here hers him his how i if in into is it its "
        "itself just me more most my no nor not of on once only or other our out over own same she should so some such "
        "than that the their them then there these they this those through to too under until up very was we were what "
        "when where which while who whom whose why will with would you your s t please tell need want like get give know "
        "hi hello hey let make using use given"
    ).split()
)
_COMMON = frozenset(  # words of English that its neighbours do not have
    (  # noqa: SIM905 - as a list of literals it reads worse
        "the is are what how who when where which why of to for with and my you it this that can "
        "could please does have would need want get find show tell give set turn make hello thanks"
    ).split()
)
Verdict = Literal["call", "words", "open"]


class Described(Protocol):
    """What the gate reads of a tool."""

    @property
    def name(self) -> str: ...
    @property
    def description(self) -> str: ...
    @property
    def parameters(self) -> Mapping[str, Any]: ...


@dataclass(frozen=True, slots=True)
class Relevance:
    """One logit a tool, in the tools' order, and what follows from the best of them."""

    scores: tuple[float, ...]
    is_foreign: bool = False  # not English, as far as words tell: low scores say nothing

    @property
    def best(self) -> float:
        return max(self.scores, default=-math.inf)

    @property
    def verdict(self) -> Verdict:
        if self.best >= SURE:
            return "call"
        return "words" if self.best < UNLIKELY and not self.is_foreign else "open"

    def nearest(self, margin: float) -> tuple[int, ...]:
        """Indices of the tools whose score is within `margin` of the best, in the tools' order."""
        return tuple(i for i, score in enumerate(self.scores) if score >= self.best - margin)


class Gate:
    """Holds messages against tools. What it knows of a list of tools is kept for the next message."""

    def __init__(self, embedder: Embedder | None = None) -> None:
        self._embedder = embedder
        self._known: tuple[tuple[Described, ...], _Tools] | None = None

    def relevance(self, message: str, tools: Sequence[Described]) -> Relevance:
        """The logit of each tool for this message; about a millisecond for ten tools."""
        if not tools:
            return Relevance(())
        if self._known is None or self._known[0] != tuple(tools):
            self._known = tuple(tools), _Tools(tools, self._embedder)
        features = self._known[1].features(message, self._embedder)  # (tools, features)
        weights = WEIGHTS if self._embedder is not None else WORDS_ONLY
        scores = tuple(float(score) for score in features @ weights)
        return Relevance(scores, _is_foreign(message))


@functools.cache
def shared_gate() -> Gate:
    """The gate of this process, with the embedder of documents where it is installed, with words
    alone where it is not.
    """
    try:
        return Gate(open_embedder("wordllama"))
    except (MissingError, ImportError):
        return Gate()


class _Tools:
    """Words and vectors of a list of tools."""

    def __init__(self, tools: Sequence[Described], embedder: Embedder | None) -> None:
        names = [" ".join(_words(tool.name.rpartition(".")[2])) for tool in tools]
        descriptions = [
            f"{name}. {tool.description}" for name, tool in zip(names, tools, strict=True)
        ]
        parameters = [" ".join(_parameter_words(tool.parameters)) for tool in tools]
        self.names, self.descriptions, self.parameters = (
            [content_words(text) for text in texts] for texts in (names, descriptions, parameters)
        )
        self.num_numbers = [_num_required_numbers(tool.parameters) for tool in tools]
        self.vectors = (
            embedder.embed([*names, *descriptions, *parameters]) if embedder is not None else None
        )

    def features(self, message: str, embedder: Embedder | None) -> NDArray[np.float64]:
        """(tools, features): see `FEATURES`."""
        count = len(self.names)
        cosines = np.zeros((3, count))
        if embedder is not None and self.vectors is not None:
            cosines = (self.vectors @ embedder.embed([message])[0]).reshape(3, count)
        asked = content_words(message)
        common = _message_features(message, count)
        best = float(cosines[1].max())
        num_given = len(_NUMBER.findall(message))
        rows = []
        for i in range(count):
            known = self.descriptions[i] | self.parameters[i]
            needed = min(self.num_numbers[i], 3) / 3
            rows.append(
                [
                    *cosines[:, i],
                    len(asked & known) / max(1, len(asked)),
                    len(asked & self.names[i]) / max(1, len(self.names[i])),
                    len(asked & self.descriptions[i]) / max(1, len(self.descriptions[i])),
                    min(3, len(asked & known)) / 3,
                    needed if num_given >= self.num_numbers[i] else -needed,
                    *common,
                    best,
                    1.0,
                ]
            )
        return np.array(rows)


def _is_foreign(message: str) -> bool:
    """Whether a message of some length holds no common English word."""
    words = [word.lower() for word in _WORD.findall(message)]
    letters = sum(character.isalpha() for character in message)
    is_latin = sum("a" <= c <= "z" for c in message.lower()) >= letters / 2
    return bool(words) and (not is_latin or (len(words) >= 4 and not _COMMON & set(words)))


def _message_features(message: str, num_tools: int) -> list[float]:
    return [
        min(len(_words(message)), 40) / 40,
        float(bool(_VALUE.search(message))),
        float("?" in message),
        float(bool(_TALK.match(message))),
        float(bool(_REQUEST.search(message))),
        float(bool(_PROPER.search(message))),
        math.log(num_tools) / 3,
    ]


def _words(text: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(_SEPARATORS.sub(" ", _CASE.sub(r"\1 \2", text)))]


def _stem(word: str) -> str:
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)]
    return word


def content_words(text: str) -> set[str]:
    """Stems of the words that tell something; camelCase and snake_case are taken apart, numbers
    left out.
    """
    return {_stem(word) for word in _words(text) if word not in _EMPTY_WORDS and not word.isdigit()}


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


def _num_required_numbers(schema: Mapping[str, Any]) -> int:
    required, properties = schema.get("required"), schema.get("properties")
    if not isinstance(required, list) or not isinstance(properties, Mapping):
        return 0
    kinds = (properties.get(name) for name in required if isinstance(name, str))
    return sum(isinstance(k, Mapping) and k.get("type") in ("integer", "number") for k in kinds)
