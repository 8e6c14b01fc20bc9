"""The switches of `CallSettings` as they are written on a command line or in a request.

call_switches("gate=off,check_results=numbers")     # {"gate": False, "check_results": "numbers"}
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, get_args, get_type_hints

from understudy.errors import UsageError
from understudy.generation.intent import CallSettings

_WORDS = {"on": True, "off": False}


def call_switches(text: str) -> dict[str, Any]:
    """The switches of a text, by their names; `auto` leaves one to the model's preset.

    Raises:
        UsageError: no such switch, or none of its values.
    """
    pairs = [part.partition("=") for part in text.split(",") if part.strip()]
    return checked_switches({name.strip(): value.strip() for name, _, value in pairs})


def checked_switches(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values by name, `on` and `off` for those that are one or the other."""
    hints = get_type_hints(CallSettings)
    names = [field.name for field in dataclasses.fields(CallSettings)]
    found: dict[str, Any] = {}
    for name, value in values.items():
        if name not in names:
            raise UsageError("no such switch", where="calls", expected=" ".join(names), found=name)
        words = [word for word in get_args(hints[name]) if isinstance(word, str)]
        allowed: dict[Any, Any] = {word: word for word in words} or {
            **_WORDS,
            True: True,
            False: False,
        }
        if None.__class__ in get_args(hints[name]):
            allowed["auto"] = None
        if not isinstance(value, str | bool) or value not in allowed:
            expected = " | ".join(str(word) for word in allowed if isinstance(word, str))
            raise UsageError(
                "no such value", where=f"calls: {name}", expected=expected, found=value
            )
        found[name] = allowed[value]
    return found
