"""Ids of calls for templates that want nine letters and digits: those of Mistral 7B v0.3, Nemo and
Ministral.

An id of another form, which a client or this program made, stands for one of nine made from it;
calls without an id get one by their number, and results that name none belong to the calls in their
order.
"""

from __future__ import annotations

import hashlib
import string
from collections.abc import Mapping, Sequence
from typing import Any

LENGTH = 9
_LETTERS = string.digits + string.ascii_letters


def with_short_ids(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]] | None:
    """The messages with ids of nine for calls and results; None where there are neither, or all
    have such."""
    made: list[dict[str, Any]] = []
    waiting: list[str] = []
    number = 0
    for message in messages:
        changed = dict(message)
        if calls := message.get("tool_calls"):
            waiting = []
            changed["tool_calls"] = []
            for call in calls:
                waiting.append(short_id(call.get("id") or f"call {number}"))
                changed["tool_calls"].append({**call, "id": waiting[-1]})
                number += 1
        elif message.get("role") == "tool":
            given = message.get("tool_call_id")
            own = short_id(given) if given else waiting[0] if waiting else short_id("call")
            waiting = [id for id in waiting if id != own]
            changed["tool_call_id"] = own
        made.append(changed)
    return made if made != [dict(message) for message in messages] else None


def short_id(id: Any) -> str:
    """The id itself where it is one of nine, else nine letters and digits that stand for it."""
    text = str(id)
    if len(text) == LENGTH and text.isascii() and text.isalnum():
        return text
    number = int.from_bytes(hashlib.sha256(text.encode("utf-8", "replace")).digest()[:8], "big")
    digits = ""
    for _ in range(LENGTH):
        number, digit = divmod(number, len(_LETTERS))
        digits += _LETTERS[digit]
    return digits
