"""A checkpoint's chat template runs here: what transformers gives such templates, inside limits on
steps, text and time.

Templates come with downloaded checkpoints and are programs. Jinja's immutable sandbox keeps them
from Python's insides; the rest of this file keeps them from running for ever or filling the memory.
Every chunk of text they make is paid from one budget.
"""

from __future__ import annotations

import datetime
import functools
import json
import re
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from jinja2 import Template, nodes, pass_environment, pass_eval_context
from jinja2.compiler import CodeGenerator, Frame, operators, optimizeconst
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from understudy.errors import TemplateError
from understudy.text.templates import costs

MAX_SOURCE = 1 << 19  # characters of a template
MAX_RANGE = 10_000
MAX_STEPS = 1_000_000  # lines of the compiled template
MAX_TEXT = 1 << 22  # characters of one string
MAX_STEP = 1 << 25  # characters that one step reads or makes, see `costs.py`
MAX_MADE = 1 << 26  # characters of all steps together
MAX_SECONDS = 10.0
_LONG_NUMBER = re.compile(r"[0-9*]{4,}|\*|:[^{}]*\{")  # widths in format strings


@dataclass(slots=True)
class Run:
    """One rendering: what it has used, and how `tojson` hides the data it writes."""

    now: datetime.datetime
    json_filter: Callable[[Any, Callable[[Any], str]], str] = lambda value, dump: dump(value)
    made: int = 0
    steps: int = 0
    deadline: float = field(default_factory=lambda: time.monotonic() + MAX_SECONDS)

    def pay(self, length: int) -> None:
        self.made += length
        if time.monotonic() > self.deadline:
            raise TemplateError(
                "the chat template does not come to an end", expected=f"at most {MAX_SECONDS:g} s"
            )
        if length > MAX_STEP or self.made > MAX_MADE:
            raise TemplateError(
                "the chat template makes too much text", expected=f"at most {MAX_TEXT} characters"
            )

    def step(self) -> None:
        self.steps += 1
        if self.steps > MAX_STEPS or (self.steps % 64 == 0 and time.monotonic() > self.deadline):
            raise TemplateError(
                "the chat template does not come to an end", expected=f"at most {MAX_STEPS} steps"
            )


_RUN: ContextVar[Run | None] = ContextVar("understudy_template_run", default=None)


def compile_template(source: str) -> Template:
    """Compiles a template.

    Raises:
        TemplateError: it cannot be read.
    """
    if len(source) > MAX_SOURCE:
        raise TemplateError(
            "the chat template is too long",
            expected=f"at most {MAX_SOURCE} characters",
            found=len(source),
        )
    try:
        return _ENVIRONMENT.from_string(source)
    except Exception as error:  # the compiler of a hostile source can fail in any way
        raise TemplateError(
            f"the chat template cannot be read ({type(error).__name__}: {error})"
        ) from error


def render(template: Template, run: Run, values: Mapping[str, Any]) -> str:
    """Renders within the limits.

    Raises:
        TemplateError: the template refuses, fails or passes a limit.
    """
    token = _RUN.set(run)
    before = sys.gettrace()
    sys.settrace(lambda frame, event, argument: _tracer(run, frame))
    try:
        return _joined(template.generate(**values))
    except TemplateError:
        raise
    except Exception as error:  # a template can raise anything
        raise TemplateError(
            f"the chat template failed ({type(error).__name__}: {error})"
        ) from error
    finally:
        sys.settrace(before)
        _RUN.reset(token)


def _tracer(run: Run, frame: FrameType) -> Any:
    """Counts lines, of templates alone: other frames run at full speed."""
    if frame.f_code.co_filename != "<template>":
        return None

    def count(frame: FrameType, event: str, argument: Any) -> Any:
        run.step()
        return count

    run.step()
    return count


def _pay(length: int) -> None:
    run = _RUN.get()
    (run or Run(datetime.datetime.min)).pay(
        length
    )  # constants are computed while the template is compiled, outside of a run


def _joined(chunks: Iterable[Any]) -> str:
    texts = []
    length = 0
    for chunk in chunks:
        texts.append(_Environment.written(chunk))
        length += len(texts[-1])
        if length > MAX_TEXT:
            raise TemplateError(
                "the chat template makes too much text", expected=f"at most {MAX_TEXT} characters"
            )
    _pay(length)
    return "".join(texts)


