"""`understudy serve`: what stops it is said in one line before an address; Ctrl+C is no fault."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys

import pytest

pytest.importorskip("uvicorn")

import httpx

from tests.support.http_server import free_port
from understudy.cli import main
from understudy.errors import UsageError
from understudy.serve.keys import new_key

STORIES = "tests/data/stories-nemotron"


@pytest.fixture
def used_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def refused(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str]:
    code = main(["serve", *map(str, words)])
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "http://" not in err
    return code, err


@pytest.mark.parametrize("port", [65_536, 99_999, -1])
def test_a_port_that_is_none(capsys, port):
    assert refused(capsys, STORIES, "--port", port)[0] == 2


def test_a_port_in_use(capsys, used_port):
    code, line = refused(capsys, STORIES, "--port", used_port)
    assert code == 1
    assert f"127.0.0.1:{used_port}: the port is in use" in line


def test_an_address_of_another_machine(capsys, tmp_path):
    new_key(tmp_path / "keys", "me")
    keys = ("--keys", tmp_path / "keys")
    code, line = refused(capsys, STORIES, "--host", "192.0.2.1", *keys)
    assert code == 2
    assert "not an address of this machine" in line
    assert refused(capsys, STORIES, "--host", "no-such-host.invalid", *keys)[0] == 2


def test_keys_and_state_are_looked_at_first(capsys, tmp_path):
    assert refused(capsys, STORIES, "--keys", tmp_path / "none")[0] == 2
    (tmp_path / "file").write_text("")
    code, line = refused(capsys, STORIES, "--state", tmp_path / "file" / "state")
    assert code == 2
    assert "state folder cannot be written" in line


def test_a_model_that_is_refused(capsys, tmp_path):
    (tmp_path / "bad.gguf").write_bytes(b"<!DOCTYPE html>" + bytes(100))
    assert refused(capsys, tmp_path / "bad.gguf", "--port", free_port())[0] == 2


@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize("way", [signal.SIGINT, signal.SIGTERM])
def test_told_to_stop_it_ends_well(way):
    command = [sys.executable, "-m", "understudy", "serve", STORIES, "--port", "0", "--grace", "1"]
    running = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert running.stderr is not None
    url = running.stderr.readline().split(" at ")[1].split("/v1")[0]
    body = {"prompt": "Once", "max_tokens": 200, "stream": True, "ignore_eos": True}
    with httpx.stream("POST", f"{url}/v1/completions", json=body, timeout=60) as answer:
        assert answer.status_code == 200
        lines = answer.iter_lines()
        next(lines)
        running.send_signal(way)
        for _ in lines:
            pass
    rest = running.stderr.read().splitlines()
    running.wait(60)
    assert running.returncode == 0
    said = [line for line in rest if not line.startswith("{")]
    assert said[0].startswith("understudy: context ")
    assert said[1:] == ["understudy: guard off"]


def test_a_guard_that_cannot_be_made_is_said_first(capsys, monkeypatch):
    def refuse(**options):
        if options.get("model") is not None:
            raise UsageError("the guard cannot ask this model", where="guard")

    monkeypatch.setattr("understudy.judge.safety.moderation.Guard", refuse)
    code, line = refused(capsys, STORIES, "--guard", "model")
    assert code == 2
    assert "the guard cannot ask this model" in line
