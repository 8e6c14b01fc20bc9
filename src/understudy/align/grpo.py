"""GRPO: reinforcement with rewards that can be verified (Shao et al., 2024; without the length and
spread corrections that Liu et al., 2025, showed to bias it).

Each step: some prompts, a group of replies to each, rewards, and the policy gradient of

    A_i = r_i - mean of its group
    loss = -Σ_i A_i Σ_t min(ρ, clip(ρ, 1 ± ε)) / tokens + β KL(base)

Replies come from our own engine with the current adapter (`EngineRollouts`), so training sees what
serving samples: the same prompts, the same grammar of calls, the same stops.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from understudy.align.lora import Adapters
from understudy.align.preference import token_log_probabilities
from understudy.align.rewards import reward_of
from understudy.align.rollouts import Draw, Rollout, Rollouts, RolloutTask
from understudy.align.rows import RowTensors, as_base
from understudy.compress import parallel
from understudy.compress.data import Progress, quiet
from understudy.compress.network import Network
from understudy.compress.state import RunFolder
from understudy.data.trees import Encoded, Tree, grow
from understudy.errors import UsageError


@dataclass(frozen=True)
class GrpoSettings:
    """`group`: replies to a prompt; `prompts`: of a step; `clip_ratio`: ε; `kl`: β."""

    steps: int = 50
    prompts: int = 8
    group: int = 8
    updates: int = 1
    learning_rate: float = 1e-4
    clip_ratio: float = 0.2
    kl: float = 0.02
    temperature: float = 1.0
    max_tokens: int = 96
    clip: float = 1.0
    checkpoint_steps: int = 5
    seed: int = 0


@dataclass
class StepFigures:
    """What one step found."""

    reward: float
    spread: float
    kl: float
    lengths: list[int] = field(default_factory=list)


class GrpoRun:
    """One run. A stopped one goes on from its last checkpoint; draws depend on the step."""

    def __init__(
        self,
        network: Network,
        adapters: Adapters,
        tasks: Sequence[RolloutTask],
        rollouts: Rollouts,
        chat_template: Any,
        settings: GrpoSettings,
        folder: Path,
    ) -> None:
        if settings.group < 2:
            raise UsageError("a group has at least two replies", found=settings.group)
        if len(tasks) < settings.prompts:
            raise UsageError(
                "fewer prompts than a step takes", expected=settings.prompts, found=len(tasks)
            )
        self.network, self.adapters, self.settings = network, adapters, settings
        self.tasks, self.rollouts, self.chat_template = tasks, rollouts, chat_template
        self.optimizer = torch.optim.AdamW(
            adapters.parameters(), lr=settings.learning_rate, betas=(0.9, 0.99), weight_decay=0.0
        )
        self.folder = RunFolder(folder, parallel.world())
        self.first_step = self.folder.resume(adapters, self.optimizer)

    def train(self, *, progress: Progress = quiet) -> list[StepFigures]:
        """All steps; figures of those that were made now."""
        figures = []
        for step in range(self.first_step, self.settings.steps):
            figures.append(self.step(step))
            self.folder.note(step, -figures[-1].reward)
            if (step + 1) % self.settings.checkpoint_steps == 0:
                self.folder.save(step + 1, self.adapters, self.optimizer)
            told = f"reinforcing, reward {figures[-1].reward:.3f}"
            progress(step + 1, self.settings.steps, told)
        self.folder.save(self.settings.steps, self.adapters, self.optimizer)
        return figures

    def step(self, step: int) -> StepFigures:
        """Replies, rewards, and the updates that they lead to."""
        tasks = self._tasks_of(step)
        settings = self.settings
        seed = settings.seed * 1_000_003 + step
        draw = Draw(settings.group, settings.temperature, settings.max_tokens, seed)
        groups = self.rollouts.sample(tasks, self.adapters, draw)
        trees: list[Tree] = []
        scores: list[list[float]] = []
        gains: list[list[float]] = []
        for task, group in zip(tasks, groups, strict=True):
            reward = reward_of(task.record, self.chat_template)
            scores.append([reward(rollout.text) for rollout in group])
            mean = sum(scores[-1]) / len(scores[-1])
            gains.append([score - mean for score in scores[-1]])
            trees.append(_tree_of(task, group))
        kl = self._update(trees, gains)
        flat = [score for row in scores for score in row]
        lengths = [len(rollout.tokens) for group in groups for rollout in group]
        return StepFigures(float(np.mean(flat)), float(np.std(flat)), kl, lengths)

    def _tasks_of(self, step: int) -> list[RolloutTask]:
        chance = np.random.default_rng((self.settings.seed, step))
        chosen = chance.choice(len(self.tasks), self.settings.prompts, replace=False)
        return [self.tasks[int(i)] for i in chosen]

    def _update(self, trees: Sequence[Tree], gains: Sequence[Sequence[float]]) -> float:
        useful = [(t, g) for t, g in zip(trees, gains, strict=True) if any(g) or self.settings.kl]
        rows = [(self._row(tree), self._advantages(tree, gain)) for tree, gain in useful]
        with torch.no_grad():
            old = [token_log_probabilities(self.network, row) for row, _ in rows]
            with as_base(self.adapters):
                base = [token_log_probabilities(self.network, row) for row, _ in rows]
        total = sum(len(row.labels) for row, _ in rows)
        drift = 0.0
        for _ in range(self.settings.updates):
            drift = 0.0
            for (row, gain), before, start in zip(rows, old, base, strict=True):
                loss, kl = self._loss(row, gain, before, start)
                (loss / total).backward()
                drift += kl / total
            nn.utils.clip_grad_norm_(self.adapters.parameters(), self.settings.clip)
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=False)
        return drift

    def _row(self, tree: Tree) -> RowTensors:
        dtype = self.network.model.norm.weight.dtype
        return RowTensors.of([tree], self.network.device, dtype)

    @staticmethod
    def _advantages(tree: Tree, gains: Sequence[float]) -> Tensor:
        """(learnt,): the gain of the reply that a token belongs to."""
        learnt = (tree.weights > 0) & (tree.parents >= 0)
        table = np.array([0.0, 0.0, *gains], np.float32)  # branch 1 is the prompt alone
        return torch.from_numpy(table[tree.owners[learnt]])

    def _loss(
        self, row: RowTensors, gain: Tensor, old: Tensor, base: Tensor
    ) -> tuple[Tensor, float]:
        now = token_log_probabilities(self.network, row)
        gain = gain.to(now.device)
        ratio = (now - old).exp()
        low, high = 1 - self.settings.clip_ratio, 1 + self.settings.clip_ratio
        surrogate = torch.minimum(ratio * gain, ratio.clamp(low, high) * gain)
        away = base - now
        kl = away.exp() - away - 1  # Schulman's estimate, never below 0
        loss = -surrogate.sum() + self.settings.kl * kl.sum()
        return loss, float(kl.detach().sum())


def _tree_of(task: RolloutTask, group: Sequence[Rollout]) -> Tree:
    """A group as one tree; equal replies keep their own branches."""
    start = len(task.prompt)
    found = [
        Encoded(
            (*task.prompt, *rollout.tokens), (0.0,) * start + (1.0,) * len(rollout.tokens), "grpo"
        )
        for rollout in group
    ]
    return grow([Encoded(task.prompt, (0.0,) * start), *found])
