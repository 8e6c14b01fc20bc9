"""Replies to learn from, sampled by our own engine with the adapter as it is now.

groups = EngineRollouts(load("smollm2-135m-instruct")).sample(tasks, adapters, Draw(group=8))
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from understudy.adapters import Adapter
from understudy.align.lora import Adapters
from understudy.data.encode import ConversationEncoder
from understudy.data.parts import PartContext, conversation_of
from understudy.data.records import Record

if TYPE_CHECKING:
    from understudy.model import Model

NAME = "tuned"


@dataclass(frozen=True)
class RolloutTask:
    """The tokens of a prompt, and the record that its replies are judged by."""

    record: Record
    prompt: tuple[int, ...]


@dataclass(frozen=True)
class Rollout:
    """A reply: its tokens, the stop among them, and its text."""

    tokens: tuple[int, ...]
    text: str


@dataclass(frozen=True)
class Draw:
    """How replies are drawn: so many to each prompt, at this temperature, nothing cut off."""

    group: int = 8
    temperature: float = 1.0
    max_tokens: int = 96
    seed: int = 0


class Rollouts(Protocol):
    """Where replies come from."""

    def sample(
        self, tasks: Sequence[RolloutTask], adapters: Adapters, draw: Draw
    ) -> list[list[Rollout]]:
        """`draw.group` replies for each task under the adapters' current values."""


class EngineRollouts:
    """The engine of a loaded model; the adapter is replaced before each step."""

    def __init__(self, model: Model) -> None:
        self.model = model

    def sample(
        self, tasks: Sequence[RolloutTask], adapters: Adapters, draw: Draw
    ) -> list[list[Rollout]]:
        settings = adapters.settings
        current = Adapter(
            NAME,
            settings.rank,
            settings.alpha,
            settings.rslora,
            adapters.tensors(),
            adapters.alphas(),
        )
        self.model.adapters.add(NAME, current)
        return [self._of(task, draw, draw.seed * 1009 + i) for i, task in enumerate(tasks)]

    def _of(self, task: RolloutTask, draw: Draw, seed: int) -> list[Rollout]:
        ids: list[list[int]] = [[] for _ in range(draw.group)]
        texts = [""] * draw.group
        outputs = self.model.stream_outputs(
            list(task.prompt),
            n=draw.group,
            adapter=NAME,
            temperature=draw.temperature,
            max_tokens=draw.max_tokens,
            seed=seed,
            stop_token_ids=self.model.chat_template.stops.token_ids,
        )
        for output in outputs:
            ids[output.index] += output.new_tokens
            texts[output.index] += output.text
            is_stop = isinstance(output.stop, int)
            if is_stop and (not output.new_tokens or output.new_tokens[-1] != output.stop):
                ids[output.index].append(int(output.stop or 0))
        return [Rollout(tuple(i), text) for i, text in zip(ids, texts, strict=True) if i]


def tasks_of(
    records: Sequence[Record], context: PartContext, encoder: ConversationEncoder
) -> list[RolloutTask]:
    """Records whose last reply can be verified, as the prompts that the product asks."""
    tasks = []
    for record in records:
        made = conversation_of(record, context)
        if made is None or record.kind in ("chat", "preference"):
            continue
        prompt = encoder.chat_template.render(
            made.messages[:-1], tools=made.tools or None, contexts=made.contexts or None
        )
        tasks.append(RolloutTask(record, tuple(prompt.encode(encoder.tokenizer))))
    return tasks
