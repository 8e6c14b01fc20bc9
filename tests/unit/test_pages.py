"""Links and anchors of the pages lead somewhere, and the site's navigation has every page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

import understudy

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted((ROOT / "docs").rglob("*.md"))
TOP = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")]
FENCED = re.compile(r"^ *```.*?^ *```", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")


def words_of(page: Path) -> str:
    return FENCED.sub("", page.read_text("utf-8"))


def anchors_of(page: Path) -> set[str]:
    """Of the headings, as Markdown's toc makes them: words joined by hyphens."""
    headings = re.findall(r"^#+ (.*)$", words_of(page), re.MULTILINE)
    slugs = (re.sub(r"[^\w\s-]", "", heading).strip().lower() for heading in headings)
    return {re.sub(r"[\s-]+", "-", slug) for slug in slugs}


@pytest.mark.parametrize("page", [*TOP, *PAGES], ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for link in LINK.findall(words_of(page)):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{page.name}: {link}"
        if anchor and target.suffix == ".md":
            assert anchor in anchors_of(target), f"{page.name}: {link}"


def test_no_brackets_read_as_a_reference_that_nothing_defines():
    """`[16 rows][4 columns]` is a link to what is called "4 columns": the site is not made then."""
    for page in PAGES:
        text = re.sub(r"`[^`]*`", "", words_of(page))
        defined = {name.casefold() for name in re.findall(r"^\[([^\]]+)\]:", text, re.MULTILINE)}
        for name in re.findall(r"\]\[([^\]]+)\]", text):
            assert name.casefold() in defined or name.startswith("understudy."), page.name


def test_pages_of_the_site_link_to_pages_of_the_site():
    for page in PAGES:
        for link in LINK.findall(words_of(page)):
            if not re.match(r"[a-z]+:", link) and not link.startswith("#"):
                target = (page.parent / link.partition("#")[0]).resolve()
                assert target.is_relative_to(ROOT / "docs"), f"{page.name}: {link}"


def test_the_navigation_has_every_page():
    class Loader(yaml.SafeLoader):
        """mkdocs.yml without what its plugins resolve."""

    Loader.add_multi_constructor("tag:yaml.org,2002:python/", lambda *_: None)
    site = yaml.load((ROOT / "mkdocs.yml").read_text("utf-8"), Loader)

    def files(entry) -> set[str]:
        if isinstance(entry, str):
            return {entry}
        parts = entry.values() if isinstance(entry, dict) else entry
        return set().union(*map(files, parts))

    assert files(site["nav"]) == {page.relative_to(ROOT / "docs").as_posix() for page in PAGES}


def test_the_reference_lists_the_public_names():
    words = (ROOT / "docs" / "reference" / "index.md").read_text("utf-8")
    listed = set(re.findall(r"`([A-Za-z]\w+)`", words)) - {"understudy", "UnderstudyError"}
    known = {name for name in understudy.__all__ if not name.startswith("__")}
    faults = {name for name in known if understudy._PLACES[name] == "understudy.errors"}
    assert listed == known - faults


def test_the_places_where_to_add_things_are_there():
    table = (ROOT / "CONTRIBUTING.md").read_text("utf-8").split("## Where to add things")[1]
    rows = [row.split("|") for row in table.split("## Tests")[0].splitlines()[4:] if "|" in row]
    for row in rows:
        for file, name in re.findall(r"`([\w/]+\.(?:py|cpp))(?:: (\w+))?`", row[2] + row[3]):
            places = [ROOT / "src" / "understudy" / file, ROOT / file]
            found = [place for place in places if place.exists()]
            assert found, f"{row[1].strip()}: {file}"
            assert name in found[0].read_text("utf-8"), f"{row[1].strip()}: {file}: {name}"
