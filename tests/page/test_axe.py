"""The accessibility checker axe finds nothing: each view, both themes, a phone."""

from __future__ import annotations

import pytest

from tests.others.support import npm_folder
from tests.page.support import say, until, wait_for_end
from tests.page.test_conversations import MARKDOWN
from tests.page.test_form import VIEWS, answer_with

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def axe():
    """The checker's source, for the page's own world: its policy lets no other script in."""
    folder = npm_folder("axe", ["axe-core@4.14.1"])
    return (folder / "node_modules" / "axe-core" / "axe.min.js").read_text()


def faults(page, axe):
    page.evaluate(axe)
    found = page.evaluate("async () => (await axe.run()).violations")
    return [
        (rule["id"], rule["impact"], [node["html"][:160] for node in rule["nodes"]])
        for rule in found
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("view", VIEWS)
def test_views(open_page, served, axe, view, scheme):
    page = open_page(f"{served.url}/#{view}", color_scheme=scheme)
    if view == "tools":
        page.get_by_role("button", name="Put in an example").click()
    page.wait_for_timeout(300)
    assert faults(page, axe) == []


@pytest.mark.parametrize(("scheme", "width"), [("light", 1400), ("dark", 1400), ("light", 375)])
def test_conversation(open_page, axe, scheme, width):
    page = open_page(color_scheme=scheme, width=width)
    answer_with(page, MARKDOWN)
    say(page, "Show it")
    wait_for_end(page)
    page.get_by_role("button", name="Retry").click()
    wait_for_end(page)
    until(page, "!!document.querySelector('.hljs-keyword')")
    page.click("#open-panel")
    page.wait_for_timeout(500)
    assert faults(page, axe) == []


def test_settings(open_page, axe):
    page = open_page()
    page.click("#open-settings")
    page.wait_for_timeout(300)
    assert faults(page, axe) == []
