"""The parts that a recipe can be mixed from, by name: each gives groups of conversations.

    PARTS["documents"](table, context) -> Iterator[Sequence[Dialogue]]

`table` is the part's own table of the recipe, `context` what all share. To add a part: a function
here and its name in `PARTS`.
"""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from understudy.data import forms
from understudy.data.decisions import ToolDecisions, forever, messages_of
from understudy.data.encode import Dialogue
from understudy.data.records import Record, read_data
from understudy.data.requests import Made, read_phrased, read_values, tools_of_list
from understudy.errors import UsageError
from understudy.spec import ModelSpec
from understudy.text.embed import open_embedder
from understudy.text.templates import ChatTemplate

Groups = Iterator[Sequence[Dialogue]]
MAX_ANSWER_WORDS = 40
MAX_TOGETHER = 8  # conversations of one tree


class LazyEmbedder:
    """Opened when the first text is embedded: only documents need it."""

    def __init__(self) -> None:
        self._embed: Any = None

    def __call__(self, texts: Sequence[str]) -> Any:
        if self._embed is None:
            self._embed = open_embedder().embed
        return self._embed(texts)


@dataclass
class PartContext:
    """What parts need: where data and recipe lie, the model's shape and chat template."""

    data: Path
    recipe: Path
    spec: ModelSpec
    chat_template: ChatTemplate
    embed: forms.Embed = field(default_factory=lambda: LazyEmbedder())
    seed: int = 0
    _read: dict[str, list[Record]] = field(default_factory=dict)

    def records(self, table: Mapping[str, Any]) -> list[Record]:
        """The records of a part's files, without sources that it leaves out, shuffled."""
        found = [record for name in table.get("files", ()) for record in self._file(str(name))]
        without = tuple(table.get("without", ()))
        only = tuple(table.get("only", ()))
        kept = [
            record
            for record in found
            if not (without and record.source.startswith(without))
            and (not only or record.source.startswith(only))
        ]
        random.Random(self.seed).shuffle(kept)
        return kept

    def _file(self, name: str) -> list[Record]:
        if name not in self._read:
            self._read[name] = list(read_data([self.data / name]))
        return self._read[name]

    def beside(self, name: str) -> Path:
        """A file that lies beside the recipe."""
        return self.recipe.parent / name


def requests(table: Mapping[str, Any], context: PartContext) -> Groups:
    """Made-up requests to functions with phrases and to those of a tool list."""
    chance = random.Random(f"{context.seed} requests")
    families: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    known = _called(context, table.get("not_called_in", ()))
    for name in table.get("tool_lists", ()):
        rows = [json.loads(line) for line in (context.data / name).read_text("utf-8").splitlines()]
        for row, tool in zip(rows, tools_of_list(rows), strict=True):
            if tool["name"] not in known:
                families[str(row.get("field", name))].append(tool)
    decisions = ToolDecisions(
        read_values(context.beside(table["values"])),
        read_phrased(context.beside(table["phrased"])),
        [tool for family in families.values() for tool in family],
        {name: family for name, family in families.items() if len(family) > 2},
        foreign=_foreign(table, context),
        smalltalk=_smalltalk(table, context),
        branches=int(table.get("branches", 6)),
        declined=table.get("declined"),
        near=float(table.get("near", 0.0)),
    )
    return forever(decisions, chance)


def _called(context: PartContext, names: Sequence[str]) -> set[str]:
    """Functions that an evaluation set calls, as their names stand in its lines."""
    called: set[str] = set()
    for name in names:
        for line in (context.data / name).read_text("utf-8").splitlines():
            called |= {str(call["api"]) for call in json.loads(line)["calling"]}
    return called


def _foreign(table: Mapping[str, Any], context: PartContext) -> list[str]:
    """Messages of people that none of the functions here serves."""
    records = context.records({"files": table.get("foreign", ())})
    wanted = [record for record in records if record.id.startswith("clinc")]
    return [str(record.messages[-2]["content"]) for record in wanted]


def _smalltalk(table: Mapping[str, Any], context: PartContext) -> list[tuple[str, str]]:
    """Messages that are answered in words though functions stand there, with their answers."""
    records = context.records({"files": table.get("foreign", ())})
    pairs = [
        (str(record.messages[-2]["content"]), str(record.messages[-1]["content"]))
        for record in records
        if record.id.startswith("direct")
    ]
    return [pair for pair in pairs if len(" ".join(pair).split()) < 90]


