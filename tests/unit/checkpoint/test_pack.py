"""Packing for the core: formats, effective gains, the cache, and refusals before any work."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.support.checkpoints import SPECS, random_weights, write_folder
from understudy import core
from understudy.checkpoint import pack as pack_module
from understudy.checkpoint.checkpoint import open_checkpoint
from understudy.checkpoint.convert import save_checkpoint
from understudy.checkpoint.pack import pack, packed_format, packed_sizes
from understudy.errors import FormatError, MemoryBudgetError
from understudy.spec import QuantSpec


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNDERSTUDY_CACHE", str(tmp_path / "cache"))


def test_matrices_and_gains(tmp_path: Path) -> None:
    spec = SPECS["nemotron_odd"]
    weights = random_weights(spec)
    packed = pack(open_checkpoint(write_folder(spec, weights, tmp_path / "m")))
    assert set(packed.tensors) == set(weights)
    for name, tensor in packed.tensors.items():
        if weights[name].ndim == 1:
            offset = 1 if name.endswith("norm.weight") else 0
            np.testing.assert_array_equal(
                tensor.data.view(np.float32), weights[name] + np.float32(offset)
            )
        else:
            assert tensor.format == "f32"
            values = core.unpack("f32", tensor.data, tensor.rows, tensor.columns)
            np.testing.assert_array_equal(values.reshape(weights[name].shape), weights[name])


def test_a_gguf_packs_to_the_same_values(tmp_path: Path) -> None:
    spec = SPECS["llama3"]
    folder = open_checkpoint(write_folder(spec, random_weights(spec), tmp_path / "m"))
    save_checkpoint(folder, tmp_path / "m.gguf")
    first, second = pack(folder).tensors, pack(open_checkpoint(tmp_path / "m.gguf")).tensors
    for name in first:
        np.testing.assert_array_equal(first[name].data, second[name].data)


@pytest.mark.parametrize(
    ("stored", "quant", "expected"),
    [
        ("Q4_0", None, "q4"),
        ("Q4_1", None, "q4_1"),
        ("Q4_K", None, "q4_1"),
        ("Q6_K", None, "q8"),
        ("BF16", None, "bf16"),
        ("F16", None, "f32"),
        ("BF16", QuantSpec("q4"), "q4"),
        ("Q4_K", QuantSpec("q4"), "q4_1"),
        ("Q4_0", QuantSpec("q8"), "q8"),
    ],
)
def test_formats(stored: str, quant: QuantSpec | None, expected: str) -> None:
    assert packed_format("model.layers.0.mlp.up_proj.weight", stored, quant) == expected


def test_embedding_and_head_have_their_own(tmp_path: Path) -> None:
    spec = SPECS["nemotron"]
    checkpoint = open_checkpoint(write_folder(spec, random_weights(spec), tmp_path / "m"))
    quant = QuantSpec("q4", embedding="bf16", head="q8")
    packed = pack(checkpoint, quant)
    names = ("model.embed_tokens.weight", "lm_head.weight", "model.layers.0.mlp.up_proj.weight")
    assert [packed.tensors[name].format for name in names] == ["bf16", "q8", "q4"]
    assert packed.num_bytes() == sum(packed_sizes(checkpoint, quant).values())


def test_the_second_time_comes_from_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = SPECS["llama"]
    folder = write_folder(spec, random_weights(spec), tmp_path / "m")
    first = pack(open_checkpoint(folder))
    monkeypatch.setattr(pack_module, "_entry", None)  # packing anything would fail now
    second = pack(open_checkpoint(folder))
    assert first.fingerprint == second.fingerprint
    for name, tensor in first.tensors.items():
        np.testing.assert_array_equal(second.tensors[name].data, tensor.data)
    monkeypatch.undo()
    monkeypatch.setenv("UNDERSTUDY_CACHE", str(tmp_path / "cache"))
    changed = random_weights(spec, seed=9)
    write_folder(spec, changed, folder)
    third = pack(open_checkpoint(folder))
    assert third.fingerprint != first.fingerprint


@pytest.mark.parametrize("format", ["F32", "BF16", "F16", "Q8_0", "Q4_0", "Q4_1"])
def test_weights_that_are_not_finite_are_refused(format: str, tmp_path: Path) -> None:
    from understudy.checkpoint.finite import num_bad
    from understudy.formats.tensor import StoredTensor

    values = np.ones((4, 64), np.float32)
    good = StoredTensor.of("t", values).to_format(format)
    assert num_bad(good) == 0
    data = good.data.copy()
    at = 2 if format == "F32" else 0
    data[at : at + 2] = np.uint8(
        [0x80 if format in ("F32", "BF16") else 0x00, 0x7F if format in ("F32", "BF16") else 0x7C]
    )
    assert num_bad(StoredTensor("t", (4, 64), format, data)) == 1
    spec = SPECS["nemotron"]
    weights = random_weights(spec)
    weights["model.layers.2.input_layernorm.weight"][0] = np.nan
    with pytest.raises(
        FormatError, match=r"layers.2.input_layernorm.weight: weights are not finite"
    ):
        pack(open_checkpoint(write_folder(spec, weights, tmp_path / "m")))
    assert not list((tmp_path / "cache").glob("*"))


def test_too_little_memory_is_said_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = SPECS["llama"]
    checkpoint = open_checkpoint(write_folder(spec, random_weights(spec), tmp_path / "m"))
    monkeypatch.setattr(pack_module, "available_memory", lambda: 1000)
    with pytest.raises(MemoryBudgetError, match="GB free"):
        pack(checkpoint)
    assert not (tmp_path / "cache").exists()
