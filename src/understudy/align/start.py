"""Beginning a run where another ended."""

from __future__ import annotations

from pathlib import Path

from understudy.adapters import Adapter, read_adapter
from understudy.align.lora import Adapters
from understudy.errors import UsageError
from understudy.spec import ModelSpec


def started(adapters: Adapters, start: Adapter | Path | None, spec: ModelSpec) -> Adapters:
    """Adapters that begin where another ended, which may be a file.

    Raises:
        UsageError: it has another rank or scale.
    """
    if isinstance(start, Path):
        start = read_adapter(start, spec)
    if start is not None:
        ours = adapters.settings
        if start.rank != ours.rank or abs(start.scale - ours.scale) > 1e-6:
            raise UsageError(
                "the adapter to begin with has another shape",
                expected=f"rank {ours.rank}, scale {ours.scale:g}",
                found=f"rank {start.rank}, scale {start.scale:g}",
                do="give the same --rank and --alpha",
            )
        adapters.load(start.tensors)
    return adapters
