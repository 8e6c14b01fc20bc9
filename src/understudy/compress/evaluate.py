"""How good a student is on held-out sequences: perplexity, KL to its teacher, top-1 agreement.
float32, fixed windows."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from understudy.compress.data import Sequences
from understudy.compress.losses import LiveTarget, cross_entropy, token_statistics
from understudy.compress.network import Network
from understudy.errors import UsageError


@dataclass(frozen=True)
class Quality:
    """Per predicted token: perplexities, KL(teacher ‖ student) in nats, share of equal top-1; over
    `tokens` tokens."""

    perplexity: float
    teacher_perplexity: float
    kl: float
    agreement: float
    tokens: int

    def as_dict(self) -> dict[str, float]:
        return asdict(self)


@torch.no_grad()
def remember(teacher: Network, sequences: Sequences, batch_size: int = 4) -> Tensor:
    """What the teacher's head reads, (sequences, tokens, hidden): for comparing many students on
    the same sequences."""
    parts = torch.from_numpy(sequences.tokens[:, :-1].astype(np.int64)).split(batch_size)
    return torch.cat([teacher.hidden(tokens.to(teacher.head_weight.device)) for tokens in parts])


@torch.no_grad()
def compare(
    student: Network,
    teacher: Network,
    sequences: Sequences,
    batch_size: int = 4,
    remembered: Tensor | None = None,
) -> Quality:
    """Student against teacher on the tokens that the sequences' mask marks. Vocabularies must be
    equal."""
    device = student.head_weight.device
    sums = {"kl": 0.0, "nll": 0.0, "teacher_nll": 0.0, "agree": 0.0}
    for start in range(0, len(sequences), batch_size):
        tokens = torch.from_numpy(sequences.tokens[start : start + batch_size].astype(np.int64)).to(
            device
        )
        mask = (
            torch.from_numpy(sequences.mask[start : start + batch_size])
            .float()
            .flatten()
            .to(device)
        )
        ours = student.hidden(tokens[:, :-1]).flatten(0, 1).float()
        theirs = (
            teacher.hidden(tokens[:, :-1])
            if remembered is None
            else remembered[start : start + batch_size]
        )
        target = LiveTarget(theirs.flatten(0, 1).float(), teacher.head_weight.float())
        found = token_statistics(ours, student.head_weight.float(), target, tokens[:, 1:].flatten())
        for name in sums:
            sums[name] += (found[name] * mask).sum().item()
    count = num_counted(sequences)
    return Quality(
        math.exp(sums["nll"] / count),
        math.exp(sums["teacher_nll"] / count),
        sums["kl"] / count,
        sums["agree"] / count,
        count,
    )


@torch.no_grad()
def perplexity(network: Network, sequences: Sequences, batch_size: int = 4) -> float:
    """exp(mean loss) over the tokens that the mask marks."""
    device, total = network.head_weight.device, 0.0
    for start in range(0, len(sequences), batch_size):
        tokens = torch.from_numpy(sequences.tokens[start : start + batch_size].astype(np.int64)).to(
            device
        )
        mask = (
            torch.from_numpy(sequences.mask[start : start + batch_size])
            .float()
            .flatten()
            .to(device)
        )
        hidden = network.hidden(tokens[:, :-1]).flatten(0, 1)
        total += cross_entropy(hidden, network.head_weight, tokens[:, 1:].flatten(), mask).item()
    return math.exp(total / num_counted(sequences))


def num_counted(sequences: Sequences) -> int:
    """How many tokens the mask marks.

    Raises:
        UsageError: none, so that there is nothing to measure on.
    """
    if not (count := int(sequences.mask.sum())):
        raise UsageError(
            "no token of the held-out sequences counts", do="hold more out, or give assistant turns"
        )
    return count


@torch.no_grad()
def continuation(
    network: Network, tokens: NDArray[np.int32], count: int, num_tokens: int
) -> list[int]:
    """The `count` likeliest next tokens, one after the other; no cache, so for a few only.

    Args:
        tokens: (n,), what is continued.
        num_tokens: how many tokens the tokenizer has: rows beyond them are padding.
    """
    known = [int(token) for token in tokens]
    for _ in range(count):
        hidden = network.hidden(torch.tensor([known], device=network.device))[:, -1]
        known.append(int((hidden @ network.head_weight[:num_tokens].T).argmax()))
    return known[len(tokens) :]
