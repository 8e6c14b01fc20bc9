"""Recipes: what they may say, and what is refused with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from understudy.align.recipe import read_recipe, recipe_of_files
from understudy.data.parts import PARTS
from understudy.errors import DocumentError, UsageError

SHIPPED = Path(__file__).parents[3] / "recipes" / "jobs.toml"
GOOD = 'model = "m"\n[[parts]]\nname = "chats"\n'


def test_the_shipped_recipe_is_read_and_names_known_parts() -> None:
    recipe = read_recipe(SHIPPED)
    assert {str(part["name"]) for part in recipe.parts} <= set(PARTS)
    assert sum(float(part["share"]) for part in recipe.parts) == pytest.approx(1, abs=0.02)
    assert recipe.adapter.rank == 8
    assert recipe.adapter.seed == recipe.seed == 21
    for part in recipe.parts:
        for name in ("phrased", "values"):
            assert not part.get(name) or (SHIPPED.parent / part[name]).is_file()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("model =", "recipe cannot be read"),
        ('model = "m"', "names a model and parts"),
        (GOOD + "[trianing]\n", "unknown key"),
        (GOOD + "[training]\nsteps = 3\n", "expected model"),
        (GOOD + '[training]\nprecision = "int8"\n', "no such precision"),
        (GOOD + "[training]\nepochs = 0\n", "above 0"),
        ('format = "Q8"\n' + GOOD, "no such format"),
    ],
)
def test_what_a_recipe_may_not_say(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "r.toml"
    path.write_text(text)
    with pytest.raises((UsageError, DocumentError)) as caught:
        read_recipe(path)
    assert told in str(caught.value) or "unknown key" in str(caught.value)


def test_files_become_one_part_with_defaults(tmp_path: Path) -> None:
    recipe = recipe_of_files([tmp_path / "a.jsonl"], "m", adapter={"rank": 4}, training={})
    assert recipe.adapter.rank == 4
    assert (recipe.training.epochs, recipe.training.learning_rate) == (3.0, 5e-4)
    assert recipe.parts[0]["name"] == "records"


def test_the_second_course_can_be_read_and_has_an_adapter_of_the_same_shape():
    first, second = read_recipe(SHIPPED), read_recipe(SHIPPED.with_name("jobs-second.toml"))
    assert (second.adapter.rank, second.adapter.scale) == (first.adapter.rank, first.adapter.scale)
    assert {part["name"] for part in second.parts} == {part["name"] for part in first.parts}
