"""What the run-time engine makes of an export: apart from `evaluate`, which runs without the
compiled core."""

from __future__ import annotations

from pathlib import Path

import torch

from understudy.compress.data import Sequences
from understudy.model import load


def int8_cache_kl(model: Path, sequences: Sequences) -> float:
    """KL in nats a token of the run-time engine with an int8 cache to itself with a float32 one,
    over all tokens of the sequences."""
    length, total = sequences.mask.shape[1], 0.0
    exact, small = (load(model, kv=kv, context=length, use_cache=False) for kv in ("f32", "int8"))
    for tokens in sequences.tokens[:, :-1]:
        log_p, log_q = (torch.from_numpy(m.logits(tokens)).log_softmax(-1) for m in (exact, small))
        total += (log_p.exp() * (log_p - log_q)).sum().item()
    return total / sequences.num_tokens
