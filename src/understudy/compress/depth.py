"""Which layers to keep when depth is cut: by block influence, by perplexity, or one contiguous
block by the loss.

kept = choose_layers("influence", network, statistics, num_layers=20)
kept = choose_layers("contiguous", network, statistics, num_layers=20, sequences=some_rows)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch

from understudy.compress.calibrate import Statistics
from understudy.compress.data import Sequences
from understudy.compress.losses import cross_entropy
from understudy.compress.network import Network
from understudy.errors import UsageError


def choose_layers(
    method: str,
    network: Network,
    statistics: Statistics,
    num_layers: int,
    sequences: Sequences | None = None,
) -> tuple[int, ...]:
    """Indices of the layers that stay, rising.

    influence: drop the layers that turn the stream least (ShortGPT). perplexity: drop the layers
    whose single removal costs the least loss on `sequences`. contiguous: drop the one block whose
    removal costs the least (2408.11796).
    """
    total = network.spec.num_layers
    if num_layers == total:
        return tuple(range(total))
    if method not in DEPTH_METHODS:
        raise UsageError("unknown way to choose layers", found=method, expected=list(DEPTH_METHODS))
    if method != "influence" and sequences is None:
        raise UsageError(f"choosing layers by {method} needs data", do="give sequences of text")
    dropped = DEPTH_METHODS[method](network, statistics, total - num_layers, sequences)
    return tuple(index for index in range(total) if index not in dropped)


def _by_influence(
    network: Network, statistics: Statistics, count: int, sequences: Sequences | None
) -> set[int]:
    del network, sequences
    return set(np.argsort(statistics.scalars("influence"), kind="stable")[:count].tolist())


def _by_perplexity(
    network: Network, statistics: Statistics, count: int, sequences: Sequences | None
) -> set[int]:
    del statistics
    costs = _costs(network, sequences, [{index} for index in range(network.spec.num_layers)])
    return set(np.argsort(costs, kind="stable")[:count].tolist())


def _contiguous(
    network: Network, statistics: Statistics, count: int, sequences: Sequences | None
) -> set[int]:
    del statistics
    blocks = [
        set(range(start, start + count)) for start in range(network.spec.num_layers - count + 1)
    ]
    return blocks[int(np.argmin(_costs(network, sequences, blocks)))]


Method = Callable[[Network, Statistics, int, "Sequences | None"], set[int]]
DEPTH_METHODS: dict[str, Method] = {
    "influence": _by_influence,
    "perplexity": _by_perplexity,
    "contiguous": _contiguous,
}


def _costs(
    network: Network, sequences: Sequences | None, removals: Sequence[set[int]]
) -> list[float]:
    if sequences is None:
        raise UsageError("choosing layers by loss needs data")
    return list(map(partial(loss_without, network, sequences), removals))


@torch.no_grad()
def loss_without(
    network: Network, sequences: Sequences, dropped: set[int], batch_size: int = 8
) -> float:
    """Mean loss in nats per token when these layers are stepped over."""
    total = 0.0
    rotation = network.rotation(sequences.mask.shape[1])
    for start in range(0, len(sequences), batch_size):
        tokens = torch.from_numpy(sequences.tokens[start : start + batch_size].astype(np.int64)).to(
            network.device
        )
        x = network.model.embed_tokens(tokens[:, :-1])
        for index, layer in enumerate(network.model.layers):
            if index not in dropped:
                x = layer(x, rotation)
        hidden, labels = network.model.norm(x).flatten(0, 1), tokens[:, 1:].flatten()
        total += cross_entropy(
            hidden, network.head_weight, labels, torch.ones_like(labels, dtype=torch.float32)
        ).item()
    return total / sequences.num_tokens
