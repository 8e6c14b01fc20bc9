"""Nothing finished is deleted or ruined in silence: other recipes' work is moved, bad steps are not
taken, warnings end a bad run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.torch.compress.world import write_world
from understudy.cli import main
from understudy.compress.pipeline import Pipeline
from understudy.compress.recipe import parse_recipe
from understudy.compress.stage_folder import StageFolder, digest_of, set_aside
from understudy.compress.stages import export, prune
from understudy.errors import UsageError


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    return write_world(tmp_path_factory.mktemp("world"))


def raw(world: Path, out: Path, **tables) -> dict:
    return {
        "source": {"model": str(world / "teacher")},
        "data": {
            "train": [str(world / "text.txt")],
            "length": 32,
            "calibration_sequences": 16,
            "held_out_sequences": 8,
        },
        "prune": {"intermediate_size": 192},
        "output": {"folder": str(out)},
    } | tables


def run(world: Path, out: Path, said: list[str], **tables):
    return Pipeline(parse_recipe(raw(world, out, **tables)), say=said.append).run()


def test_another_recipe_moves_what_was_there_and_says_where(world: Path, tmp_path: Path) -> None:
    out, said = tmp_path / "out", []
    run(world, out, said)
    assert said == []
    before = (out / "model.gguf").read_bytes()
    run(world, out, said)
    assert said == ["prune: finished before, kept", "export: finished before, kept"]
    said.clear()
    run(world, out, said, prune={"intermediate_size": 96})
    assert (out / "earlier-1" / "model.gguf").read_bytes() == before
    assert (out / "earlier-1" / "prune" / "model" / "config.json").exists()
    assert "kept in" in said[0]
    assert "earlier-1: model, model.gguf, prune, report.html" in said[0]
    said.clear()
    run(world, out, said, prune={"intermediate_size": 96}, quantize={"embedding": "q8"})
    assert sorted(path.name for path in (out / "earlier-2").iterdir()) == [
        "model",
        "model.gguf",
        "report.html",
        "report.json",
        "result.json",
    ]
    assert said[0] == "prune: finished before, kept"


def test_a_result_that_was_cut_off_is_made_anew_and_a_strangers_is_moved(
    world: Path, tmp_path: Path, monkeypatch
) -> None:
    out, said = tmp_path / "out", []
    (out / "model").mkdir(parents=True)
    (out / "model" / "mine.txt").write_text("mine")
    monkeypatch.setattr(export, "describe_run", lambda path: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run(world, out, said)
    assert (out / "earlier-1" / "model" / "mine.txt").read_text() == "mine"
    monkeypatch.undo()
    run(world, out, said)
    assert not (out / "earlier-2").exists()
    assert json.loads((out / "result.json").read_text())["is_finished"]


def test_markers_of_nobody_belong_to_another(tmp_path: Path) -> None:
    folder = StageFolder(tmp_path, digest_of({"a": 1}))
    assert not folder.is_of_another
    (tmp_path / "stage.json").write_text("{")
    assert folder.is_of_another
    assert not folder.is_finished
    assert set_aside(tmp_path, ["nothing"]) is None


def test_pruning_without_a_target_is_an_error(world: Path, tmp_path: Path, capsys) -> None:
    with pytest.raises(UsageError, match="nothing to prune"):
        run(world, tmp_path / "out", [], prune={"criterion": "minitron"})
    with pytest.raises(UsageError, match="nothing to prune"):
        run(world, tmp_path / "out", [], prune={"intermediate_size": 288})
    arguments = ["prune", str(world / "teacher"), str(tmp_path / "out")]
    data = ["--data", str(world / "text.txt"), "--length", "32", "--held-out-sequences", "4"]
    assert main([*arguments, *data]) == 2
    assert "--mlp" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_reconstruction_that_is_worse_on_held_out_text_is_not_taken(
    world: Path, tmp_path: Path, monkeypatch
) -> None:
    def ruin(teacher, student, selection, sequences, *, progress):
        for parameter in student.parameters():
            parameter.data.mul_(0.0)
        return []

    monkeypatch.setattr(prune, "reconstruct", ruin)
    result = run(world, tmp_path / "out", [])
    figures = result.reports[0].figures
    assert not figures["is_reconstruction_taken"]
    assert figures["quality"]["kl"] == pytest.approx(figures["trimmed"]["kl"])
    assert any("not taken" in warning for warning in result.warnings)


def test_a_student_far_from_its_teacher_ends_with_a_warning(
    world: Path, tmp_path: Path, monkeypatch, capsys
) -> None:
    monkeypatch.setattr(export, "FAR", 0.5)
    arguments = ["prune", str(world / "teacher"), str(tmp_path / "out"), "--mlp", "192"]
    data = ["--data", str(world / "text.txt"), "--length", "32", "--calibration-sequences", "4"]
    assert main([*arguments, *data, "--held-out-sequences", "4"]) == 0
    said = capsys.readouterr().err
    assert "warning: the student is far from its teacher" in said
    assert "warning: calibration has 128 tokens, fewer than the 192 inputs" in said
    assert "far from its teacher" in (tmp_path / "out" / "model" / "README.md").read_text()
    assert "far from its teacher" in (tmp_path / "out" / "report.html").read_text()
