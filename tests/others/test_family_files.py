"""GGUF files that we write of every family, in stock llama.cpp: the likeliest next tokens and their
log-probabilities. Its cache holds half floats, so a few thousandths are its own rounding."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import understudy
from tests.others.support import assert_likeliest, in_llama_cpp
from tests.support.adapters import random_adapter
from tests.support.byte_tokenizer import write_tokenizer
from tests.support.checkpoints import random_weights
from tests.support.families import (
    FAMILIES,
    GRANITE_HYBRIDS,
    GRANITE_MIXTURES,
    NEMOTRON_MIXTURES,
    delta_hybrid,
    hybrid,
    made_checkpoint,
)
from understudy.adapters import gguf
from understudy.adapters.adapter import as_weights
from understudy.checkpoint import reference
from understudy.checkpoint.checkpoint import open_checkpoint
from understudy.checkpoint.convert import save_checkpoint
from understudy.spec import QuantSpec

pytestmark = pytest.mark.others

NAMES = ("qwen3", "smollm3", "granite", "phi3", "phi3_longrope", "gemma3", "lfm2")
CASES = {name: FAMILIES[name] for name in NAMES} | {
    "nemotron_h": hybrid("M*-MM-*", num_heads=6, head_dim=16, hidden_size=96, state_size=16),
    "nemotron_h_one_group": hybrid(
        "M-*M", num_heads=8, head_dim=16, num_groups=1, norm_groups=1, state_size=32
    ),
    "granite_hybrid": GRANITE_HYBRIDS["attention_first"],
    "granite_hybrid_turned": GRANITE_HYBRIDS["turned"],
    "qwen3_5": delta_hybrid("DDD*D", 6, 2, 32, 32, 4, head_dim=32, rotary_dim=16),
    "qwen3_5_as_many_keys": delta_hybrid(
        "DDD*", 4, 4, 16, 16, 4, head_dim=64, rotary_dim=16, tied_embeddings=True
    ),
    "granite_hybrid_tiny": GRANITE_HYBRIDS["tiny"],
    **GRANITE_MIXTURES,
    # Where two experts are nearly as good, its half-float cache may choose the other: not here.
    "qwen3_moe": FAMILIES["qwen3_moe"].replace(head_dim=16, rotary_dim=16),
    "lfm2_moe": FAMILIES["lfm2_moe"],
    **{f"nemotron_h_moe_{n}": NEMOTRON_MIXTURES[n] for n in ("groups", "not_normalised", "all")},
}


@pytest.mark.parametrize("name", CASES)
def test_llama_cpp_answers_as_we_do(name: str, tmp_path: Path) -> None:
    spec = CASES[name]
    save_checkpoint(made_checkpoint(spec), tmp_path / "folder")
    write_tokenizer(tmp_path / "folder", spec.vocab_size)
    path = tmp_path / "m.gguf"
    save_checkpoint(open_checkpoint(tmp_path / "folder"), path, QuantSpec("f32"))
    prompt = np.random.default_rng(1).integers(3, 97, 100).tolist()  # one printable character each
    theirs = in_llama_cpp(path, prompt)
    with understudy.load(path, kv="f32", use_cache=False) as model:
        assert_likeliest(model.logits(prompt[: theirs["length"]]), theirs)


def test_llama_cpp_adapts_qwen3_5_as_we_do(tmp_path: Path) -> None:
    spec = CASES["qwen3_5"]
    save_checkpoint(made_checkpoint(spec), tmp_path / "folder")
    write_tokenizer(tmp_path / "folder", spec.vocab_size)
    path = tmp_path / "m.gguf"
    save_checkpoint(open_checkpoint(tmp_path / "folder"), path, QuantSpec("f32"))
    adapter = random_adapter(spec, targets=("_proj", "_qkv", "_z", "_a", "_b"), strength=0.5)
    gguf.write(adapter, tmp_path / "a.gguf", spec)
    prompt = np.random.default_rng(1).integers(3, 97, 60).tolist()
    theirs = in_llama_cpp(path, prompt, [(str(tmp_path / "a.gguf"), 1.0)])
    mixed = {**random_weights(spec), **as_weights([(adapter, 1.0)])}
    assert_likeliest(reference.forward(spec, mixed, prompt[: theirs["length"]]), theirs)
