"""What a run tunes, and beginning where another ended."""

from __future__ import annotations

from pathlib import Path

from understudy.adapters import Adapter, read_adapter
from understudy.align.lora import Adapters
from understudy.align.recipe import AlignRecipe
from understudy.align.whole import WholeWeights
from understudy.align.workbench import Workbench
from understudy.compress.network import Network
from understudy.errors import UsageError
from understudy.spec import ModelSpec


def trained_of(
    recipe: AlignRecipe, bench: Workbench, device: str, start: Path | None
) -> tuple[Network, Adapters | WholeWeights]:
    """The network, and what of it learns: low-rank terms, or all of its weights.

    Raises:
        UsageError: all weights, and an adapter to begin with; or one of another shape.
    """
    if not recipe.training.whole:
        network, adapters = bench.adapted(recipe.training.precision, recipe.adapter, device)
        return network, started(adapters, start, bench.spec)
    if start is not None:
        raise UsageError(
            "tuning of all weights begins with a model",
            where="start",
            found=start,
            do="merge the adapter first: understudy convert --adapter ADAPTER MODEL OUT",
        )
    return bench.whole(device)


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
