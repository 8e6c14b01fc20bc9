"""Base against adapter on records that were kept apart: the same prompts, greedy, right or not.

    found = compare(model, made, tasks)      # an adapter, or the folder of a tuned model
    found["calls"].interval, found["calls"].p_value

A reply is right where its reward (`rewards.py`) is at least `RIGHT`. Calls are held to their
schemas as the server holds them; whether to call is the model's own choice.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from understudy.adapters import Adapter
from understudy.align.rewards import reward_of
from understudy.align.rollouts import RolloutTask, tasks_of
from understudy.align.workbench import Workbench
from understudy.compress.data import Progress, quiet
from understudy.data.forms import openai_tools
from understudy.data.parts import PartContext
from understudy.data.records import read_data
from understudy.generation.calls import call_mask
from understudy.generation.tools import Tool
from understudy.report.statistics import Interval, mcnemar, paired_shares

if TYPE_CHECKING:
    from understudy.model import Model

NAME = "compared"
RIGHT = 0.999
RIGHT_ANSWER = 0.5  # of documents: half of the words that are the answer's or said
MAX_TOKENS = 128


@dataclass
class Paired:
    """Counts of one kind of record: both right, only one, neither."""

    both: int = 0
    only_base: int = 0
    only_adapter: int = 0
    neither: int = 0
    samples: list[tuple[str, str, str]] = field(default_factory=list)  # message, base, adapter

    @property
    def count(self) -> int:
        return self.both + self.only_base + self.only_adapter + self.neither

    @property
    def base(self) -> float:
        return (self.both + self.only_base) / max(1, self.count)

    @property
    def adapter(self) -> float:
        return (self.both + self.only_adapter) / max(1, self.count)

    @property
    def interval(self) -> Interval:
        """The adapter's share less the base's, with its 95 % interval."""
        return paired_shares(self.both, self.only_base, self.only_adapter, self.neither)

    @property
    def p_value(self) -> float:
        """McNemar's exact test."""
        return mcnemar(self.only_base, self.only_adapter)

    def add(self, base: bool, adapter: bool) -> None:
        self.both += base and adapter
        self.only_base += base and not adapter
        self.only_adapter += adapter and not base
        self.neither += not base and not adapter


def compare(
    model: Model,
    made: Adapter | Path,
    tasks: Sequence[RolloutTask],
    *,
    progress: Progress = quiet,
) -> dict[str, Paired]:
    """Asks each task twice: the base, and what was made of it, an adapter or a model's folder.
    Results by kind of record.
    """
    found: dict[str, Paired] = defaultdict(Paired)
    with _tuned(model, made) as (tuned, adapter):
        for number, task in enumerate(tasks, 1):
            reward = reward_of(task.record, model.chat_template)
            texts = _answer(model, task, None), _answer(tuned, task, adapter)
            most = RIGHT_ANSWER if task.record.kind == "rag" else RIGHT
            was_right, is_right = (reward(text) >= most for text in texts)
            paired = found[task.record.kind]
            paired.add(was_right, is_right)
            message = str(task.record.messages[-2].get("content", ""))
            paired.samples.append((message, *texts))
            progress(number, len(tasks), "comparing base and adapter")
    return dict(found)


@contextmanager
def _tuned(model: Model, made: Adapter | Path) -> Iterator[tuple[Model, str | None]]:
    """Who answers after tuning, and with which adapter."""
    if isinstance(made, Adapter):
        model.adapters.add(NAME, made)
        try:
            yield model, NAME
        finally:
            model.adapters.drop(NAME)
        return
    from understudy.model import load

    with load(made, adapter=None) as tuned:
        yield tuned, None


def compare_on(
    files: Sequence[Path],
    bench: Workbench,
    made: Adapter | Path,
    context: PartContext,
    *,
    progress: Progress = quiet,
) -> dict[str, Paired]:
    """The same on files of records, by the engine that serves."""
    from understudy.model import load

    tasks = tasks_of(list(read_data(files)), context, bench.encoder())
    with load(bench.path, adapter=None) as model:
        return compare(model, made, tasks, progress=progress)


def _answer(model: Model, task: RolloutTask, adapter: str | None) -> str:
    tools = [Tool.from_openai(tool) for tool in openai_tools(task.record.tools)]
    template = model.chat_template
    options: dict[str, Any] = {"stop_token_ids": template.stops.token_ids}
    if tools:
        options["make_mask"] = call_mask(model.tokenizer, template, tools, "auto")
    if adapter is not None:
        options["adapter"] = adapter
    reply = model.generate(list(task.prompt), max_tokens=MAX_TOKENS, temperature=0.0, **options)
    return reply.raw_text
