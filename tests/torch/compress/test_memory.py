"""Freed memory stays with the process: tensors of one size, one after the other, do not fault all
their pages in anew."""

from __future__ import annotations

import subprocess
import sys

import pytest

MEASURE = """
import resource, sys, torch
from understudy.compress.memory import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(24):
    torch.ones(16 << 20)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def _faults(how: str) -> int:
    return int(
        subprocess.run(
            [sys.executable, "-c", MEASURE, how], check=True, capture_output=True, text=True
        ).stdout
    )


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc only")
def test_a_tensor_of_a_freed_size_finds_its_pages() -> None:
    assert _faults("keep") < _faults("leave") / 2
