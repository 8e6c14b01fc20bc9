"""Help by what commands are for, the choice of `understudy` alone, completion, the manual page."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

from understudy.cli import COMMANDS, main, make_parser, overview

ADDED = ["rag", "add", "--index", "documents.index", "a b.txt", "c.txt"]


def test_every_command_has_a_job(capsys):
    placed = [name for names in overview.JOBS.values() for name in names]
    assert len(placed) == len(set(placed))
    assert set(COMMANDS) <= set(placed)
    with pytest.raises(SystemExit):
        main(["--help"])
    shown = capsys.readouterr().out
    for title, names in overview.JOBS.items():
        assert not any(name in COMMANDS for name in names) or f"{title}:" in shown
    assert all(f"\n  {name} " in shown for name in COMMANDS)
    assert "positional arguments" not in shown


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        (["1"], [["demo"]]),
        (["6", "my models/a b.gguf"], [["chat", "my models/a b.gguf"]]),
        (["4", "'a b.txt' c.txt"], [ADDED, ["chat", "--documents", "documents.index"]]),
        (["4", ""], []),
        ([""], []),
        (["99"], []),
    ],
)
def test_a_choice_becomes_a_command(monkeypatch, capsys, answers, words):
    given = iter(answers)
    monkeypatch.setattr("builtins.input", lambda _: next(given))
    assert overview.choose() == words
    assert "understudy demo" in capsys.readouterr().out


def test_every_choice_names_a_command():
    parser = make_parser()
    for _, _, commands in overview.CHOICES:
        for command in commands:
            parser.parse_args(command.replace("{}", "file").split())


def test_without_a_terminal_nothing_is_asked(capsys):
    with pytest.raises(SystemExit) as exit_of:
        main([])
    assert exit_of.value.code == 2
    assert "--help" in capsys.readouterr().err


def test_bash_completes_commands_and_options(tmp_path, capsys):
    pytest.importorskip("shtab")
    if shutil.which("bash") is None:
        pytest.skip("no bash here")
    assert main(["completion", "bash"]) == 0
    script = tmp_path / "understudy"
    script.write_text(capsys.readouterr().out)
    setting = 'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))'
    ask = setting + '; _shtab_understudy; echo "${COMPREPLY[@]}"'

    def completed(*words):
        command = ["bash", "-c", ask, "bash", str(script), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()

    assert completed("understudy", "per") == ["perplexity"]
    assert "--vocabulary" in completed("understudy", "prune", "--voc")
    assert set(completed("understudy", "completion", "")) >= {"bash", "zsh", "fish"}


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_know_every_command(shell, capsys):
    pytest.importorskip("shtab")
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert all(name in script for name in COMMANDS)


def test_manual_tells_every_command_and_option(capsys):
    assert main(["manual"]) == 0
    shown = capsys.readouterr().out
    assert all(f'.SS "understudy {name}"' in shown for name in COMMANDS)
    assert r"\-\-vocabulary" in shown
    if shutil.which("groff"):
        command = ["groff", "-k", "-man", "-ww", "-Tutf8", "-z"]
        run = subprocess.run(command, input=shown, capture_output=True, text=True, check=True)
        assert run.stderr == ""


def test_only_the_command_that_runs_is_imported():
    parser = make_parser(["show"])
    assert parser.parse_args(["show", "a.gguf"]).command == "show"


@pytest.mark.parametrize(
    ("words", "heavy"),
    [
        (["--help"], ("numpy", "hashlib", "inspect")),
        (["list"], ("numpy",)),
        *(([name, "--help"], ("numpy", "tokenizers", "asyncio")) for name in COMMANDS),
    ],
)
def test_what_starts_at_once_brings_nothing_heavy(words, heavy):
    code = (
        "import contextlib, sys; from understudy.cli import main\n"
        f"with contextlib.suppress(SystemExit): main({words})\n"
        f"print([name for name in {heavy} if name in sys.modules], file=sys.stderr)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stderr.strip() == "[]"
