"""JSON and JSON lines: each record of a list, or each member of an object, becomes a block of `path: value` lines."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from understudy.errors import DocumentError
from understudy.rag.document import Builder, Document
from understudy.rag.readers import decode

MAX_DEPTH = 64


def read(path: Path, data: bytes) -> Document:
    text = decode(path, data)
    builder = Builder(path.stem)
    try:
        if path.suffix.lower() == ".jsonl":
            value: Any = [json.loads(line) for line in text.split("\n") if line.strip()]
        else:
            value = json.loads(text)
        _add(value, builder)
    except RecursionError as error:
        raise DocumentError("JSON is nested too deeply", where=path) from error
    except ValueError as error:
        raise DocumentError(f"file is not JSON ({error})", where=path) from error
    return builder.build()


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
