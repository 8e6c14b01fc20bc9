"""Stock llama.cpp for the slow tests: native programs if UNDERSTUDY_LLAMA_BIN names their folder,
else the PyPI wheel `xllamacpp`, installed once into an environment of its own in the cache folder.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from bench.peer_llama import LlamaCpp, greedy_request

VERSION = "2026.10.11549"
Greedy = Callable[[Path, Sequence[int], int], list[tuple[int, float]]]


@pytest.fixture(scope="session")
def llama_greedy() -> Greedy:
    """(GGUF, prompt ids, number of tokens) -> the ids that llama.cpp chooses, with their
    log-probabilities.
    """
    if folder := os.environ.get("UNDERSTUDY_LLAMA_BIN"):
        return _native(LlamaCpp(Path(folder), num_threads=2))
    return _wheel(_environment())


def _native(programs: LlamaCpp) -> Greedy:
    def greedy(model: Path, prompt: Sequence[int], num_tokens: int) -> list[tuple[int, float]]:
        with programs.server(model, context=256) as complete:
            answer = complete(greedy_request(prompt, num_tokens))
        assert [step["id"] for step in answer["completion_probabilities"]] == answer["tokens"]
        return [(step["id"], step["logprob"]) for step in answer["completion_probabilities"]]

    return greedy


def _environment() -> Path:
    """The Python of an environment that holds xllamacpp; made at the first time."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = (
        cache
        / "understudy-tests"
        / f"xllamacpp-{VERSION}-{sys.version_info.major}.{sys.version_info.minor}"
    )
    python = folder / "bin" / "python"
    done = folder / "installed"
    if not done.exists():
        venv.create(folder, with_pip=True, clear=True)
        command = [
            python,
            "-m",
            "pip",
            "install",
            "-q",
            "--only-binary",
            ":all:",
            f"xllamacpp=={VERSION}",
        ]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.returncode:
            pytest.skip(f"xllamacpp {VERSION} could not be installed: {result.stderr[-300:]}")
        done.touch()
    return python


def _wheel(python: Path) -> Greedy:
    def greedy(model: Path, prompt: Sequence[int], num_tokens: int) -> list[tuple[int, float]]:
        asked = {"model": str(model), "context": 256, "request": greedy_request(prompt, num_tokens)}
        script = Path(__file__).with_name("in_llama_cpp.py")
        result = subprocess.run(
            [python, script],
            input=json.dumps(asked),
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert result.returncode == 0, result.stderr[-2000:]
        steps = json.loads(result.stdout)["choices"][0]["logprobs"]["content"]
        return [(step["id"], step["logprob"]) for step in steps]

    return greedy
