"""What a model writes never acts on the terminal: a conversation with one that means harm, with and
without a guard.
"""

from __future__ import annotations

import io

import pytest

from tests.support.random_model import babbler
from tests.unit.judge.safety.fakes import HOSTILE, Fake
from understudy.chat.session import Session
from understudy.cli import terminal
from understudy.cli.chat import ChatTerminal
from understudy.judge.safety.moderation import Guard


class Screen(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    with babbler(tmp_path_factory.mktemp("model")) as loaded:
        yield loaded


def shown_of(session, monkeypatch):
    screen = Screen()
    with monkeypatch.context() as patch:
        patch.setattr(terminal.sys, "stdout", screen)
        ChatTerminal(session, {}).say("Hello")
    return screen.getvalue()


def test_hostile_answers_are_shown_not_obeyed(model, monkeypatch):
    shown = shown_of(Session(Fake(model, lambda prompt: HOSTILE)), monkeypatch)
    assert "\\x1b[2J" in shown
    assert "A" * 1000 in shown  # nothing is cut silently
    assert not any(c in shown for c in "\x1b\x07\x00\x9b\r\u202e")


def test_what_a_guard_stops_is_not_shown(model, monkeypatch):
    shown = shown_of(
        Session(Fake(model, lambda prompt: f"murder {HOSTILE}"), guard=Guard()), monkeypatch
    )
    assert "I would rather not answer that." in shown
    assert "stopped by the guard (output: Violence (words))" in shown
    assert "murder" not in shown
    assert "script" not in shown
