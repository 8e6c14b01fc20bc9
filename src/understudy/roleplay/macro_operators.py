"""`{{.name += 1}}`: what can be done with a variable in short, of the conversation (`.`) or of all
(`$`).
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from functools import cache

from understudy.roleplay.javascript import to_number
from understudy.roleplay.macro_context import MacroContext
from understudy.roleplay.macro_grammar import Call
from understudy.roleplay.macro_list import is_false
from understudy.roleplay.macro_variables import Value, Variables, text_of

_COMPARED: dict[str, Callable[[float, float], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}


def operate(call: Call, context: MacroContext, expand_value: Callable[[], str]) -> str:
    """What such a macro gives. Its value is expanded only where it is needed, and once."""
    variables = context.variables if call.scope == "." else context.global_variables
    value = cache(expand_value)
    name, sign = call.name, call.operator
    if not name:
        return ""
    if sign in ("++", "--"):
        return text_of(variables.add(name, 1.0 if sign == "++" else -1.0))
    if sign in ("=", "+=", "-="):
        _change(variables, name, sign, value(), context)
        return ""
    if sign in ("==", "!="):
        return _truth((text_of(variables.get(name)) == value()) == (sign == "=="))
    if sign in _COMPARED:
        left, right = _as_number(variables.get(name)), to_number(value())
        is_there = not (math.isnan(left) or math.isnan(right))
        return _truth(is_there and _COMPARED[sign](left, right))
    if sign:
        return _or_else(variables, name, sign, value)
    return text_of(variables.get(name))


def _change(variables: Variables, name: str, sign: str, value: str, context: MacroContext) -> None:
    if sign == "=":
        variables.set(name, value)
    elif sign == "+=":
        variables.add(name, value)
    elif math.isnan(to_number(value)):
        context.warn(f"-= needs a number, not {value}")
    else:
        variables.add(name, -to_number(value))


def _or_else(variables: Variables, name: str, sign: str, value: Callable[[], str]) -> str:
    """`||` and `??` give something for a variable that is false or not there; with `=` they keep
    it.
    """
    current = variables.get(name)
    is_good = variables.has(name) if sign.startswith("??") else not _is_falsy(current)
    if is_good:
        return text_of(current)
    if sign.endswith("="):
        variables.set(name, value())
    return value()


def _is_falsy(value: Value) -> bool:
    return not value or is_false(text_of(value))


def _as_number(value: Value) -> float:
    return value if isinstance(value, float) else to_number(value)


def _truth(value: bool) -> str:
    return "true" if value else "false"
