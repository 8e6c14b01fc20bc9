"""What a switch does, from the lines of a run: on against off, paired by item, and what follows.

The first metric of a job decides. A switch is suggested the other way only where the difference
holds after Holm's correction over the job's switches; else it stays where it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from understudy.judge.jobs.job import AS_SET, Job, Kind, Settings, Switch
from understudy.report.statistics import (
    Interval,
    bootstrap,
    holm,
    mcnemar,
    paired_bootstrap,
    paired_shares,
    wilson,
)

LEVEL = 0.05
Lines = Sequence[Mapping[str, Any]]


def compared(job: Job, settings: Settings, lines: Mapping[str, Lines]) -> dict[str, Any]:
    """Figures as set, a table a switch, and the settings that are suggested."""
    switches: list[dict[str, Any]] = []
    for switch in job.switches:
        here, there = lines[AS_SET], lines[switch.name]
        is_on = switch.is_on(settings)
        on, off = (here, there) if is_on else (there, here)
        figures = {
            metric: figure
            for metric, kind in job.metrics.items()
            if (figure := _difference(kind, metric, on, off)) is not None
        }
        switches.append(
            {"name": switch.name, "about": switch.about, "is_on": is_on, "metrics": figures}
        )
    first = next(iter(job.metrics))
    judged = [one for one in switches if first in one["metrics"]]
    for one, p in zip(judged, holm([one["metrics"][first]["p"] for one in judged]), strict=True):
        one["metrics"][first]["p_holm"] = p
        one["suggested"] = _suggestion(one["is_on"], one["metrics"][first])
    return {
        "as_set": _figures(job, lines[AS_SET]),
        "settings": dict(settings),
        "switches": switches,
        "suggested": _changed(job.switches, settings, switches),
    }


def _suggestion(is_on: bool, figure: Mapping[str, Any]) -> str:
    difference = figure["difference"][0]
    if figure["p_holm"] >= LEVEL or difference == 0:
        return "on" if is_on else "off"
    return "on" if difference > 0 else "off"


def _changed(
    switches: Sequence[Switch], settings: Settings, judged: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Settings that should be other than they are, by name."""
    changed: dict[str, Any] = {}
    for switch, one in zip(switches, judged, strict=True):
        wanted = one.get("suggested")
        if wanted is not None and (wanted == "on") != one["is_on"]:
            changed |= switch.on if wanted == "on" else switch.off
    return {name: value for name, value in changed.items() if settings.get(name) != value}


def _figures(job: Job, lines: Lines) -> dict[str, Any]:
    figures = {}
    for metric, kind in job.metrics.items():
        values = [float(line[metric]) for line in lines if line.get(metric) is not None]
        if values:
            figures[metric] = {"interval": list(_interval(kind, values)), "items": len(values)}
    return figures


def _interval(kind: Kind, values: Sequence[float]) -> Interval:
    return wilson(round(sum(values)), len(values)) if kind == "share" else bootstrap(values)


def _difference(kind: Kind, metric: str, on: Lines, off: Lines) -> dict[str, Any] | None:
    """On minus off over the items that have this metric both ways."""
    pairs = [
        (float(a[metric]), float(b[metric]))
        for a, b in zip(on, off, strict=True)
        if a.get(metric) is not None and b.get(metric) is not None
    ]
    if not pairs:
        return None
    ons, offs = [a for a, _ in pairs], [b for _, b in pairs]
    if kind == "share":
        both, only_on = sum(a * b for a, b in pairs), sum(a * (1 - b) for a, b in pairs)
        only_off = sum((1 - a) * b for a, b in pairs)
        neither = len(pairs) - both - only_on - only_off
        counts = [round(count) for count in (both, only_off, only_on, neither)]
        difference, p = paired_shares(*counts), mcnemar(round(only_on), round(only_off))
    else:
        difference, p = paired_bootstrap(offs, ons)
    return {
        "on": list(_interval(kind, ons)),
        "off": list(_interval(kind, offs)),
        "difference": list(difference),
        "p": p,
        "items": len(pairs),
        "kind": kind,
    }
