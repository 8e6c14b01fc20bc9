"""SillyTavern's own code, run in Node without a browser: one process, one JSON object a line each
way.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from tests.others.support import npm_folder

PACKAGE = "sillytavern@1.19.0"


class SillyTavern:
    """The running process; `close` it."""

    def __init__(self) -> None:
        folder = npm_folder("sillytavern", [PACKAGE, "--ignore-scripts"])
        root = folder / "node_modules" / "sillytavern"
        script = Path(__file__).with_name("sillytavern.mjs")
        self._process = subprocess.Popen(
            ["node", str(script), str(root)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )

    def ask(self, do: str, **request: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"do": do, **request}) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        assert not (isinstance(answer, dict) and "error" in answer), answer
        return answer

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=30)
