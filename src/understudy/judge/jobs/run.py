"""Measures jobs item by item, each item under all settings one after the other, so that what is
compared is always paired and a run that was stopped goes on where it was.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from understudy.generation.presets import preset_of
from understudy.judge.evaluate.datasets import RowSet
from understudy.judge.evaluate.run import RunSettings, claimed, read_items
from understudy.judge.evaluate.tasks import drawn
from understudy.judge.jobs.calls import CALLS
from understudy.judge.jobs.characters import CHARACTERS
from understudy.judge.jobs.documents import DOCUMENTS
from understudy.judge.jobs.job import AS_SET, Item, Job
from understudy.judge.jobs.tables import compared
from understudy.model import Model

FORMAT, VERSION = "understudy-jobs", 1
JOBS = {job.name: job for job in (CALLS, DOCUMENTS, CHARACTERS)}
Progress = Callable[[str, int, int], None]


def measure(
    model: Model,
    data: Mapping[str, RowSet],
    output: Path,
    settings: RunSettings,
    progress: Progress = lambda _job, _done, _all: None,
) -> dict[str, Any]:
    """Measures the jobs that there are items of; returns what `jobs.json` holds.

    Raises:
        UsageError: the folder holds a run of another identity.
    """
    preset = preset_of(model.spec).to_document()
    rows = {name: drawn(name, found.rows, settings.limit) for name, found in data.items()}
    variants = {name: JOBS[name].variants(preset[name]) for name in data}
    total = sum(len(rows[name]) * len(variants[name]) for name in data)
    done, jobs = 0, {}
    with claimed(output, settings) as record:
        for name in data:
            work = _Work(model, JOBS[name], variants[name], output)
            for item in rows[name]:
                done += work.do(item)
                progress(name, done, total)
            lines = work.lines(rows[name])
            jobs[name] = {
                "data": data[name].facts(),
                "items": len(rows[name]),
                **compared(JOBS[name], variants[name][AS_SET], lines),
            }
    return {
        "format": FORMAT,
        "version": VERSION,
        "identity": dict(settings.identity),
        "model": dict(settings.model),
        "run": record,
        "preset": preset,
        "jobs": jobs,
        "suggested": {name: jobs[name]["suggested"] for name in jobs},
    }


class _Work:
    """One job in one folder; `do` gives how many lines an item has, known ones included."""

    def __init__(
        self, model: Model, job: Job, variants: Mapping[str, Mapping[str, Any]], output: Path
    ) -> None:
        self.model, self.job, self.variants = model, job, variants
        self.path = output / "items" / f"{job.name}.jsonl"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.known = read_items(self.path)

    def do(self, item: Item) -> int:
        with self.path.open("a", encoding="utf-8") as file:
            for name, settings in self.variants.items():
                id = self._id(item, settings)
                if id in self.known:
                    continue
                line = {"id": id, "variant": name, **self.job.score(self.model, item, settings)}
                self.known[id] = line
                file.write(json.dumps(line) + "\n")
                file.flush()
        return len(self.variants)

    def lines(self, items: Sequence[Item]) -> dict[str, list[dict[str, Any]]]:
        """The lines of all items, by variant, in the items' order."""
        return {
            name: [self.known[self._id(item, settings)] for item in items]
            for name, settings in self.variants.items()
        }

    def _id(self, item: Item, settings: Mapping[str, Any]) -> str:
        """By content, so that a changed item or another preset is measured anew."""
        text = json.dumps([self.job.name, item, settings], sort_keys=True)
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:20]
