"""Train a student on its teacher's distribution: forward KL alone by default, state losses when
depth was cut hard.

    settings = DistillSettings(tokens=262_144, batch_size=8, learning_rate=2e-4)
    report = distill(student, LiveTeacher(teacher), sequences, settings, folder)

The same code runs alone and under torchrun (`parallel.py`): every step has one global batch that
depends on seed and step only, each process takes its share, and losses are normed by the tokens of
the whole batch. `folder` keeps `trace.jsonl` (one line a step) and the last two `state-*`
checkpoints; a run that finds them goes on, bit for bit."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from understudy.compress import parallel
from understudy.compress.data import Progress, Sequences, check_vocabulary, quiet, sequences_of_step
from understudy.compress.losses import LOSSES, LiveTarget, Target, dynamic_weight, forward_kl
from understudy.compress.memory import (
    CPU_ACTIVATION_BYTES,
    keeps_freed_memory,
    num_at_once,
    num_recomputed,
)
from understudy.compress.network import Network
from understudy.compress.state import RunFolder
from understudy.compress.teacher import LiveTeacher, Teacher
from understudy.errors import UnderstudyError, UsageError
from understudy.spec import ModelSpec

Schedule = Callable[
    [float], float
]  # share of the way after warm-up, 0..1 -> share of the peak learning rate, 0..1
SCHEDULES: dict[str, Schedule] = {
    "cosine": lambda share: 0.5 * (1 + math.cos(math.pi * share)),
    "linear": lambda share: 1 - share,
    "constant": lambda share: 1.0 + 0 * share,
    "plateau": lambda share: min(
        1.0, (1 - share) / 0.2
    ),  # flat, then a linear fall over the last fifth
}


@dataclass(frozen=True)
class DistillSettings:
    """tokens: predicted tokens in all; batch_size: sequences a step; micro_batch_size: most of them
    in memory at once."""

    tokens: int
    batch_size: int = 8
    micro_batch_size: int = 4
    learning_rate: float = 2e-4
    final_learning_rate: float = 2e-5
    warm_up: float = 0.05  # share of the steps
    schedule: str = "cosine"
    weight_decay: float = 0.0
    clip: float = 1.0
    seed: int = 0
    state_loss: str | None = None  # a name of LOSSES
    state_layers: tuple[int, int] | None = (
        None  # (student's, teacher's) layer; default: both last but two
    )
    checkpoint_steps: int = 50
    zero_pressure: float = 0.0  # weight of the L1 of relu2 activations at the end of its ramp
    # or bfloat16: products (a live teacher's too), weights and optimizer stay float32
    precision: str = "float32"
    # Kept of a pass for its backward pass: fewer sequences at once, and where one alone has more,
    # the rest is computed again. None: 128 on a CPU, all on a GPU.
    activation_megabytes: int | None = None

    def problems(self) -> list[str]:
        found = []
        if self.schedule not in SCHEDULES:
            found.append(f"schedule {self.schedule!r} is unknown, there are {list(SCHEDULES)}")
        if self.state_loss is not None and self.state_loss not in LOSSES:
            found.append(f"state_loss {self.state_loss!r} is unknown, there are {list(LOSSES)}")
        if self.precision not in ("float32", "bfloat16"):
            found.append(f"precision {self.precision!r} is unknown, there are float32 and bfloat16")
        if (
            self.tokens < 1
            or self.batch_size < 1
            or self.micro_batch_size < 1
            or self.learning_rate <= 0
        ):
            found.append("tokens, batch_size, micro_batch_size and learning_rate must be positive")
        if self.activation_megabytes is not None and self.activation_megabytes < 0:
            found.append("activation_megabytes must not be negative")
        return found

    def num_steps(self, sequences: Sequences) -> int:
        return max(1, self.tokens // (self.batch_size * sequences.mask.shape[1]))

    def activation_budget(self, device: str) -> int | None:
        """Bytes that are kept of a pass for its backward pass; None: all."""
        if self.activation_megabytes is not None:
            return self.activation_megabytes << 20
        return CPU_ACTIVATION_BYTES if device == "cpu" else None

    def num_at_once(self, spec: ModelSpec, length: int, device: str) -> int:
        """Sequences of `length` tokens that go through a student together."""
        if (budget := self.activation_budget(device)) is None:
            return self.micro_batch_size
        return min(self.micro_batch_size, num_at_once(spec, length, self.precision, budget))

    def num_recomputed(self, spec: ModelSpec, num_tokens: int, device: str) -> int:
        """Of how many layers the activations of a pass over so many tokens are computed again; none
        under a pressure, which hooks into the layers."""
        budget = self.activation_budget(device)
        if budget is None or self.zero_pressure:
            return 0
        return num_recomputed(spec, num_tokens, self.precision, budget)

    def sequences_needed(self, sequences: Sequences) -> Sequences:
        """As many sequences as all steps see, drawn from all by the seed: a cache of the teacher
        need hold no others."""
        count = self.num_steps(sequences) * self.batch_size
        if count >= len(sequences):
            return sequences
        picked = np.sort(np.random.default_rng(self.seed).permutation(len(sequences))[:count])
        return Sequences(sequences.tokens[picked], sequences.mask[picked])

    def learning_rate_at(self, step: int, num_steps: int) -> float:
        warm_up = max(1, round(self.warm_up * num_steps))
        if step < warm_up:
            return self.learning_rate * (step + 1) / warm_up
        share = (step - warm_up) / max(1, num_steps - warm_up)
        return self.final_learning_rate + (
            self.learning_rate - self.final_learning_rate
        ) * SCHEDULES[self.schedule](share)


@dataclass(frozen=True)
class DistillReport:
    steps: int
    tokens: int
    seconds: float  # of this process's part of the run
    losses: list[float]  # KL in nats per token of every step that learnt, resumed ones included
    passed_over: int = 0  # steps whose sequences hold nothing that is learnt


class Objective(nn.Module):
    """Student plus the losses on it, as one module, so that sharding wraps both. Returns sums over
    the tokens."""

    def __init__(self, student: Network, settings: DistillSettings, teacher: Teacher) -> None:
        super().__init__()
        self.student = student
        self.state_loss = settings.state_loss
        self.has_pressure = settings.zero_pressure > 0
        self.dtype = getattr(torch, settings.precision)
        if settings.state_loss is not None:
            source = teacher.network.spec if isinstance(teacher, LiveTeacher) else None
            if source is None:
                raise UsageError(
                    "state losses need the live teacher",
                    do="leave out the teacher cache or state_loss",
                )
            layers = settings.state_layers or (student.spec.num_layers - 2, source.num_layers - 2)
            self.layers = max(layers[0], 1), max(layers[1], 1)
            self.projection = nn.Linear(student.spec.hidden_size, source.hidden_size, bias=False)
            nn.init.eye_(self.projection.weight)

    def forward(
        self, tokens: Tensor, target: Target, mask: Tensor, theirs: list[Tensor] | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """(Σ KL, Σ state loss, Σ activation size) over the tokens that `mask` marks."""
        pressure = _Pressure(self.student) if self.has_pressure else None
        states = self.student.states(tokens[:, :-1])
        hidden = self.student.model.norm(states[-1]).flatten(0, 1)
        kl = forward_kl(hidden.to(self.dtype), self.student.head_weight, target, mask)
        zero = torch.zeros((), device=kl.device)
        state = self._state_loss(states, theirs, mask) if theirs is not None else zero
        return kl, state, pressure.total(mask) if pressure is not None else zero

    def _state_loss(self, states: list[Tensor], theirs: list[Tensor], mask: Tensor) -> Tensor:
        loss = LOSSES[self.state_loss or "cosine"]
        pairs = ((states[self.layers[0]], theirs[self.layers[1]]), (states[0], theirs[0]))
        per_token = [
            loss(self.projection(_centred(ours)), _centred(other)) for ours, other in pairs
        ]
        return (torch.stack(per_token).sum(0).flatten() * mask).sum()


def _centred(x: Tensor) -> Tensor:
    return nn.functional.layer_norm(x, x.shape[-1:])


class _Pressure:
    """Collects the mean activation of every relu2 layer during one forward pass."""

    def __init__(self, student: Network) -> None:
        self.seen: list[Tensor] = []
        self.hooks = [
            layer.mlp.down_proj.register_forward_pre_hook(
                lambda _, x: self.seen.append(x[0].abs().mean(-1))
            )
            for layer in student.model.layers
        ]

    def total(self, mask: Tensor) -> Tensor:
        for hook in self.hooks:
            hook.remove()
        return (torch.stack(self.seen).mean(0).flatten() * mask).sum()


def distill(
    student: Network,
    teacher: Teacher,
    sequences: Sequences,
    settings: DistillSettings,
    folder: Path,
    *,
    progress: Progress = quiet,
    trains_all: bool = True,
) -> DistillReport:
    """Train `student` in place (in float32, where it lies) and return the losses. Not `trains_all`:
    what requires a gradient now.

    Raises:
        UsageError: settings are unsound, vocabularies differ, or the data has fewer sequences than
        a batch.
        UnderstudyError: the loss became NaN; checkpoints of earlier steps stay.
    """
    check(student, teacher, sequences, settings)
    if trains_all:
        student.requires_grad_(True)
    with keeps_freed_memory():
        return _distilled(student, teacher, sequences, settings, folder, progress)


def _distilled(
    student: Network,
    teacher: Teacher,
    sequences: Sequences,
    settings: DistillSettings,
    folder: Path,
    progress: Progress,
) -> DistillReport:
    run = _Run(student, teacher, sequences, settings, folder)
    started = time.monotonic()
    for step in range(run.first_step, run.num_steps):
        loss = run.step(step)
        if loss is not None and not math.isfinite(loss):
            raise UnderstudyError(
                "the loss is not a number",
                where=f"step {step}",
                found=loss,
                do="lower the learning rate, then run again to resume",
            )
        run.after(step, loss)
        shown = "nothing to learn" if loss is None else f"KL {loss:.4f}"
        progress(step + 1, run.num_steps, f"distilling, {shown}")
    run.finish()
    tokens = run.num_steps * settings.batch_size * sequences.mask.shape[1]
    losses = run.folder.losses()
    passed_over = run.num_steps - len(losses)
    return DistillReport(run.num_steps, tokens, time.monotonic() - started, losses, passed_over)


def check(
    student: Network, teacher: Teacher, sequences: Sequences, settings: DistillSettings
) -> None:
    """Everything that would fail later and can be seen now."""
    for problem in settings.problems():
        raise UsageError(problem)
    check_vocabulary(sequences, student.spec.vocab_size, "training data")
    if (
        isinstance(teacher, LiveTeacher)
        and teacher.network.spec.vocab_size != student.spec.vocab_size
    ):
        raise UsageError(
            "teacher and student have different vocabularies",
            expected=f"{teacher.network.spec.vocab_size} pieces",
            found=f"{student.spec.vocab_size} pieces",
            do="distil between models that share a tokenizer",
        )
    sequences_of_step(len(sequences), settings.batch_size, 0, settings.seed)


class _Run:
    """The moving parts: sharded objective, optimizer, folder."""

    def __init__(
        self,
        student: Network,
        teacher: Teacher,
        sequences: Sequences,
        settings: DistillSettings,
        folder: Path,
    ) -> None:
        self.teacher, self.sequences, self.settings, self.device = (
            teacher,
            sequences,
            settings,
            student.device,
        )
        self.world = parallel.world()
        self.num_steps = settings.num_steps(sequences)
        self.student = student.train()
        self.objective = parallel.shard(
            Objective(student, settings, teacher).to(self.device), self.world
        )
        length = sequences.mask.shape[1]
        self.num_at_once = settings.num_at_once(student.spec, length, self.device.type)
        if self.world.size == 1:  # a sharded network's weights would come twice
            num_tokens = self.num_at_once * length
            student.num_recomputed = settings.num_recomputed(
                student.spec, num_tokens, self.device.type
            )
        self.optimizer = torch.optim.AdamW(
            _groups(self.objective, settings), lr=0.0, betas=(0.9, 0.95), eps=1e-8, fused=True
        )
        self.folder = RunFolder(folder, self.world)
        self.first_step = self.folder.resume(self.objective, self.optimizer)

    def step(self, step: int) -> float | None:
        """One optimizer step over the global batch; the mean KL per token of it, the same number on
        every process.

        None where the batch holds nothing that is learnt: such a step is passed over.
        """
        settings = self.settings
        for group in self.optimizer.param_groups:
            group["lr"] = settings.learning_rate_at(step, self.num_steps)
        numbers = sequences_of_step(len(self.sequences), settings.batch_size, step, settings.seed)
        count = float(self.sequences.mask[numbers].sum())
        if not count:
            return None
        mine = numbers[self.world.rank :: self.world.size]
        total = 0.0
        for start in range(0, len(mine), self.num_at_once):
            total += self._backward(mine[start : start + self.num_at_once], count, step)
        nn.utils.clip_grad_norm_(self.objective.parameters(), settings.clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return self.world.sum(total) / count

    def _backward(
        self, numbers: np.ndarray[tuple[int], np.dtype[np.int64]], count: float, step: int
    ) -> float:
        tokens = torch.from_numpy(self.sequences.tokens[numbers].astype(np.int64)).to(self.device)
        mask = torch.from_numpy(self.sequences.mask[numbers]).float().flatten().to(self.device)
        theirs = self.teacher.states(tokens) if self.settings.state_loss is not None else None
        is_narrow = self.settings.precision == "bfloat16"
        with torch.autocast(  # no weight is used twice: kept ones would only take memory
            self.device.type, torch.bfloat16, enabled=is_narrow, cache_enabled=False
        ):
            target = self._target(numbers, tokens, theirs)
            kl, state, size = self.objective(tokens, target, mask, theirs)
        loss = kl
        if theirs is not None:
            loss = loss + dynamic_weight(kl, state) * state
        if self.settings.zero_pressure:
            loss = (
                loss
                + self.settings.zero_pressure * math.sin(math.pi / 2 * step / self.num_steps) * size
            )
        (loss * (self.world.size / max(count, 1.0))).backward()
        return float(kl.detach())

    def _target(
        self,
        numbers: np.ndarray[tuple[int], np.dtype[np.int64]],
        tokens: Tensor,
        theirs: list[Tensor] | None,
    ) -> Target:
        if theirs is not None and isinstance(self.teacher, LiveTeacher):
            network = self.teacher.network  # its states are there already
            return LiveTarget(
                network.model.norm(theirs[-1]).flatten(0, 1).detach(), network.head_weight
            )
        return self.teacher.target(numbers, tokens)

    def after(self, step: int, loss: float | None) -> None:
        self.folder.note(step, loss)
        if (step + 1) % self.settings.checkpoint_steps == 0:
            self.folder.save(step + 1, self.objective, self.optimizer)

    def finish(self) -> None:
        self.student.num_recomputed = 0
        self.folder.save(self.num_steps, self.objective, self.optimizer)
        parallel.gather_into(self.objective, self.student, self.world)


def _groups(objective: nn.Module, settings: DistillSettings) -> list[dict[str, object]]:
    parameters = [p for p in objective.parameters() if p.requires_grad]
    return [
        {"params": [p for p in parameters if p.dim() == 2], "weight_decay": settings.weight_decay},
        {"params": [p for p in parameters if p.dim() == 1], "weight_decay": 0.0},
    ]
