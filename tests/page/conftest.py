"""The real page in a real Chromium against a real server with the embedded model. `make test-page`;
skipped where no Chromium is.
"""

from __future__ import annotations

import os
import shutil

import pytest

import understudy
from tests.page.support import until
from tests.serve.conftest import MODEL, live

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@pytest.fixture(scope="package")
def served(tmp_path_factory):
    folder = tmp_path_factory.mktemp("state")
    with (
        understudy.load(MODEL, context=1024, cache_tokens=4096) as model,
        live(model, state_folder=folder) as running,
    ):
        yield running


@pytest.fixture(scope="package")
def chromium():
    """The system's Chromium, or the one that `playwright install chromium` brought."""
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed; `make test-page` installs it"
    )
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    arguments = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    with playwright.sync_playwright() as driver:
        try:
            browser = driver.chromium.launch(executable_path=found, args=arguments)
        except playwright.Error as error:
            pytest.skip(
                f"no Chromium here ({str(error).splitlines()[0][:120]}); install one, or name it in CHROMIUM"
            )
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium, served):
    """A function that opens the page; at the end nothing may have been asked elsewhere, and no
    script may have failed.
    """
    opened, faults = [], []

    def open_it(url=served.url, width=1200, height=800, **options):
        context = chromium.new_context(viewport={"width": width, "height": height}, **options)
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on(
            "console",
            lambda line: (
                faults.append(line.text) if "Content Security Policy" in line.text else None
            ),
        )
        page.on(
            "request",
            lambda asked: (
                faults.append(asked.url)
                if not asked.url.startswith((url.split("#")[0], "blob:"))
                else None
            ),
        )
        page.on(
            "dialog", lambda dialog: (faults.append(f"dialog {dialog.message}"), dialog.dismiss())
        )
        page.goto(url)
        until(
            page,
            "document.querySelector('#model').options.length > 0 || !!document.querySelector('dialog[open]')",
        )
        opened.append(context)
        return page

    yield open_it
    for context in opened:
        context.close()
    assert faults == []
