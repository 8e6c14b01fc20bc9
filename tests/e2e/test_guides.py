"""The commands of every guide: each is one that the program reads, and the short ones are run.

What takes minutes (compression, whole suites) is read, not run.
"""

from __future__ import annotations

import io
import json
import shlex
import shutil
import sys

import pytest

from tests.support.guides import COMMANDS, ROOT, words_of
from understudy.cli import main, make_parser


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


def run(capsys, page: str, *beginnings: str, model: str = "smollm2-135m-instruct") -> str:
    """Runs a page's commands that begin so, in the order of the beginnings; their output.

    Args:
        model: what MODEL stands for.
    """
    lines = [line for name, line in COMMANDS if name == page]
    wanted = [line for begin in beginnings for line in lines if line.startswith(begin)]
    assert len(wanted) >= len(beginnings)
    for line in wanted:
        words = [model if word == "MODEL" else word for word in words_of(line)]
        assert main(words) == 0, line
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


def test_the_line_of_an_action_in_the_guide_of_characters_runs(capsys, world, monkeypatch):
    run(capsys, "roleplay.md", "understudy card new")
    monkeypatch.setattr(sys, "stdin", io.StringIO("I would like to buy bread.\n"))
    line = next(line for name, line in COMMANDS if line.startswith("understudy npc hilde.json"))
    assert main([*shlex.split(line)[1:], "--json"]) == 0
    turn = json.loads(capsys.readouterr().out)
    assert all(1 <= action["price"] <= 5 for action in turn["actions"])


def test_the_guide_of_training_data_runs(capsys, world):
    shutil.copytree(ROOT / "examples", world / "examples")
    run(capsys, "align.md", "understudy data make", "understudy data check", "understudy data mix")
    assert (world / "home-mix" / "train.jsonl").is_file()
    assert (world / "home-mix" / "held_out.jsonl").is_file()


def test_the_guide_of_red_teams_runs_without_a_model(capsys, world):
    from understudy.judge.redteam.store import RedTeamStore

    for name in ("team.sqlite", "theirs.sqlite"):
        RedTeamStore(world / name).close()
    theirs = ["safety", "redteam", "theirs.sqlite", "--export", "theirs.jsonl"]
    assert main(theirs) == 0
    begin = "understudy safety redteam team.sqlite --"
    options = ("export", "import", "agreement", "summary")
    assert "findings" in run(capsys, "redteam.md", *(begin + option for option in options))
    assert (world / "mine.jsonl").is_file()


def test_the_guide_of_safety_runs(capsys, world):
    tiny = str(ROOT / "tests" / "data" / "stories-nemotron")
    pages = (line for name, line in COMMANDS if name == "safety.md")
    line = next(line for line in pages if "safety run MODEL --store" in line)
    words = [tiny if word == "MODEL" else word for word in words_of(line)]
    assert main([*words, "--limit", "1"]) == 0
    again = ("understudy safety report", "understudy safety run --judge-again")
    assert "judged again" in run(capsys, "safety.md", *again)
    assert (world / "safety.html").is_file()


def test_the_guide_of_model_cards_begins_one(capsys, world):
    run(capsys, "cards.md", "understudy card model --init")
    assert (world / "card.toml").is_file()


def test_completion_and_the_manual_are_written(capsys, world):
    out = run(capsys, "install.md", "understudy completion", "understudy manual")
    assert "understudy" in out
    assert ".SH" in out


def test_a_key_of_a_server_is_made_once(capsys, world):
    out = run(capsys, "serve.md", "understudy serve --new-key")
    assert out.strip() not in (world / "keys").read_text(encoding="utf-8")


def test_the_first_command_of_the_guide_of_compression_runs(capsys, world):
    pytest.importorskip("torch")
    text = "The lighthouse keeper walked down to the harbour and spoke of the sea.\n" * 2000
    (world / "text.txt").write_text(text, encoding="utf-8")
    line = next(line for name, line in COMMANDS if name == "compress.md" and "--check" in line)
    assert main(words_of(line)) == 0
    out = capsys.readouterr().out
    assert "134.5M before, 101.3M after (75%)" in out  # as the page says
    assert "memory" in out
