"""What transformers takes where a key is missing, what it passes over, windows, and GGUF's numbers
by layer."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.checkpoints import SPECS, config_of, random_weights, write_folder
from understudy.checkpoint.checkpoint import open_checkpoint
from understudy.checkpoint.convert import save_checkpoint
from understudy.checkpoint.registry import ARCHITECTURES
from understudy.errors import CheckpointWarning, FormatError, InputError, MissingError
from understudy.formats.gguf import read_gguf, write_gguf
from understudy.spec import BlockSpec, QuantSpec

# The classes' defaults in transformers 5.24: layers, hidden, inner, heads, kv heads, vocabulary,
# positions, eps.
TRANSFORMERS = {
    "llama": (32, 4096, 11008, 32, 32, 32000, 2048, 1e-6),
    "mistral": (
        32,
        4096,
        14336,
        32,
        8,
        32000,
        131072,
        1e-6,
    ),
    "qwen2": (32, 4096, 22016, 32, 32, 151936, 32768, 1e-6),
    "nemotron": (32, 6144, 24576, 48, 48, 256000, 4096, 1e-5),
}


@pytest.mark.parametrize("name", TRANSFORMERS)
@pytest.mark.filterwarnings("ignore::understudy.errors.CheckpointWarning")
def test_missing_keys_mean_what_they_mean_to_transformers(name: str) -> None:
    spec = ARCHITECTURES[name].spec_of({"model_type": name}, "config.json")
    found = (
        spec.num_layers,
        spec.hidden_size,
        spec.intermediate_size,
        spec.num_heads,
        spec.num_kv_heads,
        spec.vocab_size,
        spec.max_positions,
        spec.norm_eps,
    )
    assert found == TRANSFORMERS[name]
    assert spec.rope_theta == 10000.0
    assert spec.rotary_dim == (64 if name == "nemotron" else 128)
    assert spec.tied_embeddings is False


def test_no_number_of_kv_heads_is_not_null() -> None:
    read = ARCHITECTURES["mistral"].spec_of
    for values, number in (({}, 8), ({"num_key_value_heads": None}, 32)):
        assert read({"sliding_window": None} | values, "x").num_kv_heads == number


HARMLESS: list[tuple[str, dict[str, Any]]] = [
    ("qwen2", {"use_mrope": False}),
    ("llama", {"unsloth_version": "2025.3.19", "unsloth_fixed": True, "unsloth_new_mark": 3}),
    ("llama", {"mergekit_version": "0.1", "finetuned_by": "x", "eot_token_id": 7, "notes": "y"}),
    ("llama", {"logit_scale": 1.0, "embedding_multiplier": 1, "some_new_switch": False}),
    ("llama", {"num_experts": 0, "mlp_only_layers": [], "some_new_table": {}, "a_note": ""}),
    ("qwen2", {"sliding_window": 16, "use_sliding_window": False, "max_window_layers": 1}),
    ("qwen2", {"sliding_window": 16, "use_sliding_window": True, "max_window_layers": 3}),
    ("qwen2", {"sliding_window": None, "use_sliding_window": True, "max_window_layers": 0}),
    ("qwen2", {"layer_types": ["full_attention"] * 3}),
    ("mistral", {"sliding_window": 512}),
    ("llama", {"rope_theta": 500000, "rope_parameters": {"rope_theta": 500000.0}}),
    ("nemotron", {"head_dim": 32, "kv_channels": 32}),
]


@pytest.mark.parametrize(("name", "changes"), HARMLESS)
def test_keys_that_change_nothing_are_taken_in_silence(
    name: str, changes: dict[str, Any], tmp_path: Path
) -> None:
    spec = SPECS[name]
    folder = write_folder(spec, random_weights(spec), tmp_path / "m", config=changes)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert open_checkpoint(folder).spec == spec


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("llama", {"sliding_window": 16}),
        ("nemotron", {"use_sliding_window": True}),
        ("mistral", {"sliding_window": None, "attention_bias": True}),
        ("qwen2", {"mlp_bias": True}),
    ],
)
def test_keys_of_other_architectures_are_named(
    name: str, changes: dict[str, Any], tmp_path: Path
) -> None:
    spec = SPECS[name]
    folder = write_folder(spec, random_weights(spec), tmp_path / "m", config=changes)
    with pytest.warns(CheckpointWarning, match=next(reversed(changes))):
        assert open_checkpoint(folder).spec == spec


MIXED = ["full_attention", "sliding_attention", "full_attention"]
WINDOWS: list[tuple[str, dict[str, Any], list[int]]] = [
    ("mistral", {"sliding_window": 100}, [100, 100, 100]),
    ("mistral", {"sliding_window": 1}, [1, 1, 1]),
    ("mistral", {"sliding_window": 511}, [511, 511, 511]),
    ("qwen2", {"sliding_window": 100, "max_window_layers": 2}, [0, 0, 100]),
    ("qwen2", {"sliding_window": 100, "max_window_layers": 0}, [100, 100, 100]),
    ("qwen2", {"sliding_window": 100, "layer_types": MIXED}, [0, 100, 0]),
    ("qwen2", {"sliding_window": 100, "layer_types": ["attention", *MIXED[1:]]}, [0, 100, 0]),
]


@pytest.mark.parametrize(("name", "changes", "windows"), WINDOWS)
def test_windows_are_those_of_transformers(
    name: str, changes: dict[str, Any], windows: list[int], tmp_path: Path
) -> None:
    spec = SPECS[name]
    changes = changes | ({"use_sliding_window": True} if name == "qwen2" else {})
    folder = write_folder(spec, random_weights(spec), tmp_path / "m", config=changes)
    blocks = tuple(BlockSpec(window=window) for window in windows)
    opened = open_checkpoint(folder)
    assert opened.spec == spec.replace(blocks=blocks)
    for path in (tmp_path / "copy", tmp_path / "copy.gguf"):
        save_checkpoint(opened, path, QuantSpec("f32"))
        assert open_checkpoint(path).spec == opened.spec


@pytest.mark.parametrize("name", ["qwen2", "qwen3", "smollm3"])
def test_a_window_without_a_width_is_refused(name: str) -> None:
    kinds = ["sliding_attention"] * 36
    for values in ({"use_sliding_window": False}, {"sliding_window": None}):
        config = {"num_hidden_layers": 36, "layer_types": kinds, **values}
        with pytest.raises(FormatError, match="no sliding_window"):
            ARCHITECTURES[name].spec_of(config, "config.json")


@pytest.mark.parametrize("name", sorted(SPECS))
def test_a_config_that_announces_millions_of_layers_is_refused_at_once(
    name: str, tmp_path: Path
) -> None:
    spec = SPECS[name]
    folder = write_folder(spec, random_weights(spec), tmp_path / "m")
    config = config_of(spec) | {"num_hidden_layers": (1 << 31) - 1}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(MissingError, match="more layers"):
        open_checkpoint(folder)


# ---- GGUF ----


def _rewritten(name: str, path: Path, keys: dict[str, Any], without: str = "") -> Path:
    spec = SPECS[name]
    folder = write_folder(spec, random_weights(spec), path / "m")
    save_checkpoint(open_checkpoint(folder), path / "plain.gguf", QuantSpec("f32"))
    file = read_gguf(path / "plain.gguf")
    kept = {key: value for key, value in (file.metadata | keys).items() if key != without}
    shapes = [(t.name, t.shape, t.format) for t in file.tensors.values()]
    write_gguf(path / "m.gguf", kept, shapes, file.tensors.values())
    return path / "m.gguf"


def test_equal_numbers_by_layer_are_one_number(tmp_path: Path) -> None:
    keys = {
        "llama.attention.head_count": [8, 8, 8],
        "llama.attention.head_count_kv": [2, 2, 2],
        "llama.feed_forward_length": [256, 256, 256],
    }
    assert open_checkpoint(_rewritten("llama", tmp_path, keys)).spec.num_kv_heads == 2


@pytest.mark.parametrize("values", [[2, 2], [2, 2, 4], [], [2.0, 2.0, 2.0]])
def test_other_numbers_by_layer_are_refused(values: list[float], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="head_count_kv"):
        open_checkpoint(_rewritten("llama", tmp_path, {"llama.attention.head_count_kv": values}))


@pytest.mark.parametrize(
    ("name", "key", "attribute", "value"),
    [
        ("nemotron_8b", "nemotron.attention.head_count_kv", None, None),
        ("llama", "llama.rope.freq_base", "rope_theta", 10000.0),
        ("llama", "llama.rope.dimension_count", "rotary_dim", 16),
        ("nemotron", "nemotron.rope.dimension_count", "rotary_dim", 32),
        ("llama", "llama.vocab_size", "vocab_size", 512),
    ],
)
def test_missing_keys_mean_what_they_mean_to_llama_cpp(
    name: str, key: str, attribute: str | None, value: object, tmp_path: Path
) -> None:
    path = _rewritten(name, tmp_path, {}, without=key)
    if attribute is None:  # as many key heads as query heads, which these tensors contradict
        with pytest.raises(FormatError, match="shape"):
            open_checkpoint(path)
    else:
        assert getattr(open_checkpoint(path).spec, attribute) == value


@pytest.mark.parametrize(
    "key",
    [
        "llama.context_length",
        "llama.embedding_length",
        "llama.block_count",
        "llama.attention.layer_norm_rms_epsilon",
    ],
)
def test_what_llama_cpp_demands_is_demanded(key: str, tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=key):
        open_checkpoint(_rewritten("llama", tmp_path, {}, without=key))


@pytest.mark.parametrize("share", [0.25, 0.5, 0.75, 1.0])
def test_a_wide_nemotron_keeps_its_rotation(share: float, tmp_path: Path) -> None:
    spec = SPECS["nemotron"].replace(rotary_dim=int(32 * share))
    weights = random_weights(spec)
    said = {"partial_rotary_factor": share}
    folder = write_folder(spec, weights, tmp_path / "m", config=said)
    save_checkpoint(open_checkpoint(folder), tmp_path / "m.gguf", QuantSpec("f32"))
    assert open_checkpoint(tmp_path / "m.gguf").spec.rotary_dim == int(32 * share)
    # llama.cpp's converter takes the share of hidden / heads, 16 here, and marks nothing.
    file = read_gguf(tmp_path / "m.gguf")
    foreign = {k: v for k, v in file.metadata.items() if not k.startswith("understudy.")}
    foreign["nemotron.rope.dimension_count"] = int(share * 96) // 6
    shapes = [(t.name, t.shape, t.format) for t in file.tensors.values()]
    write_gguf(tmp_path / "f.gguf", foreign, shapes, file.tensors.values())
    if share != 1.0:  # 16 of 16 is also half of 32, which is what the family has
        assert open_checkpoint(tmp_path / "f.gguf").spec.rotary_dim == int(32 * share)


def test_types_of_numbers_do_not_matter_where_the_values_do() -> None:
    read = ARCHITECTURES["nemotron"].spec_of
    same = read({"rope_theta": 10000, "rotary_base": 10000.0, "norm_eps": 1e-5}, "x")
    assert np.isclose(same.rope_theta, 10000.0)
