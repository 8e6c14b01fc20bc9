"""JSON and JSON lines: each record of a list, or each member of an object, becomes a block of
`path: value` lines.

Numbers stand as the file writes them, however large.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from understudy.errors import DocumentError
from understudy.rag.document import Builder, Document
from understudy.rag.readers import decode

MAX_DEPTH = 64


class _Number(str):
    """A number in the file's own digits."""


def read(path: Path, data: bytes) -> Document:
    text = decode(path, data)
    builder = Builder(path.stem)
    if path.suffix.lower() in (".jsonl", ".ndjson"):
        value: Any = [
            _parse(line, f"{path}: line {number}", number)
            for number, line in enumerate(text.split("\n"), 1)
            if line.strip()
        ]
    else:
        value = _parse(text, path)
    _add(value, builder)
    return builder.build()


def _parse(text: str, where: object, line: int | None = None) -> Any:
    try:
        return json.loads(text, parse_float=_Number, parse_int=_Number, parse_constant=_Number)
    except RecursionError as error:
        raise DocumentError("JSON is nested too deeply", where=where) from error
    except json.JSONDecodeError as error:
        place = (
            f"line {error.lineno}, column {error.colno}"
            if line is None
            else f"column {error.colno}"
        )
        raise DocumentError(f"file is not JSON ({error.msg}: {place})", where=where) from error


def _add(value: Any, builder: Builder) -> None:
    if isinstance(value, list):
        for item in value:
            builder.add("\n".join(_lines(item, "", 0)))
    elif isinstance(value, dict):
        for name, item in value.items():
            if isinstance(item, (dict, list)):
                builder.add(str(name), "heading", 2)
                for record in item if isinstance(item, list) else [item]:
                    builder.add("\n".join(_lines(record, "", 1)))
            else:
                builder.add(f"{name}: {_scalar(item)}")
    else:
        builder.add(_scalar(value))


def _lines(value: Any, prefix: str, depth: int) -> Iterator[str]:
    if isinstance(value, (dict, list)) and depth < MAX_DEPTH:
        for name, item in value.items() if isinstance(value, dict) else enumerate(value):
            plain = isinstance(value, list)
            yield from _lines(
                item, prefix if plain else f"{prefix}.{name}" if prefix else str(name), depth + 1
            )
    else:
        yield f"{prefix}: {_scalar(value)}" if prefix else _scalar(value)


def _scalar(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text.encode("utf-8", "replace").decode("utf-8")
