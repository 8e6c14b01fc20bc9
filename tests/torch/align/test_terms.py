"""Terms of embedding and head, and rows of single tokens: what training sees is what a written
adapter answers (the core is held to the same reference), and a first step starts from the base.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.support.checkpoints import SPECS, random_weights
from understudy.adapters import Adapter, gguf, peft
from understudy.adapters.adapter import as_weights
from understudy.align.lora import Adapters, LoraSettings, attach
from understudy.align.rows import as_base
from understudy.checkpoint import reference
from understudy.compress.network import Network, network_from_weights
from understudy.errors import UnsupportedError, UsageError
from understudy.spec import ModelSpec

WHOLE = {"targets": ("q_proj", "embed_tokens", "lm_head"), "rank": 3, "alpha": 6.0}
ROWS = {"token_rows": (7, 30, 5), "rank": 2, "rslora": True}
IDS = [7, 1, 5, 30, 2, 9]


def spec_of(is_tied: bool) -> ModelSpec:
    return SPECS["llama"].replace(tied_embeddings=is_tied)


def made(is_tied: bool, settings: dict[str, Any]) -> tuple[Network, Adapters]:
    spec = spec_of(is_tied)
    network = network_from_weights(spec, random_weights(spec, seed=2))
    return network, attach(network, LoraSettings(**settings))


def adapter_of(adapters: Adapters) -> Adapter:
    s = adapters.settings
    return Adapter("t", s.rank, s.alpha, s.rslora, adapters.tensors(), adapters.alphas())


@pytest.mark.parametrize("is_tied", [False, True])
@pytest.mark.parametrize("settings", [WHOLE, ROWS])
def test_a_written_adapter_answers_as_the_network_that_was_tuned(
    is_tied: bool, settings: dict[str, Any], tmp_path: Path
) -> None:
    spec = spec_of(is_tied)
    network, adapters = made(is_tied, settings)
    tokens = torch.tensor([IDS])
    base = network_from_weights(spec, random_weights(spec, seed=2))(tokens).detach()
    assert torch.equal(network(tokens).detach(), base)
    optimizer = torch.optim.SGD(adapters.parameters(), lr=0.5)
    for _ in range(3):
        optimizer.zero_grad()
        network(tokens)[0].log_softmax(-1)[range(5), IDS[1:]].neg().mean().backward()
        optimizer.step()
    tuned = network(tokens).detach()
    assert (tuned - base).abs().max() > 0.01
    with as_base(adapters):
        assert torch.equal(network(tokens).detach(), base)
    peft.write(adapter_of(adapters), tmp_path / "a")
    weights = random_weights(spec, seed=2) | as_weights([(peft.read(tmp_path / "a"), 1.0)])
    found = reference.forward(spec, weights, IDS)
    np.testing.assert_allclose(found, tuned[0].numpy(), atol=1e-3)


def test_of_single_tokens_only_their_rows_learn() -> None:
    network, adapters = made(True, ROWS)
    embedding = network.model.embed_tokens.weight
    assert [p.shape for p in adapters.parameters()].count((3, embedding.shape[1])) == 1
    torch.manual_seed(1)
    for parameter in adapters.parameters():
        torch.nn.init.normal_(parameter)
    delta = adapter_of(adapters).delta
    for name in ("model.embed_tokens", "lm_head"):
        rows = np.flatnonzero(np.abs(delta(name)).sum(1))
        assert rows.tolist() == [5, 7, 30]
        learnt = {"lm_head": "down", "model.embed_tokens": "up"}[name]
        layer = adapters.layers[adapters.names.index(name)]
        values = getattr(layer, learnt).detach().numpy()
        values = values if learnt == "down" else values.T
        np.testing.assert_allclose(delta(name)[[7, 30, 5]], values, rtol=1e-6)


def test_llama_cpp_has_one_matrix_for_a_tied_embedding_and_head(tmp_path: Path) -> None:
    adapter = adapter_of(made(True, WHOLE)[1])
    with pytest.raises(UnsupportedError, match="cannot change one"):
        gguf.write(adapter, tmp_path / "a.gguf", spec_of(True))
    gguf.write(adapter_of(made(False, ROWS)[1]), tmp_path / "b.gguf", spec_of(False))
    assert gguf.read(tmp_path / "b.gguf", spec_of(False)).tensors.keys() == {
        *adapter_of(made(False, ROWS)[1]).tensors
    }


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"token_rows": (3, 100_000)}, "no token of the model"),
        ({"token_rows": (3,), "targets": ("lm_head",)}, "not both"),
        ({"targets": ("lm_heads",)}, "no such target"),
    ],
)
def test_what_cannot_be_learnt_is_refused(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        made(False, settings)
