"""Supervised tuning: the gradient of a tree is that of its conversations alone, and a run that was
killed goes on bit for bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.support.checkpoints import SPECS, random_weights
from understudy.align.lora import Adapters, LoraSettings, attach
from understudy.align.rows import Batching, RowTensors, base_of, row_loss, steps_of
from understudy.align.sft import SftSettings, SupervisedRun
from understudy.align.whole import WholeWeights
from understudy.compress.network import Network, network_from_weights
from understudy.data.trees import Encoded, Tree, grow
from understudy.errors import UnderstudyError, UsageError

SPEC = SPECS["llama"]


def network(dtype: torch.dtype = torch.float32) -> Network:
    return network_from_weights(SPEC, random_weights(SPEC, seed=2), dtype)


def conversations(seed: int, count: int = 3, shared: int = 9) -> list[Encoded]:
    rng = np.random.default_rng(seed)
    first = rng.integers(0, SPEC.vocab_size, shared).tolist()
    found = []
    for number in range(count):
        rest = rng.integers(0, SPEC.vocab_size, 6 + number).tolist()
        weights = [0.0] * (shared + 2) + [1.0 + number] * (len(rest) - 2)
        found.append(Encoded(tuple(first + rest), tuple(weights)))
    return found


def trees(count: int = 12) -> list[Tree]:
    return [grow(conversations(seed)) for seed in range(count)]


def stirred(net: Network, **settings: object) -> Adapters:
    adapters = attach(net, LoraSettings(rank=3, **settings))
    torch.manual_seed(0)
    for layer in adapters.layers:
        torch.nn.init.normal_(layer.up, std=0.1)
    return adapters


@pytest.mark.parametrize("name", ["llama", "nemotron"])
def test_a_tree_learns_what_its_conversations_learn_alone(name: str) -> None:
    spec = SPECS[name]
    net = network_from_weights(spec, random_weights(spec, seed=2))
    adapters = stirred(net)
    loss = row_loss(
        net,
        RowTensors.of([grow(conversations(1)), grow(conversations(2))], net.device, torch.float32),
    )
    loss.backward()
    of_trees = {name: p.grad.clone() for name, p in adapters.named_parameters()}
    adapters.zero_grad()
    alone = 0.0
    for conversation in [*conversations(1), *conversations(2)]:
        tokens = torch.tensor(conversation.ids)
        log_p = net(tokens[None, :-1])[0].log_softmax(-1)
        nll = -log_p.gather(1, tokens[1:, None])[:, 0]
        one = (nll * torch.tensor(conversation.weights[1:])).sum()
        one.backward()
        alone += float(one.detach())
    assert float(loss.detach()) == pytest.approx(alone, rel=1e-4)
    for name, parameter in adapters.named_parameters():
        torch.testing.assert_close(of_trees[name], parameter.grad, rtol=1e-3, atol=1e-4)


def test_only_the_adapters_have_a_gradient_and_the_first_step_starts_from_the_base() -> None:
    net = network()
    tokens = torch.arange(12)[None] % SPEC.vocab_size
    before = net(tokens).detach()
    adapters = attach(net, LoraSettings(rank=2))
    torch.testing.assert_close(net(tokens), before, rtol=0, atol=0)
    row_loss(net, RowTensors.of(trees(2), net.device, torch.float32)).backward()
    trained = {id(p) for p in adapters.parameters()}
    for parameter in net.parameters():
        assert (parameter.grad is not None) == (id(parameter) in trained)


def test_switched_off_the_network_is_its_base() -> None:
    net = network()
    tokens = torch.arange(12)[None] % SPEC.vocab_size
    before = net(tokens).detach()
    adapters = stirred(net)
    assert not torch.equal(net(tokens), before)
    adapters.set_enabled(False)
    torch.testing.assert_close(net(tokens), before)


@pytest.mark.parametrize(("rslora", "scale"), [(False, 8 / 4), (True, 8 / 2)])
def test_the_scale(rslora: bool, scale: float) -> None:
    assert LoraSettings(rank=4, alpha=8, rslora=rslora).scale == scale


def test_targets_and_layers_are_chosen_and_unknown_ones_said() -> None:
    adapters = attach(
        network(), LoraSettings(rank=2, targets=("q_proj", "down_proj"), first_layer=1)
    )
    assert all(name.endswith(("q_proj", "down_proj")) for name in adapters.names)
    assert not any(name.startswith("model.layers.0.") for name in adapters.names)
    with pytest.raises(UsageError, match="no such target"):
        attach(network(), LoraSettings(targets=("w_proj",)))
    with pytest.raises(UsageError, match="rank of an adapter"):
        attach(network(), LoraSettings(rank=0))


def test_an_epoch_has_each_tree_once_and_rows_keep_their_size() -> None:
    sizes = [30, 50, 20, 90, 10, 40, 60] * 5
    steps = steps_of(sizes, Batching(row_tokens=100, step_tokens=150, seed=3), epochs=2)
    flat = [number for step in steps for row in step for number in row]
    assert sorted(flat) == sorted([*range(35), *range(35)])
    assert flat[:35] != flat[35:]
    for step in steps:
        assert all(len(row) == 1 or sum(sizes[i] for i in row) <= 100 for row in step)
    assert steps == steps_of(sizes, Batching(row_tokens=100, step_tokens=150, seed=3), epochs=2)


def run(folder: Path, epochs: float = 2, **changes: object) -> SupervisedRun:
    net = network()
    adapters = attach(net, LoraSettings(rank=2, seed=5))
    settings = SftSettings(
        epochs=epochs,
        learning_rate=5e-3,
        checkpoint_steps=2,
        batching=Batching(row_tokens=60, step_tokens=60, seed=1),
        **changes,
    )
    return SupervisedRun(net, adapters, trees(), settings, folder)


def test_training_lowers_the_loss_and_leaves_the_base(tmp_path: Path) -> None:
    first = run(tmp_path / "a", epochs=6)
    before = first.network.model.norm.weight.clone()
    report = first.train()
    assert np.mean(report.losses[-5:]) < np.mean(report.losses[:5]) - 0.2
    assert torch.equal(first.network.model.norm.weight, before)
    assert report.num_tokens == 6 * sum(map(len, trees()))


def test_a_killed_run_goes_on_bit_for_bit(tmp_path: Path) -> None:
    whole = run(tmp_path / "whole")
    whole.train()

    class Killed(Exception):
        pass

    def kill(step: int) -> None:
        if step == 5:  # one step after a checkpoint
            raise Killed

    torn = run(tmp_path / "torn")
    with pytest.raises(Killed):
        torn.train(after=kill)
    again = run(tmp_path / "torn")
    assert again.first_step == 4
    report = again.train()
    assert report.losses == whole.folder.losses()
    for name, (a, b) in whole.adapters.tensors().items():
        np.testing.assert_array_equal(again.adapters.tensors()[name][0], a)
        np.testing.assert_array_equal(again.adapters.tensors()[name][1], b)


def test_a_loss_that_is_no_number_ends_the_run(tmp_path: Path) -> None:
    torn = run(tmp_path)
    torn.adapters.layers[0].up.data.fill_(float("nan"))
    with pytest.raises(UnderstudyError, match="the loss is not a number"):
        torn.train()


def test_nothing_to_learn_from_is_said(tmp_path: Path) -> None:
    net = network()
    with pytest.raises(UsageError, match="nothing to learn from"):
        SupervisedRun(net, attach(net, LoraSettings(rank=2)), [], SftSettings(), tmp_path)


def drift(kl: float, folder: Path, *, whole: bool = False) -> tuple[float, float]:
    """(loss, KL from the base) after a run."""
    net = network()
    trained = WholeWeights(net) if whole else attach(net, LoraSettings(rank=3))
    settings = SftSettings(epochs=30, learning_rate=1e-3 if whole else 2e-2, kl=kl)
    report = SupervisedRun(net, trained, trees(), settings, folder).train()
    row = RowTensors.of(trees(4), net.device, torch.float32)
    with torch.no_grad():
        base = base_of(net, trained, row)
        plain, held = row_loss(net, row), row_loss(net, row, [(1.0, base)])
    return report.losses[-1], float(held - plain)


@pytest.mark.parametrize("whole", [False, True], ids=["adapter", "all weights"])
def test_a_kl_term_holds_the_model_near_its_base(tmp_path: Path, whole: bool) -> None:
    _, free = drift(0.0, tmp_path / "free", whole=whole)
    _, held = drift(4.0, tmp_path / "held", whole=whole)
    assert free > 1e-3
    assert 0 < held < 0.5 * free


def test_switched_off_all_weights_are_the_base() -> None:
    net, untouched = network(), network()
    whole = WholeWeights(net)
    row = RowTensors.of(trees(2), net.device, torch.float32)
    with torch.no_grad():
        for parameter in whole.parameters():
            parameter.add_(0.01)
        tuned = row_loss(net, row)
        whole.set_enabled(False)
        assert torch.equal(row_loss(net, row), row_loss(untouched, row))
        whole.set_enabled(True)
        assert torch.equal(row_loss(net, row), tuned)
    with pytest.raises(UsageError, match="float32"):
        WholeWeights(network(torch.bfloat16))
