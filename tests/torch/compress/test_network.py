"""The torch module against stock transformers and the NumPy reference, on every shape class."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.support.checkpoints import SPECS, random_tokens, random_weights
from tests.torch.stock import stock_logits, stock_model
from understudy.compress.network import Network, initialise, network_from_weights, weights_of
from understudy.errors import MissingError
from understudy.models import reference
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
    network = network_from_weights(SPECS["nemotron_biases"], random_weights(SPECS["nemotron_biases"]))
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
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
