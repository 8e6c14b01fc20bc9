"""What schemathesis makes of our OpenAPI: no request that the document allows, or nearly allows, is
a fault of ours.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import understudy

from .conftest import live

pytest.importorskip("schemathesis")


def test_no_request_is_a_fault_of_ours(tmp_path):
    program = Path(sys.executable).with_name("schemathesis")
    with (
        understudy.load("tests/data/stories-nemotron", num_threads=1) as model,
        live(model) as running,
    ):
        command = [
            program,
            "run",
            f"{running.url}/openapi.json",
            "--checks",
            "not_a_server_error",
            "--phases",
            "coverage,fuzzing",
            "--max-examples",
            "2",
            "--request-timeout",
            "60",
            "--seed",
            "1",
            "--generation-database",
            "none",
            "--no-color",
        ]
        result = subprocess.run(
            command, capture_output=True, text=True, timeout=900, check=False, cwd=tmp_path
        )
        assert "Server error" not in result.stdout, result.stdout[-6000:]
        assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-2000:]
