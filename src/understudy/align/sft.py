"""Supervised tuning: the loss of what the assistant says, over trees of conversations.

    run = SupervisedRun(network, adapters, trees, SftSettings(), folder)
    report = run.train(progress=…)

`folder` keeps `trace.jsonl` and the last two `state-*` checkpoints of adapter and optimizer; a run
that finds them goes on, bit for bit. Under torchrun each process takes its share of a step's rows
and the gradients are summed; with `shard` the frozen layers are split over the processes.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import distributed, nn

from understudy.align.lora import Adapters
from understudy.align.rows import Batching, RowTensors, base_of, row_loss, steps_of
from understudy.align.teacher import TreeTargets
from understudy.align.whole import WholeWeights
from understudy.compress import parallel
from understudy.compress.data import Progress, quiet
from understudy.compress.losses import Target
from understudy.compress.memory import keep_freed_memory
from understudy.compress.network import Network
from understudy.compress.state import RunFolder
from understudy.data.trees import Tree
from understudy.errors import UnderstudyError, UsageError


@dataclass(frozen=True)
class SftSettings:
    """How long, how fast, how much at once. The learning rate rises over `warmup` of the steps and
    falls in a line to `final_share` of its peak. `kl` weighs KL(base ‖ tuned) beside the loss: it
    holds the model near its base, for one more forward pass. Where there is a teacher, its answers
    make `teacher_share` of the loss, the words the rest. `shard` splits what does not learn
    over the processes of torchrun (FSDP2): less memory in each, more traffic between them.
    """

    epochs: float = 1.0
    learning_rate: float = 1e-3
    warmup: float = 0.05
    final_share: float = 0.05
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = 0.0
    clip: float = 1.0
    kl: float = 0.0
    teacher_share: float = 0.5
    checkpoint_steps: int = 10
    shard: bool = False
    batching: Batching = field(default_factory=Batching)

    def learning_rate_at(self, step: int, num_steps: int) -> float:
        num_warmup = max(1, round(self.warmup * num_steps))
        if step < num_warmup:
            return self.learning_rate * (step + 1) / num_warmup
        share = (step - num_warmup) / max(1, num_steps - num_warmup)
        return self.learning_rate * (1 - share * (1 - self.final_share))


@dataclass(frozen=True)
class SftReport:
    """What a run did; `losses` are means per weighted token of each step, in nats."""

    num_steps: int
    num_tokens: int
    seconds: float
    losses: list[float]


class SupervisedRun:
    """One run over some trees. Only the parameters of `adapters` are trained and kept. `targets`
    are a teacher's answers to the trees.
    """

    def __init__(
        self,
        network: Network,
        adapters: Adapters | WholeWeights,
        trees: Sequence[Tree],
        settings: SftSettings,
        folder: Path,
        targets: TreeTargets | None = None,
    ) -> None:
        if not trees:
            raise UsageError("there is nothing to learn from", expected="at least one conversation")
        self.network, self.adapters, self.trees, self.settings = network, adapters, trees, settings
        self.world, self.targets = parallel.world(), targets
        if settings.shard:
            parallel.shard_frozen(network.model.layers, self.world)
        self.dtype = network.model.norm.weight.dtype
        self.steps = steps_of([len(tree) for tree in trees], settings.batching, settings.epochs)
        keep_freed_memory()
        self.optimizer = torch.optim.AdamW(
            adapters.parameters(),
            lr=0.0,
            betas=settings.betas,
            weight_decay=settings.weight_decay,
        )
        self.folder = RunFolder(folder, self.world)
        self.first_step = self.folder.resume(adapters, self.optimizer)

    @property
    def num_tokens(self) -> int:
        return sum(len(self.trees[i]) for step in self.steps for row in step for i in row)

    def train(
        self, *, progress: Progress = quiet, after: Callable[[int], None] | None = None
    ) -> SftReport:
        """Trains to the end; `after` is told the number of steps done, after each.

        Raises:
            UnderstudyError: the loss became no number; earlier checkpoints stay.
        """
        started, num_steps = time.monotonic(), len(self.steps)
        for step in range(self.first_step, num_steps):
            loss = self.step(step)
            if not math.isfinite(loss):
                raise UnderstudyError(
                    "the loss is not a number",
                    where=f"step {step}",
                    found=loss,
                    do="lower the learning rate, then run again to resume",
                )
            self.folder.note(step, loss)
            if (step + 1) % self.settings.checkpoint_steps == 0:
                self.folder.save(step + 1, self.adapters, self.optimizer)
            progress(step + 1, num_steps, f"tuning, loss {loss:.3f}")
            if after is not None:
                after(step + 1)
        self.folder.save(num_steps, self.adapters, self.optimizer)
        seconds = time.monotonic() - started
        return SftReport(num_steps, self.num_tokens, seconds, self.folder.losses())

    def step(self, step: int) -> float:
        """One optimizer step; the mean loss per weighted token."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.settings.learning_rate_at(step, len(self.steps))
        rows = self.steps[step]
        weight = sum(float(self.trees[i].weights.sum()) for row in rows for i in row)
        total = 0.0
        for numbers in self._own(rows):
            total += self._learn(numbers, weight)
        self._share_gradients()
        nn.utils.clip_grad_norm_(self.adapters.parameters(), self.settings.clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=False)
        return self.world.sum(total) / max(weight, 1e-9)

    def _own(self, rows: list[list[int]]) -> list[list[int]]:
        """The rows that fall to this process. Where layers are split, each process has as many: one
        that would have fewer runs a row of another, which is not learnt from (an empty one)."""
        own = rows[self.world.rank :: self.world.size]
        is_short = self.settings.shard and len(own) * self.world.size < len(rows)
        return [*own, []] if is_short else own

    def _learn(self, numbers: list[int], weight: float) -> float:
        """Adds the gradients of a row; its loss, not yet divided by the step's weight."""
        row = RowTensors.of(
            [self.trees[i] for i in numbers or [0]], self.network.device, self.dtype
        )
        terms: list[tuple[float, Target]] = []
        labels = 1.0
        if kl := self.settings.kl:
            terms.append((kl, base_of(self.network, self.adapters, row)))
        if self.targets is not None:
            share = self.settings.teacher_share
            terms.append((share, self.targets.of(numbers or [0], self.network.device)))
            labels -= share
        loss = row_loss(self.network, row, terms, labels) * (1.0 if numbers else 0.0)
        (loss / max(weight, 1e-9)).backward()
        return float(loss.detach())

    def _share_gradients(self) -> None:
        if self.world.size == 1:
            return
        for parameter in self.adapters.parameters():
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            distributed.all_reduce(parameter.grad)
