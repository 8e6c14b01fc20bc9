"""The grid of q3: a scale a row, a multiplier and a shift a block; bytes against the NumPy
definition."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.torch.compress.support import random_rows, tiny_teacher
from tests.torch.compress.test_quantize import _gram, _weight
from understudy.compress import grids
from understudy.compress.calibrate import calibrate
from understudy.compress.distill import DistillSettings
from understudy.compress.evaluate import compare
from understudy.compress.grid import QuantizedMatrix
from understudy.compress.grids import GRIDS
from understudy.compress.qad import QuantizedLinear, tune
from understudy.compress.quantize import QuantizeSettings, quantize
from understudy.compress.teacher import LiveTeacher
from understudy.formats import q3

Q3 = GRIDS["q3"]


def _written(rounded: QuantizedMatrix) -> np.ndarray:
    return q3.decode(grids.encode(rounded), rounded.integers.shape[1])


def _ways(weight: torch.Tensor, gram: torch.Tensor) -> list[QuantizedMatrix]:
    fed_back = grids.gptq(weight, Q3, gram)
    return [
        grids.round_to_nearest(weight, Q3),
        grids.search_scales(weight, Q3, gram.diagonal()),
        fed_back,
        grids.coordinate_descent(weight, fed_back, gram),
    ]


def test_a_file_holds_exactly_what_was_rounded() -> None:
    for rounded in _ways(_weight(), _gram()):
        np.testing.assert_array_equal(_written(rounded), rounded.values().numpy())


def test_each_step_lowers_the_output_error() -> None:
    weight, gram = _weight(), _gram()
    errors = [grids.output_error(weight, r.values(), gram) for r in _ways(weight, gram)]
    assert errors[1] < 0.95 * errors[0]
    assert errors[2] < 0.7 * errors[1]
    assert errors[3] < 0.9 * errors[2]


def test_polishing_never_raises_the_error_of_a_row() -> None:
    weight, gram = _weight(), _gram()
    weight[3] = 0
    weight[:, 32:64] = 0
    for start in _ways(weight, gram)[:3]:
        descended = grids.coordinate_descent(weight, start, gram)
        before, after = (
            (((weight - r.values()) @ gram) * (weight - r.values())).sum(1)
            for r in (start, descended)
        )
        assert (after <= before * (1 + 1e-4)).all()
        np.testing.assert_array_equal(_written(descended), descended.values().numpy())
        assert not descended.values()[3].any()


def test_gaussian_rows_lose_less_than_the_eight_best_fixed_levels_would_take() -> None:
    weight = torch.randn(64, 512, generator=torch.Generator().manual_seed(0))
    lost = (grids.search_scales(weight, Q3).values() - weight).square().mean().item()
    assert lost < 0.024  # Lloyd and Max: 0.0345; whole numbers from -4 to 3: 0.026


def test_dead_inputs_do_not_disturb() -> None:
    weight, gram = _weight(), _gram()
    gram[70], gram[:, 70] = 0, 0
    assert torch.isfinite(grids.gptq(weight, Q3, gram).values()).all()


def test_bits_are_those_of_the_bytes() -> None:
    rounded = grids.search_scales(_weight(columns=576), Q3)
    assert 8 * grids.encode(rounded).size == Q3.bits_of(576) * rounded.integers.numel()
    assert Q3.bits_of(576) < 3.25


@pytest.mark.parametrize("learns", ["scales", "weights"])
def test_tuning_gives_back_a_part_of_what_three_bits_took(tmp_path: Path, learns: str) -> None:
    network = tiny_teacher("nemotron")
    rows = random_rows(network.spec, count=32)
    settings = QuantizeSettings("q3", method="round_to_nearest", embedding="q8", head="q8")
    result = quantize(network, calibrate(network, rows, tmp_path / "c"), settings)
    before = compare(result.network, network, rows).kl
    rate = 1e-3 if learns == "scales" else 3e-3
    training = DistillSettings(40 * 8 * 24, learning_rate=rate, final_learning_rate=rate / 10)
    tuned, _ = tune(result, LiveTeacher(network), rows, training, tmp_path / "run", learns=learns)
    assert compare(tuned.network, network, rows).kl < 0.9 * before
    for name, tensor in tuned.tensors.items():
        if isinstance(tensor, QuantizedMatrix):
            assert torch.equal(tuned.network.state_dict()[name], tensor.values())
            if tensor.grid.name == "q3":
                np.testing.assert_array_equal(_written(tensor), tensor.values().numpy())


def test_a_rounded_linear_starts_as_the_file_says_and_passes_gradients_through() -> None:
    rounded = grids.search_scales(_weight(), Q3)
    linear = QuantizedLinear(rounded, None, "weights")
    torch.testing.assert_close(linear.weight, rounded.values())
    linear.weight.square().sum().backward()
    assert linear.factors.grad.abs().min() > 0
    assert linear.moved.grad.abs().max() > 0
    assert torch.equal(linear.rounded().integers, rounded.integers)
