"""From texts to vectors. To add one: `embed/<name>.py` with a class that follows `Embedder`, and
its name in `EMBEDDERS`.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from understudy.errors import UsageError

EMBEDDERS: dict[str, tuple[str, str]] = {
    "wordllama": ("understudy.text.embed.wordllama", "WordLlama"),
    "hashing": ("understudy.text.embed.hashing", "Hashing"),
}


class Embedder(Protocol):
    """`name` stands in the index, which refuses vectors of another embedder."""

    name: str
    dim: int

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """(texts, dim), each row of length 1, or 0 for a text without any known word."""


def open_embedder(name: str = "wordllama", **options: Any) -> Embedder:
    """An embedder by its name; what follows a `/` in the name of an index (a size, a version) is
    ignored here.
    """
    entry = EMBEDDERS.get(name.partition("/")[0])
    if entry is None:
        raise UsageError("unknown embedder", where=name, expected=", ".join(EMBEDDERS))
    embedder: Embedder = getattr(importlib.import_module(entry[0]), entry[1])(**options)
    return embedder


def normalised(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.where(lengths > 0, lengths, 1)).astype(np.float32)
