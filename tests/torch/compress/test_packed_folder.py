"""The compressed-tensors folder: bits by hand, and read by the package itself through stock
transformers where it is installed."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tests.support.checkpoints import SPECS, random_weights, write_folder
from tests.torch.compress.support import logits_of, random_rows
from understudy.compress.calibrate import calibrate
from understudy.compress.folder import open_source
from understudy.compress.grid import QuantizedMatrix
from understudy.compress.grids import GRIDS
from understudy.compress.packed_folder import open_packed, pack, save_packed, unpack
from understudy.compress.quantize import QuantizeSettings, quantize
from understudy.errors import UnsupportedError


@pytest.mark.parametrize("name", ["q4", "q8"])
def test_packing_can_be_undone_by_hand(name: str) -> None:
    grid = GRIDS[name]
    integers = torch.randint(grid.low, grid.high + 1, (5, 64), dtype=torch.int8)
    words = pack(QuantizedMatrix(grid, integers, torch.ones(5, 2))).numpy().view(np.uint32)
    bits = 4 if name == "q4" else 8
    assert words.shape == (5, 64 * bits // 32)
    for column in range(64):
        per_word = 32 // bits
        word = words[:, column // per_word] >> np.uint32(bits * (column % per_word))
        unpacked = (word & np.uint32((1 << bits) - 1)).astype(np.int64) - (1 << (bits - 1))
        assert np.array_equal(unpacked, integers[:, column].numpy())
    assert torch.equal(unpack(torch.from_numpy(words.view(np.int32)), bits), integers)


@pytest.fixture
def saved(tmp_path, request):
    spec = SPECS["llama"]
    source = open_source(write_folder(spec, random_weights(spec), tmp_path / "m"))
    rows = random_rows(spec)
    settings = QuantizeSettings(
        method="scale_search", promoted=getattr(request, "param", ()), embedding="q8", head="q8"
    )
    result = quantize(source.network, calibrate(source.network, rows, tmp_path / "c"), settings)
    return result, source, tmp_path / "packed", rows


def test_the_folder_holds_the_integers_and_says_so(saved) -> None:
    result, source, folder, _ = saved
    save_packed(result, source.checkpoint, folder)
    state = load_file(folder / "model.safetensors")
    name = "model.layers.1.mlp.down_proj"
    assert state[f"{name}.weight_shape"].tolist() == [96, 256]
    assert torch.equal(
        state[f"{name}.weight_scale"].float(), result.tensors[f"{name}.weight"].scales
    )
    assert f"{name}.weight" not in state
    assert state["model.embed_tokens.weight"].dtype == torch.float16
    assert (
        json.loads((folder / "config.json").read_text())["quantization_config"]["format"]
        == "pack-quantized"
    )


def test_transformers_reads_it_with_equal_logits(saved) -> None:
    pytest.importorskip("compressed_tensors")
    import transformers

    result, source, folder, rows = saved
    save_packed(result, source.checkpoint, folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.no_grad():
        theirs = model(torch.from_numpy(rows.tokens[:, :-1].astype(np.int64))).logits
    torch.testing.assert_close(
        logits_of(result.network, rows), theirs.float(), rtol=1e-2, atol=2e-2
    )


def test_what_was_written_is_measured_from_its_own_bytes(saved) -> None:
    result, source, folder, rows = saved
    save_packed(result, source.checkpoint, folder)
    back = open_packed(folder, result.network.spec)
    torch.testing.assert_close(
        logits_of(back, rows), logits_of(result.network, rows), rtol=1e-2, atol=2e-2
    )
    name = "model.layers.1.mlp.down_proj.weight"
    assert torch.equal(back.state_dict()[name], result.tensors[name].values())


@pytest.mark.parametrize("saved", [("v_proj",)], indirect=True)
def test_linears_of_two_grids_are_refused(saved) -> None:
    result, source, folder, _ = saved
    with pytest.raises(UnsupportedError, match="two grids"):
        save_packed(result, source.checkpoint, folder)
    assert not folder.exists()
