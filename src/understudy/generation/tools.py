"""Tools: functions that a model may ask for, each with the JSON Schema of its arguments.

    def weather(city: str, unit: Literal["C", "F"] = "C") -> str:
        '''The weather of a city now.

        Args:
            city: its name, with the country where it is not clear.
        '''

    Tool.from_function(weather)
    Tool.from_openai({"type": "function", "function": {...}}, run=weather)

A tool without `run` is announced and its calls are handed to the caller; nothing is executed that
was not handed in.
"""

from __future__ import annotations

import functools
import inspect
import re
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from understudy.errors import SchemaError, ToolError, UsageError
from understudy.generation.schemas.contract import Contract, contract_of, said_of
from understudy.generation.schemas.schema import schema_beside, value_of
from understudy.text.toolcalls import ParsedCall

_NAME = re.compile(
    r"[A-Za-z0-9_.:/-]{1,128}\Z"
)  # OpenAI: [a-zA-Z0-9_-]{1,64}; MCP: dots and slashes too
_SECTIONS = re.compile(
    r"^(Args|Arguments|Parameters|Returns?|Raises|Yields|Examples?|Notes?):?\s*$", re.IGNORECASE
)
_ARGUMENT = re.compile(r"^\s+\*{0,2}(\w+)\s*(?:\([^)]*\))?\s*:\s*(.*)$")
_FIELD = re.compile(r"^\s*:param\s+(?:[^:]*\s)?(\w+)\s*:\s*(.*)$")


@dataclass(frozen=True)
class Tool:
    """A function that a model may call.

    Attributes:
        name, description: as the model reads them.
        parameters: the JSON Schema of an object.
        run: takes the arguments by name, may be a coroutine function; None: the caller runs it.

    Raises:
        SchemaError: no name, description or schema of an object.
    """

    name: str
    description: str
    parameters: Mapping[str, Any]
    run: Callable[..., Any] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not _NAME.match(self.name):
            raise SchemaError(
                "a tool's name is letters, digits and _ . : / -, at most 128",
                where="tool",
                found=self.name,
            )
        if not isinstance(self.description, str):
            raise SchemaError(
                "a tool's description is a text",
                where=self.name,
                found=type(self.description).__name__,
            )
        try:
            _ = self.contract
        except SchemaError as error:
            raise said_of(self.name, error) from error
        kinds = _kinds_of(self.parameters)
        if "object" not in kinds:
            raise SchemaError(
                "a tool's parameters are an object", where=self.name, found=", ".join(kinds)
            )
        if self.run is not None and not callable(self.run):
            raise SchemaError(
                "what runs a tool is a function", where=self.name, found=type(self.run).__name__
            )

    @classmethod
    def from_function(
        cls,
        function: Callable[..., Any],
        *,
        name: str | None = None,
        description: str | None = None,
    ) -> Tool:
        """A tool from signature and docstring (the forms of Google, NumPy and Sphinx).

        Args:
            function: called with the arguments of a call, as its annotations promise them.
            name, description: in place of the function's own.

        Raises:
            SchemaError: a parameter without a name of its own (`*args`), or of a type that JSON
                cannot carry.
        """
        name = name or str(getattr(function, "__name__", type(function).__name__))
        hints = _hints(function)
        text, of_argument = read_docstring(inspect.getdoc(function) or "")
        properties: dict[str, Any] = {}
        definitions: dict[str, Any] = {}
        required = []
        for parameter in inspect.signature(function).parameters.values():
            if parameter.kind in (
                parameter.VAR_POSITIONAL,
                parameter.VAR_KEYWORD,
                parameter.POSITIONAL_ONLY,
            ):
                raise SchemaError(
                    "a tool's parameters are given by name", where=name, found=str(parameter)
                )
            try:
                schema = schema_beside(hints.get(parameter.name, Any), definitions)
            except SchemaError as error:
                raise SchemaError(
                    error.what, where=f"{name}({parameter.name})", found=error.found
                ) from error
            if parameter.name in of_argument:
                schema = {**schema, "description": of_argument[parameter.name]}
            if parameter.default is parameter.empty:
                required.append(parameter.name)
            elif _is_json(parameter.default):
                schema = {**schema, "default": parameter.default}
            properties[parameter.name] = schema
        parameters = {
            "type": "object",
            "properties": properties,
            "required": required,
            "additionalProperties": False,
            **({"$defs": definitions} if definitions else {}),
        }
        return cls(name, description or text, parameters, _typed(function, hints))

    @classmethod
    def from_openai(cls, tool: Mapping[str, Any], *, run: Callable[..., Any] | None = None) -> Tool:
        """A tool from OpenAI's dict, with or without its `{"type": "function", "function": ...}`
        envelope.

        Args:
            tool: the dict; `parameters` is a JSON Schema.
            run: what is called; None: calls are handed to the caller.

        Raises:
            SchemaError: not such a dict, or its parameters are no JSON Schema of an object.
        """
        function = tool.get("function", tool) if isinstance(tool, Mapping) else None
        if (
            not isinstance(function, Mapping)
            or "name" not in function
            or tool.get("type", "function") != "function"
        ):
            raise SchemaError(
                "not a tool",
                expected='{"type": "function", "function": {"name": …}}',
                found=repr(tool)[:120],
            )
        parameters = function.get("parameters")
        if parameters is None:
            parameters = {"type": "object", "properties": {}}
        return cls(function["name"], function.get("description") or "", parameters, run)

    def to_openai(self) -> dict[str, Any]:
        """The tool as OpenAI's dict."""
        return {
            "type": "function",
            "function": {
                "name": self.name,
                "description": self.description,
                "parameters": dict(self.parameters),
            },
        }

    def fault(self, arguments: Mapping[str, Any]) -> str | None:
        """What is wrong with the arguments of a call, None when they satisfy the schema."""
        fault = self.contract.fault(dict(arguments))
        return None if fault is None else str(fault)

    @functools.cached_property
    def contract(self) -> Contract:
        """What arguments must be."""
        if not isinstance(self.parameters, Mapping):
            return contract_of(self.parameters)
        kinds = _kinds_of(self.parameters)
        is_object = "type" not in self.parameters or "object" in kinds
        return contract_of({**self.parameters, "type": "object"} if is_object else self.parameters)


