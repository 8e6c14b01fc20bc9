"""Random keys of config.json, of every family, right and odd ones: what opens here has the logits
of transformers, and so has what we write of it; everything else is refused in one line."""

from __future__ import annotations

import json
import random
import subprocess
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.others.support import python_of
from tests.others.test_model_files import TRANSFORMERS
from understudy.checkpoint import reference
from understudy.checkpoint.checkpoint import Checkpoint, open_checkpoint
from understudy.checkpoint.convert import save_checkpoint
from understudy.errors import CheckpointWarning, InputError, UnderstudyError
from understudy.spec import QuantSpec

pytestmark = pytest.mark.others

CASES_PER_FAMILY = 20
SIZES = {
    "vocab_size": 96,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "head_dim": 8,
    "pad_token_id": 0,
}
OF_FAMILY: dict[str, dict[str, Any]] = {
    **{name: {} for name in ("llama", "mistral", "qwen2", "qwen3", "smollm3", "nemotron")},
    "granite": {"embedding_multiplier": 2.0, "logits_scaling": 3.0, "attention_multiplier": 0.3},
    "phi3": {"head_dim": None},
    "gemma3_text": {"num_hidden_layers": 7, "query_pre_attn_scalar": 8, "sliding_window": 12},
    "lfm2": {"block_auto_adjust_ff_dim": False, "full_attn_idxs": [1]},
    "nemotron_h": {
        "hybrid_override_pattern": "M*-",
        "mamba_num_heads": 4,
        "mamba_head_dim": 8,
        "ssm_state_size": 8,
        "n_groups": 2,
        "chunk_size": 16,
    },
    "nemotron_h experts": {
        "hybrid_override_pattern": "ME*E",
        "mamba_num_heads": 4,
        "mamba_head_dim": 8,
        "ssm_state_size": 8,
        "n_groups": 2,
        "chunk_size": 16,
        "n_routed_experts": 8,
        "moe_intermediate_size": 16,
        "moe_shared_expert_intermediate_size": 24,
        "routed_scaling_factor": 2.5,
    },
    "qwen3_moe": {"num_experts": 8, "moe_intermediate_size": 16, "num_experts_per_tok": 2},
    "lfm2_moe": {
        "num_experts": 8,
        "moe_intermediate_size": 16,
        "layer_types": ["conv", "full_attention", "conv", "full_attention"],
    },
    "granitemoe": {"num_local_experts": 4, "logits_scaling": 3.0},
    "granitemoeshared": {"num_local_experts": 4, "shared_intermediate_size": 24},
    "granitemoehybrid": {
        "layer_types": ["mamba", "attention", "mamba", "mamba"],
        "mamba_n_heads": 4,
        "mamba_d_state": 8,
        "mamba_chunk_size": 16,
        "num_local_experts": 4,
        "shared_intermediate_size": 24,
    },
}
# Keys that a family with experts has of its own.
_ROUTED: dict[str, list[Any]] = {
    "num_experts_per_tok": [1, 3],
    "norm_topk_prob": [False, True],
    "routed_scaling_factor": [1, 0.5],
}
_GRANITE: dict[str, list[Any]] = {
    "num_experts_per_tok": [1, 3],
    "num_local_experts": [3, 8],
    "embedding_multiplier": [2.0],
    "residual_multiplier": [0.25, 1],
    "attention_multiplier": [0.3],
    "logits_scaling": [3.0],
    "router_aux_loss_coef": [0.01],
}
OF_EXPERTS: dict[str, dict[str, list[Any]]] = {
    "nemotron_h experts": _ROUTED
    | {"n_group": [2, 4], "topk_group": [1, 2], "n_shared_experts": [1, 2], "use_bias": [True]},
    "qwen3_moe": {"num_experts_per_tok": [1, 3], "norm_topk_prob": [False, True]}
    | {"num_experts": [3, 12], "decoder_sparse_step": [2], "mlp_only_layers": [[0], []]},
    "lfm2_moe": _ROUTED
    | {"use_expert_bias": [False], "num_dense_layers": [0, 1, 3], "num_experts": [3, 12]},
    "granitemoe": _GRANITE,
    "granitemoeshared": _GRANITE | {"shared_intermediate_size": [16, 0]},
    "granitemoehybrid": _GRANITE
    | {
        "num_local_experts": [0, 3],
        "position_embedding_type": ["rope", "nope", None],
        "mamba_n_groups": [2],
        "mamba_d_conv": [2],
        "mamba_conv_bias": [False],
        "mamba_proj_bias": [True],
        "mamba_d_head": ["auto", 16],
        "layer_types": [["attention"] * 4, ["linear_attention", "full_attention"] * 2],
    },
}
MISSING = object()
VALUES: dict[str, list[Any]] = {
    "rope_theta": [10000.0, 500000, 1e6, MISSING],
    "num_key_value_heads": [1, 4, MISSING],
    "head_dim": [12, 16, MISSING],
    "tie_word_embeddings": [True, False, MISSING],
    "attention_bias": [True, False],
    "mlp_bias": [True, False],
    "sliding_window": [12, 16, 64, 128, 4096, None],
    "use_sliding_window": [True, True, False],
    "max_window_layers": [0, 1, 2, 28],
    "partial_rotary_factor": [0.25, 0.5, 1.0],
    "rope_percent": [0.5, 1.0],
    "rms_norm_eps": [1e-3, 1e-6],
    "norm_eps": [1e-3, 1e-5],
    "layer_norm_epsilon": [1e-3, 1e-5],
    "hidden_act": ["silu", "relu2", "gelu_pytorch_tanh"],
    "embedding_multiplier": [1.0, 2.0],
    "residual_multiplier": [0.25, 1],
    "query_pre_attn_scalar": [8, 16],
    "no_rope_layers": [[1, 0, 1, 1]],
    "no_rope_layer_interval": [2],
    "sliding_window_pattern": [3],
    "rope_local_base_freq": [5000.0],
    "conv_L_cache": [4],
    "conv_bias": [True],
    "original_max_position_embeddings": [32],
    "max_position_embeddings": [64],
    "vocab_size": [100],
    "use_mrope": [False],
    "unsloth_version": ["1"],
    "eos_token_id": [[2, 3], None],
    "quantization_config": [None],
    "torch_dtype": ["float32"],
}


