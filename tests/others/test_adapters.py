"""Adapters that peft and llama.cpp open with our logits, and theirs that we open with theirs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.others.support import assert_likeliest, in_llama_cpp, python_of, run_in
from tests.support.adapters import random_adapter
from tests.support.byte_tokenizer import write_tokenizer
from tests.support.checkpoints import SPECS, random_weights, write_folder
from understudy.adapters import Adapter, gguf, peft, read_adapter
from understudy.adapters.adapter import as_weights
from understudy.checkpoint import reference
from understudy.checkpoint.checkpoint import open_checkpoint
from understudy.checkpoint.convert import save_checkpoint
from understudy.spec import ModelSpec, QuantSpec

pytestmark = [
    pytest.mark.others,
    pytest.mark.filterwarnings("ignore::understudy.errors.CheckpointWarning"),
]
PEFT = ["torch==2.13.0", "transformers==5.24.0", "accelerate==1.15.0", "peft==0.21.2"]
PROMPT = np.random.default_rng(1).integers(3, 97, 40).tolist()  # one printable character each
ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def _ours(spec: ModelSpec, *mix: tuple[Adapter, float]) -> Any:
    weights = {**random_weights(spec, seed=6), **as_weights(mix)}
    return reference.forward(spec, weights, PROMPT)


@pytest.mark.parametrize("name", ["llama", "llama_tied", "mistral", "qwen2", "nemotron"])
def test_logits_are_those_of_peft(name: str, tmp_path: Path) -> None:
    spec = SPECS[name]
    base = write_folder(spec, random_weights(spec, seed=6), tmp_path / "base")
    written = [
        random_adapter(spec, 1),
        random_adapter(spec, 2, rslora=True, targets=("q_proj", "up_proj")),
        random_adapter(spec, 3, targets=("v_proj", "lm_head", "embed_tokens")),
    ]
    folders = [tmp_path / str(number) for number in range(len(written))]
    for adapter, folder in zip(written, folders, strict=True):
        peft.write(adapter, folder, base=str(base))
    targets = [target for target in ALL if spec.gated or target != "gate_proj"]
    made = {
        "all": {"r": 8, "lora_alpha": 16, "target_modules": targets},
        "rank": {
            "r": 8,
            "target_modules": targets,
            "rank_pattern": {"layers.1.*proj": 3, "up_proj": 2},
            "alpha_pattern": {"q_proj": 5, "down_proj": 1},
            "use_rslora": True,
        },
        "some": {"r": 4, "target_modules": ["o_proj"], "layers_to_transform": [0, 2]},
        "embedding": {"r": 4, "target_modules": ["embed_tokens", "k_proj"]},
    }
    asked = {
        "base": str(base),
        "adapters": [str(folder) for folder in folders],
        "made": {str(tmp_path / key): settings for key, settings in made.items()},
        "prompt": PROMPT,
    }
    run_in(python_of("peft", PEFT), "in_peft.py", asked)
    plain = _ours(spec)
    for folder in [*folders, *(tmp_path / key for key in made)]:
        theirs = np.load(f"{folder}.npy")
        found = _ours(spec, (read_adapter(folder, spec), 1.0))
        assert np.abs(found - plain).max() > 0.1
        assert np.linalg.norm(found - theirs) <= 1e-3 * np.linalg.norm(theirs), folder


@pytest.mark.parametrize("name", ["llama", "qwen2", "nemotron"])
@pytest.mark.parametrize("case", ["all", "rslora", "two", "embedding"])
def test_the_next_token_is_that_of_llama_cpp(name: str, case: str, tmp_path: Path) -> None:
    wide = SPECS["nemotron"].replace(head_dim=16, rotary_dim=8)  # heads times size is hidden
    square = SPECS["qwen2"].replace(num_heads=12, hidden_size=96, tied_embeddings=False)
    spec = {"nemotron": wide, "qwen2": square}.get(name, SPECS[name])
    ids = {"bos_token_id": 1, "eos_token_id": 2}
    folder = write_folder(spec, random_weights(spec, seed=6), tmp_path / "m", config=ids)
    write_tokenizer(folder, spec.vocab_size)
    save_checkpoint(open_checkpoint(folder), tmp_path / "m.gguf", QuantSpec("f32"))
    embedding = ("embed_tokens", "lm_head", "q_proj")
    mix = {
        "all": [(random_adapter(spec, 1), 1.0)],
        "rslora": [(random_adapter(spec, 1, rank=5, rslora=True), 0.4)],
        "two": [(random_adapter(spec, 1), 0.5), (random_adapter(spec, 2, rank=2), 0.8)],
        "embedding": [(random_adapter(spec, 3, targets=embedding), 1.0)],
    }[case]
    files = []
    for number, (adapter, factor) in enumerate(mix):
        files.append([str(tmp_path / f"{number}.gguf"), factor])
        gguf.write(adapter, files[-1][0], spec)
    theirs = in_llama_cpp(tmp_path / "m.gguf", PROMPT, files)
    read = [(read_adapter(path, spec), factor) for path, factor in files]
    assert_likeliest(_ours(spec, *read), theirs)