class _Generator(CodeGenerator):
    """`a ~ b` goes through the budget."""

    @optimizeconst
    def visit_Concat(self, node: nodes.Concat, frame: Frame) -> None:  # noqa: N802
        self.write("environment.concat((")
        for part in node.nodes:
            self.visit(part, frame)
            self.write(", ")
        self.write("))")

    def visit_Getitem(self, node: nodes.Getitem, frame: Frame) -> None:  # noqa: N802
        """`a[1:]` makes a copy."""
        if not isinstance(node.arg, nodes.Slice):
            super().visit_Getitem(node, frame)
            return
        self.write("environment.copied(")
        super().visit_Getitem(node, frame)
        self.write(")")

    def visit_Compare(self, node: nodes.Compare, frame: Frame) -> None:  # noqa: N802
        """`a == b` reads both to the bottom."""
        self.write("(environment.read(")
        self.visit(node.expr, frame)
        self.write(")")
        for operand in node.ops:
            self.visit(operand, frame)
        self.write(")")

    def visit_Tuple(self, node: nodes.Tuple, frame: Frame) -> None:  # noqa: N802
        """A tuple may become a key, and is read to the bottom then."""
        if node.ctx != "load":
            super().visit_Tuple(node, frame)
            return
        self.write("environment.read(")
        super().visit_Tuple(node, frame)
        self.write(")")

    def _output_child_pre(self, node: nodes.Expr, frame: Frame, finalize: Any) -> None:
        self.write("environment.written(")

    def _output_child_post(self, node: nodes.Expr, frame: Frame, finalize: Any) -> None:
        self.write(")")

    def visit_Operand(self, node: nodes.Operand, frame: Frame) -> None:  # noqa: N802
        self.write(f" {operators[node.op]} environment.read(")
        self.visit(node.expr, frame)
        self.write(")")


class _Generation(Extension):
    """`{% generation %} … {% endgeneration %}`, which transformers uses to find the assistant's
    tokens: its content alone.
    """

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        line = parser.stream.current.lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return [nodes.Scope(body, lineno=line)]  # what is set inside stays inside


class _Environment(ImmutableSandboxedEnvironment):
    code_generator_class = _Generator
    intercepted_binops = frozenset({"+", "*", "**", "%"})
    concat = staticmethod(_joined)

    @staticmethod
    def copied(value: Any) -> Any:
        """A slice, paid for."""
        shared = isinstance(value, (list, tuple))
        _pay(len(value) * costs.SHARED if shared else costs.copied(value))
        return value

    @staticmethod
    def written(value: Any) -> str:
        """What stands in the prompt for a value."""
        if not isinstance(value, str):
            _pay(costs.written(value, MAX_STEP))
        return str(value)

    @staticmethod
    def read(value: Any) -> Any:
        """A side of a comparison, paid for where comparing can take long."""
        if isinstance(value, (list, tuple, dict)):
            _pay(costs.written(value, MAX_STEP))
        return value

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        if operator == "+" and hasattr(left, "__len__") and hasattr(right, "__len__"):
            _pay(len(left) + len(right))
        elif operator == "*" and (hasattr(left, "__len__") or hasattr(right, "__len__")):
            items, times = (left, right) if hasattr(left, "__len__") else (right, left)
            _pay(len(items) * max(times, 0) if isinstance(times, int) else 0)
        elif operator == "%" and isinstance(left, str):
            _check_format(left, "%", right)
        elif operator == "**" or (
            operator == "*" and isinstance(left, int) and isinstance(right, int)
        ):
            power = abs(right) if operator == "**" and isinstance(right, int) else 1
            if max(abs(left), abs(right)) > 1 << 256 or power > 64:
                raise TemplateError(
                    "the chat template counts too far", found=f"{operator} of large numbers"
                )
        return super().call_binop(context, operator, left, right)

    def wrap_str_format(self, value: Any) -> Any:
        text = getattr(value, "__self__", None)
        if (
            isinstance(text, str)
            and value.__name__ in ("format", "format_map")
            and _LONG_NUMBER.search(text)
        ):
            raise TemplateError("the chat template formats with a width", found=text[:40])
        write = super().wrap_str_format(value)
        if write is None:
            return None

        def paid(*args: Any, **kwargs: Any) -> Any:
            _check_format(str(text), "{", (args, kwargs))
            return write(*args, **kwargs)

        return functools.update_wrapper(paid, value)

    def call(self, context: Any, obj: Any, /, *args: Any, **kwargs: Any) -> Any:
        owner = getattr(obj, "__self__", None)
        if isinstance(owner, (list, tuple)):  # their methods compare
            _pay(costs.written((owner, args), MAX_STEP))
        if isinstance(owner, str):
            _pay(len(owner))
            _check_method(owner, obj.__name__, args)
        result = super().call(context, obj, *args, **kwargs)
        if not isinstance(result, str) or owner is not None:
            _pay(costs.copied(result))
        return result


def _check_format(text: str, sign: str, values: Any) -> None:
    """A format string writes each value as often as it names it."""
    if _LONG_NUMBER.search(text):
        raise TemplateError("the chat template formats with a width", found=text[:40])
    _pay(len(text) + (text.count(sign) + 1) * costs.written(values, MAX_STEP))


def _check_method(text: str, name: str, arguments: tuple[Any, ...]) -> None:
    lengths = [len(a) for a in arguments if hasattr(a, "__len__")]
    if name == "replace":
        _pay(
            min(len(text) + 1, 1 + text.count(str(arguments[0])) if arguments else 0)
            * max(lengths, default=0)
            + len(text)
        )
    elif name == "join":
        _pay(_join_length(arguments[0] if arguments else (), text))
    elif name == "translate":
        raise TemplateError("the chat template calls a method that has no bound", found=name)
    elif name in ("ljust", "rjust", "center", "zfill", "expandtabs"):
        _pay(sum(a for a in arguments if isinstance(a, int)) * (1 + text.count("\t")))


