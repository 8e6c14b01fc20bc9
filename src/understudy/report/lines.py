"""Stored runs as JSON lines: a line is added whole, and what a kill cut off at the end is dropped
when the run goes on.

    append_line(path, {"id": 1})
    read_lines(path, repairs=True) -> [(1, {"id": 1})]
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from understudy.errors import FormatError, UnderstudyError


def append_line(path: Path, line: object) -> None:
    """Adds a line, at once and whole; ASCII only.

    Raises:
        UnderstudyError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="ascii") as file:
            file.write(json.dumps(line, sort_keys=True) + "\n")
    except OSError as error:
        raise UnderstudyError(f"cannot write: {error.strerror or error}", where=path) from error


def read_lines(path: Path, *, repairs: bool = False) -> list[tuple[int, Any]]:
    """The values with the numbers of their lines; none where there is no file. A last line without
    its end is left out.

    Args:
        repairs: cut such a line off the file, so that the next one begins on its own.

    Raises:
        FormatError: the file cannot be read, or a whole line is not JSON.
    """
    try:
        data = path.read_bytes() if path.exists() else b""
        whole = data[: data.rfind(b"\n") + 1]
        if repairs and len(whole) < len(data):
            with path.open("r+b") as file:
                file.truncate(len(whole))
    except OSError as error:
        raise FormatError(f"cannot be read ({error.strerror or error})", where=path) from error
    found = []
    for number, text in enumerate(whole.split(b"\n")[:-1], 1):
        try:
            found.append((number, json.loads(text)))
        except ValueError as error:
            raise FormatError("not JSON", where=f"{path}:{number}", found=str(error)) from error
    return found
