"""What calls a message should lead to, decided before the model is asked: none, open, or these, and
with which arguments.

    intent = read_intent(gate, message, said, tools, settings=CallSettings(), num_parameters=5e8)

It joins the gate (`relevance.py`), the splitting (`requests.py`) and the narrowing of arguments
(`support.py`). Each can be switched off; what each is worth is measured by `bench/calls.py`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from understudy.generation.presets import preset_of, preset_of_size
from understudy.generation.relevance import Gate, shared_gate
from understudy.generation.requests import SubRequest, split_requests
from understudy.generation.support import copied, supported
from understudy.generation.tools import Tool
from understudy.spec import ModelSpec, parameter_counts

JUDGES_FROM = 1_000_000_000  # a smaller model calls a tool wherever it may


@dataclass(frozen=True, slots=True)
class CallSettings:
    """Switches of what is decided before a small model is asked. None: as `presets.json` has it for
    models of this size.

    Attributes:
        gate: hold messages against the tools first, so that small talk gets words and a wish for a
            tool gets a call.
        split: make a call for each request of a message.
        only_supported: offer optional parameters only where the conversation holds something for
            them.
        copy_values: texts and numbers must stand in the conversation.
        chain: after results the model may call again for the same message.
        check_results: what an answer to results is held against: `complete` (numbers and names are
            theirs, each is told, at last by itself), `numbers` (one that is not theirs is written
            once more; nothing is added) or `off`.
    """

    gate: bool = True
    split: bool = True
    only_supported: bool = True
    copy_values: bool | None = None
    chain: bool | None = None
    check_results: Literal["off", "numbers", "complete"] = "complete"

    def copies(self, num_parameters: float) -> bool:
        return self._or_preset("copy_values", num_parameters)

    def chains(self, num_parameters: float) -> bool:
        return self._or_preset("chain", num_parameters)

    def _or_preset(self, name: str, num_parameters: float) -> bool:
        value = getattr(self, name)
        return bool(preset_of_size(num_parameters).calls[name] if value is None else value)


# The model alone decides: for judging it.
MODEL_ALONE = CallSettings(
    gate=False,
    split=False,
    only_supported=False,
    copy_values=False,
    chain=True,
    check_results="off",
)


@dataclass(frozen=True, slots=True)
class Intent:
    """`choice` is a tool_choice; with `requests` the calls are these, each by one of its tools.
    `tools` are narrowed.
    """

    choice: str
    tools: tuple[Tool, ...]
    # the tools of each, narrowed to its part of the message
    requests: tuple[tuple[Tool, ...], ...] = ()
    is_gated: bool = False  # not the caller decided for words

    @property
    def callable_tools(self) -> tuple[Tool, ...]:
        """What the reply may call."""
        return self.tools if self.choice != "none" else ()


@dataclass(frozen=True, slots=True)
class CallPolicy:
    """How the calls of a model of `num_parameters` are decided: see `CallSettings`."""

    num_parameters: float
    settings: CallSettings = field(default_factory=CallSettings)

    def intent(
        self,
        message: str,
        said: str,
        tools: Sequence[Tool],
        choice: str,
        *,
        after_results: bool = False,
    ) -> Intent:
        """What a reply should be.

        Args:
            after_results: the newest messages are results of calls, to be told in words.
        """
        if after_results and choice == "auto" and not self.settings.chains(self.num_parameters):
            return Intent("none", tuple(tools), is_gated=True)
        if after_results and choice == "auto":
            return Intent(choice, tuple(tools))
        return read_intent(
            shared_gate(),
            message,
            said,
            tools,
            choice,
            settings=self.settings,
            num_parameters=self.num_parameters,
        )


def policy_of(spec: ModelSpec) -> CallPolicy:
    """The policy that suits a model of this shape."""
    return CallPolicy(parameter_counts(spec)["total"], CallSettings(**preset_of(spec).calls))


def read_intent(
    gate: Gate,
    message: str,
    said: str,
    tools: Sequence[Tool],
    choice: str = "auto",
    *,
    settings: CallSettings,
    num_parameters: float,
) -> Intent:
    """What the newest message should lead to.

    Args:
        gate: kept from message to message.
        message: the newest message of the user.
        said: all that may hold a value for an argument: messages, results of tools.
        choice: what the caller demands; only `auto` is decided here, for the others arguments are
            narrowed.
        num_parameters: of the model.
    """
    narrow = narrowing(said, settings, num_parameters)
    narrowed = tuple(
        dataclasses.replace(tool, parameters=narrow(tool.parameters)) for tool in tools
    )
    if choice != "auto" or not settings.gate or not tools or not message.strip():
        return Intent(choice, narrowed)
    relevance = gate.relevance(message, tools)
    requests = split_requests(message, tools, gate) if settings.split else ()
    if requests:
        own = tuple(_narrowed(request, tools, settings, num_parameters) for request in requests)
        return Intent("required", narrowed, own if len(own) > 1 else ())
    if relevance.verdict == "call":
        return Intent("required", narrowed)
    is_sure = relevance.verdict == "words"
    if is_sure or (num_parameters < JUDGES_FROM and not relevance.is_foreign):
        return Intent("none", narrowed, is_gated=True)
    return Intent("auto", narrowed)


def _narrowed(
    request: SubRequest, tools: Sequence[Tool], settings: CallSettings, num_parameters: float
) -> tuple[Tool, ...]:
    """The tools of a request, their arguments held to what its own words support."""
    narrow = narrowing(request.text, settings, num_parameters)
    chosen = (tools[i] for i in request.tools)
    return tuple(dataclasses.replace(t, parameters=narrow(t.parameters)) for t in chosen)


def narrowing(
    said: str, settings: CallSettings, num_parameters: float
) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    """What is done to the schema of a tool's arguments."""

    def narrow(schema: Mapping[str, Any]) -> dict[str, Any]:
        result = supported(schema, said) if settings.only_supported else dict(schema)
        return copied(result, said) if settings.copies(num_parameters) else result

    return narrow
