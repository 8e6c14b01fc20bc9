"""The red team's page as files: no outside resource, no text ever taken for markup, and all that is
linked is there.
"""

from __future__ import annotations

import re

import pytest

from tests.serve.test_page import SINKS
from understudy.judge.redteam.web.app import PAGE
from understudy.serve.api.status import PAGE as SHARED

FILES = sorted(PAGE.iterdir())


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_file_has_no_outside_resource_and_no_markup_from_text(path):
    text = path.read_text()
    assert re.findall(r"(?:https?:)?//[\w-]+\.[\w.-]+", text) == []
    assert re.findall(SINKS, text) == []
    if path.suffix == ".html":
        assert re.findall(r"<style|\sstyle=|\son\w+=|javascript:", text) == []
        assert re.findall(r"<script(?![^>]*\ssrc=)", text) == []


def test_all_that_is_linked_is_there():
    found = {
        path
        for file in FILES
        for path in re.findall(r"/(?:page|workbench)/[\w.-]+", file.read_text())
    }
    assert found >= {"/workbench/main.js", "/page/dom.js"}
    for path in found:
        folder = SHARED if path.startswith("/page/") else PAGE
        assert (folder / path.rpartition("/")[2]).is_file(), path


def test_all_that_scripts_ask_for_stands_in_the_page():
    html = (PAGE / "index.html").read_text()
    ids = set(re.findall(r'\bid="([\w-]+)"', html))
    asked = {
        name
        for file in PAGE.glob("*.js")
        for name in re.findall(r'byId\("([\w-]+)"\)', file.read_text())
    }
    assert asked <= ids
    assert set(re.findall(r'\bfor="([\w-]+)"', html)) <= ids
    assert len(ids) == len(re.findall(r'\bid="', html))
