"""What `understudy convert` writes, opened by stock llama.cpp (GGUF) and stock transformers
(folder): same greedy tokens.

Weights are random, so the next-but-best token would often be a near tie that either engine's
rounding decides. To make the choices clear, a part of every head row points along the embedding of
one other token (`_with_clear_choices`); the test itself makes sure that every gap along the path is
above 0.25, and that the path is not a short loop. The log-probabilities of the choices are compared
too: they feel every layer, whatever wins.
"""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import understudy
from tests.support.byte_tokenizer import write_tokenizer
from tests.support.checkpoints import SPECS, Weights, random_weights, write_folder
from understudy.checkpoint import reference
from understudy.spec import ModelSpec

pytestmark = pytest.mark.slow

NUM_TOKENS = 32
PROMPT = [40, 77, 88, 12, 19, 5, 61]
PRINTABLE = np.arange(3, 97)  # the tokens ! to ~ of the byte-level vocabulary
# Rows of whole blocks; and llama.cpp opens a Nemotron only if its heads times head_dim are the
# hidden size.
SHAPES: dict[str, ModelSpec] = {
    "nemotron": SPECS["nemotron"].replace(head_dim=16, rotary_dim=8),
    "llama": SPECS["llama"],
    "llama3": SPECS["llama3"],
    "mistral": SPECS["mistral"],
    "qwen2": SPECS["qwen2"].replace(
        num_heads=12, head_dim=8, hidden_size=96, tied_embeddings=False
    ),
}
# format -> largest difference of a log-probability. Ours keeps activations in float32 over bf16
# weights, llama.cpp
# rounds them to bf16; over integer weights both round them to 8 bits, but in groups of their own.
FORMATS = {"bf16": 0.05, "q8": 0.1, "q4": 0.1}


def _with_clear_choices(spec: ModelSpec, seed: int) -> Weights:
    """Random weights whose head also knows a successor for every printable character: head[next(t)]
    += 40 E[t] / hidden.

    Only these, because llama.cpp's server tells log-probabilities of whole characters alone.
    """
    weights = random_weights(spec, seed)
    following = np.random.default_rng(seed).permutation(PRINTABLE)
    known = weights["model.embed_tokens.weight"][PRINTABLE]
    weights["lm_head.weight"][following] += 40 * known / np.float32(spec.hidden_size)
    return weights


@pytest.fixture(scope="module", params=SHAPES)
def folder(request, tmp_path_factory) -> Path:
    spec = SHAPES[request.param]
    path = tmp_path_factory.mktemp("models") / request.param
    ids = {
        "bos_token_id": 1,
        "eos_token_id": 2,
    }  # llama.cpp never chooses an end that it is told to ignore
    write_folder(spec, _with_clear_choices(spec, seed=6), path, "bfloat16", config=ids)
    write_tokenizer(path, spec.vocab_size)
    return path


def _convert(source: Path, target: Path, *options: str) -> Path:
    command = [sys.executable, "-m", "understudy", "convert", str(source), str(target), *options]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return target


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    top = logits.max(axis=-1, keepdims=True)
    return logits - top - np.log(np.exp(logits - top).sum(axis=-1, keepdims=True))


@pytest.mark.parametrize("weights", FORMATS)
def test_llama_cpp_says_the_same(folder: Path, weights: str, llama_greedy, tmp_path: Path) -> None:
    path = _convert(folder, tmp_path / f"{folder.name}-{weights}.gguf", "--format", weights)
    model = understudy.load(path, kv="f32", use_cache=False)
    ours = model.generate(PROMPT, max_tokens=NUM_TOKENS, temperature=0, ignore_eos=True).tokens
    logits = model.logits([*PROMPT, *ours])[len(PROMPT) - 1 : -1]
    two = np.sort(logits, axis=-1)[:, -2:]
    assert (two[:, 1] - two[:, 0]).min() > 0.25
    assert len(set(ours)) >= 12
    chosen = llama_greedy(path, PROMPT, NUM_TOKENS)
    assert [token for token, _ in chosen] == list(ours)
    theirs = np.array([logprob for _, logprob in chosen])
    mine = _log_softmax(logits)[np.arange(NUM_TOKENS), list(ours)]
    assert math.isfinite(theirs.sum())
    assert np.abs(mine - theirs).max() < FORMATS[weights]


def test_transformers_says_the_same_after_a_round_trip(folder: Path, tmp_path: Path) -> None:
    import torch
    import transformers

    gguf = _convert(folder, tmp_path / "model.gguf", "--format", "bf16")
    back = _convert(gguf, tmp_path / "folder", "--format", "bf16")
    theirs = transformers.AutoModelForCausalLM.from_pretrained(back, dtype=torch.float32).eval()
    model = understudy.load(gguf, kv="f32", use_cache=False)
    ours = model.generate(PROMPT, max_tokens=NUM_TOKENS, temperature=0, ignore_eos=True).tokens
    ids = [*PROMPT, *ours]
    with torch.inference_mode():
        logits = theirs(torch.tensor([ids])).logits[0].numpy()
    assert logits[len(PROMPT) - 1 : -1].argmax(axis=-1).tolist() == list(ours)
    assert np.abs(model.logits(ids) - logits).max() < 2e-4 * max(1.0, float(logits.std()))
    spec = SHAPES[folder.name]
    weights = {
        name: tensor.to_float32()
        for name, tensor in understudy.open_checkpoint(back).weights.items()
    }
    assert np.abs(reference.forward(spec, weights, ids) - logits).max() < 2e-4 * max(
        1.0, float(logits.std())
    )
