"""Calibration, importance, trimming and compensation on tiny networks whose right answer is
known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.torch.compress.support import logits_of, random_rows, tiny_teacher
from understudy.checkpoint import reference
from understudy.compress.calibrate import LayerSums, calibrate, open_statistics
from understudy.compress.depth import DEPTH_METHODS, choose_layers
from understudy.compress.evaluate import compare
from understudy.compress.importance import CRITERIA
from understudy.compress.prune import Shape, select, trim
from understudy.compress.reconstruct import reconstruct
from understudy.errors import MissingError, UnsupportedError, UsageError
from understudy.spec import tensor_shapes

SHAPES = [
    *("nemotron", "llama", "llama_tied", "mistral", "qwen2", "nemotron_biases"),
    *("qwen3", "smollm3", "phi3"),
]


def _statistics(teacher, rows, tmp_path):
    return calibrate(teacher, rows, tmp_path / "calibration", batch_size=5)


def test_statistics_are_those_of_the_reference(tmp_path) -> None:
    teacher = tiny_teacher("nemotron")
    rows = random_rows(teacher.spec, count=7)
    statistics = _statistics(teacher, rows, tmp_path)
    weights = {name: value.numpy() for name, value in teacher.state_dict().items()}
    taps = [reference.forward_with_taps(teacher.spec, weights, row[:-1]) for row in rows.tokens]
    for index in range(teacher.spec.num_layers):
        sums = statistics.layer(index)
        inner = [t.inner[index] for t in taps]
        np.testing.assert_allclose(
            sums["inner_gram"], sum(y.T @ y for y in inner), rtol=2e-3, atol=2e-2
        )
        expected = np.sqrt(sum(np.abs(y).mean(0) ** 2 for y in inner))
        np.testing.assert_allclose(sums["inner_mean"], expected, rtol=1e-3, atol=1e-4)
        assert sums["zero_rate"].item() == pytest.approx(
            np.mean([(y == 0).mean() for y in inner]), abs=1e-4
        )
        before = np.concatenate([t.hidden[index] for t in taps])
        after = np.concatenate([t.hidden[index + 1] for t in taps])
        cosines = (
            (before * after).sum(1) / np.linalg.norm(before, axis=1) / np.linalg.norm(after, axis=1)
        )
        assert sums["influence"].item() == pytest.approx(1 - cosines.mean(), abs=1e-4)


def test_an_interrupted_calibration_goes_on_where_it_stopped(tmp_path, monkeypatch) -> None:
    teacher = tiny_teacher("llama")
    rows = random_rows(teacher.spec)
    whole = calibrate(teacher, rows, tmp_path / "whole")
    ran, real = [], LayerSums.result

    def stop_in_the_second_layer(self, num_tokens):
        ran.append(1)
        if len(ran) == 2:
            raise KeyboardInterrupt
        return real(self, num_tokens)

    monkeypatch.setattr(LayerSums, "result", stop_in_the_second_layer)
    with pytest.raises(KeyboardInterrupt):
        calibrate(teacher, rows, tmp_path / "cut")
    with pytest.raises(MissingError, match="not complete"):
        open_statistics(tmp_path / "cut").final()
    resumed = calibrate(teacher, rows, tmp_path / "cut")
    assert len(ran) == 4  # layers 0, 1 (stopped), 1, 2
    for index in range(3):
        for name, value in whole.layer(index).items():
            assert torch.equal(value, resumed.layer(index)[name]), name


def test_a_folder_of_another_calibration_is_refused(tmp_path) -> None:
    teacher = tiny_teacher("llama")
    calibrate(teacher, random_rows(teacher.spec, seed=1), tmp_path)
    with pytest.raises(UsageError, match="another model, other data"):
        calibrate(teacher, random_rows(teacher.spec, seed=2), tmp_path)


@pytest.mark.parametrize("criterion", [name for name in CRITERIA if name != "random"])
@pytest.mark.parametrize("name", ["nemotron", "llama"])
def test_planted_dead_units_rank_last(criterion: str, name: str, tmp_path) -> None:
    teacher = tiny_teacher(name)
    layer = teacher.model.layers[1]
    dim = teacher.spec.head_dim
    layer.mlp.down_proj.weight[:, 17] = 0
    layer.mlp.up_proj.weight[17] = 0
    if layer.mlp.gate_proj is not None:
        layer.mlp.gate_proj.weight[17] = 0
    layer.self_attn.o_proj.weight[:, 2 * dim : 3 * dim] = 0
    layer.self_attn.q_proj.weight[2 * dim : 3 * dim] = 0
    statistics = _statistics(teacher, random_rows(teacher.spec), tmp_path)
    scores = CRITERIA[criterion](teacher, statistics, 0)
    assert scores.inner[1].argmin().item() == 17
    if (
        criterion != "minitron"
    ):  # a head whose queries are zero still mixes values: activations do not see o_proj
        assert scores.heads[1].argmin().item() == 2


@pytest.mark.parametrize("name", SHAPES)
def test_nothing_trimmed_is_nothing_changed(name: str, tmp_path) -> None:
    teacher = tiny_teacher(name)
    rows = random_rows(teacher.spec)
    scores = CRITERIA["minitron"](teacher, _statistics(teacher, rows, tmp_path), 0)
    student = trim(teacher, select(teacher, Shape(), scores), residual_heads=scores)
    assert torch.equal(logits_of(student, rows), logits_of(teacher, rows))


@pytest.mark.parametrize("name", SHAPES)
def test_every_axis_at_once_gives_a_sound_smaller_network(name: str, tmp_path) -> None:
    teacher = tiny_teacher(name)
    rows, spec = random_rows(teacher.spec), teacher.spec
    kv = spec.num_kv_heads // 2 or 1
    shape = Shape(
        2, spec.hidden_size - 8, spec.intermediate_size // 2, kv * max(spec.group_size - 1, 1), kv
    )
    statistics = _statistics(teacher, rows, tmp_path)
    scores = CRITERIA["minitron"](teacher, statistics, 0)
    kept = choose_layers("influence", teacher, statistics, 2)
    selection = select(teacher, shape, scores, kept)
    student = trim(teacher, selection)
    assert {n: tuple(v.shape) for n, v in student.state_dict().items()} == tensor_shapes(
        selection.spec
    )
    assert not student.spec.problems()
    weights = {name: value.numpy() for name, value in student.state_dict().items()}
    sliced = reference.forward(student.spec, weights, rows.tokens[0, :-1])
    np.testing.assert_allclose(logits_of(student, rows)[0], sliced, rtol=1e-3, atol=1e-4)
    assert torch.isfinite(logits_of(student, rows)).all()
    before = compare(student, teacher, rows).kl
    reconstruct(teacher, student, selection, rows)
    assert compare(student, teacher, rows).kl < before


def test_a_layer_without_positions_stays_one_when_others_go(tmp_path) -> None:
    teacher = tiny_teacher("smollm3")
    scores = CRITERIA["minitron"](
        teacher, _statistics(teacher, random_rows(teacher.spec), tmp_path), 0
    )
    selection = select(teacher, Shape(num_layers=2), scores, kept_layers=(1, 3))
    assert [block.rotation for block in selection.spec.blocks] == ["global", "none"]
    assert [layer.self_attn.turns for layer in trim(teacher, selection).model.layers] == [
        True,
        False,
    ]


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("gemma3", "gelu_tanh"),
        ("granite", "residual_scale"),
        ("lfm2", "blocks"),
        ("qwen3_moe", "experts"),
    ],
)
def test_what_these_modules_do_not_compute_is_refused_by_name(name: str, found: str) -> None:
    with pytest.raises(UnsupportedError, match=found):
        tiny_teacher(name)


def test_units_that_do_nothing_are_trimmed_without_a_trace(tmp_path) -> None:
    teacher = tiny_teacher("llama")
    rows, dim = random_rows(teacher.spec), teacher.spec.head_dim
    for layer in teacher.model.layers:
        layer.mlp.down_proj.weight[:, ::2] = 0
        layer.self_attn.o_proj.weight[:, 3 * dim : 4 * dim] = 0
        layer.self_attn.o_proj.weight[:, 5 * dim : 6 * dim] = 0
    scores = CRITERIA["reconstruction"](teacher, _statistics(teacher, rows, tmp_path), 0)
    student = trim(teacher, select(teacher, Shape(intermediate_size=128, num_heads=6), scores))
    torch.testing.assert_close(
        logits_of(student, rows), logits_of(teacher, rows), rtol=1e-4, atol=1e-4
    )


def test_a_twin_neuron_is_taken_over_by_the_other(tmp_path) -> None:
    """The upper half of the neurons repeats the lower: trimming alone loses half the output, the
    reconstruction loses nothing."""
    teacher = tiny_teacher("nemotron", num_layers=1)
    mlp, half = teacher.model.layers[0].mlp, teacher.spec.intermediate_size // 2
    mlp.up_proj.weight[half:] = mlp.up_proj.weight[:half]
    rows = random_rows(teacher.spec, count=64, length=32)
    statistics = _statistics(teacher, rows, tmp_path)
    scores = CRITERIA["minitron"](teacher, statistics, 0)
    scores.inner[:, :half] += scores.inner.max() + 1  # keep the lower half
    selection = select(teacher, Shape(intermediate_size=half), scores)
    student = trim(teacher, selection)
    before = compare(student, teacher, rows).kl
    report = reconstruct(teacher, student, selection, rows)
    assert before > 0.05
    assert compare(student, teacher, rows).kl < before / 100
    assert all(reconstruction.after <= reconstruction.before for reconstruction in report)


def test_a_dropped_layer_is_partly_taken_over(tmp_path) -> None:
    teacher = tiny_teacher("llama")
    rows = random_rows(teacher.spec, count=64)
    scores = CRITERIA["minitron"](teacher, _statistics(teacher, rows, tmp_path), 0)
    selection = select(teacher, Shape(num_layers=2), scores, kept_layers=(1, 2))
    student = trim(teacher, selection)
    before = compare(student, teacher, rows).kl
    reconstruct(teacher, student, selection, rows)
    assert compare(student, teacher, rows).kl < 0.9 * before


@pytest.mark.parametrize("method", DEPTH_METHODS)
def test_a_layer_that_does_nothing_is_the_first_to_go(method: str, tmp_path) -> None:
    teacher = tiny_teacher("nemotron")
    layer = teacher.model.layers[1]
    layer.self_attn.o_proj.weight.zero_()
    layer.mlp.down_proj.weight.zero_()
    rows = random_rows(teacher.spec)
    rows.tokens[:, 1:] = (
        logits_of(teacher, rows).argmax(-1).numpy()
    )  # labels that the network itself prefers
    statistics = _statistics(teacher, rows, tmp_path)
    if method == "influence":
        assert choose_layers(method, teacher, statistics, 2, rows) == (0, 2)
    else:
        assert len(choose_layers(method, teacher, statistics, 2, rows)) == 2


def test_residual_heads_follow_the_paper(tmp_path) -> None:
    """3 heads a group cut to 2: ranks 1 and 2 are kept, rank 2 mirrors rank 3: head_2 becomes 2
    head_2 - head_3."""
    teacher = tiny_teacher("nemotron")
    dim = teacher.spec.head_dim
    scores = CRITERIA["random"](
        teacher, _statistics(teacher, random_rows(teacher.spec), tmp_path), 0
    )
    scores.heads[:] = torch.tensor([3.0, 1.0, 2.0, 1.0, 2.0, 3.0])
    selection = select(teacher, Shape(num_heads=4), scores)
    assert selection.heads[0].tolist() == [0, 2, 4, 5]
    plain, added = trim(teacher, selection), trim(teacher, selection, residual_heads=scores)
    source = teacher.model.layers[0].self_attn.q_proj.weight
    new = added.model.layers[0].self_attn.q_proj.weight
    torch.testing.assert_close(
        new[dim : 2 * dim], 2 * source[2 * dim : 3 * dim] - source[dim : 2 * dim]
    )
    assert torch.equal(new[:dim], plain.model.layers[0].self_attn.q_proj.weight[:dim])


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (
            Shape(intermediate_size=9999),
            "target intermediate_size is impossible; expected 1 to 288; found 9999",
        ),
        (Shape(hidden_size=0), "target hidden_size is impossible"),
        (Shape(num_heads=5), "query heads do not divide"),
        (Shape(num_kv_heads=1), "more query heads than it has"),
    ],
)
def test_impossible_targets_are_refused_in_words(shape: Shape, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        shape.apply(tiny_teacher("nemotron").spec)
