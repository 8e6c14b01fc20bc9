"""The page in a stock Firefox: an answer, Markdown, a reload, documents, a phone's width, axe.

Driven over WebDriver BiDi by puppeteer-core; skipped where no Firefox, Node or npm is.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.others.support import npm_folder
from tests.page.test_conversations import MARKDOWN
from tests.page.test_form import VIEWS, stream_of

pytestmark = pytest.mark.slow
SCRIPT = Path(__file__).with_name("firefox.mjs")
NAMES = ("firefox", "firefox-esr")


@pytest.fixture(scope="module")
def found(served, tmp_path_factory):
    """What the script found, once for all tests."""
    firefox = os.environ.get("FIREFOX") or next(filter(None, map(shutil.which, NAMES)), None)
    if firefox is None:
        pytest.skip("no Firefox here; install one, or name it in FIREFOX")
    modules = npm_folder("firefox", ["puppeteer-core@24.30.0", "axe-core@4.14.1"])
    folder = tmp_path_factory.mktemp("firefox")
    told = json.dumps({"views": VIEWS, "answer": stream_of(MARKDOWN)})
    command = ["node", str(SCRIPT), served.url, firefox, str(folder), str(modules), told]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


def test_nothing_fails_and_nothing_is_asked_elsewhere(found):
    assert found["faults"] == []
    assert found["version"].startswith("firefox/")


def test_an_answer_is_streamed_and_measured(found):
    step = found["steps"]["an answer is streamed"]
    assert step["length"] > 10
    assert "tokens/s" in step["rate"]


def test_markdown_is_shown_as_it_is_meant(found):
    assert found["steps"]["markdown is shown"] == {
        "cells": ["Apple", "2"],
        "bold": "bold",
        "math": True,
    }


def test_reload_keeps_the_conversation(found):
    assert found["steps"]["a reload keeps the conversation"] == ["Say hello.", "Show it."]


def test_a_phone_needs_no_sideways_scrolling(found):
    assert found["steps"]["a phone needs no sideways scrolling"] == []


def test_quote_is_marked_in_its_source(found):
    assert "1812" in found["steps"]["a quote is marked in its source"]


def test_axe_finds_nothing(found):
    assert found["steps"]["axe"] == {view: [] for view in VIEWS}
