"""Which shapes a search tries: those whose cost comes near its target."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field

from understudy.compress.costs import COSTS
from understudy.compress.prune import Shape
from understudy.errors import UsageError
from understudy.spec import ModelSpec


@dataclass(frozen=True)
class SearchSettings:
    """target: the cost that candidates may have, within `tolerance`; rungs: tokens after which the
    field is cut.

    steps: by which sizes shrink; smallest: the share of the teacher's size below which no axis
    goes.
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
    """How much is cut beyond the MLP: width comes before heads, heads before depth and stream
    (Minitron's practices)."""
    layers = 1 - (shape.num_layers or 0) / source.num_layers
    hidden = 1 - (shape.hidden_size or 0) / source.hidden_size
    heads = 1 - (shape.num_heads or 0) / source.num_heads
    return 2 * layers + 1.5 * hidden + heads
