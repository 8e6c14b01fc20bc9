"""Calls held to their schemas while they are written.

`call_grammar` gives the grammar of a reply under a tool_choice, in llguidance's Lark: free text up
to the opening of a call, from there on only JSON whose name is a tool's and whose arguments satisfy
that tool's schema. What leaves no choice (names, keys, quotes) is not sampled but fed forward.

    none        text in which no call can open
    auto        text, calls, or text and then calls
    required    at least one call and nothing else
    NAME        as required, of this tool
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from understudy.errors import SchemaError, TemplateError, UsageError
from understudy.generation.call_rules import CallRules, lark_text, rule_of
from understudy.generation.foreign_calls import MAX_TOOLS, ForeignCalls
from understudy.generation.schemas.contract import contract_of
from understudy.generation.schemas.plain_objects import definitions_of
from understudy.generation.schemas.value_rules import regex_text
from understudy.generation.tools import Tool, as_tools, find_fault
from understudy.text.call_forms import CallForm
from understudy.text.grammar import Grammar, GrammarMask
from understudy.text.templates import ChatTemplate
from understudy.text.tokenizer import Tokenizer
from understudy.text.toolcalls import ParsedCall

MAX_CALLS = 8
CHOICES = ("none", "auto", "required")
_PYTHON_WORDS = {"True": "true", "False": "false", "None": "null"}


@dataclass(frozen=True, slots=True)
class Calls:
    """A reply taken apart: what it says, the calls that may be run, and those that may not, with
    the reason.
    """

    text: str
    calls: tuple[ParsedCall, ...]
    refused: tuple[tuple[ParsedCall, str], ...] = ()
    notes: tuple[str, ...] = ()


def choice_of(tool_choice: str | Mapping[str, Any] | None, tools: Sequence[Tool]) -> str:
    """`none`, `auto`, `required`, or a tool's name; OpenAI's `{"type": "function", "function":
    {"name": …}}` too.

    Raises:
        UsageError: an unknown choice, or `required` without tools.
    """
    if isinstance(tool_choice, Mapping):
        function = tool_choice.get("function", tool_choice)
        tool_choice = function.get("name", "") if isinstance(function, Mapping) else ""
    choice = "auto" if tool_choice is None else tool_choice
    names = [tool.name for tool in tools]
    if choice not in CHOICES and choice not in names:
        raise UsageError(
            "no such choice",
            where="tool_choice",
            expected=" ".join([*CHOICES, *names[:20]]),
            found=choice,
        )
    if not tools and choice not in ("none", "auto"):
        raise UsageError(
            "a call is required, and there are no tools", where="tool_choice", found=choice
        )
    return choice


def callable_tools(
    tools: Iterable[Tool | Mapping[str, Any]], choice: str | Mapping[str, Any] | None
) -> tuple[tuple[Tool, ...], str, tuple[str, ...]]:
    """The tools that calls can be written to, the choice among them, and a line for each tool that
    is left out.

    A tool that nobody has to call never spoils a request.

    Raises:
        SchemaError: the tool that is asked for cannot be called, or none of those of which one must
            be.
        UsageError: two of one name, or a choice that there is not.
    """
    usable: list[Tool] = []
    notes: list[str] = []
    wanted = _name_of(choice)
    last: SchemaError | None = None
    for given in tools:
        try:
            tool = given if isinstance(given, Tool) else Tool.from_openai(given)
            rule_of(tool)
        except SchemaError as error:
            last = error
            if wanted is not None and wanted == _name_of_tool(given):
                raise
            notes.append(f"tool left out: {error}")
        else:
            usable.append(tool)
    if last is not None and not usable and wanted == "required":
        raise last
    made = as_tools(usable)
    return made, choice_of(choice, made), tuple(notes)


def _name_of(choice: Any) -> str | None:
    if isinstance(choice, Mapping):
        choice = choice.get("function", choice)
        choice = choice.get("name") if isinstance(choice, Mapping) else None
    return choice if isinstance(choice, str) else None


def _name_of_tool(given: Tool | Mapping[str, Any]) -> Any:
    return given.name if isinstance(given, Tool) else _name_of(given)


def call_mask(
    tokenizer: Tokenizer,
    chat_template: ChatTemplate,
    tools: Sequence[Tool],
    choice: str = "auto",
    *,
    is_parallel: bool = True,
) -> Callable[[], GrammarMask] | None:
    """A factory of masks for `Model.generate(make_mask=...)`; None where nothing needs to be held.

    Raises:
        SchemaError: a tool's schema asks for what a grammar cannot hold.
        TemplateError: the chat template has no tool calls.
    """
    if not tools:
        return None
    return Grammar(tokenizer).lark(
        call_grammar(tokenizer, chat_template, tools, choice, is_parallel=is_parallel)
    )


def call_grammar(
    tokenizer: Tokenizer,
    chat_template: ChatTemplate,
    tools: Sequence[Tool],
    choice: str = "auto",
    *,
    is_parallel: bool = True,
    answer: str | None = None,
    opens_with_word: bool = False,
) -> str:
    """The grammar itself.

    Args:
        answer: a grammar (with a `start` rule) of what may stand instead of free text.
        opens_with_word: text does not begin with a tag or a brace, for models that would parrot the
            form of a result.
    """
    anything = "/[^\\s<>{}`\\[\\]](.|\\n)*/" if opens_with_word else "/(.|\\n)*/"
    form = form_of(chat_template)
    opening = lark_text(tokenizer, form.open)
    has_marker, pattern = tokenizer.marker_id(form.open) is not None, regex_text(form.open)
    if answer is not None:
        text, lead = _renamed(answer), [f"lead: {opening}"]
    elif has_marker:  # a marker is never text
        text, lead = ["text: TEXT", f"TEXT: {anything}"], [f"lead: TEXT {opening}"]
    else:  # one lexeme that ends with the first opening, beside text that has none
        text = ["text: TEXT", f"TEXT: {anything} & ~/(.|\\n)*{pattern}(.|\\n)*/"]
        lead = [f"lead[lazy]: /(.|\\n)*{pattern}/"]
    if choice == "none":
        return "\n".join(["start: text", *text])
    chosen = [tool for tool in tools if choice in CHOICES or tool.name == choice]
    most = MAX_CALLS if is_parallel and form.again else 1
    calls = _calls(tokenizer, form, chosen, most)
    if choice != "auto":
        return "\n".join([f"start: {opening} calls", *calls])
    if answer is not None or opens_with_word or len(chosen) > MAX_TOOLS:
        return "\n".join(["start: text | lead calls", *text, *lead, *calls])
    foreign = ForeignCalls(chosen, most).lines(opening, None if has_marker else pattern)
    return "\n".join(["start: reply", *foreign, *calls])


def segment_grammar(
    tokenizer: Tokenizer, form: CallForm, tools: Sequence[Tool], *, is_first: bool
) -> str:
    """The grammar of the next call of an answer, with what stands before it and behind it; without
    tools of the answer's end.
    """
    if not tools:
        return f"start: {lark_text(tokenizer, form.last)}"
    before = form.open + form.first if is_first else form.again
    lead, close = (lark_text(tokenizer, text) for text in (before, form.close))
    rules = CallRules(form, tokenizer).choice("call", tools)
    return "\n".join([f"start: {lead} call {close}", *rules])


def form_of(chat_template: ChatTemplate) -> CallForm:
    """How a chat template writes calls.

    Raises:
        TemplateError: it has none.
    """
    if chat_template.call_form is None:
        raise TemplateError(
            "this chat template has no tool calls",
            where=chat_template.name,
            do="use a checkpoint with a chat template",
        )
    return chat_template.call_form


def _calls(tokenizer: Tokenizer, form: CallForm, tools: Sequence[Tool], most: int) -> list[str]:
    first, close, again, last = (
        lark_text(tokenizer, text) for text in (form.first, form.close, form.again, form.last)
    )
    more = f" ({again} call {close}){{0,{most - 1}}}" if most > 1 else ""
    return [
        f"calls: {first} call {close}{more} {last} end",
        # many models end their turn with a line feed, which must not open the next call
        'end: "" | /[\\n ]{1,2}/',
        *CallRules(form, tokenizer).choice("call", tools),
    ]


def _renamed(grammar: str) -> list[str]:
    lines = grammar.split("\n")
    if not lines[0].startswith("start:"):
        raise SchemaError("a grammar begins with its start rule", found=lines[0][:60])
    return ["text:" + lines[0].removeprefix("start:"), *lines[1:]]


def read_calls(chat_template: ChatTemplate, raw: str, tools: Sequence[Tool] | None) -> Calls:
    """What a finished reply says and calls, in whatever notation it was written.

    A call that cannot be run stays out of `calls` and out of the history; where none can, all is
    text. Arguments that a tool does not have are left out, with a note.

    Args:
        tools: None: they are not known, and every call is taken as it is.
    """
    text, found = chat_template.parse(raw, None if tools is None else [t.name for t in tools])
    checked = check_calls(found, tools)
    text = raw if found and not checked.calls else text
    return dataclasses.replace(checked, text=chat_template.clean(text))


def check_calls(found: Sequence[ParsedCall], tools: Sequence[Tool] | None) -> Calls:
    """Calls that were written, told apart into those that can be run and those that cannot."""
    if tools is None:
        return Calls("", tuple(found))
    calls: list[ParsedCall] = []
    refused: list[tuple[ParsedCall, str]] = []
    notes: list[str] = []
    for call in found:
        usable, dropped = fitted(tools, call)
        fault = find_fault(tools, usable)
        if fault is None:
            calls.append(usable)
            notes += [f"{call.name}: no argument {name!r}, left out" for name in dropped]
        else:
            refused.append((call, fault))
    return Calls("", tuple(calls), tuple(refused), tuple(notes))


def fitted(tools: Sequence[Tool], call: ParsedCall) -> tuple[ParsedCall, tuple[str, ...]]:
    """The call with values of the kinds that its tool names, without arguments that it does not
    have.

    Returns:
        The call, and the names of the arguments left out.
    """
    tool = next((tool for tool in tools if tool.name == call.name), None)
    if tool is None:
        return call, ()
    properties = tool.parameters.get("properties")
    if not isinstance(properties, Mapping):
        return call, ()
    is_open = {"allOf", "anyOf", "oneOf", "patternProperties", "$ref"} & set(tool.parameters)
    takes_more = is_open or tool.parameters.get("additionalProperties") not in (None, False)
    dropped = () if takes_more else tuple(name for name in call.arguments if name not in properties)
    arguments = {
        name: _typed(properties.get(name), value, tool.parameters) if call.is_text else value
        for name, value in call.arguments.items()
        if name not in dropped
    }
    return ParsedCall(call.name, arguments), dropped


def _typed(schema: Any, value: Any, root: Mapping[str, Any]) -> Any:
    """A value that came as text, as its schema wants it; text where that cannot be."""
    if not isinstance(value, str) or not isinstance(schema, Mapping):
        return value
    try:
        read = json.loads(_PYTHON_WORDS.get(value.strip(), value))
    except (ValueError, RecursionError):
        return value
    kinds = schema.get("type", ())
    is_text = value in schema.get("enum", ()) or "string" in kinds
    may_be = [value, read] if is_text and value != "null" else [read, value]
    try:
        contract = contract_of({**schema, **definitions_of(root)})
    except SchemaError:
        return may_be[0]
    return next((one for one in may_be if contract.fault(one) is None), may_be[0])
