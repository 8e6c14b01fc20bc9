"""Keys of the newer families' configs and GGUF files: what transformers 5.24 and llama.cpp take
where one is missing, spelled in another way, or means something else in another family."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.families import FAMILIES, made_checkpoint
from understudy.checkpoint.checkpoint import open_checkpoint
from understudy.checkpoint.convert import save_checkpoint
from understudy.checkpoint.registry import ARCHITECTURES
from understudy.errors import CheckpointWarning, FormatError, UnsupportedError
from understudy.formats.gguf import read_gguf, write_gguf
from understudy.rotary import LinearScaling
from understudy.spec import ModelSpec, QuantSpec

LINEAR = {"rope_type": "linear", "factor": 4.0}
GEMMA = {"model_type": "gemma3_text", "num_hidden_layers": 6}


def _spec(name: str, **values: Any) -> ModelSpec:
    sizes = {"hidden_size": 64, "num_attention_heads": 8, "num_key_value_heads": 8}
    return ARCHITECTURES[name].spec_of({"model_type": name, **sizes, **values}, "config.json")


@pytest.mark.parametrize(
    ("name", "head_dim", "theta"),
    [
        ("gemma3_text", 256, 1e6),
        ("qwen3", 128, 1e4),
        ("smollm3", 8, 2e6),
        ("granite", 8, 1e4),
        ("phi3", 8, 1e4),
        ("lfm2", 8, 1e6),
    ],
)
def test_heads_and_bases_that_a_config_does_not_say(name: str, head_dim: int, theta: float) -> None:
    spec = _spec(name)
    assert (spec.head_dim, spec.rope_theta) == (head_dim, theta)
    scaled = _spec(name, rope_parameters={"rope_theta": 3.0}, rope_scaling=LINEAR)
    assert scaled.rope_scaling == LinearScaling(4.0)


@pytest.mark.parametrize(
    ("values", "theta", "local", "scaling"),
    [
        ({}, 1e6, 1e4, None),
        ({"rope_theta": 5e5, "rope_local_base_freq": 300.0}, 5e5, 300.0, None),
        ({"rope_parameters": {"full_attention": {"rope_theta": 7e5}}}, 7e5, 1e4, None),
        ({"rope_parameters": {"full_attention": None}}, 1e6, 1e4, None),
        ({"rope_parameters": {"sliding_attention": {"rope_theta": 9.0}}}, 1e6, 9.0, None),
        ({"rope_scaling": LINEAR}, 1e6, 1e4, LinearScaling(4.0)),
        (
            {"rope_scaling": LINEAR, "rope_parameters": {"full_attention": {"rope_theta": 7e5}}},
            7e5,
            1e4,
            LinearScaling(4.0),
        ),
        (
            {"rope_parameters": {"full_attention": {"type": "linear", "factor": 4.0}}},
            1e6,
            1e4,
            LinearScaling(4.0),
        ),
    ],
)
@pytest.mark.filterwarnings("ignore::understudy.errors.CheckpointWarning")
def test_rotation_by_kinds_of_layers(
    values: dict[str, Any], theta: float, local: float, scaling: Any
) -> None:
    spec = _spec("gemma3_text", **values)
    found = (spec.rope_theta, spec.local_rope_theta, spec.rope_scaling)
    assert found == (theta, local, scaling)


@pytest.mark.parametrize(
    ("name", "values", "words"),
    [
        ("gemma3_text", {"rope_parameters": {"rope_theta": 5.0}}, "rope_parameters without"),
        ("gemma3_text", {"rope_scaling": {"type": "linear", "factor": 4.0}}, "type linear"),
        ("phi3", {"rope_percent": 0.5}, "rope_percent is not read"),
        ("llama", {"norm_eps": 1e-3}, "norm_eps is not read"),
        ("nemotron_h", {"hybrid_override_pattern": "M*", "norm_eps": 1e-3}, "layer_norm_epsilon"),
        ("nemotron_h", {"hybrid_override_pattern": "M*", "sliding_window": 8}, "sliding_window"),
        ("nemotron", {"rope_percent": 0.75}, "transformers reads partial_rotary_factor alone"),
    ],
)
def test_what_transformers_does_not_read_is_named(
    name: str, values: dict[str, Any], words: str
) -> None:
    with pytest.warns(CheckpointWarning, match=words):
        _spec(name, **values)


@pytest.mark.parametrize("values", [{"rope_parameters": 3}, {"rope_scaling": ["linear"]}])
def test_rotary_settings_that_are_no_object_are_refused(values: dict[str, Any]) -> None:
    for name in ("gemma3_text", "smollm3", "lfm2", "phi3"):
        with pytest.raises(FormatError, match="must be objects"):
            _spec(name, **values)


def test_layers_by_their_names_of_old() -> None:
    kinds = ["conv", "attention"]
    assert _spec("lfm2", num_hidden_layers=2, layer_types=kinds).count("attention") == 1
    with pytest.raises(UnsupportedError, match="layer_types"):
        _spec("lfm2", num_hidden_layers=2, layer_types=["conv", 3])


# ---- GGUF ----


def _gguf(name: str, path: Path, keys: dict[str, Any]) -> Path:
    save_checkpoint(made_checkpoint(FAMILIES[name]), path / "plain.gguf", QuantSpec("f32"))
    file = read_gguf(path / "plain.gguf")
    shapes = [(t.name, t.shape, t.format) for t in file.tensors.values()]
    write_gguf(path / "m.gguf", file.metadata | keys, shapes, file.tensors.values())
    return path / "m.gguf"


@pytest.mark.parametrize("name", ["lfm2", "gemma3", "qwen3"])
def test_llama_cpp_has_one_base_where_a_file_has_none(name: str, tmp_path: Path) -> None:
    save_checkpoint(made_checkpoint(FAMILIES[name]), tmp_path / "plain.gguf", QuantSpec("f32"))
    file = read_gguf(tmp_path / "plain.gguf")
    kept = {k: v for k, v in file.metadata.items() if not k.endswith("rope.freq_base")}
    shapes = [(t.name, t.shape, t.format) for t in file.tensors.values()]
    write_gguf(tmp_path / "m.gguf", kept, shapes, file.tensors.values())
    assert open_checkpoint(tmp_path / "m.gguf").spec.rope_theta == 10000.0


@pytest.mark.parametrize(
    ("pattern", "windows"),
    [
        ([True, False] * 3 + [True], [9, 0, 9, 0, 9, 0, 9]),
        (3, [9, 9, 0, 9, 9, 0, 9]),
        (1, [9] * 7),
    ],
)
def test_a_pattern_of_windows_is_read_and_written(
    pattern: object, windows: list[int], tmp_path: Path
) -> None:
    path = _gguf("gemma3", tmp_path, {"gemma3.attention.sliding_window_pattern": pattern})
    opened = open_checkpoint(path)
    assert [block.window for block in opened.spec.blocks] == windows
    assert all((b.rotation == "local") == (b.window > 0) for b in opened.spec.blocks)
    save_checkpoint(opened, tmp_path / "again.gguf", QuantSpec("f32"))
    assert open_checkpoint(tmp_path / "again.gguf").spec == opened.spec


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        ("gemma3", "attention.sliding_window_pattern", [True]),
        ("gemma3", "rope.scaling.attn_factor", 1.5),
        ("lfm2", "attention.causal", False),
        ("nemotron_h_mlp_first", "attention.causal", False),
    ],
)
def test_what_llama_cpp_reads_and_we_do_not_is_refused(
    name: str, key: str, value: object, tmp_path: Path
) -> None:
    arch = "nemotron_h" if name.startswith("nemotron_h") else name
    with pytest.raises((UnsupportedError, FormatError), match=key):
        open_checkpoint(_gguf(name, tmp_path, {f"{arch}.{key}": value}))
