"""The rows of a comparison between engines: rates by round, the result file that pieces of a run
add to, the table.

A result file holds what was compared (`Setting`), the pieces that it was measured in, starts, and
one row per situation. A run that takes longer than it can be left alone is made in pieces: each
adds rounds or situations to the file, and is refused where the model, the machine, the compiled
core or the other engine is another one.
"""

from __future__ import annotations

import dataclasses
import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Spread = dict[str, float]


def spread(values: Sequence[float]) -> Spread:
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


@dataclass
class Situation:
    """One thing that both engines do, with a rate of each for every round (tokens per second, all
    sequences together).
    """

    kind: str  # prefill | decode
    tokens: int  # of the prompt, or decoded by each sequence
    depth: int = 0
    batch: int = 1
    ours: list[float] = field(default_factory=list)
    theirs: list[float] = field(default_factory=list)
    bandwidths: list[float] = field(default_factory=list)  # bytes per second, before and after both
    limits: list[float] = field(
        default_factory=list
    )  # tokens per second that the machine allowed meanwhile
    # what a token takes at least of what bounds it: bytes read (decode) or operations (prefill)
    work: float = 0.0

    @property
    def key(self) -> tuple[str, int, int, int]:
        return self.kind, self.tokens, self.depth, self.batch

    @property
    def label(self) -> str:
        if self.kind == "prefill":
            return f"prefill {self.tokens}"
        return f"decode at {self.depth}" + (f", {self.batch} at once" if self.batch > 1 else "")

    @property
    def ratios(self) -> list[float]:
        return [ours / theirs for ours, theirs in zip(self.ours, self.theirs, strict=True)]

    def share(self, rates: Sequence[float]) -> float:
        return statistics.median(
            rate / limit for rate, limit in zip(rates, self.limits, strict=True)
        )

    def as_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self) | {
            "label": self.label,
            "ratio": spread(self.ratios),
            "share_of_limit": self.share(self.ours),
            "peer_share_of_limit": self.share(self.theirs),
            "unit_of_work": "int8 operations" if self.kind == "prefill" else "bytes read",
            "work_per_second": statistics.median(self.ours) * self.work,
        }

    @classmethod
    def from_dict(cls, found: dict[str, Any]) -> Situation:
        return cls(**{f.name: found[f.name] for f in dataclasses.fields(cls)})


@dataclass(frozen=True)
class Setting:
    """What was compared where; the pieces of one run agree in all of it."""

    model: str
    bytes: int
    processor: str
    threads: int
    isa: str
    core: str  # digest of our compiled module
    peer: str
    activations: str
    kv: str = "f16"  # format of the cache in both


@dataclass
class Result:
    """A comparison, as its file holds it."""

    setting: Setting
    situations: list[Situation] = field(default_factory=list)
    pieces: list[dict[str, Any]] = field(default_factory=list)
    start: dict[str, Any] = field(default_factory=dict)
    outputs: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def open(cls, path: Path | None, setting: Setting) -> Result:
        """What the file holds so far, or an empty result.

        Raises:
            RuntimeError: the file is of another setting.
        """
        if path is None or not path.exists():
            return cls(setting)
        found = json.loads(path.read_text())
        before = Setting(**found["setting"])
        for name, value in dataclasses.asdict(setting).items():
            if getattr(before, name) != value:
                raise RuntimeError(
                    f"{path} is of another run: {name} is {getattr(before, name)!r} there and {value!r} now; write to another file"
                )
        situations = [Situation.from_dict(row) for row in found["situations"]]
        return cls(setting, situations, found["pieces"], found["start"], found["outputs"])

    def row(self, wanted: Situation) -> Situation:
        """The row of that situation, added if there is none."""
        for row in self.situations:
            if row.key == wanted.key:
                return row
        self.situations.append(wanted)
        return wanted

    def write(self, path: Path) -> None:
        order = {"prefill": 0, "decode": 1}
        rows = sorted(self.situations, key=lambda s: (order[s.kind], s.batch, s.depth, s.tokens))
        found = {
            "setting": dataclasses.asdict(self.setting),
            "pieces": self.pieces,
            "outputs": self.outputs,
            "start": self.start,
            "situations": [s.as_dict() for s in rows if s.ours],
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_name(path.name + ".part")
        aside.write_text(json.dumps(found, indent=1) + "\n")
        aside.replace(path)


def table(rows: Sequence[Situation], peer: str) -> str:
    """Lines of text: medians, ratio with its spread, what was read or computed a second, share of
    the limit.
    """
    lines = [
        f"{'tokens/s, medians':26}{'ours':>9}{peer:>11}{'ratio':>8}{'from … to':>15}{'ours does':>14}{'read GB/s':>11}"
        f"{'of limit':>10}{'peer':>6}"
    ]
    for s in rows:
        ratio, rate = spread(s.ratios), statistics.median(s.ours) * s.work / 1e9
        does = f"{rate:.0f} Gop/s" if s.kind == "prefill" else f"{rate:.1f} GB/s"
        lines.append(
            f"{s.label:26}{statistics.median(s.ours):>9.1f}{statistics.median(s.theirs):>11.1f}{ratio['median']:>8.2f}"
            f"{ratio['min']:>8.2f} … {ratio['max']:.2f}{does:>14}{statistics.median(s.bandwidths) / 1e9:>11.0f}"
            f"{s.share(s.ours):>10.0%}{s.share(s.theirs):>6.0%}"
        )
    return "\n".join(lines)
