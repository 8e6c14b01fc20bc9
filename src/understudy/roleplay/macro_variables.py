"""Variables of macros: texts and numbers under a name, lists and objects as JSON, added to as
SillyTavern does.

Source: `public/scripts/variables.js`, 1.19.0.
"""

from __future__ import annotations

import json
import math
from typing import Any

from understudy.roleplay.javascript import number_text, to_number, trim

MAX_INDEX = 10_000  # of a list; one step further is no list that anybody means
Value = str | float


class MacroError(ValueError):
    """A macro that cannot be carried out; it stays as it stands."""


class Variables:
    """What macros remember: of one conversation, or of all."""

    def __init__(self, values: dict[str, Value] | None = None) -> None:
        self.values: dict[str, Value] = dict(values or {})

    def copy(self) -> Variables:
        return Variables(self.values)

    def has(self, name: str) -> bool:
        return name in self.values

    def delete(self, name: str) -> None:
        self.values.pop(name, None)

    def get(self, name: str, index: str | None = None) -> Value:
        """The value, a number where it reads as one; with an index the member of a list or an
        object.
        """
        value: Any = self.values.get(name, "")
        if index is not None:
            value = _member(value, index)
        return _number_or_text(value)

    def set(self, name: str, value: Value, index: str | None = None) -> None:
        if not name:
            raise MacroError("a variable needs a name")
        if index is None:
            self.values[name] = value
        else:
            self._set_member(name, value, index)

    def _set_member(self, name: str, value: Value, index: str) -> None:
        given = self.values.get(name, "null")
        holder = _parsed(given if isinstance(given, str) else number_text(given))
        number = to_number(index)
        if holder is None:
            holder = {} if math.isnan(number) else []
        if isinstance(holder, dict):
            holder[index if math.isnan(number) else number_text(number)] = value
        elif isinstance(holder, list) and number == int(number if number == number else -1) >= 0:
            if number > MAX_INDEX:
                raise MacroError(f"index {index} of a list is above {MAX_INDEX}")
            holder += [None] * (int(number) + 1 - len(holder))
            holder[int(number)] = value
        elif not isinstance(holder, list):
            return
        self.values[name] = json_text(holder)

    def add(self, name: str, value: Value) -> Value:
        """Appends to a list, adds numbers, and joins texts."""
        current = self.get(name) or 0.0
        held = _parsed(current) if isinstance(current, str) else None
        if isinstance(held, list):
            held.append(value)
            self.set(name, json_text(held))
            return json_text(held)
        step = value if isinstance(value, float) else to_number(value)
        old = current if isinstance(current, float) else to_number(current)
        if math.isnan(step) or math.isnan(old):
            joined = ("" if current == 0 else text_of(current)) + text_of(value)
            self.set(name, joined)
            return joined
        total = old + step
        if math.isnan(total):
            return ""
        self.set(name, total)
        return total


def text_of(value: Value) -> str:
    return value if isinstance(value, str) else number_text(value)


def json_text(value: Any) -> str:
    """As `JSON.stringify`: no blanks, and numbers as JavaScript writes them."""
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, (int, float)):
        return number_text(float(value)) if math.isfinite(value) else "null"
    if isinstance(value, list):
        return f"[{','.join(json_text(item) for item in value)}]"
    pairs = (f"{json.dumps(str(k), ensure_ascii=False)}:{json_text(v)}" for k, v in value.items())
    return f"{{{','.join(pairs)}}}"


def _parsed(text: str) -> Any:
    """What JSON says; the text itself where it is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _member(value: Value, index: str) -> Any:
    holder = _parsed(value) if isinstance(value, str) else value
    if holder is value:
        return value
    number = to_number(index)
    found: Any = ""
    if isinstance(holder, dict):
        found = holder.get(index if math.isnan(number) else number_text(number), "")
    elif isinstance(holder, (list, str)):
        if index == "length":
            return float(len(holder))
        is_place = not math.isnan(number) and number == int(number) and 0 <= number < len(holder)
        found = holder[int(number)] if is_place else ""
    elif holder is None:
        return 0.0
    return json_text(found) if isinstance(found, (dict, list)) or found is None else found


def _number_or_text(value: Any) -> Value:
    if isinstance(value, str):
        number = to_number(value)
        return value if not trim(value) or math.isnan(number) else number
    return float(value)
