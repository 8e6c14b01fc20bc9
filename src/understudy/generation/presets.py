"""Which switches suit which model: `presets.json`, by the shape of models that were measured and by
size for all others.

    preset_of(spec).documents["excerpts"]

Sessions, characters, answers from documents and servers take from here what nobody set;
`understudy show MODEL` prints it and `understudy jobs MODEL` measures what should stand here.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

from understudy.spec import ModelSpec, parameter_counts

Values = Mapping[str, Any]
JOBS = ("calls", "documents", "characters")


@dataclass(frozen=True, slots=True)
class Preset:
    """Settings of the three jobs: fields of `CallSettings`, of `rag.AnswerSettings` and of
    `NpcSettings`, by name.

    `is_measured` says that they were measured with a model of this shape, and not taken from its
    size alone.
    """

    name: str
    calls: Values
    documents: Values
    characters: Values
    is_measured: bool = False

    def to_document(self) -> dict[str, Any]:
        """Plain data, as `show --json` gives it."""
        values = {job: dict(getattr(self, job)) for job in JOBS}
        return {"name": self.name, "is_measured": self.is_measured, **values}


def preset_of(spec: ModelSpec) -> Preset:
    """The preset of a model of this shape."""
    by_size = preset_of_size(parameter_counts(spec)["total"])
    for entry in _entries()["models"]:
        if all(getattr(spec, name) == value for name, value in entry["shape"].items()):
            own = {job: {**getattr(by_size, job), **entry.get(job, {})} for job in JOBS}
            return Preset(entry["name"], **own, is_measured=entry.get("is_measured", False))
    return by_size


def preset_of_size(num_parameters: float) -> Preset:
    """The preset of a model of which only the size is known."""
    entry = next(
        one for one in _entries()["sizes"] if one["below"] is None or num_parameters < one["below"]
    )
    return Preset(entry["name"], **{job: entry[job] for job in JOBS})


@functools.cache
def _entries() -> dict[str, Any]:
    text = resources.files("understudy.generation").joinpath("presets.json").read_text("utf-8")
    return dict(json.loads(text))