def messages(table: Mapping[str, Any], context: PartContext) -> Groups:
    """Messages that people wrote, to functions of their data set."""
    chance = random.Random(f"{context.seed} messages")
    found, tools = messages_of(context.records(table))
    found = {name: made for name, made in found.items() if len(made) > 3}
    decisions = ToolDecisions(
        read_values(context.beside(table["values"])),
        read_phrased(context.beside(table["phrased"])),
        families={name: tools[name] for name in found},
        messages=_spread(found),
        foreign=_foreign(table, context),
        smalltalk=_smalltalk(table, context),
        branches=int(table.get("branches", 5)),
        declined=table.get("declined"),
        near=float(table.get("near", 0.0)),
    )
    return forever(decisions, chance)


def _spread(found: Mapping[str, Sequence[Made]], most: int = 200) -> dict[str, list[Made]]:
    """At most so many of each function, so that none is all there is."""
    return {name: list(made)[:most] for name, made in found.items()}


def dialogues(table: Mapping[str, Any], context: PartContext) -> Groups:
    """Whole dialogues with calls and results; every turn of the assistant is learnt."""
    most = int(table.get("most_turns", 12))
    for record in context.records(table):
        if len(record.messages) <= most:
            yield [forms.calls(record)]


def documents(table: Mapping[str, Any], context: PartContext) -> Groups:
    """Questions about passages in the form of `rag.ask`; a share without leave to abstain."""
    chance = random.Random(f"{context.seed} documents")
    unanswered = float(table.get("unanswered", 0.33))
    records = context.records(table)
    sides = {
        kind: iter([record for record in records if record.kind == kind])
        for kind in ("rag", "no_answer")
    }
    while True:
        kind = "no_answer" if chance.random() < unanswered else "rag"
        record = next(sides[kind], None)
        if record is None:
            return
        if len(str(record.messages[-1]["content"]).split()) > MAX_ANSWER_WORDS:
            continue
        if len([m for m in record.messages if m["role"] != "system"]) != 2:
            continue
        may_abstain = kind == "no_answer" or chance.random() < 0.7
        shown = forms.shuffled_contexts(record, chance)
        if made := forms.documents(shown, context.embed, context.spec, may_abstain=may_abstain):
            yield [made]


def characters(table: Mapping[str, Any], context: PartContext) -> Groups:
    """Scenes in the form of `roleplay`."""
    for record in context.records(table):
        if made := forms.character(record, context.chat_template):
            yield [made]


def chats(table: Mapping[str, Any], context: PartContext) -> Groups:
    """Conversations without functions."""
    most = int(table.get("most_turns", 8))
    for record in context.records(table):
        spoken = [m for m in record.messages if m["role"] != "system"]
        if len(spoken) >= 2 and spoken[0]["role"] == "user":
            cut = list(record.messages[:most])
            while cut and cut[-1]["role"] != "assistant":
                cut.pop()
            if cut:
                plain = [forms.openai_message(message) for message in cut]
                yield [Dialogue(plain, kind="chat")]


def records(table: Mapping[str, Any], context: PartContext) -> Groups:
    """Records of any kind, each in its own form; those of one set of functions side by side."""
    found = [record for record in context.records(table) if record.kind != "preference"]
    of_tools: dict[str, list[Dialogue]] = defaultdict(list)
    for record in found:
        if made := conversation_of(record, context):
            of_tools[json.dumps(made.tools) + "".join(made.contexts)].append(made)
    for group in of_tools.values():
        yield from (group[at : at + MAX_TOGETHER] for at in range(0, len(group), MAX_TOGETHER))


def conversation_of(record: Record, context: PartContext) -> Dialogue | None:
    """A record as the product would ask it; None where its form does not hold it."""
    if not any(message["role"] == "assistant" for message in record.messages):
        return None
    if record.kind in ("rag", "no_answer") and record.contexts:
        is_single = len([m for m in record.messages if m["role"] != "system"]) == 2
        if is_single:
            return forms.documents(record, context.embed, context.spec, may_abstain=True)
    if record.kind == "character":
        return forms.character(record, context.chat_template) or forms.calls(record)
    return forms.calls(record)


PARTS: dict[str, Callable[[Mapping[str, Any], PartContext], Groups]] = {
    "requests": requests,
    "messages": messages,
    "dialogues": dialogues,
    "documents": documents,
    "characters": characters,
    "chats": chats,
    "records": records,
}


def part_of(name: str) -> Callable[[Mapping[str, Any], PartContext], Groups]:
    """A part by its name.

    Raises:
        UsageError: there is none.
    """
    if name not in PARTS:
        raise UsageError("no such part of a mixture", found=name, expected=" ".join(PARTS))
    return PARTS[name]
