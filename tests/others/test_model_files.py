"""Folders as transformers reads them, GGUF files as llama.cpp does: rotary scaling, heads,
defaults."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import understudy
from tests.others.support import assert_likeliest, in_llama_cpp, python_of
from tests.support.byte_tokenizer import write_tokenizer
from tests.support.checkpoints import SPECS, random_tokens, random_weights, write_folder
from understudy.checkpoint import reference
from understudy.checkpoint.checkpoint import open_checkpoint
from understudy.checkpoint.convert import save_checkpoint
from understudy.formats.gguf import read_gguf, write_gguf
from understudy.formats.tensor import StoredTensor
from understudy.spec import QuantSpec

pytestmark = [
    pytest.mark.others,
    pytest.mark.filterwarnings("ignore::understudy.errors.CheckpointWarning"),
]
TRANSFORMERS = ["torch==2.13.0", "transformers==5.24.0", "accelerate==1.15.0"]
INT32 = 5  # of GGUF's metadata types

# ---- transformers ----

YARN = {"rope_type": "yarn", "factor": 8.0, "original_max_position_embeddings": 64}
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}


def _configs(half: int) -> list[dict[str, Any]]:
    """Changes of a config whose heads turn by `half` frequencies."""
    rng = np.random.default_rng(half)
    long = {"rope_type": "longrope", "short_factor": (1 + rng.random(half)).tolist()}
    long["long_factor"] = (1 + 7 * rng.random(half)).tolist()
    scalings: list[dict[str, Any]] = [
        {"type": "linear", "factor": 4.0},
        {"rope_type": "dynamic", "factor": 2.0},
        {"rope_type": "yarn", "factor": 4.0},
        YARN | {"beta_fast": 16, "beta_slow": 2, "truncate": False},
        YARN | {"attention_factor": 1.3},
        YARN | {"mscale": 1.0, "mscale_all_dim": 0.7},
        YARN | {"mscale": 0.7},
        YARN | {"factor": None},
        long | {"original_max_position_embeddings": 64},
        long | {"original_max_position_embeddings": 64, "attention_factor": 1.25},
        LLAMA3 | {"original_max_position_embeddings": 64},
        LLAMA3,
    ]
    return [
        *({"rope_scaling": scaling} for scaling in scalings),
        {"rope_scaling": YARN, "original_max_position_embeddings": 100},
        {"rope_scaling": scalings[0], "rope_parameters": {"rope_theta": 300.0}},
        {"rope_parameters": {"rope_theta": 300.0, "factor": 3.0, "finetuned": True}},
        {"rope_theta": 500.0, "rope_parameters": {"rope_theta": 20000.0}},
        {"partial_rotary_factor": 0.25},
        {"max_position_embeddings": 128, "use_sliding_window": True, "sliding_window": 128},
        {"tie_word_embeddings": True},
    ]


@pytest.mark.parametrize("name", ["llama", "mistral", "qwen2", "nemotron"])
def test_logits_are_those_of_transformers(name: str, tmp_path: Path) -> None:
    spec = SPECS[name].replace(tied_embeddings=False)
    weights, prompts = random_weights(spec, seed=1), [random_tokens(spec, n) for n in (20, 100)]
    folders = []
    for number, changes in enumerate(_configs(spec.rotary_dim // 2)):
        folder = write_folder(spec, weights, tmp_path / str(number), config=changes)
        if "rope_parameters" in changes and "rope_theta" not in changes:
            config = json.loads((folder / "config.json").read_text())
            del config["rope_theta"]
            (folder / "config.json").write_text(json.dumps(config))
        folders.append(folder)
    asked = {str(folder): [prompt.tolist() for prompt in prompts] for folder in folders}
    command = [
        python_of("transformers", TRANSFORMERS),
        Path(__file__).with_name("in_transformers.py"),
    ]
    subprocess.run(command, input=json.dumps(asked), check=True, capture_output=True, text=True)
    for folder in folders:
        opened = open_checkpoint(folder)
        ours = {key: opened.weights[key].to_float32() for key in opened.weights}
        for number, prompt in enumerate(prompts):
            found = reference.forward(opened.spec, ours, prompt)
            right = np.load(folder / f"{number}.npy")
            np.testing.assert_allclose(found, right, atol=3e-4, err_msg=str(folder))


# ---- llama.cpp ----

FACTORS, SHORT = (np.linspace(1, 5, 8).tolist(), np.linspace(1, 2, 8).tolist())
ORIGINAL = {"rope.scaling.original_context_length": 64}
GGUF_YARN = {"rope.scaling.type": "yarn", "rope.scaling.factor": 8.0, **ORIGINAL}
EVERYWHERE: list[dict[str, Any]] = [
    {},
    {"rope.scale_linear": 4.0},
    {"rope.scaling.factor": 4.0},
    {"rope.scaling.type": "linear", "rope.scaling.factor": 2.5},
    {"rope.scaling.type": "none", "rope.scaling.factor": 4.0},
    {"rope.scaling.type": "none", "rope.scaling.attn_factor": 1.5},
    {"rope.scaling.type": "yarn", "rope.scaling.factor": 4.0},
    GGUF_YARN,
    GGUF_YARN | {"rope.scaling.attn_factor": 1.3, "rope.scaling.yarn_beta_fast": 4.0},
    GGUF_YARN | {"rope.scaling.factor": 0.5},
    {"rope.freq_base": None},
]
LONG = {"rope.scaling.type": "longrope", "rope.scaling.attn_factor": 1.2}
LONG_TENSORS = {"rope_factors_long": FACTORS, "rope_factors_short": SHORT}
OF_LLAMA: list[tuple[dict[str, Any], dict[str, list[float]]]] = [
    ({}, {"rope_freqs": FACTORS}),
    ({"rope.scaling.factor": 2.0}, {"rope_freqs": FACTORS}),
    (GGUF_YARN, {"rope_freqs": FACTORS}),
    (LONG | ORIGINAL, LONG_TENSORS),
    (
        LONG | {"rope.scaling.original_context_length": 300, "rope.scaling.factor": 2.0},
        LONG_TENSORS,
    ),
    ({"attention.head_count_kv": [2] * 3, "feed_forward_length": [256] * 3}, {}),
    ({"rope.dimension_count": None}, {}),
    ({"logit_scale": 0.5, "rope.scaling.alpha": 3.0}, {}),
]
GGUF_CASES = [
    *((name, keys, {}) for name in ("llama", "qwen2", "nemotron") for keys in EVERYWHERE),
    *(("llama", keys, tensors) for keys, tensors in OF_LLAMA),
]


@pytest.mark.parametrize(("name", "keys", "tensors"), GGUF_CASES)
def test_the_next_token_is_that_of_llama_cpp(
    name: str, keys: dict[str, Any], tensors: dict[str, list[float]], tmp_path: Path
) -> None:
    path = _gguf(name, keys, tensors, tmp_path)
    prompt = np.random.default_rng(1).integers(3, 97, 100).tolist()  # one printable character each
    theirs = in_llama_cpp(path, prompt)
    with understudy.load(path, kv="f32", use_cache=False) as model:
        assert_likeliest(model.logits(prompt[: theirs["length"]]), theirs)


def _gguf(name: str, keys: dict[str, Any], tensors: dict[str, list[float]], path: Path) -> Path:
    """A GGUF with keys of its architecture changed, or left out where they are None."""
    wide = SPECS["nemotron"].replace(head_dim=16, rotary_dim=8)  # heads times size is hidden
    square = SPECS["qwen2"].replace(num_heads=12, hidden_size=96, tied_embeddings=False)
    spec = {"nemotron": wide, "qwen2": square}.get(name, SPECS[name])
    ids = {"bos_token_id": 1, "eos_token_id": 2}
    folder = write_folder(spec, random_weights(spec, seed=6), path / "m", config=ids)
    write_tokenizer(folder, spec.vocab_size)
    save_checkpoint(open_checkpoint(folder), path / "plain.gguf", QuantSpec("f32"))
    file = read_gguf(path / "plain.gguf")
    metadata = {k: v for k, v in file.metadata.items() if not k.endswith("rope.scaling.type")}
    metadata |= {f"{name}.{key}": value for key, value in keys.items()}
    types = (INT32, metadata["tokenizer.ggml.token_type"])
    metadata |= {"tokenizer.ggml.token_type": types}
    more = [StoredTensor.of(f"{n}.weight", np.float32(v)) for n, v in tensors.items()]
    stored = [*file.tensors.values(), *more]
    kept = {key: value for key, value in metadata.items() if value is not None}
    write_gguf(path / "m.gguf", kept, [(t.name, t.shape, t.format) for t in stored], stored)
    return path / "m.gguf"
