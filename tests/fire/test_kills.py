"""A long job ended by kill -9 at any moment: what is there is sound, and the same command goes on.

UNDERSTUDY_FIRE_KILLS says how often (default 2; `make test-fire` takes 50).
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from understudy.rag.store import Store
from understudy.rag.store_check import check_store, store_digest

ROOT = Path(__file__).parents[2]
KILLS = int(os.environ.get("UNDERSTUDY_FIRE_KILLS", "2"))
STORIES = str(ROOT / "tests/data/stories-nemotron")

pytestmark = pytest.mark.skipif(os.name != "posix", reason="kill -9")


def command(folder: Path, index: str) -> list[str]:
    words = f"rag add notes --index {index} --embedder hashing --model".split()
    return [sys.executable, "-m", "understudy", *words, STORIES]


def test_an_index_that_is_killed_goes_on(tmp_path):
    notes = tmp_path / "notes"
    notes.mkdir()
    for i in range(400):
        text = " ".join(f"word{i}x{j}" for j in range(300))
        (notes / f"{i}.txt").write_text(text, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    quiet = {"cwd": tmp_path, "env": environment, "stderr": subprocess.DEVNULL}
    started = time.monotonic()
    subprocess.run(
        command(tmp_path, "whole"), stdout=subprocess.DEVNULL, check=True, timeout=600, **quiet
    )
    seconds = time.monotonic() - started
    chance = random.Random(KILLS)
    for _ in range(KILLS):
        running = subprocess.Popen(command(tmp_path, "killed"), stdout=subprocess.DEVNULL, **quiet)
        time.sleep(seconds * chance.uniform(0.3, 0.9))
        running.send_signal(signal.SIGKILL)
        running.wait(60)
        if (tmp_path / "killed").is_file():
            Store(tmp_path / "killed", create=True).close()
    subprocess.run(
        command(tmp_path, "killed"), stdout=subprocess.DEVNULL, check=True, timeout=600, **quiet
    )
    whole, killed = Store(tmp_path / "whole"), Store(tmp_path / "killed")
    check_store(killed)
    assert store_digest(killed) == store_digest(whole)
    assert len(killed.hashes()) == 400
