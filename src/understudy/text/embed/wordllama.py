"""Static word vectors of the `wordllama` package (MIT): the mean of its tokens' vectors.

The weights (256 dimensions, 32,000 tokens) and the tokenizer lie inside the wheel and are read from
there as data, so nothing is fetched and none of the package's own code runs.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from understudy.errors import MissingError
from understudy.text.embed import normalised

WEIGHTS = "weights/l2_supercat_256.safetensors"
TOKENIZER = "tokenizers/l2_supercat_tokenizer_config.json"
BATCH = 256
MANY = 65_536  # tokens, whose vectors take 64 MB


class WordLlama:
    dim = 256
    name = "wordllama/256"

    def __init__(self) -> None:
        from safetensors.numpy import load_file
        from tokenizers import Tokenizer

        folder = _package_folder()
        self.vectors: NDArray[np.float32] = next(iter(load_file(folder / WEIGHTS).values())).astype(
            np.float32
        )  # (tokens, 256)
        self.tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
        self.tokenizer.no_padding()
        self.tokenizer.no_truncation()

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        rows = np.zeros((len(texts), self.dim), np.float32)
        for first in range(0, len(texts), BATCH):
            batch = [text or " " for text in texts[first : first + BATCH]]
            encoded = self.tokenizer.encode_batch_fast(batch, add_special_tokens=False)
            for i, entry in enumerate(encoded, first):
                if ids := entry.ids:
                    rows[i] = self._mean(np.minimum(ids, len(self.vectors) - 1))
        return normalised(rows)

    def _mean(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """The mean of some tokens' vectors, of many tokens at most `MANY` at once: (256,)."""
        if len(ids) == 1:
            return np.asarray(self.vectors[ids[0]])
        if len(ids) <= MANY:
            return np.asarray(self.vectors[ids].mean(0))
        parts = [self.vectors[ids[i : i + MANY]].sum(0) for i in range(0, len(ids), MANY)]
        return np.asarray(np.sum(parts, axis=0) / len(ids))


def _package_folder() -> Path:
    found = importlib.util.find_spec("wordllama")
    if found is None or found.origin is None:
        raise MissingError(
            "the embedder's weights are not installed",
            where="wordllama",
            do="install understudy[rag], or choose another embedder",
        )
    folder = Path(found.origin).parent
    for name in (WEIGHTS, TOKENIZER):
        if not (folder / name).is_file():
            raise MissingError(
                "the embedder's package lacks a file",
                where=folder / name,
                do="install wordllama 0.4.0.post1",
            )
    return folder
