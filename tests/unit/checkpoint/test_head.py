"""Tied or not: what is stored decides, in folders and in GGUF, through `convert` too."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import understudy
from tests.support.checkpoints import SPECS, Weights, random_tokens, random_weights, write_folder
from understudy.checkpoint.checkpoint import open_checkpoint
from understudy.checkpoint.convert import save_checkpoint
from understudy.checkpoint.head import EMBEDDING, HEAD, are_equal
from understudy.errors import CheckpointWarning, MissingError
from understudy.formats.gguf import read_gguf, write_gguf
from understudy.formats.tensor import StoredTensor
from understudy.spec import ModelSpec, QuantSpec

FAMILIES = ["nemotron", "llama", "mistral", "qwen2"]


def _untied(name: str) -> tuple[ModelSpec, Weights]:
    spec = SPECS[name].replace(tied_embeddings=False)
    return spec, random_weights(spec, seed=3)


def _logits(path: Path, spec: ModelSpec) -> np.ndarray:
    model = understudy.load(path, kv="f32", use_cache=False)
    try:
        return model.logits(random_tokens(spec, 12))
    finally:
        model.close()


@pytest.mark.parametrize("name", FAMILIES)
def test_a_stored_head_that_differs_is_used_though_the_config_ties(
    name: str, tmp_path: Path
) -> None:
    spec, weights = _untied(name)
    right = _logits(write_folder(spec, weights, tmp_path / "untied"), spec)
    said = {"tie_word_embeddings": True}
    folder = write_folder(spec, weights, tmp_path / "tied", config=said)
    with pytest.warns(CheckpointWarning, match="different lm_head"):
        assert np.array_equal(_logits(folder, spec), right)
    with pytest.warns(CheckpointWarning):
        save_checkpoint(open_checkpoint(folder), tmp_path / "m.gguf", QuantSpec("f32"))
    assert np.array_equal(_logits(tmp_path / "m.gguf", spec), right)


@pytest.mark.parametrize("name", FAMILIES)
def test_an_equal_head_is_the_embedding(name: str, tmp_path: Path) -> None:
    spec = SPECS[name].replace(tied_embeddings=True)
    weights = random_weights(spec)
    weights[HEAD] = weights[EMBEDDING]
    folder = write_folder(spec, weights, tmp_path / "both")
    assert HEAD not in open_checkpoint(folder).weights


def test_a_head_alone_is_the_embedding_too(tmp_path: Path) -> None:
    spec = SPECS["llama_tied"]
    weights = random_weights(spec)
    right = _logits(write_folder(spec, weights, tmp_path / "embedding"), spec)
    weights[HEAD] = weights.pop(EMBEDDING)
    assert np.array_equal(_logits(write_folder(spec, weights, tmp_path / "head"), spec), right)


def test_a_model_saved_without_its_head_is_known_by_its_names(tmp_path: Path) -> None:
    """`LlamaModel.save_pretrained` writes `layers.0…`; transformers adds the prefix."""
    spec = SPECS["llama_tied"]
    weights = random_weights(spec)
    right = _logits(write_folder(spec, weights, tmp_path / "whole"), spec)
    short = {name.removeprefix("model."): values for name, values in weights.items()}
    assert np.array_equal(_logits(write_folder(spec, short, tmp_path / "base"), spec), right)


def test_without_tying_a_missing_head_is_missing(tmp_path: Path) -> None:
    spec, weights = _untied("llama")
    del weights[HEAD]
    with pytest.raises(MissingError, match="lm_head"):
        open_checkpoint(write_folder(spec, weights, tmp_path / "m"))


def test_our_note_in_a_gguf_is_believed_only_where_both_tensors_agree(tmp_path: Path) -> None:
    """llama-quantize stores head and embedding in different formats and keeps the note."""
    spec = SPECS["nemotron_biases"]
    folder = write_folder(spec, random_weights(spec), tmp_path / "m")
    save_checkpoint(open_checkpoint(folder), tmp_path / "tied.gguf", QuantSpec("f32"))
    assert open_checkpoint(tmp_path / "tied.gguf").spec.tied_embeddings
    file = read_gguf(tmp_path / "tied.gguf")
    tensors = [t.to_format("Q8_0") if n == "output.weight" else t for n, t in file.tensors.items()]
    shapes = [(t.name, t.shape, t.format) for t in tensors]
    write_gguf(tmp_path / "q8.gguf", file.metadata, shapes, tensors)
    with pytest.warns(CheckpointWarning):
        opened = open_checkpoint(tmp_path / "q8.gguf")
    assert not opened.spec.tied_embeddings
    assert HEAD in opened.weights


def test_equality_is_of_values_not_of_bytes() -> None:
    values = np.arange(64, dtype=np.float32).reshape(2, 32)
    one = StoredTensor.of("a", values)
    assert are_equal(one, one.to_format("BF16"))
    values = values + np.eye(2, 32, dtype=np.float32)
    assert not are_equal(one, StoredTensor.of("b", values))
    assert not are_equal(one, StoredTensor.of("c", values[:1]))
