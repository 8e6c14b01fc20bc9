"""What we write opens in stock transformers and computes the same; what torch writes opens here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from tests.support.checkpoints import SPECS, random_tokens, random_weights, write_folder
from tests.torch.stock import stock_logits
from understudy.checkpoint import reference
from understudy.checkpoint.checkpoint import open_checkpoint
from understudy.checkpoint.convert import save_checkpoint
from understudy.formats.torch_pickle import read_torch_file

TOLERANCE = 1e-4


@pytest.mark.parametrize("through_gguf", [False, True])
@pytest.mark.parametrize("name", SPECS)
def test_a_written_folder_computes_the_same_in_transformers(
    name: str, through_gguf: bool, tmp_path: Path
) -> None:
    spec = SPECS[name]
    weights, tokens = random_weights(spec, seed=4), random_tokens(spec, 40, seed=4)
    checkpoint = open_checkpoint(write_folder(spec, weights, tmp_path / "source"))
    if through_gguf:
        save_checkpoint(checkpoint, tmp_path / "m.gguf")
        checkpoint = open_checkpoint(tmp_path / "m.gguf")
    save_checkpoint(checkpoint, tmp_path / "out")
    model = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path / "out", dtype=torch.float32
    ).eval()
    difference = np.abs(
        stock_logits(model, tokens) - reference.forward(spec, weights, tokens)
    ).max()
    assert difference < TOLERANCE


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("as_parameters", [False, True])
def test_a_pickle_of_torch(dtype: torch.dtype, as_parameters: bool, tmp_path: Path) -> None:
    torch.manual_seed(0)
    base = torch.randn(6, 8).to(dtype)
    state = {
        "a": base,
        "transposed": base.T,
        "part": base[2:4, 1:5],
        "vector": torch.randn(5).to(dtype),
        "shared": base[0],
    }
    saved = (
        {n: torch.nn.Parameter(t, requires_grad=False) for n, t in state.items()}
        if as_parameters
        else state
    )
    torch.save(saved, tmp_path / "m.bin")
    found = read_torch_file(tmp_path / "m.bin")
    assert set(found) == set(state)
    for name, tensor in state.items():
        np.testing.assert_array_equal(found[name].to_float32(), tensor.float().numpy())


def test_a_state_dict_of_a_module(tmp_path: Path) -> None:
    module = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.LayerNorm(3))
    torch.save(module.state_dict(), tmp_path / "m.bin")
    found = read_torch_file(tmp_path / "m.bin")
    for name, tensor in module.state_dict().items():
        np.testing.assert_array_equal(found[name].to_float32(), tensor.numpy())


@pytest.mark.parametrize("name", ["nemotron", "llama", "qwen2"])
def test_the_gguf_reader_of_transformers_finds_the_same_weights(name: str, tmp_path: Path) -> None:
    """It undoes the same conventions as ours: the 1 of norm gains, interleaved rows."""
    from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint

    spec = SPECS[name].replace(tied_embeddings=False)
    weights = random_weights(spec, seed=4)
    checkpoint = open_checkpoint(write_folder(spec, weights, tmp_path / "source"))
    save_checkpoint(checkpoint, tmp_path / "m.gguf")
    config = transformers.AutoConfig.from_pretrained(tmp_path / "source")
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(config)
    tensors = load_gguf_checkpoint(
        str(tmp_path / "m.gguf"), return_tensors=True, model_to_load=model
    )["tensors"]
    assert set(tensors) == set(weights)
    for key, values in weights.items():
        np.testing.assert_allclose(tensors[key].numpy(), values, rtol=0, atol=2e-7, err_msg=key)
