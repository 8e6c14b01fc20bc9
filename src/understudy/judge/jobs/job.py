"""A job that a small model does, with switches that may help it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from understudy.model import Model

AS_SET = "as set"
Kind = Literal["share", "mean"]
Item = Mapping[str, Any]
Settings = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Switch:
    """`on` and `off` are settings by name; the one that a model has is where it stands."""

    name: str
    about: str
    on: Settings
    off: Settings

    def is_on(self, settings: Settings) -> bool:
        """Where it stands under these settings."""
        return all(settings.get(name) == value for name, value in self.on.items())

    def flipped(self, settings: Settings) -> dict[str, Any]:
        """The settings with this one the other way."""
        return {**settings, **(self.off if self.is_on(settings) else self.on)}


@dataclass(frozen=True, slots=True)
class Job:
    """What is measured of a job.

    Attributes:
        metrics: kind of each; the first says whether an item came out right and decides.
        defaults: settings of the library, before a model's preset.
        score: metrics of one item under settings, greedy or with a fixed seed; a metric that an
            item has no value of is left out.
    """

    name: str
    title: str
    metrics: Mapping[str, Kind]
    switches: Sequence[Switch]
    defaults: Settings
    score: Callable[[Model, Item, Settings], dict[str, Any]]

    def variants(self, preset: Settings) -> dict[str, dict[str, Any]]:
        """Settings by the name of the switch that is flipped, those of the preset first."""
        settings = {**self.defaults, **preset}
        flipped = {switch.name: switch.flipped(settings) for switch in self.switches}
        return {AS_SET: settings, **flipped}
