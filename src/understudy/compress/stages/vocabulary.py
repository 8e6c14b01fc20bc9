"""Vocabulary: what all later stages work on, as student and as teacher, has fewer pieces."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from understudy.compress.context import Context
from understudy.compress.recipe import Recipe
from understudy.compress.trim.run import trim_vocabulary


def trim(context: Context, folder: Path) -> None:
    """Writes the trimmed model and its report into the folder."""
    settings = context.recipe.vocabulary
    assert settings is not None
    trim_vocabulary(context.recipe.model, folder, settings, context.progress)


def with_trimmed_model(recipe: Recipe, folder: Path) -> Recipe:
    """The recipe, of the model that lies in the folder."""
    whole = folder / "model.gguf"
    model = whole if whole.exists() else folder / "model"
    return dataclasses.replace(recipe, model=str(model))
