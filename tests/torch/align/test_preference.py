"""Preference losses against their formulas, and what a few steps of each do."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from tests.support.byte_chat import byte_chat
from tests.support.checkpoints import SPECS, random_weights
from understudy.align.lora import LoraSettings, attach
from understudy.align.preference import (
    PREFERENCE_LOSSES,
    PreferenceSettings,
    Replies,
    pair_of,
    preference_loss,
    replies,
)
from understudy.compress.network import network_from_weights
from understudy.data.encode import ConversationEncoder
from understudy.data.records import record_of
from understudy.data.trees import Encoded, grow
from understudy.errors import UsageError

SPEC = SPECS["llama"]


def values(*numbers: float) -> torch.Tensor:
    return torch.tensor(numbers, dtype=torch.float64)


OURS = Replies(values(-4.0), values(-6.0), values(2.0), values(4.0))
BASE = Replies(values(-5.0), values(-5.5), values(2.0), values(4.0))


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("dpo", -math.log(sigmoid(0.1 * (1.0 - -0.5)))),
        ("simpo", -math.log(sigmoid(0.1 * (-2.0 + 1.5) - 0.5))),
        (
            "orpo",
            2.0
            - 0.1
            * math.log(
                sigmoid(
                    math.log(math.exp(-2) / (1 - math.exp(-2)))
                    - math.log(math.exp(-1.5) / (1 - math.exp(-1.5)))
                )
            ),
        ),
    ],
)
def test_losses_are_their_formulas(name: str, expected: float) -> None:
    loss = PREFERENCE_LOSSES[name](OURS, BASE, PreferenceSettings(name))
    assert float(loss) == pytest.approx(expected, rel=1e-6)


def pair(seed: int = 0):
    rng = np.random.default_rng(seed)
    first = rng.integers(0, SPEC.vocab_size, 8).tolist()
    both = []
    for length in (4, 6):
        rest = rng.integers(0, SPEC.vocab_size, length).tolist()
        both.append(Encoded(tuple(first + rest), (0.0,) * 8 + (1.0,) * length))
    return grow(both), both


def test_log_probabilities_of_a_pair_are_those_of_its_replies_alone() -> None:
    network = network_from_weights(SPEC, random_weights(SPEC, seed=2))
    tree, both = pair()
    found = replies(network, [tree])
    for encoded, summed in zip(both, (found.chosen, found.rejected), strict=True):
        tokens = torch.tensor(encoded.ids)
        log_p = network(tokens[None, :-1])[0].log_softmax(-1).gather(1, tokens[1:, None])[:, 0]
        assert float(summed[0]) == pytest.approx(float(log_p[7:].sum().detach()), rel=1e-4)


@pytest.mark.parametrize("name", PREFERENCE_LOSSES)
def test_a_few_steps_prefer_what_was_chosen(name: str) -> None:
    network = network_from_weights(SPEC, random_weights(SPEC, seed=2))
    adapters = attach(network, LoraSettings(rank=4))
    optimizer = torch.optim.AdamW(adapters.parameters(), lr=2e-2, weight_decay=0.0)
    trees = [pair(seed)[0] for seed in range(4)]
    settings = PreferenceSettings(name, beta=0.5)

    def margin() -> float:
        found = replies(network, trees)
        chosen, rejected = found.means
        return float((chosen - rejected).mean().detach())

    before, losses = margin(), []
    for _ in range(8):
        loss, _ = preference_loss(network, adapters, trees, settings)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]
    assert margin() > before + 0.3


def test_records_become_pairs_and_equal_replies_none() -> None:
    encoder = ConversationEncoder.of(*byte_chat())
    document = {
        "kind": "preference",
        "messages": [{"role": "user", "content": "q"}],
        "chosen": "yes please",
        "rejected": "yes, no",
    }
    tree = pair_of(record_of(document, "x"), encoder)
    assert tree is not None
    assert set(tree.owners.tolist()) == {0, 1, 2}
    assert set(tree.weights.tolist()) <= {0.0, 1.0, 2.0}
    assert pair_of(record_of({**document, "rejected": "yes please"}, "x"), encoder) is None
    with pytest.raises(UsageError, match="chosen and a rejected"):
        pair_of(record_of({**document, "rejected": None}, "x"), encoder)


def test_an_unknown_loss_is_said() -> None:
    network = network_from_weights(SPEC, random_weights(SPEC, seed=2))
    adapters = attach(network, LoraSettings(rank=2))
    with pytest.raises(UsageError, match="dpo simpo orpo"):
        preference_loss(network, adapters, [pair()[0]], PreferenceSettings("ipo"))
