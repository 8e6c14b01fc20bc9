"""Decorators: lines `@@name value` at the top of a lorebook entry that change when and where it
goes in.

Version 3 of the card format, section Decorators. An unknown name or an impossible value is ignored,
and then the `@@@` lines under it are tried in turn. Of several lines with one name the first
counts.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

_LINE = re.compile(r"(@@@?)([A-Za-z_]+)(?:[ \t]+(.*?))?[ \t]*")
_BAD = object()  # a value that the decorator does not take


def _number(value: str) -> Any:
    try:
        return int(float(value)) if len(value) < 32 else _BAD
    except (ValueError, OverflowError):
        return _BAD


def _count(value: str) -> Any:
    number = _number(value)
    return number if number is _BAD or number >= 0 else _BAD


def _positive(value: str) -> Any:
    number = _number(value)
    return number if number is _BAD or number >= 1 else _BAD


def _none(value: str) -> Any:
    return True if not value or value.lower() == "true" else _BAD


def _words(value: str) -> Any:
    words = [word.strip() for word in value.split(",")]
    return [word for word in words if word] or _BAD


def _one_of(*names: str) -> Callable[[str], Any]:
    return lambda value: value if value in names else _BAD


def _text(value: str) -> Any:
    return value or _BAD


DECORATORS: dict[str, Callable[[str], Any]] = {
    "activate_only_after": _count,
    "activate_only_every": _positive,
    "keep_activate_after_match": _none,
    "dont_activate_after_match": _none,
    "depth": _number,
    "instruct_depth": _number,
    "reverse_depth": _number,
    "reverse_instruct_depth": _number,
    "role": _one_of("assistant", "system", "user"),
    "scan_depth": _count,
    "instruct_scan_depth": _count,
    "is_greeting": _count,
    "position": _one_of("after_desc", "before_desc", "personality", "scenario"),
    "ignore_on_max_context": _none,
    "additional_keys": _words,
    "exclude_keys": _words,
    "is_user_icon": _text,
    "activate": _none,
    "dont_activate": _none,
    "disable_ui_prompt": _one_of("post_history_instructions", "system_prompt"),
}
CHAT_ONLY = frozenset(
    {
        "activate_only_after",
        "activate_only_every",
        "depth",
        "reverse_depth",
        "role",
        "scan_depth",
        "is_greeting",
    }
)
TEXT_ONLY = frozenset({"instruct_depth", "reverse_instruct_depth", "instruct_scan_depth"})


@dataclass(frozen=True, slots=True)
class Decorated:
    """An entry's text without its decorators, and what they said."""

    content: str
    values: dict[str, Any]
    ignored: tuple[str, ...]  # lines that were passed over


def read_decorators(content: str, *, is_chat: bool = True) -> Decorated:
    """Takes the decorators off an entry.

    Args:
        is_chat: whether the prompt is a conversation; decorators that count tokens hold only where
            it is not.
    """
    lines = content.lstrip("\n").split("\n")
    values: dict[str, Any] = {}
    ignored: list[str] = []
    is_settled = True  # whether the decorator above was taken, so that its fallbacks are not wanted
    at = 0
    while at < len(lines) and (match := _LINE.fullmatch(lines[at].rstrip("\r"))):
        at += 1
        is_fallback = match[1] == "@@@"
        if is_fallback and is_settled:
            continue
        name, value = match[2].lower(), _value(match[2].lower(), (match[3] or "").strip(), is_chat)
        if value is _BAD:
            ignored.append(match[0])
            is_settled = False
            continue
        values.setdefault(name, value)
        is_settled = True
    return Decorated("\n".join(lines[at:]).strip("\n"), values, tuple(ignored))


def _value(name: str, value: str, is_chat: bool) -> Any:
    parse = DECORATORS.get(name)
    if parse is None or name in (TEXT_ONLY if is_chat else CHAT_ONLY):
        return _BAD
    return parse(value)