def _rope(chance: random.Random) -> dict[str, Any]:
    kind = chance.choice(["default", "linear", "dynamic", "yarn", "llama3", "longrope"])
    block: dict[str, Any] = {chance.choice(["rope_type", "type"]): kind}
    if kind not in ("default", "longrope"):
        block["factor"] = chance.choice([1.0, 4.0, 8])
    if kind == "llama3":
        block |= {"low_freq_factor": 1.0, "high_freq_factor": 4.0}
    if kind == "longrope":
        block |= {"short_factor": [1, 1.1, 1.2, 1.3], "long_factor": [1.0, 1.5, 2.0, 2.5]}
    if kind in ("llama3", "longrope", "yarn") and chance.random() < 0.7:
        block["original_max_position_embeddings"] = 32
    return block | ({"rope_theta": 3e5} if chance.random() < 0.5 else {})


def _config(name: str, chance: random.Random) -> dict[str, Any]:
    config = {"model_type": name.split()[0], **SIZES, **OF_FAMILY[name]}
    own = OF_EXPERTS.get(name, {})
    for key in chance.sample(sorted(VALUES), chance.randint(0 if own else 1, 2 if own else 4)):
        config[key] = chance.choice(VALUES[key])
    for key in chance.sample(sorted(own), chance.randint(1, 3) if own else 0):
        config[key] = chance.choice(own[key])
    if not own and chance.random() < 0.3:
        kinds = ["full_attention", "sliding_attention", "attention"]
        config["layer_types"] = [chance.choice(kinds) for _ in range(config["num_hidden_layers"])]
    if chance.random() < 0.4:
        place = chance.choice(["rope_scaling", "rope_parameters"])
        nested = {"full_attention": _rope(chance), "sliding_attention": {"rope_theta": 777.0}}
        is_nested = name == "gemma3_text" and place == "rope_parameters"
        config[place] = nested if is_nested else _rope(chance)
    return {k: v for k, v in config.items() if v is not MISSING and (k, v) != ("head_dim", None)}


@pytest.mark.parametrize("name", OF_FAMILY)
def test_what_opens_is_what_transformers_computes(name: str, tmp_path: Path) -> None:
    folders = []
    for number in range(CASES_PER_FAMILY):
        folder = tmp_path / str(number)
        folder.mkdir()
        config = _config(name, random.Random(f"{name} {number}"))
        (folder / "config.json").write_text(json.dumps(config))
        folders.append(folder)
    python, script = python_of("transformers", TRANSFORMERS), "in_transformers_configs.py"
    asked = json.dumps(list(map(str, folders)))
    command = [python, Path(__file__).with_name(script)]
    subprocess.run(command, input=asked, check=True, capture_output=True, text=True)
    compared = sum(_is_equal(folder) for folder in folders if (folder / "logits.npz").exists())
    assert compared >= CASES_PER_FAMILY / 5, "too few configs that both take"


def _is_equal(folder: Path) -> bool:
    """Whether it opens here; then it must be equal, unless a warning names Megatron's key."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", CheckpointWarning)
        try:
            opened = open_checkpoint(folder)
        except InputError:
            return False
    if any("transformers reads" in str(warning.message) for warning in told):
        return False
    _check_logits(opened, folder)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CheckpointWarning)
        for path in (folder / "copy", folder / "copy.gguf"):
            try:
                save_checkpoint(opened, path, QuantSpec("f32"))
            except UnderstudyError:
                assert path.suffix, "a folder has a place for everything that opens"
            else:
                _check_logits(open_checkpoint(path), folder)
    return True


def _check_logits(checkpoint: Checkpoint, folder: Path) -> None:
    right = np.load(folder / "logits.npz")
    weights = {name: checkpoint.weights[name].to_float32() for name in checkpoint.weights}
    for length in (12, 60):
        found = reference.forward(checkpoint.spec, weights, right[f"ids{length}"])
        config = (folder / "config.json").read_text()
        np.testing.assert_allclose(found, right[f"logits{length}"], atol=4e-4, err_msg=config)
