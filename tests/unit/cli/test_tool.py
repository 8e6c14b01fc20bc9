"""`understudy tool` and the tools of `understudy chat`, as a user types them."""

from __future__ import annotations

import io
import json
import sys

import pytest

from understudy.cli import main

SHOP = '''
import math
from typing import Literal

def price(item: Literal["rope", "bread"], count: int) -> str:
    """The price of an item."""
    return f"{count} {item}: {3 * count} coins"

def _hidden(): ...
'''


@pytest.fixture
def shop(tmp_path):
    path = tmp_path / "shop.py"
    path.write_text(SHOP)
    return str(path)


def test_list(shop, tmp_path, capsys):
    assert main(["tool", "list", "--tools", shop]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [tool["function"]["name"] for tool in listed] == ["price"]
    (tmp_path / "tools.json").write_text(json.dumps(listed))
    assert main(["tool", "list", "--tools", str(tmp_path / "tools.json")]) == 0
    assert json.loads(capsys.readouterr().out) == listed


@pytest.mark.parametrize(("allow", "said"), [(["--allow"], "coins"), ([], "did not allow")])
def test_a_call_runs_only_when_it_is_allowed(shop, capsys, allow, said):
    words = [
        "tool",
        "ask",
        "What is the price of 2 ropes?",
        "--tools",
        shop,
        "--choice",
        "required",
        "--json",
        "--max-tokens",
        "60",
    ]
    assert main([*words, *allow, "--context", "1024"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["calls"][0]["name"] == "price"
    assert said in document["results"][0]["content"]
    assert (
        document["context"]["total"] + document["context"]["reserve"] + document["context"]["free"]
        == 1024
    )


@pytest.mark.parametrize(
    ("name", "text", "part"),
    [
        ("a.py", "x = ", "cannot be run"),
        ("a.py", "import os", "no public function"),
        ("a.json", "[", "cannot be read"),
        ("a.json", "[{}]", "not a tool"),
        ("a.py", "def f(*a): ...", "given by name"),
    ],
)
def test_bad_tools_are_one_line(tmp_path, capsys, name, text, part):
    (tmp_path / name).write_text(text)
    assert main(["tool", "list", "--tools", str(tmp_path / name)]) == 2
    error = capsys.readouterr().err
    assert part in error
    assert error.count("\n") == 1


def test_tools_in_a_conversation(shop, capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("/tools\nHello\n/ledger\n"))
    options = ["--max-tokens", "6", "--context", "1024", "--calls", "hide_tools=off"]
    assert main(["chat", "--tools", shop, *options]) == 0
    out = capsys.readouterr().out
    assert "price: The price of an item." in out
    assert "tools " in out.splitlines()[-1]
    assert "dropped" not in out
