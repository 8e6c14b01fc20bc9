"""Numbers about a server, in Prometheus' text format.

Counters and histograms are changed from the event loop and the engines' threads; a lock keeps them
whole. Gauges are functions that are asked when somebody looks.
"""

from __future__ import annotations

import math
import threading
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping

Labels = Mapping[str, str]
Gauge = Callable[[], Iterable[tuple[Labels, float]]]
SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0)


class Metrics:
    """`count` and `observe` by name; `text` writes everything that was declared."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._help: dict[str, tuple[str, str]] = {}
        self._counters: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
        self._histograms: dict[str, dict[tuple[tuple[str, str], ...], list[float]]] = {}
        self._gauges: dict[str, Gauge] = {}

    def counter(self, name: str, text: str) -> None:
        self._help[name] = ("counter", text)
        self._counters[name] = {}

    def histogram(self, name: str, text: str) -> None:
        self._help[name] = ("histogram", text)
        self._histograms[name] = {}

    def gauge(self, name: str, text: str, ask: Gauge) -> None:
        self._help[name] = ("gauge", text)
        self._gauges[name] = ask

    def count(self, name: str, amount: float = 1, **labels: str) -> None:
        key = tuple(sorted(labels.items()))
        with self._lock:
            values = self._counters[name]
            values[key] = values.get(key, 0) + amount

    def observe(self, name: str, value: float, **labels: str) -> None:
        """Adds one value to a histogram of seconds: a count per bucket, then the sum."""
        key = tuple(sorted(labels.items()))
        with self._lock:
            counts = self._histograms[name].setdefault(key, [0.0] * (len(SECONDS) + 2))
            counts[bisect_left(SECONDS, value)] += 1
            counts[-1] += value

    def value(self, name: str) -> float:
        """The sum of a counter over its labels."""
        with self._lock:
            return sum(self._counters[name].values())

    def text(self) -> str:
        lines: list[str] = []
        with self._lock:
            for name, (kind, text) in self._help.items():
                lines += [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]
                if kind == "counter":
                    lines += [
                        f"{name}{_write(key)} {_number(value)}"
                        for key, value in self._counters[name].items()
                    ]
                elif kind == "histogram":
                    for key, counts in self._histograms[name].items():
                        lines += _histogram(name, key, counts)
                else:
                    lines += [
                        f"{name}{_write(tuple(labels.items()))} {_number(value)}"
                        for labels, value in self._gauges[name]()
                    ]
        return "\n".join(lines) + "\n"


def _histogram(name: str, key: tuple[tuple[str, str], ...], counts: list[float]) -> list[str]:
    lines, total = [], 0.0
    for limit, count in zip((*SECONDS, math.inf), counts[:-1], strict=True):
        total += count
        lines.append(
            f"{name}_bucket{_write((*key, ('le', '+Inf' if limit == math.inf else f'{limit:g}')))}"
            f" {_number(total)}"
        )
    return [
        *lines,
        f"{name}_sum{_write(key)} {counts[-1]:.6f}",
        f"{name}_count{_write(key)} {_number(total)}",
    ]


def _write(labels: tuple[tuple[str, str], ...]) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(float(value))
