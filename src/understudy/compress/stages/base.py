"""What a stage is. `pipeline` runs those that the recipe has a table for, and keeps what each
made."""

from __future__ import annotations

import resource
import sys
import time
from pathlib import Path
from typing import Any, Protocol

import torch

from understudy.compress.context import Context
from understudy.compress.network import Network
from understudy.compress.report import StageReport
from understudy.spec import parameter_counts


class Stage(Protocol):
    """One step from a network to a network. `name` is its table in the recipe and its folder."""

    name: str

    def check(self, context: Context) -> None:
        """Raises UsageError for every fault that can be seen before any work."""

    def run(self, context: Context, network: Network, folder: Path) -> tuple[Network, StageReport]:
        """Makes the network. What was begun in `folder` goes on; the network given is not
        changed."""


def effort(made: Network, started: float) -> dict[str, Any]:
    """What a stage made and what it took; started: by the monotonic clock."""
    unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss
    figures: dict[str, Any] = {
        "parameters": parameter_counts(made.spec),
        "seconds": round(time.monotonic() - started, 1),
        "peak_memory_bytes": unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
    }
    if made.device.type == "cuda":
        figures |= {
            "device": torch.cuda.get_device_name(),
            "peak_device_bytes": torch.cuda.max_memory_allocated(),
        }
    return figures
