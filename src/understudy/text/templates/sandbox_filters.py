"""Filters and functions of chat templates that are paid for before they work (`budget`)."""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from jinja2 import pass_environment, pass_eval_context

from understudy.errors import TemplateError
from understudy.text.templates import costs
from understudy.text.templates.budget import MAX_STEP, RUN, pay

MAX_RANGE = 10_000
LONG_NUMBER = re.compile(r"[0-9*]{4,}|\*|:[^{}]*\{")  # widths in format strings


def check_format(text: str, sign: str, values: Any) -> None:
    """A format string writes each value as often as it names it."""
    if LONG_NUMBER.search(text):
        raise TemplateError("the chat template formats with a width", found=text[:40])
    pay(len(text) + (text.count(sign) + 1) * costs.written(values, MAX_STEP))


def check_method(text: str, name: str, arguments: tuple[Any, ...]) -> None:
    lengths = [len(a) for a in arguments if hasattr(a, "__len__")]
    if name == "replace":
        pay(
            min(len(text) + 1, 1 + text.count(str(arguments[0])) if arguments else 0)
            * max(lengths, default=0)
            + len(text)
        )
    elif name == "join":
        pay(join_length(arguments[0] if arguments else (), text))
    elif name == "translate":
        raise TemplateError("the chat template calls a method that has no bound", found=name)
    elif name in ("ljust", "rjust", "center", "zfill", "expandtabs"):
        pay(sum(a for a in arguments if isinstance(a, int)) * (1 + text.count("\t")))


def join_length(values: Any, between: str) -> int:
    if not hasattr(values, "__len__"):
        return 0
    return sum(len(v) if isinstance(v, str) else 32 for v in values) + len(values) * len(between)


def to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: Any = None,
    separators: Any = None,
    sort_keys: bool = False,
) -> str:
    if (isinstance(indent, int) and indent > 16) or (isinstance(indent, str) and len(indent) > 16):
        raise TemplateError(
            "the chat template indents too far", expected="at most 16", found=str(indent)[:20]
        )

    def dump(plain: Any) -> str:
        text = json.dumps(
            plain,
            ensure_ascii=ensure_ascii,
            indent=indent,
            separators=separators,
            sort_keys=sort_keys,
        )
        pay(len(text))
        return text

    run = RUN.get()
    return str(run.write(value, dump) if run is not None else dump(value))


def string(value: Any) -> str:
    """Jinja's `string`."""
    run = RUN.get()
    if run is None or not isinstance(value, list | tuple | dict):
        return str(value)
    return run.write(value, str)


def sorted_items(
    value: Mapping[str, Any], case_sensitive: bool = False, by: str = "key", reverse: bool = False
) -> list[tuple[str, Any]]:
    """Jinja's `dictsort`, by what is behind hidden texts."""
    run, place = RUN.get(), {"key": 0, "value": 1}[by]

    def order(item: tuple[str, Any]) -> Any:
        entry = item[place] if run is None else run.plain(item[place])
        return entry.lower() if isinstance(entry, str) and not case_sensitive else entry

    return sorted(value.items(), key=order, reverse=reverse)


def refuse(message: object) -> None:
    raise TemplateError(f"the chat template refuses these messages: {message}")


def short_range(*bounds: int) -> range:
    numbers = range(*bounds)
    if len(numbers) > MAX_RANGE:
        raise TemplateError(
            "the chat template counts too far", expected=f"at most {MAX_RANGE}", found=len(numbers)
        )
    return numbers


def now(form: str) -> str:
    run = RUN.get()
    if len(form) > 100 or re.search("[0-9]{3}", form):
        raise TemplateError("the chat template writes an impossible date", found=form[:40])
    return (run.now if run is not None else datetime.datetime.now()).strftime(form)


def replaced(value: Any, old: str, new: str, count: int | None = None) -> str:
    text = str(value)
    check_method(text, "replace", (old, new))
    return text.replace(old, new, -1 if count is None else count)


def bounded(filters: Mapping[str, Any]) -> dict[str, Any]:
    """Filters whose work has a bound only when it is paid for."""
    return _bounded_texts(filters) | _bounded_values(filters)


def _bounded_values(filters: Mapping[str, Any]) -> dict[str, Any]:
    batch, cut, attributes, printed = (
        filters[name] for name in ("batch", "slice", "xmlattr", "pprint")
    )

    def batches(value: Iterable[Any], linecount: int, fill_with: Any = None) -> Any:
        pay(max(int(linecount), 0))
        return batch(value, linecount, fill_with)

    @pass_eval_context
    def slices(context: Any, value: Any, count: int, fill_with: Any = None) -> Any:
        pay(max(int(count), 0))
        return cut(context, value, count, fill_with)

    @pass_eval_context
    def xmlattr(context: Any, values: Mapping[str, Any], autospace: bool = True) -> Any:
        pay(sum(len(str(k)) + 6 * len(str(v)) for k, v in values.items()))
        return attributes(context, values, autospace)

    def pprint(value: Any) -> Any:
        pay(len(repr(value)))
        return printed(value)

    return {"batch": batches, "slice": slices, "xmlattr": xmlattr, "pprint": pprint}


def _bounded_texts(filters: Mapping[str, Any]) -> dict[str, Any]:
    centre, wrapped, formatted = (filters[name] for name in ("center", "wordwrap", "format"))

    def center(value: str, width: int = 80) -> Any:
        pay(len(str(value)) + max(int(width), 0))
        return centre(value, width)

    @pass_environment
    def wordwrap(environment: Any, text: str, width: int = 79, *more: Any, **options: Any) -> Any:
        between = [a for a in (*more, *options.values()) if isinstance(a, str)]
        pay(len(text) * (2 + sum(map(len, between))))
        return wrapped(environment, text, width, *more, **options)

    def form(text: str, *args: Any, **kwargs: Any) -> Any:
        check_format(str(text), "%", (args, kwargs))
        return formatted(text, *args, **kwargs)

    return {"center": center, "wordwrap": wordwrap, "format": form}
