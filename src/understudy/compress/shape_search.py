"""Which shape? All shapes near a target, scored after reconstruction, then successive halving with real short distillation.

    settings = SearchSettings(target=100e6, cost="parameters", rungs=(65_536, 262_144))
    result = search(teacher, statistics, sequences, held_out, settings, folder)
    result.best      the winning Shape;  result.table  one line a candidate: cost, KL reconstructed, KL after each rung

The cost is parameters, file bytes, or seconds a token measured on the run-time engine. Every score is kept in
a file as soon as it is known and every distillation in a folder of its own, so that a stopped search goes on.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from understudy import core
from understudy.compress.calibrate import Statistics
from understudy.compress.data import Progress, Sequences, quiet
from understudy.compress.depth import choose_layers
from understudy.compress.distill import DistillSettings, distill
from understudy.compress.evaluate import compare, remember
from understudy.compress.grids import BLOCK
from understudy.compress.importance import CRITERIA
from understudy.compress.network import Network, network_from_weights
from understudy.compress.prune import Shape, select, trim
from understudy.compress.reconstruct import reconstruct
from understudy.compress.report import Report
from understudy.compress.state import read_json, write_json
from understudy.compress.teacher import Teacher
from understudy.core import PackedTensor
from understudy.engine.loading import int12_matrices
from understudy.errors import UsageError
from understudy.spec import ModelSpec, PackedFormat, parameter_counts, tensor_shapes


def parameters(spec: ModelSpec) -> float:
    return float(parameter_counts(spec)["total"])


def file_bytes(spec: ModelSpec) -> float:
    """Of a GGUF with all matrices in q4 (18 bytes for 32 weights) and vectors in float32, without its vocabulary."""
    shapes = tensor_shapes(spec).values()
    return float(sum(s[0] * s[1] / BLOCK * 18 if len(s) == 2 else 4 * s[0] for s in shapes))


def seconds_per_token(spec: ModelSpec, num_tokens: int = 24) -> float:
    """Least time of one decoded token in q4 on this machine: random weights of that shape on the native core.

    The least, since whatever else the machine does only adds, to a small shape more than to a big one.
    """
    rng = np.random.default_rng(0)
    tensors: dict[str, PackedTensor] = {}
    for name, shape in tensor_shapes(spec).items():
        if len(shape) == 1:
            data = rng.random(shape, dtype=np.float32).view(np.uint8)
            tensors[name] = PackedTensor("f32", 1, shape[0], data)
            continue
        rows, columns = shape
        kind: PackedFormat = "bf16" if columns % BLOCK else "q4"
        values = rng.standard_normal(shape, dtype=np.float32) * np.float32(columns**-0.5)
        data = core.pack("F32", values.view(np.uint8).reshape(-1), rows, columns, kind)
        tensors[name] = PackedTensor(kind, rows, columns, data)
    model = core.Model(spec, tensors, int12=int12_matrices(spec))
    cache = core.Cache(model, -(-num_tokens // core.PAGE_SIZE), "f16")
    pages = np.arange(-(-num_tokens // core.PAGE_SIZE), dtype=np.int32)[None]
    times = []
    for position in range(num_tokens):
        started = time.perf_counter()
        one = np.array([position], np.int32)
        core.step(
            model,
            cache,
            np.array([1], np.int32),
            one,
            np.array([0], np.int32),
            pages,
            np.array([0], np.int32),
        )
        times.append(time.perf_counter() - started)
    return float(min(times[2:]))


COSTS: dict[str, Callable[[ModelSpec], float]] = {
    "parameters": parameters,
    "bytes": file_bytes,
    "seconds_per_token": seconds_per_token,
}


@dataclass(frozen=True)
class SearchSettings:
    """target: the cost that candidates may have, within `tolerance`; rungs: tokens after which the field is cut.

    steps: by which sizes shrink; smallest: the share of the teacher's size below which no axis goes.
    """

    target: float
    cost: str = "parameters"
    tolerance: float = 0.03
    steps: dict[str, int] = field(
        default_factory=lambda: {"hidden_size": 64, "intermediate_size": 64, "num_layers": 2}
    )
    smallest: float = 0.5
    max_candidates: int = 16
    rungs: tuple[int, ...] = (65_536, 262_144)
    keep: float = 0.4  # share of the field that goes on after each rung
    learning_rate: float = 3e-4
    batch_size: int = 8
    depth: str = "influence"


@dataclass
class SearchResult:
    best: Shape
    table: list[dict[str, Any]]  # by rank

    def report(self) -> Report:
        report = Report("search", {"best": asdict(self.best)}, {"candidates": self.table})
        by_cost = sorted((entry["cost"], entry["kl_reconstructed"]) for entry in self.table)
        report.curves["KL after reconstruction, by cost"] = by_cost
        return report


def candidates(source: ModelSpec, settings: SearchSettings) -> list[tuple[Shape, float]]:
    """Shapes whose cost lies within the tolerance, nearest to the target first, spread over depths.

    Raises:
        UsageError: no shape reaches the target, or the cost is unknown.
    """
    if settings.cost not in COSTS:
        raise UsageError("unknown cost", found=settings.cost, expected=list(COSTS))
    cost = COSTS[settings.cost]
    if settings.target >= cost(source):
        raise UsageError(
            "target is not below what the source has",
            expected=f"below {cost(source):.4g}",
            found=settings.target,
        )
    near = []
    for shape in _grid(source, settings):
        value = cost(shape.apply(source))
        if abs(value / settings.target - 1) <= settings.tolerance:
            near.append((shape, value))
    if not near:
        raise UsageError(
            "no shape comes near the target",
            expected=f"{settings.target:.4g} ± {settings.tolerance:.0%}",
            do="raise the tolerance, or lower `smallest`",
        )
    near.sort(key=lambda entry: (_imbalance(entry[0], source), abs(entry[1] - settings.target)))
    return near[: settings.max_candidates]


def _grid(source: ModelSpec, settings: SearchSettings) -> Iterator[Shape]:
    def sizes(name: str, step: int) -> list[int]:
        full = int(getattr(source, name))
        return list(range(full, max(int(full * settings.smallest), 1) - 1, -step))

    groups = [source.num_kv_heads * per_group for per_group in range(source.group_size, 0, -1)]
    heads = [count for count in groups if count >= settings.smallest * source.num_heads]
    axes = (
        sizes(name, settings.steps[name])
        for name in ("num_layers", "hidden_size", "intermediate_size")
    )
    for layers, hidden, inner, num_heads in itertools.product(*axes, heads):
        yield Shape(layers, hidden, inner, num_heads, source.num_kv_heads)


def _imbalance(shape: Shape, source: ModelSpec) -> float:
    """How much is cut beyond the MLP: width comes before heads, heads before depth and stream (Minitron's practices)."""
    layers = 1 - (shape.num_layers or 0) / source.num_layers
    hidden = 1 - (shape.hidden_size or 0) / source.hidden_size
    heads = 1 - (shape.num_heads or 0) / source.num_heads
    return 2 * layers + 1.5 * hidden + heads


def search(
    teacher: Network,
    source: Teacher,
    statistics: Statistics,
    sequences: Sequences,
    calibration: Sequences,
    held_out: Sequences,
    settings: SearchSettings,
    folder: Path,
    progress: Progress = quiet,
) -> SearchResult:
    """Score all candidates after reconstruction, then distil the field and cut it at every rung.

    Args:
        source: where the distillations' targets come from, usually a cache of `teacher` on `sequences`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    field_of = [
        _Candidate(shape, value, folder) for shape, value in candidates(teacher.spec, settings)
    ]
    memory = remember(teacher, held_out)
    scores = CRITERIA["minitron"](teacher, statistics, 0)
    for number, candidate in enumerate(field_of):
        progress(number, len(field_of), "reconstruction candidates")
        if "kl_reconstructed" not in candidate.known:
            student = candidate.make(teacher, scores, statistics, calibration, settings)
            candidate.note(
                "kl_reconstructed", compare(student, teacher, held_out, remembered=memory).kl
            )
    alive = sorted(field_of, key=lambda c: c.known["kl_reconstructed"])
    for tokens in settings.rungs:
        alive = alive[: max(1, round(len(alive) * settings.keep))]
        for number, candidate in enumerate(alive):
            progress(number, len(alive), f"distilling candidates for {tokens} tokens")
            key = f"kl_{tokens}"
            if key in candidate.known:
                continue
            student = candidate.make(teacher, scores, statistics, calibration, settings)
            training = DistillSettings(
                tokens=tokens,
                learning_rate=settings.learning_rate,
                batch_size=settings.batch_size,
                final_learning_rate=settings.learning_rate / 10,
            )
            distill(student, source, sequences, training, candidate.folder / f"run-{tokens}")
            student.requires_grad_(False)
            candidate.note(key, compare(student, teacher, held_out, remembered=memory).kl)
        alive.sort(key=lambda c: c.known[f"kl_{tokens}"])
    ranked = alive + [c for c in field_of if c not in alive]
    result = SearchResult(alive[0].shape, [c.line() for c in ranked])
    result.report().write(folder)
    return result


class _Candidate:
    """One shape, its scores on disk, and its reconstructed student."""

    def __init__(self, shape: Shape, cost: float, folder: Path) -> None:
        self.shape, self.cost = shape, cost
        self.name = "-".join(str(value) for value in asdict(shape).values())
        self.folder = folder / self.name
        self.known: dict[str, float] = read_json(self.folder / "scores.json")

    def note(self, key: str, value: float) -> None:
        self.known[key] = value
        self.folder.mkdir(parents=True, exist_ok=True)
        write_json(self.folder / "scores.json", self.known)

    def make(
        self,
        teacher: Network,
        scores: Any,
        statistics: Statistics,
        calibration: Sequences,
        settings: SearchSettings,
    ) -> Network:
        """Trimmed and reconstructed; kept as a file, since every rung starts from it."""
        depth = self.shape.num_layers or teacher.spec.num_layers
        kept = choose_layers(settings.depth, teacher, statistics, depth, calibration.take(8))
        selection = select(teacher, self.shape, scores, kept)
        path = self.folder / "reconstructed.pt"
        if path.exists():
            return network_from_weights(
                selection.spec, torch.load(path, map_location=teacher.device)
            )
        student = trim(teacher, selection).requires_grad_(False)
        reconstruct(teacher, student, selection, calibration)
        self.folder.mkdir(parents=True, exist_ok=True)
        torch.save(student.state_dict(), path.with_suffix(".tmp"))
        path.with_suffix(".tmp").rename(path)
        return network_from_weights(selection.spec, student.state_dict())

    def line(self) -> dict[str, Any]:
        return {**asdict(self.shape), "cost": self.cost, **self.known}
