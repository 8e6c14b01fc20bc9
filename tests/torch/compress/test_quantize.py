"""Grids, scale search, error feedback and channel scales: bytes against ggml's, functions against
the float network."""

from __future__ import annotations

import gguf
import numpy as np
import pytest
import torch

from tests.torch.compress.support import logits_of, random_rows, tiny_teacher
from understudy.compress import grids
from understudy.compress.calibrate import calibrate
from understudy.compress.distill import DistillSettings
from understudy.compress.equalise import equalise_layer
from understudy.compress.evaluate import compare
from understudy.compress.grid import QuantizedMatrix
from understudy.compress.grids import GRIDS
from understudy.compress.qad import STRIDE, QuantizedLinear, tune
from understudy.compress.quantize import METHODS, QuantizeSettings, _Rounding, quantize, spend_bits
from understudy.compress.teacher import LiveTeacher
from understudy.errors import UsageError

TYPES = {"q4": gguf.GGMLQuantizationType.Q4_0, "q8": gguf.GGMLQuantizationType.Q8_0}


def _weight(rows: int = 48, columns: int = 128, seed: int = 0) -> torch.Tensor:
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed)) ** 3


def _gram(columns: int = 128, seed: int = 1) -> torch.Tensor:
    """Correlated inputs of unequal size."""
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(2000, columns // 2, generator=g) @ torch.randn(
        columns // 2, columns, generator=g
    )
    x = x * torch.rand(columns, generator=g) ** 2
    return x.T @ x


@pytest.mark.parametrize("name", TYPES)
def test_bytes_are_those_that_ggml_reads(name: str) -> None:
    rounded = grids.search_scales(_weight(), GRIDS[name])
    read = gguf.quants.dequantize(grids.encode(rounded).reshape(48, -1), TYPES[name])
    np.testing.assert_array_equal(read, rounded.values().numpy())


@pytest.mark.parametrize("name", TYPES)
def test_plain_rounding_is_ggml_s_reference(name: str) -> None:
    weight = _weight()
    ours = grids.round_to_nearest(weight, GRIDS[name]).values().numpy()
    theirs = gguf.quants.dequantize(gguf.quants.quantize(weight.numpy(), TYPES[name]), TYPES[name])
    blocks = (
        np.abs(theirs.reshape(-1, 32)).max(1, keepdims=True).repeat(32, 1).reshape(theirs.shape)
    )
    assert (
        np.abs(ours - theirs) <= blocks * (0.13 if name == "q4" else 0.009)
    ).all()  # they round halves otherwise
    error = np.square(theirs - weight.numpy()).sum()
    assert np.square(ours - weight.numpy()).sum() == pytest.approx(error, rel=0.02)


def test_each_step_lowers_the_output_error() -> None:
    weight, gram = _weight(), _gram()
    grid = GRIDS["q4"]
    errors = [
        grids.output_error(weight, rounded.values(), gram)
        for rounded in (
            grids.round_to_nearest(weight, grid),
            grids.search_scales(weight, grid),
            grids.search_scales(weight, grid, gram.diagonal()),
            grids.gptq(weight, grid, gram),
            grids.coordinate_descent(weight, grids.gptq(weight, grid, gram), gram),
        )
    ]
    assert errors[1] < errors[0]
    assert errors[2] < 0.95 * errors[1]
    assert errors[3] < 0.7 * errors[2]
    assert errors[4] < 0.9 * errors[3]


def test_error_feedback_takes_the_columns_of_the_largest_inputs_first_wherever_they_stand() -> None:
    weight, gram, grid = _weight(), _gram(), GRIDS["q4"]
    columns = torch.cat(
        [
            32 * block + torch.randperm(32, generator=torch.Generator().manual_seed(3))
            for block in (2, 0, 3, 1)
        ]
    )
    straight = grids.gptq(weight, grid, gram)
    mixed = grids.gptq(weight[:, columns], grid, gram[columns][:, columns])
    torch.testing.assert_close(mixed.values(), straight.values()[:, columns])
    assert gram.diagonal().argmax() >= 32, "the first block is not the one that comes first anyway"


