"""Every kernel target against the reference target, and the thread pool, by a program without
Python (cpp/test): built here for this processor, and by a cross compiler for AArch64, whose targets
run under QEMU on a processor with dot products and on two without.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from understudy import core

ROOT = Path(__file__).parents[2]
CROSS_COMPILER, EMULATOR, SYSROOT = (
    "aarch64-linux-gnu-g++",
    "qemu-aarch64",
    "/usr/aarch64-linux-gnu",
)
TARGETS_OF_CPU = {"max": ("neon", "neon_dotprod"), "cortex-a72": ("neon",), "cortex-a53": ("neon",)}

needs_cmake = pytest.mark.skipif(shutil.which("cmake") is None, reason="cmake is not installed")
needs_cross_tools = pytest.mark.skipif(
    not (shutil.which(CROSS_COMPILER) and shutil.which(EMULATOR)),
    reason=f"{CROSS_COMPILER} or {EMULATOR} is not installed; on Debian: apt-get install g++-aarch64-linux-gnu qemu-user",
)


def build(name: str, *settings: str) -> Path:
    folder = ROOT / "build" / f"conformance-{name}"
    for command in (
        ["cmake", "-S", ROOT / "cpp/test", "-B", folder, *settings],
        ["cmake", "--build", folder, "-j2"],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return folder / "conformance"


def run(*command: str | Path) -> list[str]:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout.splitlines()


@needs_cmake
def test_targets_of_this_processor_equal_the_reference_without_python() -> None:
    lines = run(build("native"))
    assert [line.split(":")[0] for line in lines[:-1]] == [
        name for name in core.isa_targets() if name != "reference"
    ]
    assert lines[-1].endswith(", 0 failures")


@needs_cmake
def test_a_target_that_cannot_run_here_is_named() -> None:
    done = subprocess.run([build("native"), "abacus"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "no kernel target named abacus on this processor" in done.stderr


@pytest.mark.slow
@needs_cmake
@needs_cross_tools
@pytest.mark.parametrize("cpu", TARGETS_OF_CPU)
def test_neon_targets_equal_the_reference_under_an_emulator(cpu: str) -> None:
    target = (
        "-DCMAKE_SYSTEM_NAME=Linux",
        "-DCMAKE_SYSTEM_PROCESSOR=aarch64",
        f"-DCMAKE_CXX_COMPILER={CROSS_COMPILER}",
    )
    lines = run(EMULATOR, "-cpu", cpu, "-L", SYSROOT, build("aarch64", *target))
    assert tuple(line.split(":")[0] for line in lines[:-1]) == TARGETS_OF_CPU[cpu]
    assert lines[-1].endswith(", 0 failures")
