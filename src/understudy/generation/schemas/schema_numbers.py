"""Numbers under a grammar: within their limits, and so that their digits end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction
from math import ceil, floor
from typing import Any

MAX_INTEGER = 2**63 - 1024  # the largest below 2⁶³ that a double holds exactly; ids have 19 digits
EXACT = 2**53
MAX_NUMBER, DECIMALS = 1e15, 1e-10  # llguidance counts at most ten decimals
MAX_CHOICES = 16
LIMITS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
NUMBER = {
    "type": "number",
    "minimum": -MAX_NUMBER,
    "maximum": MAX_NUMBER,
    "multipleOf": DECIMALS,
}


def bounds(said: Mapping[str, Any], loosen: Callable[[str], None]) -> dict[str, Any]:
    """The limits of a number: its own, and where it has none those that end its digits."""
    types = said.get("type", ())
    kinds = {types} if isinstance(types, str) else set(types)
    own = {key: said[key] for key in (*LIMITS, "multipleOf") if key in said}
    if not kinds & {"integer", "number"} or "enum" in said or "const" in said:
        return own
    reach = MAX_NUMBER if "number" in kinds else MAX_INTEGER
    beyond = [key for key in LIMITS if key in own and abs(own[key]) > reach]
    for key in beyond:
        loosen(key)
        del own[key]
    if not beyond and not own.keys() & {"minimum", "exclusiveMinimum"}:
        own["minimum"] = -reach
    if not beyond and not own.keys() & {"maximum", "exclusiveMaximum"}:
        own["maximum"] = reach
    if beyond or "number" not in kinds:
        return own
    few = _few(own) if kinds == {"number"} else None
    return {"multipleOf": DECIMALS, **own} if few is None else {"enum": few}


def _few(own: Mapping[str, Any]) -> list[int | float] | None:
    """The multiples between two limits where they are few: llguidance counts them in binary, and
    may find none.
    """
    is_closed = not own.keys() & {"exclusiveMinimum", "exclusiveMaximum"}
    if is_closed and own["minimum"] == own["maximum"]:
        given = own["minimum"]
        rest = Fraction(str(given)) % Fraction(str(own.get("multipleOf", given or 1)))
        return [] if rest else [given]
    step = Fraction(str(own.get("multipleOf", DECIMALS)))
    steps = {key: Fraction(str(own[key])) / step for key in LIMITS if key in own}
    ends: dict[str, Callable[[Fraction], int]] = {
        "minimum": ceil,
        "exclusiveMinimum": lambda n: floor(n) + 1,
        "maximum": floor,
        "exclusiveMaximum": lambda n: ceil(n) - 1,
    }
    first = max(ends[key](n) for key, n in steps.items() if "min" in key.lower())
    last = min(ends[key](n) for key, n in steps.items() if "max" in key.lower())
    if last - first >= MAX_CHOICES:
        return None
    return [_number(n * step) for n in range(first, last + 1)]


def _number(value: Fraction) -> int | float:
    return int(value) if value.denominator == 1 else float(value)


def choice(values: list[Any]) -> tuple[dict[str, Any], bool]:
    """A choice of values, and whether it became wider.

    Numbers that a double does not hold exactly, or llguidance not write, become any of their kind.
    """
    narrow = [value for value in values if not _is_wide(value)]
    wide = [value for value in values if _is_wide(value)]
    if not wide:
        return {"enum": narrow}, False
    if not all(isinstance(value, int) for value in wide):
        number: dict[str, Any] = {} if any(map(_is_deep, wide)) else {"type": "number"}
    else:
        number = {"type": "integer"}
        if all(abs(value) <= MAX_INTEGER for value in wide):
            number |= {"minimum": -MAX_INTEGER, "maximum": MAX_INTEGER}
    return {"allOf": [{"anyOf": [number, *([{"enum": narrow}] if narrow else [])]}]}, True


def _is_deep(value: Any) -> bool:
    return isinstance(value, list | Mapping)


def _is_wide(value: Any) -> bool:
    if isinstance(value, list):
        return any(map(_is_wide, value))
    if isinstance(value, Mapping):
        return any(map(_is_wide, value.values()))
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) > EXACT or (value != 0 and abs(value) < DECIMALS)
