"""The recipes in `recipes/` are read without a complaint, and every key of theirs means
something."""

from __future__ import annotations

from pathlib import Path

import pytest

from understudy.compress.recipe import read_recipe

TRAINING = {"jobs", "jobs-second"}  # of `understudy align`: read by tests of its own package
RECIPES = [
    path
    for path in sorted((Path(__file__).parents[3] / "recipes").glob("*.toml"))
    if path.stem not in TRAINING
]


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: p.stem)
def test_every_recipe_of_ours_can_be_read(path: Path) -> None:
    recipe = read_recipe(path)
    assert recipe.quantize is not None
    is_pruned = recipe.prune is not None or recipe.search is not None
    assert is_pruned == (recipe.distill is not None)
    assert is_pruned or recipe.vocabulary is not None
