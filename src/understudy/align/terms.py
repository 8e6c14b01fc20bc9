"""Low-rank terms beside frozen weights: of linear layers, of the embedding, of the head.

Each has a `down` (rank, in) and an `up` (out, rank), in float32, which are A and B of
`adapters.Adapter`. What is learnt of single tokens is a term too: its rank is their number, one
half says which rows and is fixed, the other half holds what is added to them (`fix_rows`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional


class LowRankTerm(nn.Module):
    """See the module's docstring. `scale` is of the term while it is enabled."""

    def __init__(self, into: int, out: int, rank: int, scale: float, device: torch.device) -> None:
        super().__init__()
        self.rank, self._scale, self.is_enabled = rank, scale, True
        self.has_fixed_rows = False
        self.down = nn.Parameter(torch.zeros(rank, into, device=device))
        self.up = nn.Parameter(torch.zeros(out, rank, device=device))

    @property
    def scale(self) -> float:
        return self._scale if self.is_enabled else 0.0

    def draw(self, generator: torch.Generator) -> None:
        """A from U(-1/√in, 1/√in), which is Kaiming's with a = √5, as PEFT draws it."""
        bound = 1 / math.sqrt(self.down.shape[1])
        drawn = torch.rand(self.down.shape, generator=generator)
        with torch.no_grad():
            self.down.copy_(drawn.mul_(2 * bound).sub_(bound))

    def fix_rows(self, rows: Sequence[int]) -> None:
        """Only these rows of the vocabulary change; as many as the rank."""
        half = self._half_of_rows().requires_grad_(False)
        picks = half if half is self.down else half.T
        for number, row in enumerate(rows):
            picks[number, row] = 1
        self.has_fixed_rows = True

    def _half_of_rows(self) -> nn.Parameter:
        """The half that says which rows of the vocabulary change."""
        raise NotImplementedError


class LoraLinear(LowRankTerm):
    """A frozen linear layer with its term: (…, in) -> (…, out)."""

    def __init__(self, linear: nn.Linear, rank: int, scale: float) -> None:
        weight = linear.weight
        super().__init__(linear.in_features, linear.out_features, rank, scale, weight.device)
        self.linear = linear

    @property
    def weight(self) -> Tensor:
        return self.linear.weight

    @property
    def bias(self) -> Tensor | None:
        return self.linear.bias

    def forward(self, x: Tensor) -> Tensor:
        low = functional.linear(x, self.down.to(x.dtype))
        return self.linear(x) + functional.linear(low, (self.up * self.scale).to(x.dtype))


class LoraEmbedding(LowRankTerm):
    """A frozen embedding with its term: ids (…) -> (…, hidden). `down` is (rank, vocabulary)."""

    def __init__(self, embedding: nn.Embedding, rank: int, scale: float) -> None:
        vocab_size, hidden_size = embedding.weight.shape
        super().__init__(vocab_size, hidden_size, rank, scale, embedding.weight.device)
        self.embedding = embedding

    @property
    def weight(self) -> Tensor:
        """Of the base: what a tied head reads."""
        return self.embedding.weight

    def forward(self, tokens: Tensor) -> Tensor:
        x: Tensor = self.embedding(tokens)
        low = functional.embedding(tokens, self.down.T)
        return x + functional.linear(low, self.up * self.scale).to(x.dtype)

    def _half_of_rows(self) -> nn.Parameter:
        return self.down


class LoraHead(LowRankTerm):
    """A frozen head, which may be the embedding's matrix, with its term. It stands where a linear
    layer stood; `weight` is the sum of both, made anew at each use.
    """

    def __init__(self, weight: Tensor, rank: int, scale: float) -> None:
        vocab_size, hidden_size = weight.shape
        super().__init__(hidden_size, vocab_size, rank, scale, weight.device)
        self.base = weight

    @property
    def weight(self) -> Tensor:
        if not self.is_enabled:
            return self.base
        return self.base + ((self.up * self.scale) @ self.down).to(self.base.dtype)

    def _half_of_rows(self) -> nn.Parameter:
        return self.up
