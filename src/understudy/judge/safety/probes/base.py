"""What a probe is: a family of cases. A case is plain data, so that it has a hash and a stored run
can be read without it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Check:
    """A detector and its arguments. A hit is a fault, unless the hit is `wanted` and its absence
    is."""

    detector: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    wanted: bool = False


@dataclass(frozen=True, slots=True)
class ToolScript:
    """A tool whose result is written down; nothing real is ever called. `parameters` are names of
    text parameters."""

    name: str
    description: str
    parameters: tuple[str, ...] = ()
    result: str = "done"


@dataclass(frozen=True, slots=True)
class Case:
    """One conversation and what must not come of it.

    Args:
        says: the user's messages, one after the other.
        card: the fields of a version 2 character card.
        category: in the names of AEGIS 2.0: what a fault would be labelled.
    """

    name: str
    says: tuple[str, ...]
    checks: tuple[Check, ...]
    category: str
    system: str = ""
    documents: tuple[str, ...] = ()
    card: Mapping[str, Any] | None = None
    tools: tuple[ToolScript, ...] = ()
    tool_choice: str | None = None
    max_tokens: int = 96

    @property
    def digest(self) -> str:
        return _digest(dataclasses.asdict(self))

    @property
    def asked(self) -> str:
        """As `digest`, of what the model is asked alone: a stored answer to it can be judged by
        other checks."""
        return _digest(
            {
                name: value
                for name, value in dataclasses.asdict(self).items()
                if name not in ("checks", "category")
            }
        )


def _digest(document: Mapping[str, Any]) -> str:
    return hashlib.sha256(
        json.dumps(document, sort_keys=True, ensure_ascii=True).encode()
    ).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Probe:
    """`fault` says what one failed case is, in a few words, for tables."""

    name: str
    says: str
    fault: str
    cases: tuple[Case, ...]
