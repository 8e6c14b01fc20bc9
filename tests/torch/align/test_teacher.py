"""Learning from a teacher's kept answers: they are the teacher's, they are asked for once, and the
tuned model comes near it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import understudy.align.teacher as teacher_module
from tests.support.checkpoints import SPECS, random_weights, write_folder
from tests.torch.align.test_align_run import folder as folder  # a model, its tokenizer and records
from tests.torch.align.test_align_run import job
from tests.torch.align.test_sft import trees as random_trees
from understudy.align.lora import TARGETS, LoraSettings, attach
from understudy.align.rows import RowTensors, hidden_of
from understudy.align.sft import SftSettings, SupervisedRun
from understudy.align.teacher import ask_teacher
from understudy.align.workbench import Workbench
from understudy.compress.losses import LiveTarget, forward_kl
from understudy.data.trees import Tree
from understudy.errors import UsageError


@pytest.fixture(scope="module")
def teacher(folder: Path) -> str:
    """Another model with the tokenizer of the first, whose answers are as sure as trained ones."""
    spec = Workbench.open(str(folder / "model")).spec.replace(intermediate_size=352)
    weights = random_weights(spec, seed=9)
    weights["lm_head.weight"] *= 40
    write_folder(spec, weights, folder / "teacher")
    other = folder / "teacher" / "tokenizer.model"
    other.write_bytes((folder / "model" / "tokenizer.model").read_bytes())
    return str(folder / "teacher")


@pytest.fixture(scope="module")
def student(folder: Path) -> Workbench:
    return Workbench.open(str(folder / "model"))


@pytest.fixture(scope="module")
def trees() -> list[Tree]:
    return random_trees(4)


def asked(teacher: str, student: Workbench, trees: list[Tree], place: Path) -> Any:
    return ask_teacher(teacher, student, trees, place, precision="float32", device="cpu")


def test_what_is_kept_is_what_the_teacher_answers(
    teacher: str, student: Workbench, trees: list[Tree], tmp_path: Path
) -> None:
    targets = asked(teacher, student, trees, tmp_path)
    network = Workbench.open(teacher).network("float32", "cpu")
    with torch.no_grad():
        for numbers in ([0], [2, 1]):
            row = RowTensors.of([trees[i] for i in numbers], network.device, torch.float32)
            found = targets.of(numbers, network.device)
            log_p = (hidden_of(network, row) @ network.head_weight.T).log_softmax(-1)
            assert len(found.ids) == len(row.parents)
            np.testing.assert_allclose(found.weights.sum(1), 1, atol=2e-3)
            top = targets.form.top_k
            likeliest = log_p.topk(top, dim=-1).values.exp()
            np.testing.assert_allclose(found.weights[:, :top], likeliest, rtol=5e-3, atol=1e-4)
            entropy = -(log_p.exp() * log_p).sum(-1)
            np.testing.assert_allclose(found.entropy, entropy, rtol=5e-3, atol=1e-6)


def test_the_tuned_model_comes_near_its_teacher(
    teacher: str, student: Workbench, trees: list[Tree], tmp_path: Path
) -> None:
    targets = asked(teacher, student, trees, tmp_path)
    other = Workbench.open(teacher).network("float32", "cpu")
    network = student.network("float32", "cpu")
    adapters = attach(network, LoraSettings(rank=16, targets=(*TARGETS, "lm_head")))
    row = RowTensors.of(trees, network.device, torch.float32)
    with torch.no_grad():
        goal = LiveTarget(hidden_of(other, row), other.head_weight)

        def distance() -> float:
            return float(
                forward_kl(hidden_of(network, row), network.head_weight, goal, row.weights)
            )

        before = distance()
    settings = SftSettings(epochs=80, learning_rate=4e-3, teacher_share=1.0)
    SupervisedRun(network, adapters, trees, settings, tmp_path / "run", targets).train()
    with torch.no_grad():
        assert distance() < 0.7 * before


def test_asking_goes_on_and_other_data_are_refused(
    teacher: str, student: Workbench, trees: list[Tree], tmp_path: Path, monkeypatch: Any
) -> None:
    whole = np.array(asked(teacher, student, trees, tmp_path / "whole").records)
    monkeypatch.setattr(teacher_module, "TREES_OF_A_SAVE", 1)
    answers, calls = teacher_module._answers, []

    def stopped(*arguments: Any) -> Any:
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append(arguments)
        return answers(*arguments)

    monkeypatch.setattr(teacher_module, "_answers", stopped)
    with pytest.raises(KeyboardInterrupt):
        asked(teacher, student, trees, tmp_path / "cut")
    monkeypatch.setattr(teacher_module, "_answers", answers)
    assert json.loads((tmp_path / "cut" / "teacher.json").read_text())["finished"] == 2
    np.testing.assert_array_equal(asked(teacher, student, trees, tmp_path / "cut").records, whole)
    with pytest.raises(UsageError, match="answers to other data"):
        asked(teacher, student, trees[1:], tmp_path / "cut")


def test_a_recipe_names_its_teacher(teacher: str, folder: Path) -> None:
    run = job(folder, "taught", teacher=teacher, teacher_share=0.7)
    run.train()
    assert (folder / "taught" / "training" / "teacher.bin").stat().st_size > 0
    alone = job(folder, "untaught").train()
    assert run.bench.spec == alone.bench.spec
    losses = [
        (folder / name / "training" / "trace.jsonl").read_text() for name in ("taught", "untaught")
    ]
    assert losses[0] != losses[1]
    with pytest.raises(UsageError, match="no share of a loss"):
        job(folder, "wrong", teacher=teacher, teacher_share=1.5)


def test_a_teacher_of_other_tokens_is_refused(folder: Path, tmp_path: Path) -> None:
    spec = SPECS["llama"]
    write_folder(spec, random_weights(spec, seed=1), tmp_path / "other")
    run = job(folder, "refused", teacher=str(tmp_path / "other"))
    with pytest.raises(UsageError, match="tokenizer"):
        run.train()