class ToolSource(Protocol):
    """What has tools that may change while it is used: an MCP server."""

    @property
    def tools(self) -> Sequence[Tool]:
        """Those of now."""
        ...


GivenTool = Tool | ToolSource | Callable[..., Any] | Mapping[str, Any]


def as_tools(tools: Iterable[GivenTool]) -> tuple[Tool, ...]:
    """Tools, functions, OpenAI's dicts and what sources have now, all as tools.

    Raises:
        UsageError: two of the same name.
    """
    made: list[Tool] = []
    for given in (as_tool_or_source(tool) for tool in tools):
        made += [given] if isinstance(given, Tool) else given.tools
    names = [tool.name for tool in made]
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise UsageError("two tools have the same name", where="tools", found=", ".join(twice[:5]))
    return tuple(made)


def as_tool_or_source(given: GivenTool) -> Tool | ToolSource:
    """A function or an OpenAI's dict as a tool; tools and sources as they are."""
    if isinstance(given, Tool):
        return given
    if isinstance(given, Mapping):
        return Tool.from_openai(given)
    return Tool.from_function(given) if callable(given) else given


def find_fault(tools: Sequence[Tool], call: ParsedCall) -> str | None:
    """Why a call cannot be run as it is: an unknown name or arguments that do not satisfy the
    schema.
    """
    tool = next((tool for tool in tools if tool.name == call.name), None)
    if tool is None:
        return f"there is no tool {call.name!r}; there are: {', '.join(t.name for t in tools[:20])}"
    return tool.fault(call.arguments)


def read_docstring(text: str) -> tuple[str, dict[str, str]]:
    """The description, and that of each argument."""
    head: list[str] = []
    arguments: dict[str, str] = {}
    section, last = "", ""
    for line in text.splitlines():
        if match := _FIELD.match(line):
            arguments[match[1]], last, section = match[2].strip(), match[1], "args"
        elif match := _SECTIONS.match(line.strip()):
            section, last = match[1].lower(), ""
        elif line.lstrip().startswith(":"):
            section, last = "other", ""
        elif not section:
            head.append(line)
        elif section in ("args", "arguments", "parameters"):
            last = _argument_line(line, arguments, last)
    return " ".join(" ".join(head).split()), {
        name: " ".join(text.split()) for name, text in arguments.items()
    }


def _argument_line(line: str, arguments: dict[str, str], last: str) -> str:
    if match := _ARGUMENT.match(line):
        arguments[match[1]] = match[2]
        return match[1]
    if match := re.match(
        r"^(\w+)\s*:\s*\S", line
    ):  # NumPy's `name : type`, its text on the lines below
        arguments[match[1]] = ""
        return match[1]
    if last and line.strip() and not set(line.strip()) <= {"-"}:
        arguments[last] += " " + line.strip()
    return last


def _typed(function: Callable[..., Any], hints: Mapping[str, Any]) -> Callable[..., Any]:
    """The function fed with what its annotations promise instead of bare JSON."""

    def convert(arguments: Mapping[str, Any]) -> dict[str, Any]:
        try:
            return {
                name: value_of(hints.get(name, Any), value) for name, value in arguments.items()
            }
        except (TypeError, ValueError) as error:
            raise ToolError(f"arguments cannot be read ({error})") from error

    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def run(**arguments: Any) -> Any:
            return await function(**convert(arguments))
    else:

        @functools.wraps(function)
        def run(**arguments: Any) -> Any:
            return function(**convert(arguments))

    return run


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    target = function if inspect.isroutine(function) else type(function).__call__
    try:
        return typing.get_type_hints(target, include_extras=True)
    except (NameError, TypeError) as error:
        name = getattr(function, "__name__", "tool")
        raise SchemaError(f"annotations cannot be read ({error})", where=name) from error


def _is_json(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(_is_json(entry) for entry in value)
    if isinstance(value, Mapping):
        return all(isinstance(key, str) and _is_json(entry) for key, entry in value.items())
    return value is None or isinstance(value, bool | int | float | str)


def _kinds_of(parameters: Mapping[str, Any]) -> list[str]:
    """The types that a tool's parameters say of themselves."""
    kinds = parameters.get("type", "object")
    return [kinds] if isinstance(kinds, str) else list(kinds)
