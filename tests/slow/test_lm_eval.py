"""Our likelihood tasks beside lm-evaluation-harness's own: the same prompts, likelihoods and scores
on the same items.

The harness lives in an environment of its own, made once in the cache folder (torch and lm-eval
from the package index), or named by UNDERSTUDY_LM_EVAL (its interpreter).
"""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from bench.lm_eval_agreement import FILES, compare

pytestmark = pytest.mark.slow
PACKAGES = ("torch==2.13.0", "lm_eval[hf]==0.4.13")


@pytest.fixture(scope="module")
def python() -> str:
    if given := os.environ.get("UNDERSTUDY_LM_EVAL"):
        return given
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = (
        cache
        / "understudy-tests"
        / f"lm-eval-0.4.13-{sys.version_info.major}.{sys.version_info.minor}"
    )
    done = folder / "installed"
    if not done.exists():
        venv.create(folder, with_pip=True, clear=True)
        for package in PACKAGES:  # torch first, so that the harness takes it as it is
            command = [folder / "bin" / "python", "-m", "pip", "install", "-q", package]
            result = subprocess.run(command, capture_output=True, text=True, check=False)
            if result.returncode:
                pytest.skip(f"{package} could not be installed: {result.stderr[-300:]}")
        done.touch()
    return str(folder / "bin" / "python")


def test_prompts_likelihoods_and_scores_are_the_harness_s(python, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    result = compare(Path("tests/data/stories-nemotron"), python, num_rows=20)
    assert set(result["tasks"]) == set(FILES)
    for name, task in result["tasks"].items():
        assert (name, task["same_prompts"], task["same_greedy"]) == (
            name,
            task["requests"],
            task["requests"],
        )
        assert task["largest_difference_nats"] < 1e-4
        for metric, both in task["figures"].items():
            assert (name, metric, both["ours"]) == (name, metric, pytest.approx(both["theirs"]))
