"""Which shape? All shapes near a target, scored after reconstruction, then successive halving with
real short distillation.

    settings = SearchSettings(target=100e6, cost="parameters", rungs=(65_536, 262_144))
    result = search_shape(teacher, source, statistics, data, settings, folder)
    result.best      the winning Shape;  result.table  one line a candidate: cost, KL reconstructed,
    KL after each rung

The cost is parameters, file bytes, or seconds a token measured on the run-time engine. Every score
is kept in a file as soon as it is known and every distillation in a folder of its own, so that a
stopped search goes on.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from understudy.atomic import written_aside
from understudy.compress.calibrate import Statistics
from understudy.compress.data import Progress, Sequences, quiet
from understudy.compress.depth import choose_layers
from understudy.compress.distill import DistillSettings, distill
from understudy.compress.evaluate import compare, remember
from understudy.compress.importance import CRITERIA, Importance
from understudy.compress.network import Network, network_from_weights
from understudy.compress.prune import Shape, select, trim
from understudy.compress.reconstruct import reconstruct
from understudy.compress.report import StageReport
from understudy.compress.shapes import SearchSettings, candidates
from understudy.compress.state import read_json
from understudy.compress.teacher import Teacher
from understudy.report.write import write_json


@dataclass
class SearchResult:
    best: Shape
    table: list[dict[str, Any]]  # by rank

    def report(self) -> StageReport:
        report = StageReport("search", {"best": asdict(self.best)}, {"candidates": self.table})
        by_cost = sorted((entry["cost"], entry["kl_reconstructed"]) for entry in self.table)
        report.curves["KL after reconstruction, by cost"] = by_cost
        return report


@dataclass(frozen=True)
class Data:
    """What candidates are trained, calibrated and measured on."""

    training: Sequences
    calibration: Sequences
    held_out: Sequences


def search_shape(
    teacher: Network,
    source: Teacher,
    statistics: Statistics,
    data: Data,
    settings: SearchSettings,
    folder: Path,
    progress: Progress = quiet,
) -> SearchResult:
    """Score all candidates after reconstruction, then distil the field and cut it at every rung.

    Args:
        source: where the distillations' targets come from, usually a cache of `teacher` on the
            training sequences.
    """
    folder.mkdir(parents=True, exist_ok=True)
    found = candidates(teacher.spec, settings)
    field_of = [_Candidate(shape, value, folder) for shape, value in found]
    scores = CRITERIA["minitron"](teacher, statistics, 0)
    race = _Race(teacher, statistics, scores, data, settings, remember(teacher, data.held_out))
    for number, candidate in enumerate(field_of):
        progress(number, len(field_of), "reconstructing candidates")
        race.reconstruct(candidate)
    alive = sorted(field_of, key=lambda c: c.known["kl_reconstructed"])
    for tokens in settings.rungs:
        alive = alive[: max(1, round(len(alive) * settings.keep))]
        for number, candidate in enumerate(alive):
            progress(number, len(alive), f"distilling candidates for {tokens} tokens")
            race.distill(candidate, source, tokens)
        alive.sort(key=lambda c: c.known[f"kl_{tokens}"])
    ranked = alive + [c for c in field_of if c not in alive]
    result = SearchResult(alive[0].shape, [c.line() for c in ranked])
    result.report().write(folder)
    return result


@dataclass
class _Race:
    """What all candidates are made of and measured with."""

    teacher: Network
    statistics: Statistics
    scores: Importance
    data: Data
    settings: SearchSettings
    memory: Tensor  # what the teacher's head reads of the held-out sequences

    def reconstruct(self, candidate: _Candidate) -> None:
        if "kl_reconstructed" not in candidate.known:
            candidate.note("kl_reconstructed", self._kl(self._make(candidate)))

    def distill(self, candidate: _Candidate, source: Teacher, tokens: int) -> None:
        if f"kl_{tokens}" in candidate.known:
            return
        settings, student = self.settings, self._make(candidate)
        training = DistillSettings(
            tokens=tokens,
            learning_rate=settings.learning_rate,
            batch_size=settings.batch_size,
            final_learning_rate=settings.learning_rate / 10,
        )
        distill(student, source, self.data.training, training, candidate.folder / f"run-{tokens}")
        candidate.note(f"kl_{tokens}", self._kl(student.requires_grad_(False)))

    def _kl(self, student: Network) -> float:
        return compare(student, self.teacher, self.data.held_out, remembered=self.memory).kl

    def _make(self, candidate: _Candidate) -> Network:
        """Trimmed and reconstructed; kept as a file, since every rung starts from it."""
        teacher, settings = self.teacher, self.settings
        depth = candidate.shape.num_layers or teacher.spec.num_layers
        probe = self.data.calibration.take(8)
        kept = choose_layers(settings.depth, teacher, self.statistics, depth, probe)
        selection = select(teacher, candidate.shape, self.scores, kept)
        path = candidate.folder / "reconstructed.pt"
        if path.exists():
            weights = torch.load(path, map_location=teacher.device)
            return network_from_weights(selection.spec, weights)
        student = trim(teacher, selection).requires_grad_(False)
        reconstruct(teacher, student, selection, self.data.calibration)
        with written_aside(path) as aside:
            torch.save(student.state_dict(), aside)
        return network_from_weights(selection.spec, student.state_dict())


class _Candidate:
    """One shape and its scores on disk."""

    def __init__(self, shape: Shape, cost: float, folder: Path) -> None:
        self.shape, self.cost = shape, cost
        self.name = "-".join(str(value) for value in asdict(shape).values())
        self.folder = folder / self.name
        self.known: dict[str, float] = read_json(self.folder / "scores.json")

    def note(self, key: str, value: float) -> None:
        self.known[key] = value
        self.folder.mkdir(parents=True, exist_ok=True)
        write_json(self.folder / "scores.json", self.known)

    def line(self) -> dict[str, Any]:
        return {**asdict(self.shape), "cost": self.cost, **self.known}
