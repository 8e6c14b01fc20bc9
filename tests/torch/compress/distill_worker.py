"""A short distillation as a program, to be killed, resumed and run by several processes. Prints
nothing.

python -m tests.torch.compress.distill_worker FOLDER STEPS [kill_after_step] [state_loss]
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import numpy as np
import torch

from tests.torch.compress.support import random_rows, tiny_teacher
from understudy.compress import parallel
from understudy.compress.distill import DistillSettings, distill
from understudy.compress.network import weights_of
from understudy.compress.teacher import LiveTeacher


def main() -> None:
    folder, steps = Path(sys.argv[1]), int(sys.argv[2])
    kill_after = int(sys.argv[3]) if len(sys.argv) > 3 else -1
    torch.set_num_threads(1)
    teacher, student = tiny_teacher("nemotron", seed=1), tiny_teacher("nemotron", seed=2)
    rows = random_rows(teacher.spec, count=32, length=16)
    settings = DistillSettings(
        tokens=steps * 8 * 16,
        batch_size=8,
        micro_batch_size=2,
        learning_rate=3e-3,
        checkpoint_steps=4,
    )

    def kill(done: int, total: int, what: str) -> None:
        if done == kill_after:
            os.kill(os.getpid(), signal.SIGKILL)

    distill(student, LiveTeacher(teacher), rows, settings, folder, progress=kill)
    if parallel.world().is_first:
        np.savez(folder / "student.npz", **weights_of(student))


if __name__ == "__main__":
    main()
