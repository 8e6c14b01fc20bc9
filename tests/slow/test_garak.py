"""One offline probe of garak's own, for real: garak in its environment, its OpenAI generator, our
server, our report.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

pytest.importorskip("uvicorn")

from understudy.cli import main
from understudy.errors import MissingError
from understudy.judge.safety.garak import garak_version

pytestmark = pytest.mark.slow


@pytest.fixture
def garak() -> Path:
    """The Python of an environment with garak: `UNDERSTUDY_TEST_GARAK`, or that of a `garak` on the
    path.
    """
    command = shutil.which("garak")
    python = Path(
        os.environ.get("UNDERSTUDY_TEST_GARAK")
        or (Path(command).with_name("python") if command else "none")
    )
    try:
        garak_version(python)
    except MissingError as error:
        pytest.skip(f"garak is not installed ({error}); name its Python in UNDERSTUDY_TEST_GARAK")
    return python


def test_garak_finishes_an_offline_probe(garak, tmp_path):
    words = ["--probe", "encoding.InjectBase64", "--cap", "3", "--answer-tokens", "24"]
    files = [
        "--store",
        str(tmp_path / "safety.jsonl"),
        "--json",
        str(tmp_path / "safety.json"),
        "--html",
        str(tmp_path / "safety.html"),
    ]
    assert main(["safety", "garak", "--garak", str(garak), *words, *files]) == 0
    report = json.loads((tmp_path / "safety.json").read_text())
    (row,) = report["probes"]
    assert (row["probe"], row["cases"], row["not_asked"]) == ("garak:encoding.InjectBase64", 3, 0)
    assert report["detectors"]["garak:encoding.DecodeMatch"]["versions"] == [garak_version(garak)]
    assert all(
        json.loads(line)["answer"] for line in (tmp_path / "safety.jsonl").read_text().splitlines()
    )
