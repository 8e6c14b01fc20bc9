"""docs/structure.md names every package of the source, in the order of the layers."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "understudy"
PAGE = (ROOT / "docs" / "structure.md").read_text("utf-8")


def listed():
    """The names at the beginning of the lines of the first drawing."""
    drawing = PAGE.split("```")[1].strip().splitlines()
    return [name for line in drawing for name in re.split(r"\s{2,}", line)[0].split()]


def test_every_package_is_named_once_from_the_top():
    packages = {path.name for path in SOURCE.iterdir() if (path / "__init__.py").exists()}
    modules = {path.stem for path in SOURCE.glob("*.py") if not path.stem.startswith("__")}
    assert sorted(listed()) == sorted(packages | modules)


def test_the_order_is_that_of_the_layers():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    contract = project["tool"]["importlinter"]["contracts"][0]
    level = {
        name.removeprefix("understudy."): height
        for height, names in enumerate(contract["layers"])
        for name in names.split(" | ")
    }
    heights = [level[name] for name in listed()]
    assert heights == sorted(heights)


def test_every_file_of_the_table_is_there():
    table = PAGE.split("Where to look:")[1].split("\n\n")[1]
    for row in table.splitlines()[2:]:
        folder = Path()
        for name in re.findall(r"`([\w/.]+\.(?:py|md|cpp)|[\w/]+/)`", row.split("|")[2]):
            places = [SOURCE / name, ROOT / name, SOURCE / folder / name]
            assert any(place.exists() for place in places), f"{row.split('|')[1].strip()}: {name}"
            folder = Path(name).parent if "/" in name else folder
