"""`understudy npc` as a person types it: a prompt sign, /help, Ctrl-C that only cuts in."""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
import time

import pytest

from understudy.cli import main
from understudy.cli.game_options import read_action
from understudy.roleplay.state import ActionKind

CARD = {
    "spec": "chara_card_v2",
    "spec_version": "2.0",
    "data": {"name": "Hilde", "description": "Hilde keeps the light.", "first_mes": "What is it?"},
}


@pytest.fixture
def card(tmp_path):
    path = tmp_path / "hilde.json"
    path.write_text(json.dumps(CARD))
    return str(path)


def test_samplers_are_named_as_in_llama_cpp(card, monkeypatch, capsys):
    from understudy.cli import npc as command
    from understudy.roleplay import npc

    seen = []
    monkeypatch.setattr(command, "load_model", lambda _: seen.append("model") or None)
    monkeypatch.setattr(npc, "Npc", lambda *_, settings, **__: seen.append(settings) or _Stop())
    with pytest.raises(KeyError):
        command.run(_npc_arguments(card, "--sampler", "dry_multiplier=0.8", "--temperature", "1"))
    assert (seen[-1].dry_multiplier, seen[-1].temperature) == (0.8, 1.0)
    for wrong, named in (("speed=3", "no such sampler"), ("dry_multiplier", "NAME=VALUE")):
        assert main(["npc", card, "--sampler", wrong]) == 2
        assert named in capsys.readouterr().err
    assert main(["npc", card, "--sampler", "xtc_probability=7"]) == 2
    assert "xtc_probability" in capsys.readouterr().err


class _Stop:
    @property
    def warnings(self):
        raise KeyError("far enough")


def _npc_arguments(*words):
    from understudy.cli import npc as command

    parser = argparse.ArgumentParser()
    command.configure(parser)
    return parser.parse_args(words)


def test_lines_from_a_pipe(card, tmp_path, monkeypatch, capsys):
    lines = ["/help", "/ledger", "Hello.", "/ledger", "/cut 4", "/cut x", "/sing", "/save"]
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n".join([*lines, "/quit", "never read"])))
    assert main(["npc", card, "--fact", "silver=5", "--context", "1024"]) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("Hilde: What is it?\n/help")
    for part in ("no prompt yet", "persona", "heard: "):
        assert part in captured.out
    assert captured.err.count("understudy: ") == 3  # /cut x, /sing, /save
    assert "never read" not in captured.out


def test_a_fact_needs_a_name_and_a_value(card, capsys):
    assert main(["npc", card, "--fact", "silver"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.skipif(os.name != "posix", reason="a terminal is made by pty")
def test_ctrl_c_ends_the_reply_and_not_the_program(card):
    import pty

    process, terminal = pty.fork()
    if process == 0:
        os.environ["TERM"] = "dumb"
        os.execv(sys.executable, [sys.executable, "-m", "understudy", "npc", card])
    seen = _read_until(terminal, "> ")
    os.write(terminal, b"Tell me a long story of the sea and of all its ships.\r")
    seen = _read_until(terminal, "Hilde: ")
    os.write(terminal, b"\x03")
    seen = _read_until(terminal, "> ")
    os.write(terminal, b"/quit\r")
    while _read(terminal):
        pass
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0
    assert "interrupted" not in seen


def _read(terminal: int) -> str:
    try:
        return os.read(terminal, 4096).decode(errors="replace")
    except OSError:  # the other end is closed
        return ""


def _read_until(terminal: int, part: str) -> str:
    seen, deadline = "", time.monotonic() + 120
    while part not in seen and time.monotonic() < deadline:
        piece = _read(terminal)
        assert piece, seen
        seen += piece
    return seen


def test_an_action_has_targets_numbers_a_condition_and_cues():
    line = "sell: sword, bread; price=1..9; kind=old,new; when price <= silver"
    line += "; cues buy, deal; about trade"
    assert read_action(line) == ActionKind(
        "sell",
        "trade",
        ("sword", "bread"),
        {"price": (1, 9), "kind": ("old", "new")},
        "price <= silver",
        ("buy", "deal"),
    )
    assert read_action("wait") == ActionKind("wait")
    assert read_action("warm;heat=-2..0").arguments == {"heat": (-2, 0)}


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--action", ":sword"], "without a name"),
        (["--action", "sell; price"], "not a part of an action; expected NAME"),
        (["--action", "sell; price="], "found price="),
        (["--action", "sell; price=9..1"], "an empty range"),
        (["--action", "sell; when price <="], "not a condition"),
        (
            ["--action", "sell; price=1..9; when price <= gold"],
            "expected price, target; found gold",
        ),
        (["--action", "sell; when f(1)"], "not a condition"),
    ],
)
def test_what_is_no_action_is_said_in_one_line(card, words, named, capsys):
    assert main(["npc", card, *words]) == 2
    said = capsys.readouterr().err
    assert named in said
    assert said.count("\n") == 1


def test_a_condition_from_the_command_line_holds_what_is_done(card, tmp_path, monkeypatch, capsys):
    buying = "I want to buy the sword. Please sell me the sword."
    lines = [buying, "/fact silver=0", buying, f"/save --text {tmp_path / 'play'}", "/fact silver"]
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n".join(lines)))
    action = "sell:sword; price=3..9; when price <= silver"
    options = ["--action", action, "--fact", "silver=9", "--context", "1024", "--json"]
    assert main(["npc", card, *options]) == 0
    captured = capsys.readouterr()
    rich, poor = map(json.loads, captured.out.splitlines())
    assert all(3 <= done["price"] <= 9 for done in rich["actions"])
    assert not poor["actions"]
    assert all("price <= silver" in refused["reason"] for refused in poor["refused"])
    assert "/fact: not a name and its value" in captured.err
    assert sorted(path.name for path in tmp_path.glob("play*")) == ["play"]