def test_polishing_never_raises_the_error_of_a_row() -> None:
    weight, gram = _weight(), _gram()
    weight[:, 32:64] = 0
    for start in (
        grids.round_to_nearest(weight, GRIDS["q4"]),
        grids.gptq(weight, GRIDS["q4"], gram),
    ):
        descended = grids.coordinate_descent(weight, start, gram)
        before, after = (
            ((weight - r.values()) @ gram) * (weight - r.values()) for r in (start, descended)
        )
        assert (after.sum(1) <= before.sum(1) * (1 + 1e-4)).all()
        assert GRIDS["q4"].low <= descended.integers.min()
        assert descended.integers.max() <= GRIDS["q4"].high
        assert torch.equal(descended.scales, descended.scales.half().float())


def test_weights_on_the_grid_are_kept_exactly() -> None:
    g = torch.Generator().manual_seed(3)
    integers = torch.randint(-8, 8, (16, 64), generator=g, dtype=torch.int8)
    integers[:, ::32] = -8
    scales = torch.rand(16, 2, generator=g).half().float() + 0.5
    exact = QuantizedMatrix(GRIDS["q4"], integers, scales.half().float()).values()
    for rounded in (
        grids.round_to_nearest(exact, GRIDS["q4"]),
        grids.search_scales(exact, GRIDS["q4"]),
    ):
        assert torch.equal(rounded.values(), exact)


def test_zero_blocks_and_dead_inputs_do_not_disturb() -> None:
    weight, gram = _weight(), _gram()
    weight[:, 32:64] = 0
    gram[70], gram[:, 70] = 0, 0
    rounded = grids.gptq(weight, GRIDS["q4"], gram)
    assert torch.isfinite(rounded.values()).all()
    assert torch.isfinite(rounded.scales).all()


@pytest.mark.parametrize("name", ["nemotron", "llama", "qwen2", "nemotron_biases"])
def test_channel_scales_change_nothing_but_the_weights(name: str, tmp_path) -> None:
    sizes = {"hidden_size": 128, "num_heads": 16} if name == "qwen2" else {}  # whole blocks
    network = tiny_teacher(name, **sizes)
    rows = random_rows(network.spec)
    statistics = calibrate(network, rows, tmp_path)
    before, first = logits_of(network, rows), network.model.layers[0].mlp.down_proj.weight.clone()
    alphas = [
        equalise_layer(
            network,
            i,
            {k: v for k, v in statistics.layer(i).items() if k.endswith("_gram")},
            GRIDS["q4"],
        )
        for i in range(network.spec.num_layers)
    ]
    torch.testing.assert_close(logits_of(network, rows), before, rtol=1e-3, atol=1e-3)
    if any(a["down"] > 0 for a in alphas[:1]):
        assert not torch.equal(first, network.model.layers[0].mlp.down_proj.weight)
    assert any(value > 0 for a in alphas for value in a.values())


def test_gram_matrices_follow_the_channel_scales(tmp_path) -> None:
    network = tiny_teacher("nemotron")
    rows = random_rows(network.spec)
    statistics = calibrate(network, rows, tmp_path / "before")
    grams = {k: v for k, v in statistics.layer(0).items() if k.endswith("_gram")}
    equalise_layer(network, 0, grams, GRIDS["q4"])
    again = calibrate(network, rows, tmp_path / "after").layer(0)
    for name, value in grams.items():
        torch.testing.assert_close(
            value, again[name], rtol=1e-2, atol=1e-2 * value.abs().max().item()
        )


