"""Rotary scaling: transformers' frequencies to seven digits, its precedence of keys, and GGUF's
spellings."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.checkpoints import SPECS, random_tokens, random_weights, write_folder
from tests.support.native import NativeRun, native_model
from understudy import core
from understudy.checkpoint import reference
from understudy.checkpoint.checkpoint import open_checkpoint
from understudy.checkpoint.config import Config
from understudy.checkpoint.convert import save_checkpoint
from understudy.checkpoint.rope import read_rope, rope_config
from understudy.errors import CheckpointWarning, FormatError, UnsupportedError
from understudy.formats.gguf import read_gguf, write_gguf
from understudy.formats.tensor import StoredTensor
from understudy.rotary import LinearScaling, Llama3Scaling, LongRopeScaling, frequencies
from understudy.spec import ModelSpec, QuantSpec

SIZES = {"head_dim": 8, "max_positions": 512}
SHORT, LONG = [1.0, 1.5, 2.0, 2.5], [1.0, 3.0, 5.0, 9.0]
YARN = {"rope_type": "yarn", "factor": 8.0, "original_max_position_embeddings": 64}
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
LONGROPE = {"rope_type": "longrope", "short_factor": SHORT, "long_factor": LONG}

# rope_parameters, tokens of the text, frequencies and attention factor of `ROPE_INIT_FUNCTIONS` of
# transformers 5.24
# for rope_theta 5000, head_dim 8, max_position_embeddings 512.
TRANSFORMERS: list[tuple[dict[str, Any], int, list[float], float]] = [
    (
        {"rope_type": "linear", "factor": 4.0},
        20,
        [0.25, 0.02973018, 0.003535534, 0.0004204482],
        1.0,
    ),
    ({"rope_type": "dynamic", "factor": 2.0}, 512, [1.0, 0.1189207, 0.01414214, 0.001681793], 1.0),
    (
        {"rope_type": "dynamic", "factor": 2.0},
        700,
        [1.0, 0.09897903, 0.009796848, 0.0009696824],
        1.0,
    ),
    (
        {"rope_type": "yarn", "factor": 4.0},
        20,
        [1.0, 0.08919054, 0.007071068, 0.0004204482],
        1.1386294,
    ),
    (
        YARN | {"beta_fast": 4.0, "beta_slow": 2.0, "truncate": False},
        20,
        [1.0, 0.01486509, 0.001767767, 0.0002102241],
        1.2079442,
    ),
    (
        YARN | {"mscale": 1.0, "mscale_all_dim": 0.5},
        20,
        [1.0, 0.0668929, 0.001767767, 0.0002102241],
        1.09418,
    ),
    (
        YARN | {"factor": None, "original_max_position_embeddings": 128},
        20,
        [1.0, 0.07432544, 0.003535534, 0.0004204482],
        1.1386294,
    ),
    (
        LONGROPE | {"original_max_position_embeddings": 64},
        64,
        [1.0, 0.07928047, 0.007071068, 0.0006727171],
        1.2247449,
    ),
    (
        LONGROPE | {"original_max_position_embeddings": 64, "factor": 4.0},
        65,
        [1.0, 0.03964024, 0.002828427, 0.0001868659],
        1.1547005,
    ),
    (
        {
            "rope_type": "llama3",
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 64,
        },
        20,
        [1.0, 0.02219464, 0.001767767, 0.0002102241],
        1.0,
    ),
]


def _read(values: dict[str, Any], default_partial: float | None = None) -> dict[str, Any]:
    return read_rope(Config(values, "config.json"), SIZES, default_partial)


@pytest.mark.parametrize(("block", "length", "expected", "attention"), TRANSFORMERS)
def test_frequencies_are_those_of_transformers(
    block: dict[str, Any], length: int, expected: list[float], attention: float
) -> None:
    for values in (
        {"rope_theta": 5000, "rope_scaling": block},
        {"rope_parameters": block | {"rope_theta": 5000.0}},
        {"rope_theta": 5000.0, "rope_scaling": {"type": block["rope_type"], **block}},
    ):
        rope = _read(values)
        found = frequencies(rope["rotary_dim"], rope["rope_theta"], rope["rope_scaling"], length)
        np.testing.assert_allclose(found, expected, rtol=2e-6)
        assert rope["rope_scaling"].attention_factor == pytest.approx(attention, abs=1e-6)


@pytest.mark.parametrize("block", [case[0] for case in TRANSFORMERS])
def test_a_scaling_is_written_as_it_is_read(block: dict[str, Any]) -> None:
    rope = _read({"rope_theta": 5000.0, "rope_scaling": block})
    spec = SPECS["llama"].replace(head_dim=8, max_positions=512, **rope)
    assert _read(rope_config(spec)) == rope


@pytest.mark.parametrize(
    ("values", "theta", "scaling"),
    [
        ({}, 10000.0, None),
        ({"rope_theta": 500000, "rope_scaling": None}, 500000.0, None),
        ({"rope_theta": 300.0, "rope_parameters": {"rope_theta": 300}}, 300.0, None),
        ({"rope_parameters": {"rope_type": "default", "type": "default"}}, 10000.0, None),
        ({"rope_scaling": {"type": "linear", "factor": 1.0}}, 10000.0, None),
        (
            {
                "rope_scaling": {"type": "linear", "factor": 2},
                "rope_parameters": {"rope_type": "linear", "factor": 2.0},
            },
            10000.0,
            LinearScaling(2.0),
        ),
    ],
)
def test_harmless_spellings_are_read_in_silence(
    values: dict[str, Any], theta: float, scaling: Any
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rope = _read(values)
    assert (rope["rope_theta"], rope["rope_scaling"]) == (theta, scaling)


@pytest.mark.parametrize(
    ("values", "theta", "scaling", "words"),
    [
        (
            {"rope_theta": 300.0, "rope_parameters": {"rope_theta": 500.0}},
            500.0,
            None,
            "rope_theta",
        ),
        (
            {
                "rope_scaling": {"type": "linear", "factor": 2.0},
                "rope_parameters": {"rope_theta": 300.0},
            },
            10000.0,
            LinearScaling(2.0),
            "rope_scaling counts",
        ),
        ({"rope_parameters": {"rope_type": "default", "factor": 3.0}}, 10000.0, None, "factor"),
        ({"partial_rotary_factor": 0.25}, 10000.0, None, "turn whole"),
    ],
)
def test_what_transformers_passes_over_is_named(
    values: dict[str, Any], theta: float, scaling: Any, words: str
) -> None:
    with pytest.warns(CheckpointWarning, match=words):
        rope = _read(values)
    assert (rope["rotary_dim"], rope["rope_theta"], rope["rope_scaling"]) == (8, theta, scaling)


def test_a_partial_factor_counts_where_the_architecture_has_one() -> None:
    assert _read({}, 0.5)["rotary_dim"] == 4
    assert _read({"partial_rotary_factor": 0.25}, 0.5)["rotary_dim"] == 2
    inner = {"rope_parameters": {"partial_rotary_factor": 1.0}, "partial_rotary_factor": 0.25}
    assert _read(inner, 0.5)["rotary_dim"] == 8


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ({"rope_scaling": {"type": "su", "factor": 2.0}}, UnsupportedError),
        ({"rope_scaling": {"type": "mrope", "mrope_section": [1]}}, UnsupportedError),
        ({"rope_parameters": {"full_attention": {"rope_theta": 3.0}}}, UnsupportedError),
        (
            {"partial_rotary_factor": 0.5, "rope_scaling": {"type": "linear", "factor": 2.0}},
            UnsupportedError,
        ),
        ({"rope_scaling": {"type": "linear", "factor": -2.0}}, FormatError),
        ({"rope_scaling": {"type": "linear", "factor": "2"}}, FormatError),
        ({"rope_scaling": LONGROPE | {"short_factor": [1.0]}}, FormatError),
        ({"rope_scaling": LONGROPE | {"long_factor": 3.0}}, FormatError),
        ({"rope_scaling": 3}, FormatError),
        ({"rope_theta": 1.0, "rope_scaling": YARN}, FormatError),
        ({"rope_scaling": YARN | {"beta_fast": -1.0}}, FormatError),
        ({"rope_scaling": LLAMA3 | {"low_freq_factor": 4.0}}, FormatError),
        ({"rope_scaling": LLAMA3 | {"low_freq_factor": 0}}, FormatError),
    ],
)
def test_what_cannot_be_is_refused(values: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        _read(values)


# ---- the core ----


@pytest.mark.parametrize("block", [case[0] for case in TRANSFORMERS[3:4] + TRANSFORMERS[7:]])
def test_the_core_turns_as_the_reference(block: dict[str, Any]) -> None:
    rope = _read({"rope_theta": 5000.0, "rope_scaling": block})
    spec = SPECS["llama"].replace(head_dim=8, max_positions=512, **rope)
    weights = random_weights(spec)
    tokens = random_tokens(spec, 40)
    found = NativeRun(native_model(spec, weights), spec).prefill(tokens)
    np.testing.assert_allclose(found, reference.forward(spec, weights, tokens), atol=2e-4)


def test_the_core_turns_each_sequence_by_the_frequencies_that_are_named() -> None:
    rope = _read({"rope_scaling": LONGROPE | {"original_max_position_embeddings": 32}})
    spec = SPECS["llama"].replace(head_dim=8, max_positions=512, **rope)
    weights = random_weights(spec)
    run = NativeRun(native_model(spec, weights), spec, num_sequences=2)
    texts = [random_tokens(spec, 20), random_tokens(spec, 40, seed=1)]
    tokens = np.concatenate(texts)
    positions = np.concatenate([np.arange(len(text)) for text in texts]).astype(np.int32)
    slots = np.repeat([0, 1], [20, 40]).astype(np.int32)
    arrays = (tokens, positions, slots, run.page_tables, np.arange(60, dtype=np.int32))
    found = core.step(run.model, run.cache, *arrays, frequency_sets=[0, 1])
    right = [reference.forward(spec, weights, text) for text in texts]
    np.testing.assert_allclose(found, np.concatenate(right), atol=2e-4)
    for sets in ([0], [0, 2], [-1, 0]):
        with pytest.raises(ValueError, match="frequenc"):
            core.step(run.model, run.cache, *arrays, frequency_sets=sets)


# ---- GGUF ----


def _gguf(spec: ModelSpec, path: Path, keys: dict[str, Any], **tensors: list[float]) -> Path:
    """A GGUF of random weights with more keys and rotary tensors."""
    folder = write_folder(spec.replace(rope_scaling=None), random_weights(spec), path / "m")
    save_checkpoint(open_checkpoint(folder), path / "plain.gguf", QuantSpec("f32"))
    file = read_gguf(path / "plain.gguf")
    added = [
        StoredTensor.of(f"{name}.weight", np.asarray(values, np.float32))
        for name, values in tensors.items()
    ]
    stored = [*file.tensors.values(), *added]
    shapes = [(t.name, t.shape, t.format) for t in stored]
    write_gguf(path / "m.gguf", file.metadata | keys, shapes, stored)
    return path / "m.gguf"


LLAMA = SPECS["llama"].replace(head_dim=8, rotary_dim=8)
FACTORS = [1.0, 2.0, 3.0, 5.0]


@pytest.mark.parametrize(
    ("keys", "tensors", "divisors", "attention"),
    [
        ({}, {}, [1, 1, 1, 1], 1.0),
        ({"scale_linear": 4.0}, {}, [4, 4, 4, 4], 1.0),
        ({"scaling.factor": 4.0}, {}, [4, 4, 4, 4], 1.0),
        ({"scaling.type": "linear", "scaling.factor": 4.0}, {}, [4, 4, 4, 4], 1.0),
        ({"scaling.factor": 2.0, "scale_linear": 4.0}, {}, [2, 2, 2, 2], 1.0),
        ({"scaling.factor": 0.0, "scale_linear": 4.0}, {}, [1, 1, 1, 1], 1.0),
        ({"scaling.type": "none", "scaling.factor": 4.0}, {}, [1, 1, 1, 1], 1.0),
        ({"scaling.type": "none", "scaling.attn_factor": 1.5}, {}, [1, 1, 1, 1], 1.5),
        ({}, {"rope_freqs": FACTORS}, FACTORS, 1.0),
        ({"scaling.factor": 2.0}, {"rope_freqs": FACTORS}, [2, 4, 6, 10], 1.0),
        (
            {
                "scaling.type": "longrope",
                "scaling.original_context_length": 30,
                "scaling.attn_factor": 1.25,
            },
            {"rope_factors_short": [1, 1, 1, 2], "rope_factors_long": FACTORS},
            FACTORS,
            1.25,
        ),
        (
            {"scaling.type": "longrope", "scaling.original_context_length": 40},
            {"rope_factors_short": [1, 1, 1, 2], "rope_factors_long": FACTORS},
            [1, 1, 1, 2],
            1.0,
        ),
    ],
)
def test_a_gguf_turns_as_llama_cpp_says(
    keys: dict[str, Any],
    tensors: dict[str, list[float]],
    divisors: list[float],
    attention: float,
    tmp_path: Path,
) -> None:
    """For a text of 40 tokens."""
    keys = {f"llama.rope.{name}": value for name, value in keys.items()}
    spec = open_checkpoint(_gguf(LLAMA, tmp_path, keys, **tensors)).spec
    plain = frequencies(8, spec.rope_theta, None, 1)
    np.testing.assert_allclose(np.asarray(plain) / spec.frequencies(40), divisors, rtol=1e-6)
    assert spec.attention_factor == pytest.approx(attention)


def test_yarn_of_a_gguf_multiplies_attention_as_llama_cpp(tmp_path: Path) -> None:
    keys = {
        "llama.rope.scaling.type": "yarn",
        "llama.rope.scaling.factor": 8.0,
        "llama.rope.scaling.original_context_length": 64,
        "llama.rope.scaling.attn_factor": 0.5,
        "llama.rope.scaling.yarn_beta_fast": 4.0,
    }
    with pytest.warns(CheckpointWarning, match="yarn_beta_fast"):
        spec = open_checkpoint(_gguf(LLAMA, tmp_path, keys)).spec
    same = _read({"rope_theta": spec.rope_theta, "rope_scaling": YARN})["rope_scaling"]
    np.testing.assert_allclose(spec.frequencies(9), frequencies(8, spec.rope_theta, same, 9))
    assert spec.attention_factor == pytest.approx(same.attention_factor / 2)


@pytest.mark.parametrize("kind", ["rope", "linear "])
def test_an_unknown_type_in_a_gguf_is_refused(kind: str, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match=r"scaling\.type"):
        open_checkpoint(_gguf(LLAMA, tmp_path, {"llama.rope.scaling.type": kind}))


@pytest.mark.parametrize("factors", [[1.0, 2.0], [1.0, 2.0, 3.0, -1.0], [1.0, 2.0, 3.0, np.nan]])
def test_factors_that_cannot_be_are_refused(factors: list[float], tmp_path: Path) -> None:
    with pytest.raises(FormatError):
        open_checkpoint(_gguf(LLAMA, tmp_path, {}, rope_freqs=factors))


@pytest.mark.parametrize("block", [case[0] for case in TRANSFORMERS])
@pytest.mark.parametrize("name", ["llama", "qwen2", "nemotron"])
def test_scalings_survive_a_gguf_or_are_refused(
    name: str, block: dict[str, Any], tmp_path: Path
) -> None:
    spec = SPECS[name].replace(head_dim=8, rotary_dim=8, max_positions=512)
    rope = _read({"rope_theta": spec.rope_theta, "rope_scaling": block}, 1.0)
    spec = spec.replace(**rope)
    folder = write_folder(
        spec.replace(rope_scaling=None),
        random_weights(spec),
        tmp_path / "m",
        config=rope_config(spec) | ({"partial_rotary_factor": 1.0} if name == "nemotron" else {}),
    )
    try:
        save_checkpoint(open_checkpoint(folder), tmp_path / "m.gguf", QuantSpec("f32"))
    except UnsupportedError:
        assert name != "llama"
        assert block["rope_type"] in ("llama3", "longrope", "yarn")
        return
    assert open_checkpoint(tmp_path / "m.gguf").spec.rope_scaling == rope["rope_scaling"]


@pytest.mark.parametrize(
    "scaling",
    [
        Llama3Scaling(8.0, 1.0, 4.0, 8192),
        Llama3Scaling(32.0, 1.0, 4.0, 8192),
        Llama3Scaling(5.0, 1.0, 6.0, 3000),
        Llama3Scaling(4.0, 2.0, 8.0, 8192),
    ],
)
def test_llama3_scaling_is_found_again_from_its_factors(
    scaling: Llama3Scaling, tmp_path: Path
) -> None:
    spec = SPECS["llama"].replace(head_dim=128, rotary_dim=128, num_heads=1, num_kv_heads=1)
    plain, scaled = (frequencies(128, spec.rope_theta, s, 1) for s in (None, scaling))
    divisors = (np.asarray(plain) / np.asarray(scaled)).tolist()
    found = open_checkpoint(_gguf(spec, tmp_path, {}, rope_freqs=divisors)).spec
    assert isinstance(found.rope_scaling, Llama3Scaling)
    np.testing.assert_allclose(found.frequencies(1), scaled, rtol=1e-4)


def test_factors_of_no_known_kind_are_taken_as_they_are(tmp_path: Path) -> None:
    divisors = (np.linspace(1, 3, 4) ** 3).tolist()
    spec = open_checkpoint(_gguf(LLAMA, tmp_path, {}, rope_freqs=divisors)).spec
    assert isinstance(spec.rope_scaling, LongRopeScaling)
    np.testing.assert_allclose(spec.rope_scaling.short_factors, divisors, rtol=1e-6)
    assert spec.rope_scaling.short_factors == spec.rope_scaling.long_factors
