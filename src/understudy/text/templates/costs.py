"""What a step of a chat template costs: characters that it writes, and entries that it copies.

A template can ask for gigabytes in one step (`s|list`, `s.split()`, `s[1:]` in a loop) or for years
(two deep lists compared), so each filter, test, call, slice and comparison is paid for. Values may
hold one list many times; a walk through one ends as soon as it costs more than is left.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

ENTRY = 32  # characters that an entry of a list counts for: what a short text takes in memory
SHARED = 8  # an entry that stands elsewhere already
NODE = 64  # an entry that is read to the bottom
Pay = Callable[[int], None]

# Filters and tests that read their value to the bottom: they write it, or compare its entries.
_READ_WHOLE = frozenset(
    [
        "string",
        "e",
        "escape",
        "forceescape",
        "upper",
        "lower",
        "title",
        "capitalize",
        "trim",
        "striptags",
        "urlencode",
        "wordcount",
        "wordwrap",
        "center",
        "indent",
        "replace",
        "truncate",
        "pprint",
        "tojson",
        "xmlattr",
        "format",
        "join",
        "sort",
        "unique",
        "groupby",
        "dictsort",
        "min",
        "max",
        "sum",
        "int",
        "float",
        "abs",
        "round",
        "filesizeformat",
        "eq",
        "equalto",
        "==",
        "ne",
        "!=",
        "lt",
        "lessthan",
        "<",
        "le",
        "<=",
        "gt",
        "greaterthan",
        ">",
        "ge",
        ">=",
        "in",
    ]
)
# Filters whose Python code runs once for so many characters of a text.
_SLOW = {"title": 64, "urlencode": ENTRY, "wordwrap": 256, "xmlattr": ENTRY} | dict.fromkeys(
    [
        "list",
        "unique",
        "groupby",
        "sort",
        "map",
        "select",
        "reject",
        "selectattr",
        "rejectattr",
        "batch",
        "slice",
        "min",
        "max",
        "sum",
        "join",
        "items",
    ],
    ENTRY,
)
_FREE = frozenset(
    [
        "length",
        "count",
        "default",
        "d",
        "defined",
        "undefined",
        "none",
        "string",
        "mapping",
        "sequence",
        "iterable",
        "number",
        "integer",
        "float",
        "boolean",
        "true",
        "false",
        "callable",
        "sameas",
        "divisibleby",
        "odd",
        "even",
        "lower",
        "upper",
        "escaped",
        "filter",
        "test",
        "first",
        "last",
        "attr",
        "safe",
    ]
)


def copied(value: Any) -> int:
    """What a new value costs: its characters, or its entries."""
    if isinstance(value, (str, bytes)):
        return len(value)
    if isinstance(value, (list, tuple, dict, set, frozenset)):
        return len(value) * ENTRY
    return 1


def written(value: Any, most: int) -> int:
    """The characters of a value written out, counted until they are more than `most`."""
    total, left = 0, [value]
    while left and total <= most:
        one = left.pop()
        total += len(one) if isinstance(one, (str, bytes)) else NODE
        if isinstance(one, Mapping):
            left += [*one.keys(), *one.values()]
        elif isinstance(one, (list, tuple, set, frozenset)):
            left += one
    return total


def metered(values: Iterator[Any], pay: Pay) -> Iterator[Any]:
    """The values, each paid for as it comes."""
    for value in values:
        pay(copied(value) + SHARED)
        yield value


def paid_filter(name: str, run: Callable[..., Any], pay: Pay, most: int) -> Callable[..., Any]:
    """A filter whose value and result are paid for."""
    if name in _FREE:
        return run
    first = 1 if hasattr(run, "jinja_pass_arg") else 0

    @functools.wraps(run)  # with what jinja is to pass in front
    def filter(*args: Any, **kwargs: Any) -> Any:
        values = args[first:]
        if values and isinstance(values[0], str):
            pay(len(values[0]) * _SLOW.get(name, 1))
        pay(written(values, most) if name in _READ_WHOLE else sum(map(_length, values[:1])))
        result = run(*args, **kwargs)
        if hasattr(result, "__next__"):
            return metered(result, pay)
        pay(copied(result))
        return result

    return filter


def paid_test(name: str, run: Callable[..., Any], pay: Pay, most: int) -> Callable[..., Any]:
    """A test that reads its values to the bottom, paid for."""
    if name in _FREE or name not in _READ_WHOLE:
        return run

    @functools.wraps(run)
    def test(*args: Any, **kwargs: Any) -> Any:
        pay(written(args, most))
        return run(*args, **kwargs)

    return test


def _length(value: Any) -> int:
    return len(value) * SHARED if isinstance(value, (list, tuple, dict)) else copied(value)
