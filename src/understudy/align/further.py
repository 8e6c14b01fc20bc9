"""Tuning beyond imitation: preferences and reinforcement, from the base or from an adapter.

    FurtherRun(bench, network, adapters, records, folder, method="dpo").train()

Records with `chosen` and `rejected` are for `dpo`, `simpo`, `orpo`; for `grpo` records whose last
reply can be verified (calls, documents, characters). `out/training` is gone on from.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from understudy.align.grpo import GrpoRun, GrpoSettings
from understudy.align.lora import Adapters
from understudy.align.preference import (
    PREFERENCE_LOSSES,
    PreferenceSettings,
    pair_of,
    preference_loss,
)
from understudy.align.rollouts import EngineRollouts, tasks_of
from understudy.align.workbench import Workbench
from understudy.compress import parallel
from understudy.compress.data import Progress, quiet
from understudy.compress.network import Network
from understudy.compress.state import RunFolder
from understudy.data.parts import PartContext
from understudy.data.records import Record
from understudy.data.trees import Tree
from understudy.errors import UnderstudyError, UsageError

METHODS = (*PREFERENCE_LOSSES, "grpo")


@dataclass(frozen=True)
class PairSettings:
    """`pairs` of a step; the rate falls in a line to nothing."""

    epochs: float = 1.0
    pairs: int = 8
    learning_rate: float = 5e-5
    clip: float = 1.0
    checkpoint_steps: int = 10
    seed: int = 0


class PairRun:
    """Preference tuning over pairs; goes on from its last checkpoint, bit for bit."""

    def __init__(
        self,
        network: Network,
        adapters: Adapters,
        pairs: Sequence[Tree],
        loss: PreferenceSettings,
        settings: PairSettings,
        folder: Path,
    ) -> None:
        if not pairs:
            raise UsageError("there is no pair to learn from", expected="chosen and rejected")
        self.network, self.adapters, self.pairs = network, adapters, pairs
        self.loss, self.settings = loss, settings
        self.num_steps = math.ceil(settings.epochs * len(pairs) / settings.pairs)
        self.optimizer = torch.optim.AdamW(
            adapters.parameters(), lr=0.0, betas=(0.9, 0.99), weight_decay=0.0
        )
        self.folder = RunFolder(folder, parallel.world())
        self.first_step = self.folder.resume(adapters, self.optimizer)

    def train(self, *, progress: Progress = quiet) -> list[float]:
        """To the end; the losses of all steps."""
        for step in range(self.first_step, self.num_steps):
            loss, share = self.step(step)
            if not math.isfinite(loss):
                raise UnderstudyError("the loss is not a number", where=f"step {step}")
            self.folder.note(step, loss)
            if (step + 1) % self.settings.checkpoint_steps == 0:
                self.folder.save(step + 1, self.adapters, self.optimizer)
            progress(step + 1, self.num_steps, f"preferring, loss {loss:.3f}, {share:.0%} right")
        self.folder.save(self.num_steps, self.adapters, self.optimizer)
        return self.folder.losses()

    def step(self, step: int) -> tuple[float, float]:
        """(mean loss, share of pairs in the right order)."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.settings.learning_rate * (1 - step / self.num_steps)
        epoch, within = divmod(step * self.settings.pairs, len(self.pairs))
        order = np.random.default_rng((self.settings.seed, epoch)).permutation(len(self.pairs))
        chosen = order[within : within + self.settings.pairs]
        total, right = 0.0, 0.0
        for i in chosen:  # one at a time: a pair is one row
            pair = [self.pairs[int(i)]]
            loss, share = preference_loss(self.network, self.adapters, pair, self.loss)
            (loss / len(chosen)).backward()
            total, right = total + float(loss.detach()), right + share
        nn.utils.clip_grad_norm_(self.adapters.parameters(), self.settings.clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=False)
        return total / len(chosen), right / len(chosen)


@dataclass
class FurtherRun:
    """See the module's docstring."""

    bench: Workbench
    network: Network
    adapters: Adapters
    records: Sequence[Record]
    folder: Path
    method: str
    seed: int = 0

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise UsageError("no such method", found=self.method, expected=" ".join(METHODS))

    def train(
        self, *, epochs: float = 1.0, learning_rate: float | None = None, progress: Progress = quiet
    ) -> list[float]:
        """Losses of the steps; of `grpo` the mean rewards, negative."""
        if self.method == "grpo":
            return self._reinforce(epochs, learning_rate, progress)
        encoder = self.bench.encoder()
        kept = [record for record in self.records if record.chosen is not None]
        pairs = [tree for record in kept if (tree := pair_of(record, encoder)) is not None]
        settings = PairSettings(epochs, learning_rate=learning_rate or 5e-5, seed=self.seed)
        loss = PreferenceSettings(self.method, beta=2.0 if self.method == "simpo" else 0.1)
        run = PairRun(self.network, self.adapters, pairs, loss, settings, self.folder)
        return run.train(progress=progress)

    def _reinforce(
        self, epochs: float, learning_rate: float | None, progress: Progress
    ) -> list[float]:
        from understudy.model import load

        bench = self.bench
        context = PartContext(Path(), Path(), bench.spec, bench.chat_template, seed=self.seed)
        tasks = tasks_of(self.records, context, bench.encoder())
        defaults = GrpoSettings()
        prompts = min(defaults.prompts, max(1, len(tasks)))
        settings = GrpoSettings(
            steps=max(1, math.ceil(epochs * len(tasks) / prompts)),
            prompts=prompts,
            learning_rate=learning_rate or defaults.learning_rate,
            seed=self.seed,
        )
        with load(bench.path, adapter=None) as model:
            run = GrpoRun(
                self.network,
                self.adapters,
                tasks,
                EngineRollouts(model),
                bench.chat_template,
                settings,
                self.folder,
            )
            run.train(progress=progress)
            return run.folder.losses()
