"""Which tools does a message want, and with which part of it? Splits it into requests.

Small models make one call whatever they were asked. So the splitting is done before them, by the
gate's scores (`relevance.py`) of the message and of each of its clauses: a tool is wanted where a
clause is nearer to it than to the others. The clauses between belong to the tool before them, and
whether a tool is wanted once more is known when a call is written (`more_calls.py`). The weights
are those of a logistic regression over pairs of message and tool (`bench/call_plan.py`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from understudy.generation.message.clauses import clauses, pieces
from understudy.generation.message.relevance import Gate, surety
from understudy.generation.message.tool_features import FEATURE_NAMES, Described

MARGIN = 2.0  # logits below the best within which a tool may still be the one
# A clause out of a message that wants no tool as a whole must be surer by so much, and the message
# may miss no more: of many clauses one looks like a request by chance.
DOUBT = 1.0
MAX_REQUESTS = 8
MAX_PIECES = 40  # of a message that are looked at
_AWAY = 1.0  # logits by which a clause between must be nearer to another tool to be its
WANTED_WEIGHTS = {
    "bias": 0.27,
    "whole_lead": 1.66,
    "lead": 1.79,
    "score_there": 0.71,
    "is_first": 0.35,
    "share_first": 0.27,
    "num_tools": -0.79,
    "num_pieces": 0.5,
    "is_named": 0.57,
    "name_covered": -0.12,
    "description_covered": 1.53,
    "described_there": 1.34,
}
Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class SubRequest:
    """A part of a message and the indices of the tools that may serve it, the nearest first."""

    text: str
    tools: tuple[int, ...]


class Reading:
    """A message and its pieces, held against tools.

    Attributes:
        whole: (tools,) the gate's logits of the message.
        spans: of its pieces.
        scores: (pieces, tools).
    """

    def __init__(self, message: str, tools: Sequence[Described], gate: Gate) -> None:
        self.message, self.tools = message, tools
        self.spans = pieces(message)[:MAX_PIECES] or [(0, len(message))]
        self._features = gate.features(message, tools)
        self.whole: Array = gate.scores(self._features)
        rows = [gate.features(message[start:end], tools) for start, end in self.spans]
        self.piece_features = np.stack(rows)
        self.scores: Array = gate.scores(self.piece_features)

    @property
    def best(self) -> float:
        return float(self.whole.max(initial=-math.inf))

    @property
    def wants_call(self) -> bool:
        """Whether a call is asked for, whatever the model says."""
        surest = float(self.scores.max(initial=-math.inf))
        sure = surety(len(self.tools))
        return self.best >= sure or (self.best >= sure - DOUBT and surest >= sure + DOUBT)

    def wanted(self) -> list[int]:
        """Indices of the tools that are wanted, at least one."""
        if len(self.tools) == 1:
            return [0]
        rows = self.wanted_features()
        logits = [sum(WANTED_WEIGHTS[n] * v for n, v in row.items()) for row in rows]
        return [i for i, logit in enumerate(logits) if logit > 0] or [int(np.argmax(logits))]

    def wanted_features(self) -> list[dict[str, float]]:
        """What the regression sees of each tool."""
        lead, whole_lead = _lead(self.scores), _lead(self.whole[None])[0]
        return [
            self._features_of(i, lead[:, i], float(whole_lead[i])) for i in range(len(self.tools))
        ]

    def _features_of(self, tool: int, lead: Array, whole_lead: float) -> dict[str, float]:
        at = int(lead.argmax())
        exact = self._features[tool]
        return {
            "bias": 1.0,
            "whole_lead": _clip(whole_lead, 6) / 3,
            "lead": _clip(lead[at], 8) / 3,
            "score_there": _clip(self.scores[at, tool], 8) / 4,
            "is_first": float(self.whole.argmax() == tool),
            "share_first": float((self.scores.argmax(1) == tool).mean()),
            "num_tools": math.log(len(self.tools)),
            "num_pieces": math.log(len(self.spans)),
            "is_named": float(_is_named(self.tools[tool].name, self.message)),
            "name_covered": float(exact[_NAME]),
            "description_covered": float(exact[_DESCRIPTION]),
            "described_there": float(self.piece_features[:, tool, _DESCRIPTION].max()),
        }

    def nearest(self) -> tuple[int, ...]:
        """Tools within `MARGIN` of the best for the message, the nearest first."""
        order = np.argsort(-self.whole, kind="stable")
        return tuple(int(i) for i in order if self.whole[i] >= self.best - MARGIN)


_NAME = FEATURE_NAMES.index("name_covered")
_DESCRIPTION = FEATURE_NAMES.index("description_covered")


def split_requests(message: str, tools: Sequence[Described], gate: Gate) -> tuple[SubRequest, ...]:
    """The requests of a message in order, one a tool; none where it asks for none.

    Args:
        message: the newest message of the user.
        tools: those that are offered.
        gate: how near messages are to tools.
    """
    if not tools:
        return ()
    reading = Reading(message, tools, gate)
    return requests_of(reading) if reading.wants_call else ()


def requests_of(reading: Reading) -> tuple[SubRequest, ...]:
    """The requests of a message that asks for something."""
    wanted = reading.wanted()
    if len(wanted) == 1:
        return (SubRequest(reading.message, reading.nearest()),)
    parts = _shared_out(reading, wanted)
    found = [SubRequest(text, (tool,)) for tool, text in parts]
    return tuple(found[:MAX_REQUESTS])


def _shared_out(reading: Reading, wanted: list[int]) -> list[tuple[int, str]]:
    """The wanted tools in the order of their clauses, each with those that are its own."""
    spans = clauses(reading.message)[:MAX_PIECES]
    rows = reading.scores[[reading.spans.index(span) for span in spans]][:, wanted]
    lead = _lead(rows)
    home = {int(lead[:, j].argmax()): j for j in range(len(wanted))}
    owners: list[int] = []
    for i, row in enumerate(rows):
        nearest = int(row.argmax())
        is_away = not owners or lead[i, nearest] > _AWAY
        owners.append(home.get(i, nearest if is_away else owners[-1] if owners else nearest))
    parts = []
    for j, tool in enumerate(wanted):
        own = [i for i, owner in enumerate(owners) if owner == j]
        text = " ".join(reading.message[slice(*spans[i])].strip() for i in own)
        parts.append((own[0] if own else int(lead[:, j].argmax()), tool, text or reading.message))
    return [(tool, text) for _, tool, text in sorted(parts)]


def _lead(scores: Array) -> Array:
    """How much nearer each tool is than the next; (pieces, tools)."""
    if scores.shape[1] == 1:
        return np.full_like(scores, 3.0)
    order = np.sort(scores, 1)
    best, second = order[:, -1:], order[:, -2:-1]
    return np.where(scores == best, scores - second, scores - best)


def _clip(value: float, most: float) -> float:
    return float(min(max(value, -6.0), most))


def _is_named(name: str, message: str) -> bool:
    """Whether a message names the function itself."""
    said = message.lower().replace(".", "_")
    own = name.lower().replace(".", "_")
    quoted = re.findall(r"'(\w{6,})'", said)
    return own in said or any(own.endswith(part) for part in quoted)
