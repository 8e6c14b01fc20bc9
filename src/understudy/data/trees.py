"""Conversations that begin alike, written once: a beginning and the branches that follow it.

Several messages to the same tools, several questions about the same passages, or turns of one
dialogue share most of their tokens. A `Tree` holds the beginning once; every branch sees it and
itself, never another branch, so that each learns exactly what it would learn alone.

    tree = grow([Encoded(ids, learnt), …])
    row = plant([tree, other])
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Encoded:
    """A conversation as tokens; `weights[i]` says how much predicting token i counts (0: not)."""

    ids: tuple[int, ...]
    weights: tuple[float, ...]
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Tree:
    """All arrays are (tokens,). `owners` is 0 for the beginning and the number of its branch for
    the rest; `parents` is the place of the token before it in its own conversation (-1: none).
    """

    tokens: NDArray[np.int32]
    positions: NDArray[np.int32]
    owners: NDArray[np.int32]
    parents: NDArray[np.int32]
    weights: NDArray[np.float32]
    kind: str = ""

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def num_branches(self) -> int:
        return max(1, int(self.owners.max(initial=0)))


@dataclass(frozen=True, slots=True)
class PackedRow:
    """Trees side by side. `trees` is (tokens,): to which tree a token belongs."""

    tokens: NDArray[np.int32]
    positions: NDArray[np.int32]
    owners: NDArray[np.int32]
    parents: NDArray[np.int32]
    weights: NDArray[np.float32]
    trees: NDArray[np.int32]

    def visible(self) -> NDArray[np.bool_]:
        """(tokens, tokens): whether the first may look at the second."""
        order = np.arange(len(self.tokens))
        same_tree = self.trees[:, None] == self.trees[None, :]
        same_branch = (self.owners[None, :] == 0) | (self.owners[:, None] == self.owners[None, :])
        seen: NDArray[np.bool_] = (order[:, None] >= order[None, :]) & same_tree & same_branch
        return seen


def grow(conversations: Sequence[Encoded], kind: str = "") -> Tree:
    """The tree of conversations that begin alike; what they share and learn alike is learnt once
    for each.
    """
    shared = num_shared(conversations)
    tokens = list(conversations[0].ids[:shared])
    weights = [sum(c.weights[i] for c in conversations) for i in range(shared)]
    positions, owners = list(range(shared)), [0] * shared
    parents = list(range(-1, shared - 1))
    for number, conversation in enumerate(conversations, 1):
        rest = range(shared, len(conversation.ids))
        parents += [shared - 1, *range(len(tokens), len(tokens) + len(rest) - 1)][: len(rest)]
        tokens += conversation.ids[shared:]
        weights += conversation.weights[shared:]
        positions += rest
        owners += [number] * len(rest)
    return Tree(
        np.array(tokens, np.int32),
        np.array(positions, np.int32),
        np.array(owners, np.int32),
        np.array(parents, np.int32),
        np.array(weights, np.float32),
        kind or conversations[0].kind,
    )


def num_shared(conversations: Sequence[Encoded]) -> int:
    """With how many tokens all of them begin. Of a single one: all."""
    first = conversations[0].ids
    shared = min(len(conversation.ids) for conversation in conversations)
    for conversation in conversations[1:]:
        ids = conversation.ids
        shared = next((i for i in range(shared) if ids[i] != first[i]), shared)
    return shared


def plant(trees: Sequence[Tree]) -> PackedRow:
    """Trees in one row, none of which sees another."""
    starts = np.cumsum([0, *(len(tree) for tree in trees)])
    parents = [
        np.where(tree.parents < 0, -1, tree.parents + start)
        for tree, start in zip(trees, starts, strict=False)
    ]
    return PackedRow(
        np.concatenate([tree.tokens for tree in trees]),
        np.concatenate([tree.positions for tree in trees]),
        np.concatenate([tree.owners for tree in trees]),
        np.concatenate(parents),
        np.concatenate([tree.weights for tree in trees]),
        np.concatenate([np.full(len(tree), i, np.int32) for i, tree in enumerate(trees)]),
    )
