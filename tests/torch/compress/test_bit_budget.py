"""A budget of bits: what matrices are thought to cost against what they do, and what is bought."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from tests.torch.compress.support import random_rows, tiny_teacher
from understudy.compress.bit_budget import CHOICES, Price, Prices, find_prices
from understudy.compress.calibrate import Statistics, calibrate
from understudy.compress.data import Sequences
from understudy.compress.evaluate import compare
from understudy.compress.network import Network
from understudy.compress.quantize import QuantizeSettings, quantize
from understudy.errors import UsageError


def _calibrated(
    folder: Path, kind: str, **changes: object
) -> tuple[Network, Statistics, Sequences]:
    network = tiny_teacher(kind, **changes)
    rows = random_rows(network.spec)
    return network, calibrate(network, rows, folder), rows


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("nemotron", "model.embed_tokens.weight"),
        ("nemotron", "model.layers.1.self_attn.o_proj.weight"),
        ("nemotron", "model.layers.1.mlp.down_proj.weight"),
        ("llama", "model.layers.0.self_attn.q_proj.weight"),
        ("llama", "model.layers.1.mlp.gate_proj.weight"),
        ("llama", "lm_head.weight"),
    ],
)
def test_a_matrix_costs_what_was_estimated(kind: str, name: str, tmp_path: Path) -> None:
    network, statistics, rows = _calibrated(tmp_path, kind)
    prices = find_prices(network, statistics, rows, {})
    assert prices.num_weights == sum(v.numel() for v in network.state_dict().values())
    settings = QuantizeSettings(method="scale_search", equalise=False)
    fine = dict.fromkeys(prices.of, "q8")
    floor = quantize(network, statistics, QuantizeSettings("q8", method="scale_search")).network
    for price in prices.of[name][:2]:
        formats = fine | {name: price.grid}
        rounded = quantize(
            network, statistics, QuantizeSettings(**vars(settings) | {"formats": formats})
        ).network
        measured = compare(rounded, network, rows).kl - compare(floor, network, rows).kl
        assert price.kl == pytest.approx(measured, rel=0.25), price.grid


def test_the_bits_are_kept_and_the_ends_stay_as_they_are_told(tmp_path: Path) -> None:
    network, statistics, rows = _calibrated(tmp_path, "llama")
    prices = find_prices(network, statistics, rows, {"lm_head": "q4"})
    for budget in (3.6, 4.2, 6.0):
        chosen = prices.within(budget)
        formats = {name: price.grid for name, price in chosen.items()}
        assert formats["lm_head.weight"] == "q4"
        settings = QuantizeSettings(method="scale_search", equalise=False, formats=formats)
        result = quantize(network, statistics, settings)
        spent = sum(p.bits for p in chosen.values()) + prices.other_bits
        assert result.bits_per_weight() == pytest.approx(spent / prices.num_weights)
        assert budget - 0.5 < result.bits_per_weight() <= budget
    steps = prices.ladder()
    costs = [step["estimated_kl"] for step in steps]
    assert costs == sorted(costs)
    with pytest.raises(
        UsageError, match=r"so few bits a weight; expected at least 3\.\d+; found 3"
    ):
        prices.within(3.0)


def test_what_is_bought_is_nearly_the_best_that_can_be_had() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        sizes, costs = rng.integers(1, 9, 6), rng.exponential(size=6)
        options = {
            str(i): [
                Price(grid, float(bits * size), float(cost * 4.0**-bits))
                for grid, bits in zip(CHOICES, (3, 4, 8), strict=True)
            ]
            for i, (size, cost) in enumerate(zip(sizes, costs, strict=True))
        }
        prices, budget = Prices(options, 0.0, int(sizes.sum())), 4.2
        every = (
            choice
            for choice in itertools.product(*options.values())
            if sum(price.bits for price in choice) <= budget * sizes.sum()
        )
        best = min(sum(price.kl for price in choice) for choice in every)
        found = prices.within(budget).values()
        assert sum(price.bits for price in found) <= budget * sizes.sum()
        assert sum(price.kl for price in found) <= 1.6 * best


def test_a_matrix_that_is_not_there_is_told(tmp_path: Path) -> None:
    network, statistics, _ = _calibrated(tmp_path, "nemotron")
    with pytest.raises(UsageError, match=r"no such matrix; .*found \['model.lm_head.weight'\]"):
        quantize(network, statistics, QuantizeSettings(formats={"model.lm_head.weight": "q8"}))
