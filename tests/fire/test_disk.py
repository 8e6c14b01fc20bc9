"""Commands on a disk with no room: one line, nothing half under the final name.

The disk is one whose files may hold a few kilobytes (RLIMIT_FSIZE), which every system call and
SQLite meet as they meet a full one.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from understudy.errors import UnderstudyError
from understudy.serve.shell import exception_handlers

ROOT = Path(__file__).parents[2]
STORIES = str(ROOT / "tests/data/stories-nemotron")
ROOM = 16 << 10

pytestmark = pytest.mark.skipif(os.name != "posix", reason="limits of a process")


def _little_room() -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (ROOM, ROOM))


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    return subprocess.run(
        [sys.executable, "-m", "understudy", *words],
        cwd=folder,
        env=environment,
        preexec_fn=_little_room,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


COMMANDS = {
    "convert": ["convert", STORIES, "out.gguf"],
    "folder": ["convert", STORIES, "out"],
    "index": ["rag", "add", "notes", "--index", "out", "--model", STORIES, "--embedder", "hashing"],
    "probes": ["safety", "run", STORIES, "--limit", "12", "--json", "out"],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_full_disk_is_one_line(command, tmp_path):
    (tmp_path / "notes").mkdir()
    words = " ".join(f"word{i}" for i in range(20_000))
    (tmp_path / "notes" / "a.txt").write_text(words, encoding="utf-8")
    done = run(tmp_path, *COMMANDS[command])
    lines = [line for line in done.stderr.splitlines() if line.startswith("understudy: ")]
    assert done.returncode in (1, 2), done.stderr
    assert "Traceback" not in done.stderr
    assert len(lines) == 1, done.stderr
    left = [path.name for path in tmp_path.iterdir() if path.name != "notes"]
    assert not [name for name in left if name.endswith(".part")], left
    if command in ("convert", "folder"):
        assert left == []


def test_a_server_answers_507():
    async def fails(request):
        raise OSError(28, "No space left on device")

    async def wrapped(request):
        try:
            raise OSError(28, "No space left on device")
        except OSError as error:
            raise UnderstudyError("cannot write", where="/secret/place") from error

    async def other(request):
        raise OSError(13, "Permission denied")

    routes = [Route("/a", fails), Route("/b", wrapped), Route("/c", other)]

    def write(request, error):
        return PlainTextResponse(error.message, error.status)

    app = Starlette(routes=routes, exception_handlers=exception_handlers(write))
    client = TestClient(app, raise_server_exceptions=False)
    for path in ("/a", "/b"):
        answer = client.get(path)
        assert answer.status_code == 507
        assert "disk is full" in answer.text
        assert "secret" not in answer.text
    assert client.get("/c").status_code == 500