@pytest.mark.parametrize("name", ["nemotron", "llama"])
def test_an_error_of_the_values_is_measured_as_attention_passes_it_on(name: str, tmp_path) -> None:
    network = tiny_teacher(name)
    spec, rows = network.spec, random_rows(network.spec)
    statistics = calibrate(network, rows, tmp_path)
    attention = network.model.layers[0].self_attn
    tokens = torch.from_numpy(rows.tokens[:, :-1].astype(np.int64))
    x = network.model.layers[0].input_layernorm(network.model.embed_tokens(tokens))
    error = torch.randn(spec.head_dim, spec.hidden_size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        before = attention.mix(x, network.rotation(x.shape[1]))
        attention.v_proj.weight += error.repeat(spec.num_kv_heads, 1)
        moved = (attention.mix(x, network.rotation(x.shape[1])) - before).square().sum()
    told = ((error @ statistics.layer(0)["value_gram"]) * error).sum()
    torch.testing.assert_close(told, moved, rtol=1e-3, atol=0)


@pytest.mark.parametrize("name", ["nemotron", "llama"])
def test_the_better_the_method_the_nearer_the_float_network(name: str, tmp_path) -> None:
    network = tiny_teacher(name)
    rows = random_rows(network.spec, count=48)
    statistics = calibrate(network, rows, tmp_path)
    kl = {}
    for method in METHODS:
        settings = QuantizeSettings(method=method, embedding="q8", head="q8")
        result = quantize(network, statistics, settings)
        kl[method] = compare(result.network, network, rows).kl
        stored = {
            n: t.values() if isinstance(t, QuantizedMatrix) else t
            for n, t in result.tensors.items()
        }
        assert stored.keys() == network.state_dict().keys()
        assert all(
            torch.equal(stored[n], value) for n, value in result.network.state_dict().items()
        )
    assert kl["scale_search"] < kl["round_to_nearest"]
    assert kl["gptq"] < kl["scale_search"]


@pytest.mark.parametrize("name", ["nemotron", "llama", "nemotron_biases"])
def test_writers_take_back_what_the_rounded_matrices_before_them_did(name: str, tmp_path) -> None:
    network = tiny_teacher(name)
    rows, others = random_rows(network.spec, count=96), random_rows(network.spec, count=48, seed=5)
    statistics = calibrate(network, rows, tmp_path)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    settings = QuantizeSettings(embedding="q8", head="q8")
    alone, in_order = (quantize(network, statistics, settings, rows=r) for r in (None, rows))
    assert (
        compare(in_order.network, network, rows).kl < 0.8 * compare(alone.network, network, rows).kl
    )
    assert (
        compare(in_order.network, network, others).kl < compare(alone.network, network, others).kl
    )
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())
    for key, value in in_order.network.state_dict().items():
        stored = in_order.tensors[key]
        assert torch.equal(
            stored.values() if isinstance(stored, QuantizedMatrix) else stored, value
        )
    assert in_order.errors.keys() == alone.errors.keys()


@pytest.mark.parametrize("name", ["nemotron", "llama"])
def test_matrices_are_rounded_for_what_the_rounded_network_feeds_them(
    name: str, tmp_path, monkeypatch
) -> None:
    network = tiny_teacher(name)
    rows, given = random_rows(network.spec), {}
    statistics = calibrate(network, rows, tmp_path)
    round_one = _Rounding.round

    def record(self, path, linear, inputs=None) -> None:
        given[path] = inputs
        round_one(self, path, linear, inputs)

    monkeypatch.setattr(_Rounding, "round", record)
    rounded = quantize(network, statistics, QuantizeSettings(), rows=rows).network
    for path in (
        "model.layers.2.self_attn.q_proj",
        "model.layers.2.self_attn.o_proj",
        "model.layers.2.mlp.down_proj",
    ):
        seen: list[torch.Tensor] = []
        hook = rounded.get_submodule(path).register_forward_pre_hook(
            lambda _, x, seen=seen: seen.append(x[0].flatten(0, 1))
        )
        logits_of(rounded, rows)
        hook.remove()
        torch.testing.assert_close(given[path], seen[0].T @ seen[0], rtol=1e-3, atol=1e-3)
    assert given["model.layers.2.self_attn.v_proj"] is None, "weighed by attention, as calibrated"


def test_bits_are_counted_and_spent_within_the_limit(tmp_path) -> None:
    network = tiny_teacher("nemotron")
    rows = random_rows(network.spec)
    statistics = calibrate(network, rows, tmp_path)
    settings, table = spend_bits(
        network, statistics, QuantizeSettings(method="scale_search"), rows, max_bits=6.5
    )
    assert settings.promoted
    assert {entry["kind"] for entry in table} >= {"lm_head", "embed_tokens", "v_proj"}
    assert quantize(network, statistics, settings).bits_per_weight() <= 6.5
    everything = quantize(
        network, statistics, QuantizeSettings(weights="q8", method="round_to_nearest")
    )
    assert 8.5 <= everything.bits_per_weight() < 8.7


