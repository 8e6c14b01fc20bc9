"""Weights by canonical name, changed on the way out: rows reordered, offsets removed, chunks
joined, one tensor at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping

import numpy as np

from understudy.formats.tensor import StoredTensor, num_bytes


class Weights(Mapping[str, StoredTensor]):
    """Tensors by canonical name; a change of rows or of values is made when a tensor is asked for,
    and not kept.
    """

    def __init__(self, tensors: Mapping[str, StoredTensor]) -> None:
        self._tensors = dict(tensors)
        self._changes: dict[str, Callable[[StoredTensor], StoredTensor]] = {}

    def change(self, name: str, how: Callable[[StoredTensor], StoredTensor]) -> None:
        """`how` is done when the tensor is asked for, behind the changes announced before."""
        first = self._changes.get(name)
        self._changes[name] = how if first is None else lambda tensor: how(first(tensor))

    def put(self, tensor: StoredTensor) -> None:
        self._tensors[tensor.name] = tensor

    def take_over(self, other: Weights, name: str, stored: StoredTensor) -> None:
        """A tensor of another mapping as `stored`, with the change that it has there."""
        self._tensors[stored.name] = stored
        if name in other._changes:
            change = other._changes[name]
            self._changes[stored.name] = lambda t: change(t).renamed(stored.name)

    def is_changed(self, name: str) -> bool:
        return name in self._changes

    def remove(self, name: str) -> None:
        del self._tensors[name]
        self._changes.pop(name, None)

    def rename(self, name: str, new: str) -> None:
        self._tensors[new] = self._tensors.pop(name).renamed(new)
        if name in self._changes:
            self._changes[new] = self._changes.pop(name)

    def __getitem__(self, name: str) -> StoredTensor:
        tensor = self._tensors[name]
        return self._changes[name](tensor) if name in self._changes else tensor

    def stored(self, name: str) -> StoredTensor:
        """The tensor as it lies in the file: shape, format and size without any work."""
        return self._tensors[name]

    def __contains__(self, name: object) -> bool:
        return name in self._tensors

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)


def announced(name: str, shape: tuple[int, ...], format: str) -> StoredTensor:
    """A tensor of the right shape, format and size that takes no memory: stands where a change will
    give the bytes.
    """
    return StoredTensor(
        name,
        shape,
        format,
        np.broadcast_to(np.uint8(0), math.prod(shape) and num_bytes(format, shape, name)),
    )
