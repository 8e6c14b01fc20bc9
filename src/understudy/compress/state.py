"""The folder of a training run: checkpoints that survive being killed, and the trace of losses.

    state-000050/    distributed checkpoint (model, optimizer, step), written aside, renamed; the
                     last two stay
    trace.jsonl      {"step": 0, "loss": …} a line (null: nothing to learn), cut back to the
                     checkpoint on resume

The checkpoint format is torch.distributed.checkpoint, also for one process: a run may go on with
another number of them.
"""

from __future__ import annotations

import errno
import json
import shutil
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.distributed import checkpoint
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict

from understudy.compress.parallel import World
from understudy.errors import UnderstudyError
from understudy.report.lines import read_lines


class RunFolder:
    """One run's files. Only the first process writes the trace."""

    def __init__(self, path: Path, world: World) -> None:
        self.path, self.world = path, world
        self.trace = path / "trace.jsonl"
        path.mkdir(parents=True, exist_ok=True)

    def checkpoints(self) -> list[Path]:
        return sorted(
            p for p in self.path.glob("state-*") if p.is_dir() and not p.name.endswith(".tmp")
        )

    def resume(self, objective: nn.Module, optimizer: torch.optim.Optimizer) -> int:
        """Load the last checkpoint, if there is one, and return the step to go on with."""
        found = self.checkpoints()
        if not found:
            if self.world.is_first:
                self.trace.unlink(missing_ok=True)
            self.world.wait()
            return 0
        step = int(found[-1].name.split("-")[1])
        state = _state(objective, optimizer)
        checkpoint.load(state, checkpoint_id=found[-1], no_dist=self.world.size == 1)
        set_state_dict(
            objective,
            optimizer,
            model_state_dict=state["model"],
            optim_state_dict=state["optimizer"],
        )
        if self.world.is_first and self.trace.exists():
            lines = self.trace.read_text().splitlines()[:step]
            self.trace.write_text("".join(line + "\n" for line in lines))
        self.world.wait()
        return step

    def save(self, step: int, objective: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Write `state-STEP` beside the others, then forget all but the last two.

        Raises:
            UnderstudyError: the disk is full; earlier checkpoints are untouched.
        """
        final = self.path / f"state-{step:06}"
        if final.exists():
            return
        aside = final.with_suffix(".tmp")
        if self.world.is_first:
            shutil.rmtree(aside, ignore_errors=True)
        self.world.wait()
        try:
            _save(_state(objective, optimizer), aside, is_alone=self.world.size == 1)
        except (OSError, checkpoint.api.CheckpointException) as error:
            shutil.rmtree(aside, ignore_errors=True)
            if "No space left" in str(error) or getattr(error, "errno", None) == errno.ENOSPC:
                raise UnderstudyError(
                    "the disk is full",
                    where=self.path,
                    do="free some space and run again: earlier checkpoints stay",
                ) from error
            raise
        self.world.wait()
        if self.world.is_first:
            aside.rename(final)
            for old in self.checkpoints()[:-2]:
                shutil.rmtree(old)
        self.world.wait()

    def note(self, step: int, loss: float | None) -> None:
        """None: the step was passed over."""
        if self.world.is_first:
            with self.trace.open("a") as trace:
                trace.write(json.dumps({"step": step, "loss": loss}) + "\n")

    def losses(self) -> list[float]:
        """Of the steps that learnt, in their order."""
        known = [line["loss"] for _, line in read_lines(self.trace)]
        return [loss for loss in known if loss is not None]


def _save(state: dict[str, Any], path: Path, *, is_alone: bool) -> None:
    with warnings.catch_warnings():  # alone, torch tells at every checkpoint that it is alone
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")
        checkpoint.save(state, checkpoint_id=path, no_dist=is_alone)


def _state(objective: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    model, optimizer_state = get_state_dict(objective, optimizer)
    return {"model": model, "optimizer": optimizer_state}


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object, or an empty one if the file is not there."""
    return dict(json.loads(path.read_text())) if path.exists() else {}
