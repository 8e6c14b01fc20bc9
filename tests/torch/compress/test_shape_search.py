"""The search: candidates near a target, scores after reconstruction, halving with distillation,
resumable."""

from __future__ import annotations

import json

import pytest

from tests.torch.compress.support import random_rows, tiny_teacher
from understudy.compress import shape_search as module
from understudy.compress.calibrate import calibrate
from understudy.compress.costs import COSTS
from understudy.compress.shape_search import Data, search_shape
from understudy.compress.shapes import SearchSettings, candidates
from understudy.compress.teacher import LiveTeacher
from understudy.errors import UsageError

STEPS = {"hidden_size": 32, "intermediate_size": 32, "num_layers": 1}


@pytest.mark.parametrize("cost", ["parameters", "bytes"])
def test_candidates_cost_what_was_asked(cost: str) -> None:
    spec = tiny_teacher("nemotron").spec
    target = 0.75 * COSTS[cost](spec)
    found = candidates(spec, SearchSettings(target, cost, tolerance=0.05, steps=STEPS))
    assert len(found) >= 3
    for shape, value in found:
        assert value == COSTS[cost](shape.apply(spec))
        assert abs(value / target - 1) <= 0.05
        assert not shape.apply(spec).problems()


def test_file_bytes_are_those_of_a_written_file(tmp_path) -> None:
    from tests.support.checkpoints import SPECS, random_weights, write_folder
    from understudy.checkpoint.checkpoint import open_checkpoint
    from understudy.compress.folder import save_network

    spec = SPECS["nemotron"]
    checkpoint = open_checkpoint(write_folder(spec, random_weights(spec), tmp_path / "m"))
    path = save_network(tiny_teacher("nemotron"), checkpoint, tmp_path / "m.gguf", "q4")
    assert COSTS["bytes"](spec) == pytest.approx(path.stat().st_size, rel=0.05)


def test_a_bigger_network_takes_longer_on_the_engine() -> None:
    small = tiny_teacher("nemotron").spec
    big = small.replace(hidden_size=768, intermediate_size=3072, num_layers=6, vocab_size=8192)
    pairs = ((COSTS["seconds_per_token"](small), COSTS["seconds_per_token"](big)) for _ in range(5))
    assert any(fast < slow for fast, slow in pairs)  # a stolen core may spoil one of them, not all


def test_targets_that_no_shape_meets_are_refused() -> None:
    spec = tiny_teacher("nemotron").spec
    with pytest.raises(UsageError, match="not below what the source has"):
        candidates(spec, SearchSettings(1e9))
    with pytest.raises(UsageError, match="no shape comes near the target"):
        candidates(spec, SearchSettings(1000.0, steps=STEPS))
    with pytest.raises(UsageError, match="unknown cost"):
        candidates(spec, SearchSettings(1e5, "euros"))


def test_a_search_halves_its_field_and_resumes(tmp_path, monkeypatch) -> None:
    teacher = tiny_teacher("nemotron")
    rows = random_rows(teacher.spec, count=16)
    statistics = calibrate(teacher, rows, tmp_path / "calibration")
    target = 0.75 * COSTS["parameters"](teacher.spec)
    settings = SearchSettings(
        target,
        tolerance=0.06,
        steps=STEPS,
        max_candidates=5,
        rungs=(192, 384),
        learning_rate=1e-4,
        batch_size=8,
    )
    arguments = (
        teacher,
        LiveTeacher(teacher),
        statistics,
        Data(rows, rows, rows),
        settings,
        tmp_path / "search",
    )
    result = search_shape(*arguments)
    assert len(result.table) == len(candidates(teacher.spec, settings)) >= 4
    assert [sum(f"kl_{tokens}" in line for line in result.table) for tokens in settings.rungs] == [
        2,
        1,
    ]
    assert result.table[0]["intermediate_size"] == result.best.intermediate_size
    content = json.loads((tmp_path / "search" / "report.json").read_text())
    assert len(content["tables"]["candidates"]) == len(result.table)
    monkeypatch.setattr(module, "reconstruct", lambda *a, **k: pytest.fail("ran again"))
    monkeypatch.setattr(module, "distill", lambda *a, **k: pytest.fail("ran again"))
    again = search_shape(*arguments)
    assert again.best == result.best
