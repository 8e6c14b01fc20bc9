"""Rows of trees as the network takes them, and which rows a step learns from.

Rows are not padded: trees are put side by side up to a number of tokens, and a mask keeps them
apart. Which trees a step has is a function of seed and step alone, so a run resumes without a state
of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from understudy.compress.losses import LiveTarget, Target, cross_entropy, forward_kl
from understudy.compress.network import Network
from understudy.data.trees import PackedRow, Tree, plant

HIDDEN = -1e30  # what is added to the score of a token that may not be seen


class Trained(Protocol):
    """What is tuned: low-rank terms (`lora.Adapters`) or all weights (`whole.WholeWeights`)."""

    def parameters(self) -> Iterator[nn.Parameter]: ...

    def set_enabled(self, is_enabled: bool) -> None:
        """Whether the network answers as tuned or as its base."""


@contextmanager
def as_base(trained: Trained) -> Iterator[None]:
    """The network answers as its base, until the end."""
    trained.set_enabled(False)
    try:
        yield
    finally:
        trained.set_enabled(True)


@dataclass(frozen=True)
class Batching:
    """A row has at most `row_tokens` (a longer tree stands alone), a step at least `step_tokens`
    unless the epoch ends.
    """

    row_tokens: int = 512
    step_tokens: int = 3072
    seed: int = 0


def steps_of(sizes: Sequence[int], batching: Batching, epochs: float) -> list[list[list[int]]]:
    """Numbers of trees by step and row, for so many passes over them."""
    steps: list[list[list[int]]] = []
    for epoch in range(int(np.ceil(epochs))):
        order = np.random.default_rng((batching.seed, epoch)).permutation(len(sizes))
        share = min(1.0, epochs - epoch)
        steps += _steps(order[: round(share * len(order))].tolist(), sizes, batching)
    return steps


def _steps(order: Sequence[int], sizes: Sequence[int], batching: Batching) -> list[list[list[int]]]:
    steps: list[list[list[int]]] = [[]]
    of_step = of_row = 0
    for number in order:
        if of_step >= batching.step_tokens:
            steps.append([])
            of_step = of_row = 0
        if not steps[-1] or of_row + sizes[number] > batching.row_tokens:
            steps[-1].append([])
            of_row = 0
        steps[-1][-1].append(number)
        of_row += sizes[number]
        of_step += sizes[number]
    return [step for step in steps if step]


@dataclass(frozen=True)
class RowTensors:
    """A row on the network's device; `parents` are the places before the learnt tokens."""

    tokens: Tensor  # (1, tokens) int64
    positions: Tensor  # (tokens,) int64
    mask: Tensor  # (tokens, tokens)
    parents: Tensor  # (learnt,) int64
    labels: Tensor  # (learnt,) int64
    weights: Tensor  # (learnt,) float32

    @classmethod
    def of(cls, trees: Sequence[Tree], device: torch.device, dtype: torch.dtype) -> RowTensors:
        return cls.of_row(plant(trees), device, dtype)

    @classmethod
    def of_row(cls, row: PackedRow, device: torch.device, dtype: torch.dtype) -> RowTensors:
        places = np.flatnonzero((row.weights > 0) & (row.parents >= 0))
        mask = torch.zeros(len(row.tokens), len(row.tokens), dtype=dtype)
        mask.masked_fill_(~torch.from_numpy(row.visible()), HIDDEN)
        return cls(
            torch.from_numpy(row.tokens.astype(np.int64))[None].to(device),
            torch.from_numpy(row.positions.astype(np.int64)).to(device),
            mask.to(device),
            torch.from_numpy(row.parents[places].astype(np.int64)).to(device),
            torch.from_numpy(row.tokens[places].astype(np.int64)).to(device),
            torch.from_numpy(row.weights[places].astype(np.float32)).to(device),
        )


def hidden_of(network: Network, row: RowTensors) -> Tensor:
    """(learnt, hidden): what the head reads where a token is learnt."""
    hidden = network.hidden(row.tokens, row.positions, row.mask)[0]
    return hidden[row.parents]


def row_loss(
    network: Network,
    row: RowTensors,
    terms: Sequence[tuple[float, Target]] = (),
    labels: float = 1.0,
) -> Tensor:
    """Σ weight · (labels · -log p + Σ share · KL(target ‖ network)) of the learnt tokens, in nats;
    logits only where something is learnt.

    Args:
        terms: (share, target): the base's answer to the same row (`base_of`), which holds the
            network near it, or a teacher's.
        labels: the share of the words themselves.
    """
    hidden, head = hidden_of(network, row), network.head_weight
    loss = labels * cross_entropy(hidden, head, row.labels, row.weights)
    for share, target in terms:
        loss = loss + share * forward_kl(hidden, head, target, row.weights)
    return loss


def base_of(network: Network, trained: Trained, row: RowTensors) -> LiveTarget:
    """What the base answers where a token is learnt: the network with its tuning switched off."""
    with torch.no_grad(), as_base(trained):
        return LiveTarget(hidden_of(network, row), network.head_weight.detach())