def _join_length(values: Any, between: str) -> int:
    if not hasattr(values, "__len__"):
        return 0
    return sum(len(v) if isinstance(v, str) else 32 for v in values) + len(values) * len(between)


def _to_json(
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
        _pay(len(text))
        return text

    run = _RUN.get()
    return str(run.json_filter(value, dump) if run is not None else dump(value))


def _refuse(message: object) -> None:
    raise TemplateError(f"the chat template refuses these messages: {message}")


def _short_range(*bounds: int) -> range:
    numbers = range(*bounds)
    if len(numbers) > MAX_RANGE:
        raise TemplateError(
            "the chat template counts too far", expected=f"at most {MAX_RANGE}", found=len(numbers)
        )
    return numbers


def _now(form: str) -> str:
    run = _RUN.get()
    if len(form) > 100 or re.search("[0-9]{3}", form):
        raise TemplateError("the chat template writes an impossible date", found=form[:40])
    return (run.now if run is not None else datetime.datetime.now()).strftime(form)


def _replaced(value: Any, old: str, new: str, count: int | None = None) -> str:
    text = str(value)
    _check_method(text, "replace", (old, new))
    return text.replace(old, new, -1 if count is None else count)


def _bounded(filters: Mapping[str, Any]) -> dict[str, Any]:
    """Filters whose work has a bound only when it is paid for."""
    return _bounded_texts(filters) | _bounded_values(filters)


def _bounded_values(filters: Mapping[str, Any]) -> dict[str, Any]:
    batch, cut, attributes, printed = (
        filters[name] for name in ("batch", "slice", "xmlattr", "pprint")
    )

    def batches(value: Iterable[Any], linecount: int, fill_with: Any = None) -> Any:
        _pay(max(int(linecount), 0))
        return batch(value, linecount, fill_with)

    @pass_eval_context
    def slices(context: Any, value: Any, count: int, fill_with: Any = None) -> Any:
        _pay(max(int(count), 0))
        return cut(context, value, count, fill_with)

    @pass_eval_context
    def xmlattr(context: Any, values: Mapping[str, Any], autospace: bool = True) -> Any:
        _pay(sum(len(str(k)) + 6 * len(str(v)) for k, v in values.items()))
        return attributes(context, values, autospace)

    def pprint(value: Any) -> Any:
        _pay(len(repr(value)))
        return printed(value)

    return {"batch": batches, "slice": slices, "xmlattr": xmlattr, "pprint": pprint}


def _bounded_texts(filters: Mapping[str, Any]) -> dict[str, Any]:
    centre, wrapped, formatted = (filters[name] for name in ("center", "wordwrap", "format"))

    def center(value: str, width: int = 80) -> Any:
        _pay(len(str(value)) + max(int(width), 0))
        return centre(value, width)

    @pass_environment
    def wordwrap(environment: Any, text: str, width: int = 79, *more: Any, **options: Any) -> Any:
        between = [a for a in (*more, *options.values()) if isinstance(a, str)]
        _pay(len(text) * (2 + sum(map(len, between))))
        return wrapped(environment, text, width, *more, **options)

    def form(text: str, *args: Any, **kwargs: Any) -> Any:
        _check_format(str(text), "%", (args, kwargs))
        return formatted(text, *args, **kwargs)

    return {"center": center, "wordwrap": wordwrap, "format": form}


def _environment() -> _Environment:
    """As transformers sets it up (utils/chat_template_utils.py), without the filters whose work has
    no bound.
    """
    environment = _Environment(
        trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols, _Generation]
    )
    original_join = environment.filters["join"]
    original_indent = environment.filters["indent"]

    def joined(values: Any, between: str = "", attribute: Any = None) -> Any:
        values = list(values)
        _pay(_join_length(values, between))
        return original_join(environment_context, values, between, attribute)

    def indented(text: str, width: int | str = 4, first: bool = False, blank: bool = False) -> Any:
        per_line = width if isinstance(width, int) else len(width)
        _pay(len(text) + (text.count("\n") + 1) * per_line)
        return original_indent(text, width, first, blank)

    environment_context = nodes.EvalContext(environment)
    for name in ("random", "urlize"):
        del environment.filters[name]
    environment.filters |= _bounded(environment.filters)
    environment.filters |= {
        "tojson": _to_json,
        "replace": _replaced,
        "join": joined,
        "indent": indented,
    }
    for name, run in list(environment.filters.items()):
        environment.filters[name] = costs.paid_filter(name, run, _pay, MAX_STEP)
    tests: dict[str, Any] = environment.tests
    for name, run in list(tests.items()):
        tests[name] = costs.paid_test(name, run, _pay, MAX_STEP)
    del environment.globals["lipsum"]
    environment.globals |= {"raise_exception": _refuse, "range": _short_range, "strftime_now": _now}
    return environment


_ENVIRONMENT = _environment()
