"""Which calls a message should get, one after the other: each is chosen when those before it are
written, so that it is known which values of the message they have used.

    plan = CallPlan(requests, narrow)
    plan.next_tools([])                   # the tools of which the first call may be one
    plan.next_tools([first_call])         # of the second; () at the end
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from understudy.generation.call_masks import CallsMask
from understudy.generation.calls import MAX_CALLS, fitted, form_of, segment_grammar
from understudy.generation.message.more_calls import another_call, unused_values
from understudy.generation.message.support import within_limits
from understudy.generation.tools import Tool
from understudy.generation.written_calls import begun_call
from understudy.text.call_forms import CallForm
from understudy.text.grammar import Grammar, GrammarMask
from understudy.text.templates import ChatTemplate
from understudy.text.tokenizer import Tokenizer
from understudy.text.toolcalls import ParsedCall

Schema = Mapping[str, Any]
Narrow = Callable[[Schema, str], Schema]  # a schema, held to what a text supports


@dataclass(frozen=True, slots=True)
class CallRequest:
    """A part of a message and the tools that may serve it, the nearest first."""

    text: str
    tools: tuple[Tool, ...]


class CallPlan:
    """See the module's docstring.

    Args:
        requests: in their order, at least one.
        narrow: what a tool's schema becomes for a part of the message.
        repeats: whether a request may get several calls.
    """

    def __init__(
        self, requests: Sequence[CallRequest], narrow: Narrow, *, repeats: bool = True
    ) -> None:
        self.requests, self._narrow, self._repeats = tuple(requests), narrow, repeats

    @property
    def tools(self) -> tuple[Tool, ...]:
        """Those that its calls may be of."""
        return tuple(tool for request in self.requests for tool in request.tools)

    def next_tools(self, calls: Sequence[ParsedCall]) -> tuple[Tool, ...]:
        """The tools of which the call behind these may be one, with what its arguments may be."""
        request, own = self._place(calls)
        if request is None:
            return ()
        if not own:
            return tuple(self._narrowed(tool, request.text) for tool in request.tools)
        tool = next(tool for tool in request.tools if tool.name == own[0].name)
        arguments = [call.arguments for call in own]
        free = unused_values(request.text, tool.parameters, arguments)
        return (_limited(self._narrowed(tool, request.text), free),)

    def _place(
        self, calls: Sequence[ParsedCall]
    ) -> tuple[CallRequest | None, Sequence[ParsedCall]]:
        """The request that the next call is of, and its calls so far."""
        if len(calls) >= MAX_CALLS:
            return None, ()
        left = list(calls)
        for request in self.requests:
            own: list[ParsedCall] = []
            while left and (not own or self._wants_another(request, own)):
                own.append(left.pop(0))
            if not left and (not own or self._wants_another(request, own)):
                return request, own
        return None, ()

    def _wants_another(self, request: CallRequest, own: Sequence[ParsedCall]) -> bool:
        tool = next((tool for tool in request.tools if tool.name == own[0].name), None)
        if not self._repeats or tool is None or own[-1] in own[:-1]:
            return False
        arguments = [call.arguments for call in own]
        return another_call(request.text, tool.parameters, arguments) > 0

    def _narrowed(self, tool: Tool, text: str) -> Tool:
        return dataclasses.replace(tool, parameters=self._narrow(tool.parameters, text))


def _limited(tool: Tool, free: Mapping[str, Sequence[float | str]]) -> Tool:
    """The tool with these parameters held to these values."""
    properties = dict(tool.parameters.get("properties") or {})
    for name, values in free.items():
        free_text = {
            key: v for key, v in properties[name].items() if key not in ("pattern", "enum")
        }
        narrow = within_limits(free_text, {"enum": values})
        properties[name] = narrow if "enum" in narrow else properties[name]
    return dataclasses.replace(tool, parameters={**tool.parameters, "properties": properties})


def plan_mask(
    tokenizer: Tokenizer, chat_template: ChatTemplate, plan: CallPlan, *, is_parallel: bool
) -> Callable[[], CallsMask]:
    """A factory of masks under which just the calls of a plan are written.

    Raises:
        SchemaError: a tool's schema asks for what a grammar cannot hold.
        TemplateError: the chat template has no tool calls.
    """
    form = form_of(chat_template)
    grammar = Grammar(tokenizer)
    most = MAX_CALLS if is_parallel and form.again else 1

    def next_call(text: str) -> Callable[[], GrammarMask] | None:
        calls = written_calls(text, form, plan.tools)
        tools = plan.next_tools(calls) if len(calls) < most else ()
        if not tools and (not form.last or text.endswith(form.last)):
            return None
        return grammar.lark(segment_grammar(tokenizer, form, tools, is_first=not calls))

    first = next_call("")  # what is wrong with it is said before anything runs
    return lambda: CallsMask(tokenizer.decode, lambda text: next_call(text) if text else first)


def written_calls(text: str, form: CallForm, tools: Sequence[Tool]) -> list[ParsedCall]:
    """The whole calls of a text that a grammar has held to the template's own form."""
    calls: list[ParsedCall] = []
    while (begun := begun_call(form, text, tools)) is not None:
        call, rest = begun
        call.push(rest)
        if not call.is_done:
            break
        calls.append(fitted(tools, call.parsed)[0])
        text = call.rest
    return calls
