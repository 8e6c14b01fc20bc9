"""Tiny teachers and rows for the tests of compression."""

from __future__ import annotations

import numpy as np
import torch

from tests.support.checkpoints import SPECS, random_weights
from tests.support.families import FAMILIES
from understudy.compress.data import Sequences
from understudy.compress.network import Network, network_from_weights
from understudy.spec import ModelSpec


def tiny_teacher(name: str = "nemotron", seed: int = 1, **changes: object) -> Network:
    spec: ModelSpec = (SPECS | FAMILIES)[name].replace(**changes)
    return network_from_weights(spec, random_weights(spec, seed)).requires_grad_(False)


def random_rows(spec: ModelSpec, count: int = 16, length: int = 24, seed: int = 0) -> Sequences:
    tokens = (
        np.random.default_rng(seed)
        .integers(0, spec.vocab_size, (count, length + 1))
        .astype(np.int32)
    )
    return Sequences(tokens, np.ones((count, length), np.uint8))


def logits_of(network: Network, rows: Sequences) -> torch.Tensor:
    with torch.no_grad():
        return network(torch.from_numpy(rows.tokens[:, :-1].astype(np.int64)))
