"""The page as files: served under a strict policy, nothing from elsewhere, no text ever taken for
markup. (`tests/page` drives it.)
"""

from __future__ import annotations

import re

import httpx
import pytest
from starlette.testclient import TestClient

from understudy.serve.api.status import PAGE
from understudy.serve.app import create_app
from understudy.serve.keys import new_key
from understudy.serve.settings import Settings

FILES = sorted(path for path in PAGE.iterdir() if path.is_file())
VENDORED = sorted((PAGE / "vendor").glob("*.js"))
# What parses a text as markup or runs it as code.
SINKS = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|createContextualFragment|DOMParser|srcdoc|\beval\b|new Function|setHTML"


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    keys = tmp_path_factory.mktemp("keys") / "keys"
    new_key(keys, "anna")
    return TestClient(
        create_app({}, Settings(key_file=keys, log=False)), base_url="http://127.0.0.1"
    )


def test_page_comes_without_a_key_and_lets_nothing_else_in(client):
    answer = client.get("/")
    assert answer.status_code == 200
    assert answer.text == (PAGE / "index.html").read_text()
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    for path in FILES:
        assert client.get(f"/page/{path.name}").content == path.read_bytes()
    assert client.get("/v1/models").status_code == 401
    for outside in (
        "/page/..%2fkeys.py",
        "/page/../serve/keys.py",
        "/page/%2e%2e/keys.py",
        "/page//etc/passwd",
        "/page/",
    ):
        assert "def " not in client.get(outside).text
        assert "root:" not in client.get(outside).text


def test_all_that_is_linked_is_served(client: httpx.Client):
    found = {path for file in FILES for path in re.findall(r"/page/[\w./-]+", file.read_text())}
    found -= {"/page/lang/"}  # a language's file is put together from its name
    found |= {f"/page/lang/{path.name}" for path in (PAGE / "lang").iterdir()}
    assert found >= {"/page/main.js", "/page/style.css", "/page/vendor/marked.js"}
    for path in found:
        assert client.get(path).status_code == 200, path


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_file_has_no_outside_resource_and_no_markup_from_text(path):
    text = path.read_text()
    assert set(re.findall(r"(?:https?:)?//[\w.-]+\.\w+[^\s\"']*", text)) <= {
        "//www.w3.org/2000/svg"
    } | {"http://www.w3.org/2000/svg"}
    assert not re.search(SINKS, text)
    assert not re.search(r"""\s(?:on\w+|style)=["']""", text), (
        "nothing inline: the policy forbids it"
    )
    assert not re.search(r"@import|url\(", text)
    if path.suffix == ".html":
        assert re.findall(r"<script[^>]*>([^<]*)", text) == [""]


@pytest.mark.parametrize("path", VENDORED, ids=lambda path: path.name)
def test_a_library_fetches_and_evaluates_nothing(path):
    text = path.read_text()
    calls = (
        r"(window|self|globalThis)\.fetch|XMLHttpRequest|WebSocket|\beval\(|new Function|import\("
    )
    assert not re.search(calls, text)


@pytest.mark.parametrize("name", ["%00", "a%00.js", "x" * 5000, "..%2f..%2fapp.py"])
def test_no_such_page(client: httpx.Client, name: str):
    assert client.get(f"/page/{name}").status_code == 404
