"""The torch module against stock transformers and the NumPy reference, on every shape class."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.support.checkpoints import SPECS, random_tokens, random_weights
from tests.support.families import FAMILIES
from tests.torch.stock import stock_logits, stock_model
from understudy.checkpoint import reference
from understudy.compress.network import (
    Network,
    Norm,
    initialise,
    network_from_weights,
    rotate,
    rotation_table,
    weights_of,
)
from understudy.errors import MissingError
from understudy.spec import tensor_shapes


@pytest.mark.parametrize("name", SPECS)
def test_logits_equal_transformers_and_the_reference(name: str) -> None:
    spec = SPECS[name]
    weights, tokens = random_weights(spec, seed=3), random_tokens(spec, 70, seed=3)
    network = network_from_weights(spec, weights)
    with torch.inference_mode():
        ours = network(torch.from_numpy(tokens.astype(np.int64))[None])[0].numpy()
    np.testing.assert_allclose(ours, stock_logits(stock_model(spec, weights), tokens), atol=1e-4)
    np.testing.assert_allclose(ours, reference.forward(spec, weights, tokens), atol=1e-4)


@pytest.mark.parametrize("name", ["qwen3", "smollm3", "phi3", "phi3_longrope"])
def test_logits_of_further_families_equal_the_reference(name: str) -> None:
    """Which is held to transformers in `tests/torch/test_families.py`."""
    spec = FAMILIES[name]
    weights, tokens = random_weights(spec, seed=3), random_tokens(spec, 70, seed=3)
    with torch.inference_mode():
        ours = network_from_weights(spec, weights)(torch.from_numpy(tokens.astype(np.int64))[None])
    np.testing.assert_allclose(ours[0], reference.forward(spec, weights, tokens), atol=1e-4)


@pytest.mark.parametrize("name", SPECS)
def test_names_and_shapes_are_those_of_the_spec(name: str) -> None:
    state = Network(SPECS[name]).state_dict()
    assert {key: tuple(value.shape) for key, value in state.items()} == tensor_shapes(SPECS[name])


def test_weights_survive_the_way_in_and_out() -> None:
    weights = random_weights(SPECS["nemotron"], seed=4)
    back = weights_of(network_from_weights(SPECS["nemotron"], weights))
    assert back.keys() == weights.keys()
    assert all(np.array_equal(back[name], weights[name]) for name in weights)


def test_gradients_reach_every_parameter() -> None:
    network = network_from_weights(
        SPECS["nemotron_biases"], random_weights(SPECS["nemotron_biases"])
    )
    network(torch.arange(12)[None]).square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())


def test_a_missing_or_misshapen_tensor_is_named() -> None:
    weights = random_weights(SPECS["llama"])
    gone = weights.pop("model.norm.weight")
    with pytest.raises(MissingError, match=r"model\.norm\.weight: tensor is not in the checkpoint"):
        network_from_weights(SPECS["llama"], weights)
    weights["model.norm.weight"] = gone[:-1]
    with pytest.raises(MissingError, match="wrong shape; expected"):
        network_from_weights(SPECS["llama"], weights)


def test_the_same_seed_draws_the_same_network() -> None:
    first, second = Network(SPECS["nemotron"]), Network(SPECS["nemotron"])
    initialise(first, seed=5)
    initialise(second, seed=5)
    assert all(
        torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True)
    )


def test_derivatives_of_the_norm_are_those_of_its_formula() -> None:
    norm = Norm(SPECS["llama"])
    x = torch.randn(3, 5, SPECS["llama"].hidden_size, requires_grad=True)
    with torch.no_grad():
        norm.weight.uniform_(0.5, 2)
    outer = torch.randn_like(x)
    plain = x / (x.square().mean(-1, keepdim=True) + norm.eps).sqrt() * norm.weight
    expected = torch.autograd.grad((plain * outer).sum(), (x, norm.weight))
    found = torch.autograd.grad((norm(x) * outer).sum(), (x, norm.weight))
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["llama", "nemotron"])  # all of a head turned, and half of it
def test_the_derivative_of_a_rotation_turns_back(name: str) -> None:
    spec = SPECS[name]
    x = torch.randn(2, 3, 7, spec.head_dim, requires_grad=True)
    rotation = rotation_table(spec, 7, "cpu")
    outer = torch.randn_like(x)
    found = torch.autograd.grad((rotate(x, rotation) * outer).sum(), x)[0]
    back = rotate(outer, (rotation[0], -rotation[1]))
    torch.testing.assert_close(found, back)
    torch.testing.assert_close(rotate(rotate(x, rotation), (rotation[0], -rotation[1])), x)


def test_under_autocast_norms_hand_on_what_products_read() -> None:
    network = network_from_weights(SPECS["llama"], random_weights(SPECS["llama"]))
    x = torch.randn(1, 4, SPECS["llama"].hidden_size)
    with torch.autocast("cpu", torch.bfloat16):
        assert network.model.norm(x).dtype == torch.bfloat16
    assert network.model.norm(x).dtype == torch.float32
