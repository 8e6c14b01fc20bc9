"""Search: find the shape, and make it the target of the prune stage. What was measured is kept."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from understudy.compress.calibrate import calibrate
from understudy.compress.context import Context
from understudy.compress.distill import DistillSettings
from understudy.compress.recipe import PruneRecipe, Recipe
from understudy.compress.shape_search import Data, search_shape
from understudy.compress.teacher import capture


def with_searched_shape(context: Context, folder: Path) -> Recipe:
    """The recipe with the best shape under [prune]."""
    recipe, network = context.recipe, context.start.network
    settings = recipe.search
    assert settings is not None
    progress = context.progress
    statistics = calibrate(network, context.calibration, folder / "calibration", progress=progress)
    longest = DistillSettings(tokens=max(settings.rungs), batch_size=settings.batch_size)
    sequences = longest.sequences_needed(context.training_sequences)
    cached = capture(network, sequences, folder / "cache", progress=progress)
    data = Data(sequences, context.calibration, context.held_out)
    found = search_shape(network, cached, statistics, data, settings, folder, progress)
    shape = dataclasses.asdict(found.best)
    prune = dataclasses.replace(recipe.prune or PruneRecipe(), shape=found.best)
    raw = recipe.raw | {"prune": recipe.raw.get("prune", {}) | shape}
    return dataclasses.replace(recipe, prune=prune, raw=raw)
