"""Words hashed into signed buckets: no weights, no meaning, only words that two texts share.

For tests, and for installations without the embedder's weights. It finds what word search finds,
not paraphrases.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from understudy.text.embed import normalised

_WORD = re.compile(r"\w+")


class Hashing:
    def __init__(self, dim: int = 256) -> None:
        self.dim, self.name = dim, f"hashing/{dim}"

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        vectors = np.zeros((len(texts), self.dim), np.float32)
        for row, text in zip(vectors, texts, strict=True):
            for word in _WORD.findall(text.casefold()):
                number = zlib.crc32(word.encode("utf-8", "replace"))
                row[number % self.dim] += 1 if number >> 31 else -1
        return normalised(vectors)
