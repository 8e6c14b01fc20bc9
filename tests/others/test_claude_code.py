"""The real Claude Code, in print mode, against our server with SmolLM2: a tool round, and its whole
prompt, which is too long for such a model.
"""

from __future__ import annotations

import json
import os
import subprocess

import pytest

import understudy
from tests.others.support import npm_folder
from tests.serve.conftest import MODEL, live

pytestmark = pytest.mark.others
VERSION = "2.1.332"


@pytest.fixture(scope="module")
def served():
    with understudy.load(MODEL) as model, live(model, max_tokens=60) as running:
        yield running


def claude(served, folder, *arguments):
    """What a run of it prints, and how it ended; it knows nothing of this machine's user."""
    program = npm_folder("claude-code", [f"@anthropic-ai/claude-code@{VERSION}"])
    environment = {
        "HOME": str(folder),
        "PATH": os.environ["PATH"],
        "ANTHROPIC_BASE_URL": served.url,
        "ANTHROPIC_API_KEY": "none",
        "ANTHROPIC_MODEL": MODEL,
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    }
    command = [program / "node_modules" / ".bin" / "claude", "-p", *arguments]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )


def test_a_session_with_a_tool(served, tmp_path):
    short = ("--system-prompt", "You are a helpful assistant.", "--tools", "Read")
    form = ("--output-format", "stream-json", "--verbose", "--max-turns", "3")
    done = claude(served, tmp_path, *short, "--allowedTools", "Read", *form, "--", "Read note.txt")
    assert done.returncode == 0, done.stdout + done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    said = [event["message"]["content"][0] for event in events if event["type"] == "assistant"]
    assert said[0]["type"] == "tool_use"
    assert said[0]["name"] == "Read"
    results = [event["message"]["content"][0] for event in events if event["type"] == "user"]
    assert results[0]["tool_use_id"] == said[0]["id"]
    assert said[-1]["type"] == "text"
    end = events[-1]
    assert (end["type"], end["subtype"], end["stop_reason"]) == ("result", "success", "end_turn")
    assert end["result"] == said[-1]["text"]
    assert end["usage"]["cache_read_input_tokens"] > 900  # the second request reads on


def test_a_plain_question(served, tmp_path):
    short = ("--system-prompt", "You are a helpful assistant.", "--tools", "")
    done = claude(served, tmp_path, *short, "--", "Say hello.")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.strip()
    assert "error" not in done.stdout.lower()


def test_its_whole_prompt_is_known_to_be_too_long(served, tmp_path):
    done = claude(served, tmp_path, "--", "Say hello.")
    assert done.returncode == 1
    assert done.stdout.startswith("Prompt is too long"), done.stdout
