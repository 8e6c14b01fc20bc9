"""Rows of token ids in the shapes that transformers' users hold: lists, arrays, tensors, and the
dict of them.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from understudy.errors import UsageError

NO_LIMIT = int(1e30)  # what transformers says where no file gives a length
LAYOUT = ("padding", "padding_side", "truncation", "max_length", "truncation_side")


def tensors(rows: list[list[int]], kind: str | None) -> Any:
    """Rows of ids as lists, a NumPy array or a PyTorch tensor.

    Raises:
        UsageError: rows that differ in length, an unknown kind, or no PyTorch.
    """
    if kind is None:
        return rows
    if len({len(row) for row in rows}) > 1:
        raise UsageError(
            "rows differ in length",
            where="return_tensors",
            do="pass padding=True, or one text at a time",
        )
    array = np.asarray(rows, np.int64)
    if kind == "np":
        return array
    if kind == "pt":
        try:
            return importlib.import_module("torch").from_numpy(array)
        except ImportError as error:
            raise UsageError(
                "PyTorch is not installed",
                where='return_tensors="pt"',
                do='use return_tensors="np"',
            ) from error
    raise UsageError(
        "unknown kind of tensor", where="return_tensors", expected="np or pt", found=kind
    )


def plain(value: Any) -> Any:
    """Ids as lists or a number, from what may be an array, a tensor or a `BatchEncoding`."""
    if isinstance(value, Mapping):
        value = value["input_ids"]
    return value.tolist() if hasattr(value, "tolist") else value


def rows_of(value: Any) -> list[list[int]]:
    """Rows of ids from a list, an array or a tensor of one or two dimensions."""
    values = plain(value)
    values = [plain(row) for row in values]
    rows = values if values and isinstance(values[0], list | tuple) else [values]
    return [[int(token) for token in row] for row in rows]


class BatchEncoding(dict[str, Any]):
    """A dict whose keys are attributes too.

    What is asked of it beyond that is asked of its `input_ids`, which is what version 4 gave
    instead: `ids.shape[1]`, `ids[0]`.
    """

    def __getitem__(self, key: Any) -> Any:
        return super().__getitem__(key) if isinstance(key, str) else self["input_ids"][key]

    def __getattr__(self, name: str) -> Any:
        if name in self:
            return self[name]
        if name.startswith("__") or "input_ids" not in self:
            raise AttributeError(name)
        return getattr(self["input_ids"], name)

    def to(self, _device: Any, **_: Any) -> BatchEncoding:
        return self


def encoded(rows: list[list[int]], masks: list[list[int]], kind: str | None) -> BatchEncoding:
    return BatchEncoding(input_ids=tensors(rows, kind), attention_mask=tensors(masks, kind))


def laid_out(
    rows: list[list[int]], pad: int, layout: Mapping[str, Any]
) -> tuple[list[list[int]], list[list[int]]]:
    """Rows cut and padded, and their masks.

    Args:
        rows: ids.
        pad: what fills short rows.
        layout: values for `LAYOUT`, with `padding_side` and `max_length`.

    Raises:
        UsageError: truncation to no length, or an unknown side.
    """
    limit = layout["max_length"]
    if layout.get("truncation") not in (None, False, "do_not_truncate"):
        if limit >= NO_LIMIT:
            raise UsageError("truncation needs a length", where="truncation", do="give max_length")
        is_left = layout.get("truncation_side") == "left"
        rows = [row[-limit:] if is_left else row[:limit] for row in rows]
    width = 0
    if layout.get("padding") not in (None, False, "do_not_pad"):
        width = max(map(len, rows), default=0)
        if layout["padding"] == "max_length" and limit < NO_LIMIT:
            width = max(width, limit)
    gaps = [max(width - len(row), 0) for row in rows]
    pairs = list(zip(rows, gaps, strict=True))
    if checked_side(layout["padding_side"]) == "left":
        return (
            [[pad] * gap + row for row, gap in pairs],
            [[0] * gap + [1] * len(row) for row, gap in pairs],
        )
    return (
        [row + [pad] * gap for row, gap in pairs],
        [[1] * len(row) + [0] * gap for row, gap in pairs],
    )


def checked_side(side: str) -> str:
    """UsageError unless it is left or right."""
    if side not in ("left", "right"):
        raise UsageError("unknown side", where="padding_side", expected="left or right", found=side)
    return side
