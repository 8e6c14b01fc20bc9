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

from understudy.generation.call_plan import CallPlan, CallRequest
from understudy.generation.message.relevance import Gate, shared_gate
from understudy.generation.message.requests import Reading, SubRequest, requests_of
from understudy.generation.message.support import copied, supported
from understudy.generation.message.values import find_values
from understudy.generation.presets import preset_of, preset_of_size
from understudy.generation.tools import Tool
from understudy.spec import ModelSpec, parameter_counts

DRY = 0.8
_AGAINST_REPETITION = (
    *("dry_multiplier", "repetition_penalty", "frequency_penalty", "presence_penalty"),
)
JUDGES_FROM = 1_000_000_000  # a smaller model calls a tool wherever it may


@dataclass(frozen=True, slots=True)
class CallSettings:
    """Switches of what is decided before a small model is asked. None: as `presets.json` has it for
    models of this size.

    Attributes:
        gate: hold messages against the tools first, so that small talk gets words and a wish for a
            tool gets a call.
        split: call the tools that a message wants, each as often as it holds values for.
        only_supported: offer optional parameters only where the conversation speaks of them.
        copy_values: texts, numbers and dates must stand in the conversation.
        hide_tools: where the gate chose words, the prompt shows no tools: very small models repeat
            themselves behind them.
        chain: after results the model may call again for the same message.
        check_results: what an answer to results is held against: `complete` (numbers and names are
            theirs, each is told, at last by itself), `numbers` (one that is not theirs is written
            once more; nothing is added) or `off`.
    """

    gate: bool = True
    split: bool = True
    only_supported: bool = True
    copy_values: bool | None = None
    hide_tools: bool | None = None
    chain: bool | None = None
    check_results: Literal["off", "numbers", "complete"] = "complete"

    def copies(self, num_parameters: float) -> bool:
        return self._or_preset("copy_values", num_parameters)

    def hides_tools(self, num_parameters: float) -> bool:
        return self._or_preset("hide_tools", num_parameters)

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
    hide_tools=False,
    chain=True,
    check_results="off",
)


@dataclass(frozen=True, slots=True)
class Intent:
    """`choice` is a tool_choice; with a `plan` the calls are its.
    `tools` are narrowed.
    """

    choice: str
    tools: tuple[Tool, ...]
    plan: CallPlan | None = None
    is_gated: bool = False  # not the caller decided for words
    hides_tools: bool = False  # the prompt is better without them

    def sampling(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Settings of a request; where tools are hidden and nothing is set against repetition, runs
        of words that stand there already become less likely.
        """
        is_set = any(given.get(name) is not None for name in _AGAINST_REPETITION)
        return dict(given) if is_set or not self.hides_tools else {**given, "dry_multiplier": DRY}

    @property
    def notes(self) -> tuple[str, ...]:
        """What the prompt leaves out, in a line each."""
        if not self.hides_tools:
            return ()
        return (f"tools: {len(self.tools)} not shown, the message asks for none",)

    @property
    def callable_tools(self) -> tuple[Tool, ...]:
        """What the reply may call."""
        return self.tools if self.choice != "none" else ()


@dataclass(frozen=True, slots=True)
class CallPolicy:
    """How the calls of a model of `num_parameters` are decided: see `CallSettings`."""

    num_parameters: float
    settings: CallSettings = field(default_factory=CallSettings)

    def switched(self, switches: Mapping[str, Any]) -> CallPolicy:
        """The policy with other values of these settings."""
        return dataclasses.replace(self, settings=dataclasses.replace(self.settings, **switches))

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
    if not tools or choice == "none":
        return Intent(choice, tuple(tools))
    planner = _Planner(said, tools, settings, num_parameters)
    if choice != "auto" or not settings.gate or not message.strip():
        return planner.demanded(message, choice, gate)
    reading = Reading(message, tools, gate)
    if reading.wants_call:
        return Intent("required", *planner.calls(requests_of(reading)))
    relevance = gate.relevance(message, tools)
    is_sure = relevance.verdict == "words"
    if is_sure or (num_parameters < JUDGES_FROM and not relevance.is_foreign):
        hides_tools = settings.hides_tools(num_parameters)
        return Intent("none", tuple(tools), is_gated=True, hides_tools=hides_tools)
    return Intent("auto", planner.narrowed)


@dataclass(frozen=True, slots=True)
class _Planner:
    """The calls of a message that asks for some, their arguments held to what supports them."""

    said: str
    tools: Sequence[Tool]
    settings: CallSettings
    num_parameters: float

    @property
    def narrowed(self) -> tuple[Tool, ...]:
        """The tools, for calls of which the model decides how many there are."""
        narrow = narrowing(self.said, self.settings, self.num_parameters)
        return tuple(
            dataclasses.replace(tool, parameters=narrow(tool.parameters)) for tool in self.tools
        )

    def demanded(self, message: str, choice: str, gate: Gate) -> Intent:
        """What a caller demands, or a model decides that is not asked whether it should."""
        if choice == "auto" or not message.strip():
            return Intent(choice, self.narrowed)
        if choice != "required":
            tool = next(i for i, tool in enumerate(self.tools) if tool.name == choice)
            return Intent(choice, *self.calls((SubRequest(message, (tool,)),)))
        return Intent(choice, *self.calls(requests_of(Reading(message, self.tools, gate))))

    def calls(self, requests: Sequence[SubRequest]) -> tuple[tuple[Tool, ...], CallPlan | None]:
        """The tools, and the plan of the calls; None where the model makes them as it likes."""
        is_large = self.num_parameters >= JUDGES_FROM
        if not self.settings.split or (is_large and len(requests) < 2):
            return self.narrowed, None
        planned = [
            CallRequest(one.text, tuple(self.tools[i] for i in one.tools)) for one in requests
        ]
        return tuple(self.tools), CallPlan(
            planned, self._narrow if len(planned) > 1 else self._whole
        )

    def _whole(self, schema: Mapping[str, Any], text: str) -> Mapping[str, Any]:
        return narrowing(self.said, self.settings, self.num_parameters)(schema)

    def _narrow(self, schema: Mapping[str, Any], text: str) -> Mapping[str, Any]:
        """Held to the request's own words, where they hold values."""
        supports = text if find_values(text) else self.said
        return narrowing(supports, self.settings, self.num_parameters)(schema)


def narrowing(
    said: str, settings: CallSettings, num_parameters: float
) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    """What is done to the schema of a tool's arguments."""

    def narrow(schema: Mapping[str, Any]) -> dict[str, Any]:
        result = supported(schema, said) if settings.only_supported else dict(schema)
        return copied(result, said) if settings.copies(num_parameters) else result

    return narrow
