"""Stored runs as evidence: found by what they hold, numbered, and each checked to be of this model.

evidence = read_evidence([Path("runs")], facts)
evidence.runs -> (Run(number=1, kind="evaluation", …), …)

A run is of this model when its record names the same sha256; an older run without one, when it has
the fingerprint that the model has where it lies now.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from understudy.errors import FormatError, InputError, MissingError, UsageError
from understudy.judge.cards.facts import Facts
from understudy.judge.redteam.export import export_lines, read_export
from understudy.judge.redteam.records import Records
from understudy.judge.redteam.store import RedTeamStore
from understudy.judge.redteam.summary import summary
from understudy.judge.safety.report import SafetyReport
from understudy.judge.safety.run import read_store
from understudy.report.provenance import file_sha256

KINDS = ("evaluation", "safety", "red team", "speed", "compression")
Record = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class StoredRun:
    """One stored run. `number` is what pages refer to it by; `data` its document; `records` who
    made it, when, by what command."""

    kind: str
    name: str  # the file, from the folder that was given on
    path: Path
    sha256: str
    records: tuple[Record, ...]
    fingerprint: str
    seed: int | None
    data: Mapping[str, Any]
    number: int = 0

    @property
    def model_sha256(self) -> str | None:
        found = {
            str(record["model_sha256"]) for record in self.records if record.get("model_sha256")
        }
        return found.pop() if len(found) == 1 else None

    def record(self, key: str) -> str:
        """What all records say of it, each once, in their order; empty where none does."""
        return "; ".join(
            dict.fromkeys(str(record[key]) for record in self.records if record.get(key))
        )


@dataclass(frozen=True, slots=True)
class Evidence:
    runs: tuple[StoredRun, ...]

    def of(self, kind: str) -> list[StoredRun]:
        return [run for run in self.runs if run.kind == kind]

    def tasks(self) -> dict[str, tuple[StoredRun, Mapping[str, Any]]]:
        """Each task with its run; where several have it, that of most items, then the latest."""
        best: dict[str, tuple[StoredRun, Mapping[str, Any]]] = {}
        for run in self.of("evaluation"):
            for name, task in run.data["tasks"].items():
                rank = (task.get("items", 0), run.record("date"), -run.number)
                known = best.get(name)
                if known is None or rank > (
                    known[1].get("items", 0),
                    known[0].record("date"),
                    -known[0].number,
                ):
                    best[name] = (run, task)
        return best


def read_evidence(places: Sequence[Path], facts: Facts) -> Evidence:
    """All runs of files and folders.

    Raises:
        UsageError: a run is of another model, or a named file is no run.
        InputError: a file is broken.
    """
    return Evidence(numbered(belonging(find_runs(places), facts)))


def find_runs(places: Sequence[Path]) -> list[StoredRun]:
    """The runs of all models, by name; the same file counts once."""
    found: dict[Path, StoredRun] = {}
    for place in places:
        if not place.exists():
            raise MissingError("no such file or folder", where=place, expected="stored runs")
        files = (
            sorted(file for file in place.rglob("*") if file.is_file())
            if place.is_dir()
            else [place]
        )
        for file in files:
            name = (
                file.relative_to(place.parent).as_posix()
                if place.is_dir() and place.name
                else file.name
            )
            runs = _recognised(file, name)
            if not runs and not place.is_dir():
                raise UsageError(
                    "not a run that is known here", where=file, expected="of " + ", ".join(KINDS)
                )
            for i, run in enumerate(runs):
                found.setdefault(file.resolve() / str(i), run)
    return sorted(
        found.values(), key=lambda run: (KINDS.index(run.kind), run.name, run.sha256, str(run.seed))
    )


def belonging(runs: Iterable[StoredRun], facts: Facts) -> list[StoredRun]:
    """The runs, of which each must be of this model; a red team's store may hold others beside
    it."""
    runs = list(runs)
    known = {run.fingerprint for run in runs if run.model_sha256 == facts.sha256}
    kept = []
    for run in runs:
        if run.kind == "red team":
            run = _red_team_of(run, facts, known)
        elif not is_of(run, facts):
            raise UsageError(
                "a run of another model",
                where=run.path,
                expected=f"{facts.name}, sha256 {facts.sha256[:12]}",
                found=f"{run.record('model') or 'a model'}, {_identity(run)}",
                do="leave it out",
            )
        kept.append(run)
    return kept


def is_of(run: StoredRun, facts: Facts) -> bool:
    if run.model_sha256 is not None or any(record.get("model_sha256") for record in run.records):
        return run.model_sha256 == facts.sha256
    return bool(run.fingerprint) and run.fingerprint.startswith(facts.fingerprint)


def _identity(run: StoredRun) -> str:
    return (
        f"sha256 {run.model_sha256[:12]}"
        if run.model_sha256
        else f"fingerprint {run.fingerprint or 'not recorded'}"
    )


def numbered(runs: Iterable[StoredRun], begin: int = 0) -> tuple[StoredRun, ...]:
    """Numbers after `begin`; a safety report is left out where the store that it was made of is
    there."""
    chosen: list[StoredRun] = []
    runs = list(runs)
    stored = {
        (run.fingerprint, run.seed)
        for run in runs
        if run.kind == "safety" and run.path.suffix == ".jsonl"
    }
    for run in runs:
        if (
            run.kind == "safety"
            and run.path.suffix == ".json"
            and (run.fingerprint, run.seed) in stored
        ):
            continue
        chosen.append(_with_number(run, begin + len(chosen) + 1))
    return tuple(chosen)


def _with_number(run: StoredRun, number: int) -> StoredRun:
    return StoredRun(
        run.kind,
        run.name,
        run.path,
        run.sha256,
        run.records,
        run.fingerprint,
        run.seed,
        run.data,
        number,
    )


def _recognised(file: Path, name: str) -> list[StoredRun]:
    reader = _READERS.get(file.suffix)
    return reader(file, name) if reader is not None else []


def _from_json(file: Path, name: str) -> list[StoredRun]:
    try:
        data = json.loads(file.read_bytes())
    except (ValueError, RecursionError) as error:
        raise FormatError("not JSON", where=file, found=str(error)) from error
    if not isinstance(data, dict) or (kind := _kind_of(data)) is None:
        return []
    run, owner = data.get("run"), data
    records: tuple[Record, ...] = (run,) if isinstance(run, dict) else ()
    if kind == "evaluation":
        owner = data["identity"]
    elif kind == "safety":
        records = tuple(record for record in data.get("runs") or () if isinstance(record, dict))
    else:
        owner = {}
    fingerprint, seed = str(owner.get("fingerprint", "")), owner.get("seed")
    return [StoredRun(kind, name, file, file_sha256(file), records, fingerprint, seed, data)]


def _kind_of(data: Mapping[str, Any]) -> str | None:
    """Of which command it is the report, by the keys that only that one writes."""
    if isinstance(data.get("tasks"), dict) and isinstance(data.get("identity"), dict):
        return "evaluation"
    if isinstance(data.get("probes"), list) and "detectors" in data:
        return "safety"
    if isinstance(data.get("rates"), list) and "bandwidth_bytes" in data:
        return "speed"
    is_stage = isinstance(data.get("figures"), dict) and isinstance(data.get("stage"), str)
    if is_stage and isinstance(data.get("run"), dict):  # of an earlier stage: in the lineage
        return "compression"
    return None


def _from_lines(file: Path, name: str) -> list[StoredRun]:
    with file.open("rb") as stream:
        first = stream.readline(1_000_000)
    try:
        head = json.loads(first)
    except ValueError:
        return []
    if not isinstance(head, dict):
        return []
    if head.get("kind") == "header" and "understudy" in str(head.get("tool")):
        return [_red_team(file, name, read_export(file), file_sha256(file))]
    if not {"probe", "case", "fingerprint"} <= head.keys():
        return []
    lines, runs = read_store(file), []
    for fingerprint, seed in sorted(
        {(str(line["fingerprint"]), int(line["seed"])) for line in lines}
    ):
        report = SafetyReport(
            line for line in lines if (line["fingerprint"], line["seed"]) == (fingerprint, seed)
        )
        runs.append(
            StoredRun(
                "safety",
                name,
                file,
                file_sha256(file),
                tuple(report.runs),
                fingerprint,
                seed,
                report.to_document(),
            )
        )
    return runs


def _from_sqlite(file: Path, name: str) -> list[StoredRun]:
    with file.open("rb") as stream:
        if not stream.read(16).startswith(b"SQLite format 3"):
            return []
    try:
        with RedTeamStore(file, must_exist=True) as store:
            records = store.records()
    except InputError:
        return []
    digest = hashlib.sha256(
        "".join(export_lines(records)).encode()
    ).hexdigest()  # the file itself changes by being opened
    return [_red_team(file, name, records, digest)]


def _red_team(file: Path, name: str, records: Records, digest: str) -> StoredRun:
    return StoredRun("red team", name, file, digest, (), "", None, {"records": records})


def _red_team_of(run: StoredRun, facts: Facts, known: set[str]) -> StoredRun:
    records: Records = run.data["records"]
    prints = sorted({one.fingerprint for one in records.conversations})
    mine = [one for one in prints if one in known or one.startswith(facts.fingerprint)]
    if not mine:
        raise UsageError(
            "no conversation with this model",
            where=run.path,
            expected=f"a fingerprint of {facts.name}",
            found=", ".join(prints),
        )
    times = sorted(one.at for one in records.conversations if one.fingerprint in mine)
    record = {
        "model": facts.name,
        "date": f"{times[0]} to {times[-1]}",
        "command": "understudy safety redteam",
    }
    found = [summary(records, fingerprint) for fingerprint in mine]
    return StoredRun(
        run.kind,
        run.name,
        run.path,
        run.sha256,
        (record,),
        ", ".join(mine),
        None,
        {"summaries": found},
    )


_READERS: dict[str, Callable[[Path, str], list[StoredRun]]] = {
    ".json": _from_json,
    ".jsonl": _from_lines,
    ".sqlite": _from_sqlite,
    ".db": _from_sqlite,
}
