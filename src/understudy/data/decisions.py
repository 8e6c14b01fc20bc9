"""Decisions about one set of functions, side by side: call this, call two, ask, or decline.

A `ToolDecisions` draws a set of functions and several messages to them, each with its answer. As a
tree they share the announcement of the functions, which is most of the tokens.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from understudy.data.encode import Dialogue
from understudy.data.forms import openai_tools
from understudy.data.near import neighbour
from understudy.data.records import Record
from understudy.data.requests import Made, Phrased, Values, described_request
from understudy.data.variation import Variation, in_order, vary
from understudy.data.words import asked, declined, wish_of

JOINED = (
    "{a} Also, {b}",
    "{a} And {b}",
    "{a} {B}",
    "{a} Then {b}",
    "First {a2}, then {b}",
    "{a} After that {b}",
)
DECLINED_FROM = 0.86  # of what is drawn: from here on it is declined
NEIGHBOURS = 60  # of how many functions the nearest are sought
NUM_TOOLS = (1, 1, 1, 2, 2, 3, 3, 4, 5)


@dataclass(frozen=True, slots=True)
class Wish:
    """A message and what it should lead to: calls of offered functions, or words."""

    text: str
    calls: tuple[Mapping[str, Any], ...] = ()
    words: str = ""


@dataclass
class ToolDecisions:
    """Messages for functions of a family: made up out of schemas (`phrased`, `listed`) or taken
    from records (`messages` by function name).

    `foreign` are messages that no function here serves, `smalltalk` (message, answer) pairs.
    `declined` is the share of messages that no function on offer serves (None: as drawn, 14 %), of
    which `near` ask for a neighbour of the functions on offer.
    """

    values: Values
    phrased: Sequence[Phrased] = ()
    listed: Sequence[Mapping[str, Any]] = ()
    families: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    messages: Mapping[str, Sequence[Made]] = field(default_factory=dict)
    foreign: Sequence[str] = ()
    smalltalk: Sequence[tuple[str, str]] = ()
    branches: int = 6
    declined: float | None = None
    near: float = 0.0

    def conversations(self, chance: random.Random) -> list[Dialogue]:
        """One set of functions and the decisions about it."""
        tools, makers = self._tools(chance)
        varied = vary(tools, chance)
        drawn = (self._wish(tools, makers, chance) for _ in range(self.branches))
        wishes = {wish.text: wish for wish in drawn if wish is not None}
        return [self._conversation(wish, varied) for wish in wishes.values()]

    def _tools(self, chance: random.Random) -> tuple[list[Mapping[str, Any]], dict[str, Any]]:
        count = chance.choice(NUM_TOOLS)
        if self.messages:
            names = chance.sample(sorted(self.messages), min(count, len(self.messages)))
            return [self.families[name][0] for name in names], {n: self.messages[n] for n in names}
        if self.phrased and (not self.listed or chance.random() < 0.55):
            chosen = chance.sample(list(self.phrased), count)
            return [p.tool for p in chosen], {p.tool["name"]: p for p in chosen}
        family = (
            self.families[chance.choice(sorted(self.families))] if self.families else self.listed
        )
        near = chance.sample(list(family), min(count, len(family)))
        unique = list({tool["name"]: tool for tool in near}.values())
        return unique, {tool["name"]: tool for tool in unique}

    def _wish(
        self, tools: Sequence[Mapping[str, Any]], makers: Mapping[str, Any], chance: random.Random
    ) -> Wish | None:
        if self.declined is not None and chance.random() < self.declined:
            return self._foreign(tools, chance)
        draw = chance.random() * (1.0 if self.declined is None else DECLINED_FROM)
        if draw < 0.58:
            return self._call(tools, makers, chance)
        if draw < 0.70:
            first, second = (self._call(tools, makers, chance) for _ in range(2))
            return None if first is None or second is None else _joined(first, second, chance)
        if draw < 0.77:
            return _incomplete(chance.choice(list(tools)), chance)
        if draw < DECLINED_FROM and self.smalltalk:
            text, answer = chance.choice(list(self.smalltalk))
            return Wish(text, words=answer)
        return self._foreign(tools, chance)

    def _call(
        self, tools: Sequence[Mapping[str, Any]], makers: Mapping[str, Any], chance: random.Random
    ) -> Wish | None:
        tool = chance.choice(list(tools))
        made = self._make(makers[tool["name"]], chance)
        if made is None:
            return None
        return Wish(made.text, ({"name": tool["name"], "arguments": made.arguments},))

    def _make(self, maker: Any, chance: random.Random) -> Made | None:
        if isinstance(maker, Phrased):
            return maker.make(chance, self.values)
        if isinstance(maker, Mapping):
            return described_request(maker, chance, self.values)
        made: Made = chance.choice(list(maker))
        return made

    def _foreign(self, tools: Sequence[Mapping[str, Any]], chance: random.Random) -> Wish | None:
        if self.near and chance.random() < self.near:
            return self._near(tools, chance)
        names = {tool["name"] for tool in tools}
        if self.foreign and chance.random() < 0.5:
            return Wish(chance.choice(list(self.foreign)), words=declined(tools, chance))
        others = [p for p in self.phrased if p.tool["name"] not in names]
        if not others:
            return None
        made = chance.choice(others).make(chance, self.values)
        return Wish(made.text, words=declined(tools, chance))

    def _near(self, tools: Sequence[Mapping[str, Any]], chance: random.Random) -> Wish | None:
        """A wish for a neighbour of the functions on offer, declined."""
        known = self._neighbours(tools)
        shown = chance.sample(sorted(known), min(len(known), NEIGHBOURS))
        found = neighbour(tools, [known[name][0] for name in shown], chance)
        made = None if found is None else self._make(known[found["name"]][1], chance)
        return None if made is None else Wish(made.text, words=declined(tools, chance))

    def _neighbours(self, tools: Sequence[Mapping[str, Any]]) -> dict[str, tuple[Any, Any]]:
        """Functions of the kind that `tools` are of, with what makes their messages, by name."""
        if self.messages:
            return {name: (self.families[name][0], made) for name, made in self.messages.items()}
        names = {tool["name"] for tool in tools}
        if any(p.tool["name"] in names for p in self.phrased):
            return {p.tool["name"]: (p.tool, p) for p in self.phrased}
        family = next(
            (f for f in self.families.values() if any(t["name"] in names for t in f)), self.listed
        )
        return {tool["name"]: (tool, tool) for tool in family}

    @staticmethod
    def _conversation(wish: Wish, varied: Variation) -> Dialogue:
        answer: dict[str, Any] = {"role": "assistant", "content": wish.words}
        if wish.calls:
            carried = [varied.call(call) for call in wish.calls]
            answer["tool_calls"] = [{"type": "function", "function": call} for call in carried]
        messages = [{"role": "user", "content": wish.text}, answer]
        kind = "calls" if wish.calls else "no_call"
        return Dialogue(messages, openai_tools(varied.tools), kind=kind)


def _joined(first: Wish, second: Wish, chance: random.Random) -> Wish:
    b = second.text
    lower = b if b.startswith(("I ", "I'")) else b[0].lower() + b[1:]
    bare = first.text.rstrip(".?!")
    if len(first.text.split()) < 2:
        return first
    opened = bare if bare.startswith(("I ", "I'")) else bare[0].lower() + bare[1:]
    text = chance.choice(JOINED).format(a=first.text, B=b, b=lower, a2=opened)
    return Wish(text[0].upper() + text[1:], (*first.calls, *second.calls))


def _incomplete(tool: Mapping[str, Any], chance: random.Random) -> Wish | None:
    """A wish without what the function cannot do without, answered by a question."""
    required = list((tool.get("parameters") or {}).get("required") or ())
    wish = wish_of(tool)
    if not required or not wish:
        return None
    opening = chance.choice(
        ("I want to {}.", "Can you {}?", "Please {}.", "I'd like to {}.", "Could you {} for me?")
    )
    return Wish(opening.format(wish), words=asked(required[:2], chance))


def messages_of(records: Sequence[Record]) -> tuple[dict[str, list[Made]], dict[str, list[Any]]]:
    """Single-turn calls by function, and the functions, of records with one call."""
    messages: dict[str, list[Made]] = defaultdict(list)
    tools: dict[str, list[Any]] = {}
    for record in records:
        spoken = [m for m in record.messages if m["role"] != "system"]
        if len(spoken) != 2 or len(spoken[1].get("tool_calls") or ()) != 1:
            continue
        call = spoken[1]["tool_calls"][0]
        tool = next((t for t in record.tools if t["name"] == call["name"]), None)
        if tool is None:
            continue
        first = tools.setdefault(call["name"], [tool])[0]
        if first["parameters"] == tool["parameters"]:
            made = Made(str(spoken[0]["content"]), in_order(call["arguments"], tool))
            messages[call["name"]].append(made)
    return dict(messages), {name: tools[name] for name in messages}


def forever(decisions: ToolDecisions, chance: random.Random) -> Iterator[list[Dialogue]]:
    while True:
        if found := decisions.conversations(chance):
            yield found
