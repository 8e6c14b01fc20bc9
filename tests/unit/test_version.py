"""One place for the version, and what a release needs to find."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import understudy

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_the_version_stands_in_one_place() -> None:
    project = PROJECT["project"]
    assert "version" not in project
    assert project["dynamic"] == ["version"]
    source = PROJECT["tool"]["scikit-build"]["metadata"]["version"]["input"]
    text = (ROOT / source).read_text(encoding="utf-8")
    assert re.findall(r'^__version__ = "(.+)"$', text, re.MULTILINE) == [understudy.__version__]
    assert re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc)\d+)?", understudy.__version__)


def test_the_changelog_has_the_version() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(rf"^## .*{re.escape(understudy.__version__)}", changelog, re.MULTILINE)


def test_what_is_installed_with_the_base_is_imported_at_run_time() -> None:
    sources = "\n".join(
        path.read_text(encoding="utf-8") for path in (ROOT / "src/understudy").rglob("*.py")
    )
    names = {"huggingface-hub": "huggingface_hub", "prompt-toolkit": "prompt_toolkit"}
    names |= {"pyyaml": "yaml"}
    for requirement in PROJECT["project"]["dependencies"]:
        package = re.split(r"[<>=!~ ]", requirement)[0]
        module = names.get(package, package)
        assert re.search(rf"^\s*(import|from) {module}\b", sources, re.MULTILINE), package


def test_all_holds_every_extra_for_users() -> None:
    extras = PROJECT["project"]["optional-dependencies"]
    (everything,) = extras["all"]
    inside = set(re.fullmatch(r"understudy\[(.*)\]", everything)[1].split(","))
    assert inside == set(extras) - {"all", "test", "check", "docs"}
