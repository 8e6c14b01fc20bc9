"""Conditions of actions: `price <= silver and mood != "angry"`, over an action's arguments and the
facts of the game.

Names are arguments first, then facts; a fact `silver pieces` is `silver_pieces`. Allowed are
comparisons, `and`, `or`, `not`, `in`, + - *, numbers and texts; nothing is called and nothing is
looked up elsewhere.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

from understudy.errors import UsageError

MAX_LENGTH = 300
_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.In: lambda a, b: a in b,
    ast.NotIn: lambda a, b: a not in b,
}
_ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
}


class Unknown(Exception):
    """A name that neither the arguments nor the facts hold."""


def parse(text: str) -> ast.expr:
    """The condition as a tree.

    Raises:
        UsageError: it is no condition.
    """
    try:
        if len(text) > MAX_LENGTH:
            raise SyntaxError("too long")
        tree = ast.parse(text.strip(), mode="eval").body
        _check(tree)
    except (SyntaxError, ValueError, RecursionError) as error:
        raise UsageError(
            "not a condition",
            where="when",
            expected="comparisons of names, numbers and texts, as in `price <= silver`",
            found=text[:80],
        ) from error
    return tree


def holds(text: str, values: Mapping[str, Any]) -> bool:
    """Whether a condition holds.

    Raises:
        Unknown: it names what `values` lacks.
        UsageError: it is no condition, or compares what cannot be compared.
    """
    named = {name_of(key): value for key, value in values.items()}
    try:
        return bool(_value(parse(text), named))
    except TypeError as error:
        raise UsageError("values cannot be compared", where="when", found=text) from error


def names_in(text: str) -> set[str]:
    """The names that a condition looks up; none in an empty one."""
    nodes = ast.walk(parse(text)) if text else ()
    return {node.id for node in nodes if isinstance(node, ast.Name)}


def name_of(key: str) -> str:
    """How a condition names a fact or an argument."""
    return re.sub(r"\W+", "_", key.strip())


def _check(node: ast.AST) -> None:
    allowed = (
        ast.BoolOp,
        ast.UnaryOp,
        ast.Compare,
        ast.BinOp,
        ast.Name,
        ast.Constant,
        ast.Tuple,
        ast.List,
        ast.And,
        ast.Or,
        ast.Not,
        ast.USub,
        ast.Load,
        *_COMPARE,
        *_ARITHMETIC,
    )
    for inner in ast.walk(node):
        if not isinstance(inner, allowed):
            raise SyntaxError(type(inner).__name__)


def _value(node: ast.expr, values: Mapping[str, Any]) -> Any:
    match node:
        case ast.Constant():
            return node.value
        case ast.Name():
            if node.id not in values:
                raise Unknown(node.id)
            return values[node.id]
        case ast.Tuple() | ast.List():
            return [_value(entry, values) for entry in node.elts]
        case ast.BoolOp():
            parts = (_value(part, values) for part in node.values)
            return all(parts) if isinstance(node.op, ast.And) else any(parts)
        case ast.UnaryOp():
            inner = _value(node.operand, values)
            return -inner if isinstance(node.op, ast.USub) else not inner
        case ast.BinOp():
            left, right = _value(node.left, values), _value(node.right, values)
            if not all(isinstance(value, int | float) for value in (left, right)):
                raise TypeError("arithmetic is for numbers")
            return _ARITHMETIC[type(node.op)](left, right)
        case ast.Compare():
            return _compared(node, values)
    raise AssertionError(type(node).__name__)


def _compared(node: ast.Compare, values: Mapping[str, Any]) -> bool:
    left = _value(node.left, values)
    for op, right_node in zip(node.ops, node.comparators, strict=True):
        right = _value(right_node, values)
        if not _COMPARE[type(op)](left, right):
            return False
        left = right
    return True
