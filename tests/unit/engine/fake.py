"""A model without weights for testing the engine's policy.

The fake's cache stores which token was written at which place, and the next token is a digest of
what it reads back through the page table. Wrong pages, wrong positions or a page reused for other
tokens therefore change the answer.
"""

from __future__ import annotations

import hashlib

import numpy as np

from understudy.engine.sequence import Sequence
from understudy.text.tokenizer import Segmenter, Tokenizer

VOCAB = 64
EOS = 0


class Letters(Segmenter):
    """Token i is the character chr(32 + i)."""

    vocab_size = VOCAB

    def encode(self, text: str, is_start: bool) -> list[int]:
        return [ord(c) - 32 for c in text]

    def piece(self, token: int) -> str:
        return chr(32 + token)

    def bytes_of(self, token: int) -> bytes:
        return chr(32 + token).encode()


def letters(eos: tuple[int, ...] = ()) -> Tokenizer:
    return Tokenizer(Letters(), [], bos_id=None, eos_ids=eos)


def next_token(history: list[int]) -> int:
    """The fake model's greedy choice after a text."""
    return int.from_bytes(hashlib.sha256(bytes(history)).digest()[:4], "little") % VOCAB


def continuation(prompt: list[int], count: int) -> list[int]:
    tokens = list(prompt)
    for _ in range(count):
        tokens.append(next_token(tokens))
    return tokens[len(prompt) :]


class FakeRunner:
    def __init__(self, num_pages: int, page_size: int = 4) -> None:
        self.num_pages, self.page_size = num_pages, page_size
        self.cells = np.full((num_pages, page_size), 255, np.int64)
        self.computed = 0
        self.steps = 0

    def copy_page(self, source: int, target: int) -> None:
        self.cells[target] = self.cells[source]

    def step(self, sequences: list[Sequence], logit_counts: list[int]) -> np.ndarray:
        self.steps += 1
        rows = []
        for sequence in sequences:  # everything is written before anything is read, as in the core
            chunk = (
                sequence.tokens[sequence.num_computed :][: sequence.num_scheduled] + sequence.drafts
            )
            self.computed += len(chunk)
            for position, token in enumerate(chunk, sequence.num_computed):
                self.cells[
                    sequence.pages[position // self.page_size], position % self.page_size
                ] = token
        for sequence, wanted in zip(sequences, logit_counts, strict=True):
            end = sequence.num_computed + sequence.num_scheduled + len(sequence.drafts)
            for last in range(end - wanted, end):
                read = [
                    int(self.cells[sequence.pages[p // self.page_size], p % self.page_size])
                    for p in range(last + 1)
                ]
                row = np.random.default_rng(len(read)).standard_normal(VOCAB).astype(np.float32)
                row[next_token(read)] = 50.0
                rows.append(row)
        return np.asarray(rows, np.float32).reshape(-1, VOCAB)