def test_columns_that_are_no_whole_blocks_are_refused_before_any_work(tmp_path) -> None:
    network = tiny_teacher("nemotron_odd")
    statistics = calibrate(network, random_rows(network.spec), tmp_path)
    with pytest.raises(
        UsageError, match="columns are not whole blocks; expected a multiple of 32; found 72"
    ):
        quantize(network, statistics, QuantizeSettings())
    with pytest.raises(UsageError, match="grid 'q2' is unknown"):
        quantize(network, statistics, QuantizeSettings(weights="q2"))


@pytest.mark.parametrize(
    ("learns", "rate", "share", "tied"),
    [("scales", 1e-3, 0.85, False), ("weights", 3e-3, 0.5, False), ("scales", 1e-3, 0.85, True)],
)
def test_tuning_gives_back_a_part_of_what_four_bits_took(
    tmp_path, learns: str, rate: float, share: float, tied: bool
) -> None:
    network = tiny_teacher("nemotron", tied_embeddings=tied)
    rows = random_rows(network.spec, count=32)
    result = quantize(
        network,
        calibrate(network, rows, tmp_path / "c"),
        QuantizeSettings(method="round_to_nearest", embedding="q8", head="q8"),
    )
    before = compare(result.network, network, rows).kl
    settings = DistillSettings(
        tokens=40 * 8 * 24, learning_rate=rate, final_learning_rate=rate / 10
    )
    tuned, _ = tune(result, LiveTeacher(network), rows, settings, tmp_path / "run", learns=learns)
    assert compare(tuned.network, network, rows).kl < share * before
    moved = 0
    for name, tensor in tuned.tensors.items():
        found = tensor.values() if isinstance(tensor, QuantizedMatrix) else tensor
        assert torch.equal(tuned.network.state_dict()[name], found)
        if isinstance(tensor, QuantizedMatrix):
            assert not torch.equal(tensor.scales, result.tensors[name].scales)
            moved += int((tensor.integers != result.tensors[name].integers).sum())
            assert torch.equal(tensor.scales, tensor.scales.half().float())
            assert tensor.integers.min() >= tensor.grid.low
            assert tensor.integers.max() <= tensor.grid.high
    assert (moved > 0) == (learns == "weights")
    assert torch.equal(tuned.tensors["model.norm.weight"], result.tensors["model.norm.weight"])


def test_a_rounded_linear_starts_as_the_file_says_and_passes_gradients_through_its_rounding() -> (
    None
):
    rounded = grids.search_scales(_weight(), GRIDS["q4"])
    linear = QuantizedLinear(rounded, None, "weights")
    torch.testing.assert_close(linear.weight, rounded.values())
    linear.weight.sum().backward()
    inside = (rounded.integers > GRIDS["q4"].low) & (rounded.integers < GRIDS["q4"].high)
    wanted = STRIDE * rounded.scales.repeat_interleave(32, dim=1)
    torch.testing.assert_close(linear.moved.grad[inside], wanted[inside])
    with torch.no_grad():
        linear.moved += 0.6 / STRIDE
    assert torch.equal(linear.rounded().integers, (rounded.integers + 1).clamp_max(7))
    with torch.no_grad():
        linear.moved -= 0.2 / STRIDE
    assert torch.equal(linear.rounded().integers, rounded.integers)


def test_an_unknown_way_to_tune_is_refused(tmp_path) -> None:
    network = tiny_teacher("nemotron")
    rows = random_rows(network.spec)
    result = quantize(
        network,
        calibrate(network, rows, tmp_path / "c"),
        QuantizeSettings(method="round_to_nearest"),
    )
    with pytest.raises(UsageError, match=r"unknown way to tune; expected \["):
        tune(
            result,
            LiveTeacher(network),
            rows,
            DistillSettings(tokens=1),
            tmp_path / "run",
            learns="everything",
        )
