"""Opening folders and GGUF files: every shape class, every spelling of a key, and refusal of what
is not understood.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.checkpoints import (
    SPECS,
    random_weights,
    write_folder,
    write_safetensors,
)
from tests.support.torch_files import state_dict_bytes
from understudy.checkpoint.checkpoint import open_checkpoint
from understudy.errors import FormatError, InputError, MissingError, UnsupportedError


@pytest.mark.parametrize("style", ["transformers4", "transformers5", "megatron"])
@pytest.mark.parametrize("name", SPECS)
def test_every_shape_in_every_spelling(name: str, style: str, tmp_path: Path) -> None:
    spec = SPECS[name]
    weights = random_weights(spec, seed=1)
    opened = open_checkpoint(write_folder(spec, weights, tmp_path / "m", style=style, num_shards=3))
    assert opened.spec == spec
    assert set(opened.weights) == set(weights)
    for key, values in weights.items():
        np.testing.assert_array_equal(opened.weights[key].to_float32(), values)


def test_the_published_config_of_nemotron_mini(tmp_path: Path) -> None:
    """All 646 bytes of it, against weights of another size: only the shapes are in the way."""
    config = {
        "_name_or_path": "nvidia/Minitron-4B-Instruct",
        "architectures": ["NemotronForCausalLM"],
        "bos_token_id": 2,
        "eos_token_id": 3,
        "hidden_act": "relu2",
        "hidden_size": 3072,
        "initializer_range": 0.0134,
        "intermediate_size": 9216,
        "max_position_embeddings": 4096,
        "model_type": "nemotron",
        "num_attention_heads": 24,
        "num_hidden_layers": 32,
        "num_key_value_heads": 8,
        "norm_eps": 1e-05,
        "rope_theta": 10000,
        "partial_rotary_factor": 0.5,
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
        "transformers_version": "4.32.0.dev0",
        "use_cache": True,
        "vocab_size": 256000,
        "kv_channels": 128,
    }
    folder = write_folder(SPECS["nemotron"], random_weights(SPECS["nemotron"]), tmp_path / "m")
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(MissingError, match="of 324 tensors are missing"):
        open_checkpoint(folder)


def _nemotron(tmp_path: Path, **changes: Any) -> Path:
    spec = SPECS["nemotron"]
    return write_folder(spec, random_weights(spec), tmp_path / "m", config=changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"hidden_act": "gelu"},
        {"quantization_config": {"quant_method": "awq"}},
        {"rope_scaling": {"type": "su", "factor": 2.0}},
        {"rope_parameters": {"full_attention": {"rope_type": "default"}}},
        {"final_logit_softcapping": 30.0},
        {"some_new_switch": True},
        {"model_type": "gemma2"},
    ],
)
def test_what_is_not_understood_is_refused(changes: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError):
        open_checkpoint(_nemotron(tmp_path, **changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"hidden_size": "96"},
        {"num_attention_heads": 0},
        {"num_key_value_heads": 4},
        {"norm_eps": -1.0},
        {"kv_channels": 31},
        {"rope_theta": None, "rope_scaling": 3},
        {"tie_word_embeddings": "no"},
        {"vocab_size": 1 << 40},
    ],
)
def test_impossible_values_are_refused(changes: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(InputError):
        open_checkpoint(_nemotron(tmp_path, **changes))


def test_missing_extra_and_misshapen_tensors_are_named(tmp_path: Path) -> None:
    spec = SPECS["llama"]
    weights = random_weights(spec)
    folder = write_folder(spec, weights, tmp_path / "m")
    file = folder / "model.safetensors"
    name = "model.layers.1.mlp.up_proj.weight"
    write_safetensors({n: w for n, w in weights.items() if n != name}, file)
    with pytest.raises(MissingError, match=name):
        open_checkpoint(folder)
    write_safetensors(
        weights | {"model.layers.0.self_attn.q_norm.weight": np.ones(8, np.float32)}, file
    )
    with pytest.raises(UnsupportedError, match="q_norm"):
        open_checkpoint(folder)
    write_safetensors(weights | {name: weights[name].T.copy()}, file)
    with pytest.raises(FormatError, match=name):
        open_checkpoint(folder)
    write_safetensors(
        weights | {"model.layers.0.self_attn.rotary_emb.inv_freq": np.ones(8, np.float32)}, file
    )
    open_checkpoint(folder)


def test_a_bias_of_zeros_is_no_bias(tmp_path: Path) -> None:
    spec = SPECS["llama"]
    weights = random_weights(spec)
    name = "model.layers.1.mlp.up_proj.bias"
    zeros = weights | {name: np.zeros(spec.intermediate_size, np.float32)}
    assert name not in open_checkpoint(write_folder(spec, zeros, tmp_path / "zeros")).weights
    ones = weights | {name: np.ones(spec.intermediate_size, np.float32)}
    with pytest.raises(UnsupportedError, match="up_proj"):
        open_checkpoint(write_folder(spec, ones, tmp_path / "ones"))


def test_a_folder_with_a_pickle(tmp_path: Path) -> None:
    spec = SPECS["nemotron"]
    weights = random_weights(spec)
    folder = write_folder(spec, weights, tmp_path / "m")
    (folder / "model.safetensors").unlink()
    records = {
        n: (w, "FloatStorage", w.shape, tuple(s // 4 for s in w.strides), 0)
        for n, w in weights.items()
    }
    (folder / "pytorch_model.bin").write_bytes(state_dict_bytes(records))
    opened = open_checkpoint(folder)
    for key, values in weights.items():
        np.testing.assert_array_equal(opened.weights[key].to_float32(), values)


def test_no_such_place(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="no such file"):
        open_checkpoint(tmp_path / "none")
    with pytest.raises(MissingError, match=r"config.json"):
        open_checkpoint(tmp_path)


def _tokenizer(folder: Path, post_processor: Any, **settings: Any) -> None:
    payload = {
        "version": "1.0",
        "post_processor": post_processor,
        "model": {"type": "BPE", "vocab": {}, "merges": []},
    }
    (folder / "tokenizer.json").write_text(json.dumps(payload))
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))


def test_a_tokenizer_json_adds_what_its_post_processor_says(tmp_path: Path) -> None:
    folder = _nemotron(tmp_path)
    template = {
        "type": "TemplateProcessing",
        "single": [
            {"SpecialToken": {"id": "<s>", "type_id": 0}},
            {"Sequence": {"id": "A", "type_id": 0}},
        ],
        "special_tokens": {"<s>": {"id": "<s>", "ids": [2], "tokens": ["<s>"]}},
    }
    for post_processor, settings, expected in [
        (None, {}, False),
        (template, {}, True),
        ({"type": "Sequence", "processors": [{"type": "ByteLevel"}, template]}, {}, True),
        (template, {"add_bos_token": False}, True),
        (None, {"add_bos_token": True}, False),
    ]:
        _tokenizer(folder, post_processor, **settings)
        source = open_checkpoint(folder).tokenizer_source
        assert source is not None
        assert source.add_bos is expected


def test_ids_and_templates_of_a_folder(tmp_path: Path) -> None:
    folder = _nemotron(tmp_path)
    named = [{"name": "tool_use", "template": "T"}, {"name": "default", "template": "D"}]
    _tokenizer(folder, None, chat_template=named)
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [3, 5]}))
    source = open_checkpoint(folder).tokenizer_source
    assert source is not None
    assert (source.bos_id, source.eos_ids, source.chat_template) == (2, (3, 5), "D")
    assert source.named_templates == {"tool_use": "T"}


def test_template_files_replace_those_of_the_settings(tmp_path: Path) -> None:
    folder = _nemotron(tmp_path)
    _tokenizer(folder, None, chat_template=[{"name": "rag", "template": "R"}])
    (folder / "additional_chat_templates").mkdir()
    (folder / "additional_chat_templates" / "tool_use.jinja").write_text("T")
    for default in (None, "D"):
        if default is not None:
            (folder / "chat_template.jinja").write_text(default)
        source = open_checkpoint(folder).tokenizer_source
        assert source is not None
        assert (source.chat_template, source.named_templates) == (default, {"tool_use": "T"})
    (folder / "chat_template.jinja").write_text("J")
    source = open_checkpoint(folder).tokenizer_source
    assert source is not None
    assert source.chat_template == "J"
