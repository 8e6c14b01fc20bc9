"""Every case asked once, each answer a line of a JSONL file: what was interrupted goes on, nothing
counts twice.

    report = run_probes(model, PROBES.values(), Path("safety.jsonl"), seed=0)
    judge_again(Path("safety.jsonl"), PROBES.values())   # today's detectors, without a model

A line says all that a reader needs: model, fingerprint, seed, what was said and answered, which
detectors in which version judged it, and the record of the run (`provenance.describe_run`). Its key
is made of the case, the fingerprint and the seed; a torn last line is dropped and asked again. A
second judgement is a line of its own (`kind` "judgement") that goes before the first one.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from understudy.engine.adapters import describe
from understudy.errors import InputError, UnderstudyError
from understudy.judge.safety.ask import ask, hits_of
from understudy.judge.safety.detectors import DETECTORS, ModelAnswer
from understudy.judge.safety.probes.base import Case, Probe
from understudy.judge.safety.report import SafetyReport
from understudy.model import Model
from understudy.report.lines import append_line, read_lines
from understudy.report.provenance import describe_run

FORMAT = 1
FIELDS = {
    "key",
    "model",
    "fingerprint",
    "seed",
    "probe",
    "probe_says",
    "fault",
    "case",
    "category",
    "says",
    "answer",
    "calls",
    "hits",
    "error",
}
JUDGEMENT = {"key", "hits", "detectors", "date"}
Progress = Callable[[int, int, float], None]


def run_probes(
    model: Model,
    probes: Iterable[Probe],
    store: Path,
    *,
    seed: int = 0,
    limit: int | None = None,
    progress: Progress | None = None,
) -> SafetyReport:
    """Asks what the file does not hold yet, and reports on this model, these probes and this seed.

    Args:
        limit: at most so many cases of each probe, the first ones.
        progress: called with cases done, all cases, and seconds that the rest will take by the mean
        so far.

    Raises:
        InputError: the file is no such store.
        UnderstudyError: the disk is full.
    """
    wanted = [
        (probe, case, key_of(case.digest, model.fingerprint, seed))
        for probe in probes
        for case in probe.cases[:limit]
    ]
    done = {line["key"]: line for line in read_store(store, repair=True)}
    todo = [entry for entry in wanted if entry[2] not in done]
    run = describe_run(model.path, describe(model.active_adapters())) if todo else {}
    started = time.monotonic()
    for number, (probe, case, key) in enumerate(todo):
        line = _asked(model, probe, case, seed) | {"key": key, "run": run}
        append_line(store, line)
        done[key] = line
        if progress is not None:
            mean = (time.monotonic() - started) / (number + 1)
            progress(
                len(wanted) - len(todo) + number + 1, len(wanted), mean * (len(todo) - number - 1)
            )
    return SafetyReport([done[key] for _, _, key in wanted])


def key_of(digest: str, fingerprint: str, seed: int) -> str:
    text = json.dumps([FORMAT, digest, fingerprint, seed])
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def now() -> str:
    """The date of a judgement: UTC, to the second."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _asked(model: Model, probe: Probe, case: Case, seed: int) -> dict[str, Any]:
    started = time.monotonic()
    line: dict[str, Any] = {
        "format": FORMAT,
        "model": model.path.name,
        "fingerprint": model.fingerprint,
        "seed": seed,
        "probe": probe.name,
        "probe_says": probe.says,
        "fault": probe.fault,
        "case": case.name,
        "digest": case.digest,
        "asked": case.asked,
        "category": case.category,
        "says": list(case.says),
        "answer": "",
        "calls": [],
        "hits": [],
        "error": None,
        "detectors": _versions(case),
    }
    try:
        answer = ask(model, case, seed)
        line |= {"answer": answer.text, "calls": list(answer.calls), "hits": hits_of(case, answer)}
    except UnderstudyError as error:
        line["error"] = str(error)
    return line | {"seconds": round(time.monotonic() - started, 3)}


def _versions(case: Case) -> dict[str, str]:
    return {check.detector: str(DETECTORS[check.detector].version) for check in case.checks}


def judge_again(store: Path, probes: Iterable[Probe]) -> tuple[int, int]:
    """Applies today's checks to every stored answer whose case is still asked alike; the others
    keep their judgement.

    Returns:
        How many were judged, and how many keep the judgement that they had (garak's findings, cases
        that are asked no more, cases that could not be asked).

    Raises:
        InputError: the file is no such store.
        UnderstudyError: the disk is full.
    """
    cases = {(probe.name, case.name): case for probe in probes for case in probe.cases}
    lines, judged, date = read_store(store, repair=True), 0, now()
    for line in lines:
        case = cases.get((line["probe"], line["case"]))
        if (
            case is None
            or line["error"] is not None
            or case.asked != line.get("asked", case.asked)
            or list(case.says) != line["says"]
        ):
            continue
        hits = hits_of(
            case, ModelAnswer(line["answer"], tuple(line["calls"]), "\n".join(case.says))
        )
        judgement = {
            "format": FORMAT,
            "kind": "judgement",
            "key": line["key"],
            "hits": hits,
            "detectors": _versions(case),
        }
        append_line(store, {**judgement, "date": date})
        judged += 1
    return judged, len(lines) - judged


def read_store(store: Path, *, repair: bool = False) -> list[dict[str, Any]]:
    """The stored lines, the first of each key, with the last judgement of each; `judged` is then
    when that was.

    Args:
        repair: cut a torn last line off, so that the next one begins on its own.

    Raises:
        InputError: the file cannot be read, or a line is no answer of a probe.
    """
    lines: dict[str, dict[str, Any]] = {}
    for number, line in read_lines(store, repairs=repair):
        if (
            not isinstance(line, dict)
            or line.get("format") != FORMAT
            or not line.keys() >= _fields(line)
        ):
            raise InputError(
                "not a line of a safety run", where=f"{store}:{number}", expected=f"format {FORMAT}"
            )
        if line.get("kind") != "judgement":
            lines.setdefault(line["key"], line)
        elif line["key"] in lines:
            lines[line["key"]] |= {
                "hits": line["hits"],
                "detectors": line["detectors"],
                "judged": line["date"],
            }
    return list(lines.values())


def _fields(line: Mapping[str, Any]) -> set[str]:
    return JUDGEMENT if line.get("kind") == "judgement" else FIELDS
