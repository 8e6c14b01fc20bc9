"""Zeros of relu2 networks: rates, thresholds within a KL budget, and the hooks gone afterwards."""

from __future__ import annotations

import pytest
import torch

from tests.torch.compress.support import logits_of, random_rows, tiny_teacher
from understudy.compress.calibrate import calibrate
from understudy.compress.sparsity import cut_below, thresholds, zero_rates
from understudy.errors import UsageError


def test_rates_are_what_a_look_inside_shows(tmp_path) -> None:
    network = tiny_teacher("nemotron")
    rows = random_rows(network.spec)
    rates = zero_rates(calibrate(network, rows, tmp_path))
    seen: list[torch.Tensor] = []
    network.model.layers[2].mlp.down_proj.register_forward_pre_hook(lambda _, x: seen.append(x[0]))
    logits_of(network, rows)
    assert rates[2] == pytest.approx((seen[0] == 0).float().mean().item(), abs=1e-4)
    assert all(0.3 < rate < 0.7 for rate in rates)


def test_gated_silu_networks_have_no_zeros(tmp_path) -> None:
    network = tiny_teacher("llama")
    assert zero_rates(calibrate(network, random_rows(network.spec), tmp_path)) == [0.0] * 3
    with pytest.raises(UsageError, match="thresholds need a relu2 network; found silu"):
        thresholds(network, random_rows(network.spec), 0.01)


def test_thresholds_buy_zeros_within_the_budget() -> None:
    network = tiny_teacher("nemotron")
    rows = random_rows(network.spec)
    before = logits_of(network, rows)
    none, some, many = (thresholds(network, rows, budget) for budget in (0.0, 0.0003, 1.0))
    assert none.values == [0.0] * 3
    assert sum(none.rates) <= sum(some.rates) < sum(many.rates)
    assert some.kl <= 0.0003
    assert torch.equal(logits_of(network, rows), before)


def test_a_cut_holds_only_inside_its_block() -> None:
    network = tiny_teacher("nemotron")
    rows = random_rows(network.spec)
    before = logits_of(network, rows)
    with cut_below(network, [1e9] * 3):
        assert not torch.allclose(logits_of(network, rows), before)
    assert torch.equal(logits_of(network, rows), before)
