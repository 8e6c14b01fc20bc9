"""docs/structure.md tells the way of a request: a request is run, and the functions that the table
names are entered in its order."""

from __future__ import annotations

import re
import sys
import threading
from pathlib import Path

import pytest

pytest.importorskip("starlette")

from starlette.testclient import TestClient

import understudy
from understudy.serve.app import create_app
from understudy.serve.settings import Settings

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "structure.md").read_text("utf-8")
TOOL = {
    "type": "function",
    "function": {
        "name": "price",
        "description": "What a thing costs",
        "parameters": {"type": "object", "properties": {"item": {"type": "string"}}},
    },
}
BODY = {
    "messages": [{"role": "user", "content": "Hello"}],
    "tools": [TOOL],
    "tool_choice": "none",
    "stream": True,
    "max_tokens": 4,
    "temperature": 0,
}


def walk():
    """(file, function) of the table, in its order."""
    table = PAGE.split("## The way of one request")[1].split("So a reader stays")[0]
    rows = [row.split("|")[2:4] for row in table.splitlines() if re.match(r"\| \d+ ", row)]
    return [
        (file.strip().strip("`"), name)
        for file, names in rows
        for name in re.findall("`(.+?)`", names)
    ]


@pytest.fixture(scope="module")
def entered():
    """Functions of the source in the order in which a request entered them first."""
    order: dict[tuple[str, str], None] = {}
    is_on = False

    def note(frame, event, _):
        if is_on and event == "call":
            _, found, file = frame.f_code.co_filename.rpartition("/understudy/")
            if found:
                order.setdefault((file, frame.f_code.co_qualname))

    with understudy.load("smollm2-135m-instruct", context=512, cache_tokens=1024) as model:
        app = create_app({"m": model}, Settings(log=False))
        threading.setprofile(note)
        try:
            with TestClient(app, base_url="http://127.0.0.1") as client:
                is_on = True
                answer = client.post("/v1/chat/completions", json=BODY)
                is_on = False
        finally:
            threading.setprofile(None)
            sys.setprofile(None)
    assert answer.status_code == 200, answer.text
    assert "[DONE]" in answer.text
    return list(order)


def test_the_functions_of_the_table_run_in_its_order(entered):
    places = []
    for file, name in walk():
        named = [key for key in entered if key[0] == file and key[1].split(".<locals>")[0] == name]
        assert named, f"{file}: {name} did not run"
        places.append(entered.index(named[0]))
    *way, written = places  # the first event, an empty one, is written before there is a token
    assert way == sorted(way), [walk()[i] for i in range(1, len(way)) if way[i] < way[i - 1]]
    assert written > way[1]


def test_the_counts_below_the_table_are_those_of_the_table():
    files = [file for i, (file, _) in enumerate(walk()) if i == 0 or walk()[i - 1][0] != file]
    returns = len(files) - len(set(files))
    words = {14: "14", 4: "four"}
    assert f"stays in {words[len(files)]} places" in PAGE
    assert f"comes back {words[returns]} times" in PAGE
