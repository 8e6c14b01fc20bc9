"""Rows of token ids in the shapes that transformers' users hold: lists, arrays, tensors, and the
dict of them.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from understudy.errors import UsageError


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
