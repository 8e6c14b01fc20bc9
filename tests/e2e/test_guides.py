"""The commands of every guide: each is one that the program reads, and the short ones are run.

A word in capitals or in angle brackets stands for something of the reader's; `…` for more of it.
What takes minutes (compression, whole suites) is read, not run.
"""

from __future__ import annotations

import io
import json
import re
import shlex
import sys
import types
from pathlib import Path

import pytest

from understudy.cli import main, make_parser

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)


def commands_of(page: Path) -> list[str]:
    """The lines of a page's blocks that call the program, without prompt sign and remark."""
    blocks = FENCE.findall(page.read_text(encoding="utf-8"))
    shells = [text for kind, text in blocks if kind in ("", "console", "sh", "bash")]
    lines = "\n".join(shells).replace("\\\n", " ").splitlines()
    bare = [line.removeprefix("$ ").partition("  #")[0].strip() for line in lines]
    return [line for line in bare if line.startswith("understudy ")]


COMMANDS = [(page.name, line) for page in PAGES for line in commands_of(page)]


def words_of(line: str) -> list[str]:
    """A command's arguments as a reader would give them."""
    line = re.sub(r"\[[^\]]*\]", "", line.partition(" > ")[0])
    return shlex.split(line.replace("…", "more"))[1:]


def test_guides_have_commands():
    assert len(COMMANDS) > 40
    assert {name for name, _ in COMMANDS} >= {"rag.md", "serve.md", "compress.md", "safety.md"}


@pytest.mark.parametrize(("page", "line"), COMMANDS, ids=[f"{p}: {c}" for p, c in COMMANDS])
def test_a_command_of_a_guide_is_one_that_the_program_reads(page, line):
    words = words_of(line)
    parsed, unknown = make_parser([words[0]]).parse_known_args(words)
    assert not unknown
    assert parsed.command == words[0]


@pytest.fixture
def world(tmp_path, monkeypatch):
    """A folder with what the short guides name."""
    notes = tmp_path / "notes"
    notes.mkdir()
    text = "The lighthouse of Varn was built in 1852. Ada Vane keeps the light.\n"
    (notes / "light.md").write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(capsys, page: str, *beginnings: str) -> str:
    """Runs a page's commands that begin so, as they stand; their output."""
    lines = [line for name, line in COMMANDS if name == page and line.startswith(beginnings)]
    assert len(lines) >= len(beginnings)
    for line in lines:
        assert main(words_of(line)) == 0, line
    return str(capsys.readouterr().out)


def test_the_guide_of_documents_runs(capsys, world):
    pytest.importorskip("wordllama")
    out = run(capsys, "rag.md", "understudy rag add", "understudy rag search", "understudy rag ask")
    assert "1 new" in out
    assert out.count("1852") >= 2  # found, and answered with a quote


def test_the_guide_of_characters_runs(capsys, world):
    out = run(capsys, "roleplay.md", "understudy card new", "understudy card set")
    assert "hilde.json" in out or (world / "hilde.json").is_file()


def test_the_guide_of_probes_lists_them(capsys, world):
    assert "injection" in run(capsys, "safety.md", "understudy safety list")


def test_the_guide_of_evaluation_lists_its_tasks(capsys, world):
    assert "ifeval" in run(capsys, "eval.md", "understudy eval --list").lower()


@pytest.mark.parametrize("page", ["chat.md", "roleplay.md"])
def test_the_python_of_a_guide_runs_as_it_stands(page, capsys, world, monkeypatch):
    if page == "roleplay.md":
        run(capsys, page, "understudy card new")
    blocks = FENCE.findall((ROOT / "docs" / page).read_text(encoding="utf-8"))
    code = next(text for kind, text in blocks if kind == "python")
    source = world / "guide.py"  # a tool's parameters are read from its source
    source.write_text(code, encoding="utf-8")
    module = types.ModuleType("guide")
    monkeypatch.setitem(sys.modules, "guide", module)
    exec(compile(code, source, "exec"), module.__dict__, module.__dict__)
    assert capsys.readouterr().out.strip()


def test_the_line_of_an_action_in_the_guide_of_characters_runs(capsys, world, monkeypatch):
    run(capsys, "roleplay.md", "understudy card new")
    monkeypatch.setattr(sys, "stdin", io.StringIO("I would like to buy bread.\n"))
    line = next(line for name, line in COMMANDS if line.startswith("understudy npc hilde.json"))
    assert main([*shlex.split(line)[1:], "--json"]) == 0
    turn = json.loads(capsys.readouterr().out)
    assert all(1 <= action["price"] <= 5 for action in turn["actions"])
