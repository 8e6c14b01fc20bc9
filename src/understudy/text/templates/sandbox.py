"""A checkpoint's chat template runs here: what transformers gives such templates, inside limits on
steps, text and time.

Templates come with downloaded checkpoints and are programs. Jinja's immutable sandbox keeps them
from Python's insides; `budget.py` keeps them from running for ever or filling the memory.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterable, Mapping
from types import FrameType
from typing import Any

from jinja2 import Template, nodes
from jinja2.compiler import CodeGenerator, Frame, operators, optimizeconst
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from understudy.errors import TemplateError
from understudy.text.templates import costs
from understudy.text.templates.budget import MAX_STEP, MAX_TEXT, RUN, Run, pay
from understudy.text.templates.sandbox_filters import (
    LONG_NUMBER,
    bounded,
    check_format,
    check_method,
    join_length,
    now,
    refuse,
    replaced,
    short_range,
    sorted_items,
    string,
    to_json,
)

MAX_SOURCE = 1 << 19  # characters of a template


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
    token = RUN.set(run)
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
        RUN.reset(token)


def _tracer(run: Run, frame: FrameType) -> Any:
    """Counts lines, of templates alone: other frames run at full speed."""
    if frame.f_code.co_filename != "<template>":
        return None

    def count(frame: FrameType, event: str, argument: Any) -> Any:
        run.step()
        return count

    run.step()
    return count


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
    pay(length)
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
        pay(len(value) * costs.SHARED if shared else costs.copied(value))
        return value

    @staticmethod
    def written(value: Any) -> str:
        """What stands in the prompt for a value."""
        if not isinstance(value, str):
            pay(costs.written(value, MAX_STEP))
        return string(value)

    @staticmethod
    def read(value: Any) -> Any:
        """A side of a comparison, paid for where comparing can take long."""
        if isinstance(value, (list, tuple, dict)):
            pay(costs.written(value, MAX_STEP))
        return value

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        if operator == "+" and hasattr(left, "__len__") and hasattr(right, "__len__"):
            pay(len(left) + len(right))
        elif operator == "*" and (hasattr(left, "__len__") or hasattr(right, "__len__")):
            items, times = (left, right) if hasattr(left, "__len__") else (right, left)
            pay(len(items) * max(times, 0) if isinstance(times, int) else 0)
        elif operator == "%" and isinstance(left, str):
            check_format(left, "%", right)
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
            and LONG_NUMBER.search(text)
        ):
            raise TemplateError("the chat template formats with a width", found=text[:40])
        write = super().wrap_str_format(value)
        if write is None:
            return None

        def paid(*args: Any, **kwargs: Any) -> Any:
            check_format(str(text), "{", (args, kwargs))
            return write(*args, **kwargs)

        return functools.update_wrapper(paid, value)

    def call(self, context: Any, obj: Any, /, *args: Any, **kwargs: Any) -> Any:
        owner = getattr(obj, "__self__", None)
        if isinstance(owner, (list, tuple)):  # their methods compare
            pay(costs.written((owner, args), MAX_STEP))
        if isinstance(owner, str):
            pay(len(owner))
            check_method(owner, obj.__name__, args)
        result = super().call(context, obj, *args, **kwargs)
        if not isinstance(result, str) or owner is not None:
            pay(costs.copied(result))
        return result


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
        pay(join_length(values, between))
        return original_join(environment_context, values, between, attribute)

    def indented(text: str, width: int | str = 4, first: bool = False, blank: bool = False) -> Any:
        per_line = width if isinstance(width, int) else len(width)
        pay(len(text) + (text.count("\n") + 1) * per_line)
        return original_indent(text, width, first, blank)

    environment_context = nodes.EvalContext(environment)
    for name in ("random", "urlize"):
        del environment.filters[name]
    environment.filters |= bounded(environment.filters)
    environment.filters |= {
        "tojson": to_json,
        "string": string,
        "dictsort": sorted_items,
        "replace": replaced,
        "join": joined,
        "indent": indented,
    }
    for name, run in list(environment.filters.items()):
        environment.filters[name] = costs.paid_filter(name, run, pay, MAX_STEP)
    tests: dict[str, Any] = environment.tests
    for name, run in list(tests.items()):
        tests[name] = costs.paid_test(name, run, pay, MAX_STEP)
    del environment.globals["lipsum"]
    environment.globals |= {"raise_exception": refuse, "range": short_range, "strftime_now": now}
    return environment


_ENVIRONMENT = _environment()
