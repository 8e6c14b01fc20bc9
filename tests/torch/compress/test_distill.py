"""Distillation: it learns, it resumes bit for bit after kill -9, two processes equal one, bad input
is refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.torch.compress.support import random_rows, tiny_teacher
from understudy.compress.distill import SCHEDULES, DistillSettings, distill
from understudy.compress.evaluate import compare, perplexity
from understudy.compress.losses import LOSSES
from understudy.compress.teacher import Labels, LiveTeacher, capture
from understudy.errors import UnderstudyError, UsageError

ROOT = Path(__file__).parents[3]


def _settings(**changes) -> DistillSettings:
    return DistillSettings(
        **(
            {"tokens": 30 * 8 * 24, "batch_size": 8, "learning_rate": 3e-3, "checkpoint_steps": 100}
            | changes
        )
    )


def test_a_student_comes_near_its_teacher(tmp_path) -> None:
    teacher, student = tiny_teacher(seed=1), tiny_teacher(seed=2, num_layers=2)
    rows = random_rows(teacher.spec, count=16)
    before = compare(student, teacher, rows)
    report = distill(student, LiveTeacher(teacher), rows, _settings(), tmp_path)
    after = compare(student, teacher, rows)
    assert report.steps == 30
    assert report.losses[0] == pytest.approx(before.kl, rel=0.2)
    assert after.kl < 0.5 * before.kl
    assert after.agreement > before.agreement


def test_a_cached_teacher_teaches_as_well(tmp_path) -> None:
    teacher = tiny_teacher(seed=1)
    rows = random_rows(teacher.spec, count=16)
    found = {}
    for name, source in {
        "live": LiveTeacher(teacher),
        "cache": capture(teacher, rows, tmp_path / "c", budget=200),
    }.items():
        student = tiny_teacher(seed=2)
        distill(student, source, rows, _settings(), tmp_path / name)
        found[name] = compare(student, teacher, rows).kl
    assert found["cache"] < 1.1 * found["live"]


def test_labels_correct_a_teacher(tmp_path) -> None:
    teacher = tiny_teacher()
    rows = random_rows(teacher.spec, count=16)
    before = perplexity(teacher, rows)
    distill(teacher, Labels(), rows, _settings(), tmp_path)
    assert perplexity(teacher, rows) < 0.5 * before


@pytest.mark.parametrize("name", LOSSES)
def test_state_losses_pull_the_hidden_states_together(name: str, tmp_path) -> None:
    teacher, student = tiny_teacher(seed=1), tiny_teacher(seed=2, num_layers=2)
    rows = random_rows(teacher.spec, count=16)
    report = distill(student, LiveTeacher(teacher), rows, _settings(state_loss=name), tmp_path)
    assert report.losses[-1] < 0.7 * report.losses[0]


def test_zero_pressure_makes_zeros(tmp_path) -> None:
    teacher = tiny_teacher(seed=1)
    rows = random_rows(teacher.spec, count=16)
    rates = {}
    for pressure in (0.0, 3.0):
        student = tiny_teacher(seed=1)
        distill(
            student,
            LiveTeacher(teacher),
            rows,
            _settings(zero_pressure=pressure),
            tmp_path / str(pressure),
        )
        seen: list[torch.Tensor] = []
        student.model.layers[1].mlp.down_proj.register_forward_pre_hook(
            lambda _, x, seen=seen: seen.append(x[0])
        )
        student.hidden(torch.from_numpy(rows.tokens.astype(np.int64)))
        rates[pressure] = (seen[0] == 0).float().mean().item()
    assert rates[3.0] > rates[0.0] + 0.05


def _worker(
    folder: Path, steps: int, *more: object, processes: int = 1
) -> subprocess.CompletedProcess[str]:
    launch = [sys.executable]
    if processes > 1:
        launch += [
            "-m",
            "torch.distributed.run",
            "--nproc-per-node",
            str(processes),
            "--master-port",
            "29517",
        ]
    command = [
        *launch,
        "-m",
        "tests.torch.compress.distill_worker",
        str(folder),
        str(steps),
        *map(str, more),
    ]
    environment = os.environ | {
        "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}",
        "OMP_NUM_THREADS": "1",
    }
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )


def _losses(folder: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (folder / "trace.jsonl").read_text().splitlines()]


def test_killed_at_any_moment_it_goes_on_bit_for_bit(tmp_path) -> None:
    whole = _worker(tmp_path / "whole", 12)
    assert whole.returncode == 0, whole.stderr
    assert _worker(tmp_path / "cut", 12, 7).returncode == -9
    assert len(_losses(tmp_path / "cut")) == 7
    again = _worker(tmp_path / "cut", 12)
    assert again.returncode == 0, again.stderr
    assert _losses(tmp_path / "cut") == _losses(tmp_path / "whole")
    a, b = np.load(tmp_path / "whole" / "student.npz"), np.load(tmp_path / "cut" / "student.npz")
    assert all(np.array_equal(a[name], b[name]) for name in a)


def test_two_processes_equal_one(tmp_path) -> None:
    one, two = _worker(tmp_path / "one", 12), _worker(tmp_path / "two", 12, processes=2)
    assert one.returncode == 0, one.stderr
    assert two.returncode == 0, two.stderr
    np.testing.assert_allclose(_losses(tmp_path / "two"), _losses(tmp_path / "one"), atol=1e-4)
    a, b = np.load(tmp_path / "one" / "student.npz"), np.load(tmp_path / "two" / "student.npz")
    assert all(np.abs(a[name] - b[name]).max() < 1e-3 for name in a)


def test_different_vocabularies_are_refused_before_anything_runs(tmp_path) -> None:
    teacher, student = tiny_teacher(), tiny_teacher(vocab_size=500)
    rows = random_rows(student.spec)
    with pytest.raises(
        UsageError, match="different vocabularies; expected 512 pieces; found 500 pieces"
    ):
        distill(student, LiveTeacher(teacher), rows, _settings(), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_token_ids_outside_the_vocabulary_are_refused(tmp_path) -> None:
    teacher = tiny_teacher()
    rows = random_rows(teacher.spec)
    rows.tokens[3, 3] = 512
    with pytest.raises(
        UsageError, match="token id outside the vocabulary; expected below 512; found 512"
    ):
        distill(teacher, LiveTeacher(teacher), rows, _settings(), tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schedule": "staircase"}, "schedule 'staircase' is unknown"),
        ({"state_loss": "l7"}, "state_loss 'l7' is unknown"),
        ({"learning_rate": -1.0}, "must be positive"),
        ({"batch_size": 17}, "fewer sequences than one batch; expected at least 17; found 16"),
    ],
)
def test_unsound_settings_are_refused(changes, message: str, tmp_path) -> None:
    teacher = tiny_teacher()
    with pytest.raises(UsageError, match=message):
        distill(
            teacher, LiveTeacher(teacher), random_rows(teacher.spec), _settings(**changes), tmp_path
        )


def test_a_loss_that_is_not_a_number_stops_the_run_and_keeps_checkpoints(tmp_path) -> None:
    teacher, student = tiny_teacher(seed=1), tiny_teacher(seed=2)

    def poison(done: int, total: int, what: str) -> None:
        if done == 6:
            student.model.norm.weight.data.fill_(float("nan"))

    with pytest.raises(UnderstudyError, match="step 6: the loss is not a number"):
        distill(
            student,
            LiveTeacher(teacher),
            random_rows(teacher.spec),
            _settings(checkpoint_steps=4),
            tmp_path,
            progress=poison,
        )
    assert [p.name for p in tmp_path.glob("state-*")] == ["state-000004"]


def test_a_full_disk_is_told_and_costs_nothing(tmp_path, monkeypatch) -> None:
    from understudy.compress import state

    def full(*arguments, **more):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(state.checkpoint, "save", full)
    teacher = tiny_teacher()
    with pytest.raises(UnderstudyError, match="the disk is full"):
        distill(
            teacher,
            LiveTeacher(teacher),
            random_rows(teacher.spec),
            _settings(checkpoint_steps=2),
            tmp_path,
        )
    assert not list(tmp_path.glob("state-*"))


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_warm_up_and_end_low(name: str) -> None:
    settings = _settings(schedule=name, learning_rate=1.0, final_learning_rate=0.1, warm_up=0.1)
    rates = [settings.learning_rate_at(step, 100) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == pytest.approx(1.0)
    assert (rates[-1] == 1.0) if name == "constant" else (rates[-1] < 0.2)


def test_only_the_rows_that_the_steps_see_are_asked_of_the_teacher() -> None:
    rows = random_rows(tiny_teacher("llama").spec, count=40)
    some = _settings(tokens=3 * 8 * 24).sequences_needed(rows)
    assert len(some) == 24
    assert len({row.tobytes() for row in some.tokens}) == 24
    assert {row.tobytes() for row in some.tokens} < {row.tobytes() for row in rows.tokens}
    assert _settings(tokens=10 * 8 * 24).sequences_needed(rows) is rows
