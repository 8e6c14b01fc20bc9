"""What a token reads, as the packing says it by part, is what the core multiplies by."""

from __future__ import annotations

import pytest

from tests.support.checkpoints import SPECS, random_weights
from tests.support.native import pack_weights
from understudy import core
from understudy.checkpoint.pack import bytes_per_token


@pytest.mark.parametrize("target", ["q4", "q8", "bf16"])
@pytest.mark.parametrize("name", ["nemotron", "llama_tied"])
def test_bytes_by_part_are_those_of_the_core(name: str, target) -> None:
    spec = SPECS[name]
    packed = pack_weights(spec, random_weights(spec), target)
    parts = bytes_per_token(spec, {key: tensor.data.size for key, tensor in packed.items()})
    model = core.CoreModel(spec, packed, num_threads=1)
    matrices = parts["total"] - parts["norms"] - parts["embedding"]
    assert matrices == model.weight_bytes_per_token
    assert parts["head"] == packed["model.embed_tokens.weight"].data.size
