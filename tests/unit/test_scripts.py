"""`scripts/pythons`: what it names runs; what does not run is left out."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PYTHONS = Path(__file__).parents[2] / "scripts" / "pythons"
THIS = f"{sys.version_info.major}.{sys.version_info.minor}"


def find(path: str, home: Path, *versions: str) -> list[list[str]]:
    """The lines of `scripts/pythons`, each split into version and path."""
    environment = {"PATH": path, "HOME": str(home)}
    done = subprocess.run(
        [PYTHONS, *versions], env=environment, capture_output=True, text=True, check=True
    )
    return [line.split(" ", 1) for line in done.stdout.splitlines()]


def program(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def test_a_python_of_the_path_is_found(tmp_path: Path) -> None:
    program(tmp_path / "bin" / f"python{THIS}", f'exec {sys.executable} "$@"')
    ((version, path),) = find(f"{tmp_path}/bin:/usr/bin:/bin", tmp_path, THIS)
    assert version == THIS
    assert Path(path) == Path(sys.executable)


@pytest.mark.parametrize("manager", [".pyenv/versions", ".local/share/uv/python"])
def test_a_shim_that_does_not_run_gives_way_to_a_version_manager(
    tmp_path: Path, manager: str
) -> None:
    program(tmp_path / "bin" / "python3.99", "exit 127")
    folder = "3.99.0" if "pyenv" in manager else "cpython-3.99.0-linux-x86_64-gnu"
    program(tmp_path / manager / folder / "bin" / "python", "echo /chosen/python")
    assert find(f"{tmp_path}/bin:/usr/bin:/bin", tmp_path, "3.99") == [["3.99", "/chosen/python"]]


def test_a_version_that_is_nowhere_is_left_out(tmp_path: Path) -> None:
    assert find("/usr/bin:/bin", tmp_path, "3.99") == []
