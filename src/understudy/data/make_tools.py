"""Cases out of a tool list: requests with their calls, and messages that no call answers.

    records = list(ToolCases(tools, count=200, seed=1).make())

Without a writer the words come from descriptions and parameter names. With one, arguments are
drawn, the writer says them as a person would, and a case is kept only if every value stands in
the words and a second pass finds the same call.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from understudy.data.decisions import ToolDecisions
from understudy.data.encode import Dialogue
from understudy.data.records import Record
from understudy.data.requests import Made, Phrased, described_request, spoken, tools_of_list
from understudy.data.writers import Writer
from understudy.errors import DocumentError

MAX_TRIES = 20  # of the wanted number, before too few are given
_ASKED = (
    "Write one short message in which a person asks an assistant for this, in everyday words. "
    "Name every value exactly as it stands. Do not mention functions or JSON.\n\n"
    "What is wanted: {description}\nValues: {values}\n\nMessage:"
)
FOREIGN = (
    "How many legs does a spider have?",
    "Sing me something.",
    "What do you think about modern art?",
    "Fix the dent in my car.",
    "Tell me a joke about cats.",
    "Why is the sky blue?",
    "Who won the race yesterday?",
    "Write a poem about rain.",
    "Can you paint my fence?",
    "My shoes are wet.",
)
SMALLTALK = (
    ("hi", "Hello! What can I do for you?"),
    ("Good morning", "Good morning! How can I help?"),
    ("thanks a lot", "You're welcome!"),
    ("how are you?", "I'm well, thank you. What can I do for you?"),
    ("who are you?", "I am your assistant."),
    ("ok", "All right."),
    ("bye", "Goodbye!"),
)


def read_tools(path: Path) -> list[dict[str, Any]]:
    """Bare functions of a file: a JSON list, an object with `tools`, or a JSON object a line.

    Raises:
        DocumentError: none of these.
    """
    try:
        text = path.read_text("utf-8")
        try:
            content = json.loads(text)
        except ValueError:
            content = [json.loads(line) for line in text.splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise DocumentError("tool list cannot be read", where=path, found=str(error)) from error
    if isinstance(content, Mapping):
        content = content.get("tools", [content])
    if not isinstance(content, list) or not all(isinstance(row, Mapping) for row in content):
        raise DocumentError("a tool list is a list of functions", where=path)
    tools = tools_of_list(content)
    if not tools or any("name" not in tool for tool in tools):
        raise DocumentError("a function needs a name", where=path)
    return tools


@dataclass
class ToolCases:
    """See the module's docstring. `dropped` counts why cases were not kept."""

    tools: Sequence[Mapping[str, Any]]
    count: int
    seed: int = 0
    values: Mapping[str, Sequence[str]] = field(default_factory=dict)
    phrased: Sequence[Phrased] = ()
    writer: Writer | None = None
    dropped: Counter[str] = field(default_factory=Counter)

    def make(self) -> Iterator[Record]:
        """`count` records, or fewer where the tools do not give so many different ones."""
        chance = random.Random(self.seed)
        known: set[tuple[str, ...]] = set()
        decisions = self._decisions()
        made = 0
        for _ in range(self.count * MAX_TRIES):
            for conversation in decisions.conversations(chance):
                names = sorted(tool["function"]["name"] for tool in conversation.tools)
                mark = (str(conversation.messages[0]["content"]), *names)
                if made >= self.count:
                    return
                if mark not in known:
                    known.add(mark)
                    made += 1
                    yield self._record(conversation, made)

    def _decisions(self) -> ToolDecisions:
        values = {"thing": ["apple", "river", "lamp"], **self.values}
        messages = self._written(values) if self.writer else {}
        families = {str(tool["name"]): [tool] for tool in self.tools}
        return ToolDecisions(
            values,
            self.phrased,
            list(self.tools),
            {name: families[name] for name in messages} if messages else {},
            messages,
            foreign=FOREIGN,
            smalltalk=SMALLTALK,
        )

    def _written(self, values: Mapping[str, Sequence[str]]) -> dict[str, list[Made]]:
        """Messages in the writer's words, by function."""
        chance = random.Random(f"{self.seed} written")
        wanted = max(2, self.count // max(1, len(self.tools)))
        written: dict[str, list[Made]] = {}
        for tool in self.tools:
            found = [m for _ in range(wanted) if (m := self._one(tool, chance, values))]
            if found:
                written[str(tool["name"])] = found
        if not written:
            raise DocumentError(
                "the writer wrote no case that could be kept",
                found=", ".join(f"{why} {count}" for why, count in self.dropped.items()),
                do="take a larger writer, or none: then the words come from the schemas",
            )
        return written

    def _one(
        self, tool: Mapping[str, Any], chance: random.Random, values: Mapping[str, Sequence[str]]
    ) -> Made | None:
        assert self.writer is not None
        drawn = described_request(tool, chance, values)
        if drawn is None:
            self.dropped["nothing to say"] += 1
            return None
        told = "; ".join(f"{name} = {spoken(value)}" for name, value in drawn.arguments.items())
        request = _ASKED.format(description=tool.get("description", ""), values=told)
        text = self.writer.write(request, seed=chance.randrange(1 << 30))
        said = text.lower()
        texts = [spoken(v).lower() for v in drawn.arguments.values() if not isinstance(v, bool)]
        if not text or any(value not in said for value in texts):
            self.dropped["a value is missing"] += 1
            return None
        again = self.writer.call(text, self._offered(tool, chance))
        if again != {"name": tool["name"], "arguments": dict(drawn.arguments)}:
            self.dropped["another call was found"] += 1
            return None
        return Made(text, drawn.arguments)

    def _offered(self, tool: Mapping[str, Any], chance: random.Random) -> list[Mapping[str, Any]]:
        others = [one for one in self.tools if one["name"] != tool["name"]]
        offered = [tool, *chance.sample(others, min(2, len(others)))]
        chance.shuffle(offered)
        return offered

    def _record(self, conversation: Dialogue, number: int) -> Record:
        messages = []
        for message in conversation.messages:
            calls = [call["function"] for call in message.get("tool_calls", ())]
            messages.append({**message, "tool_calls": calls} if calls else message)
        writer = self.writer.name if self.writer else "template"
        return Record(
            f"made-{self.seed}-{number}",
            conversation.kind,
            tuple(messages),
            tuple(tool["function"] for tool in conversation.tools),
            source="understudy data make",
            licence="that of the tool list",
            provenance={"maker": "tools", "writer": writer, "seed": self.seed},
        )
