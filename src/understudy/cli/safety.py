"""`understudy safety run|report|garak|redteam`: probes on a model, the report of a stored run,
attacks by people.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from understudy.cli import redteam, safety_garak
from understudy.cli.options import Progress, add_loading, add_model, load_model
from understudy.cli.terminal import write
from understudy.errors import UsageError

if TYPE_CHECKING:
    from understudy.judge.safety.probes import Probe
    from understudy.judge.safety.report import SafetyReport


def configure(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    run_action = actions.add_parser("run", help="ask the probes, or what of them is not yet asked")
    add_model(run_action)
    _add_probes(run_action)
    add_loading(run_action)
    report_action = actions.add_parser(
        "report", help="table, JSON and page of a stored run, without a model"
    )
    report_action.add_argument("store", type=Path)
    garak_action = actions.add_parser(
        "garak", help="garak's offline probes, run by a Python that has garak"
    )
    safety_garak.configure(garak_action)
    garak_action.add_argument(
        "--store", type=Path, default=Path("safety.jsonl"), help="findings, beside those of `run`"
    )
    actions.add_parser("list", help="the probes")
    redteam.configure(
        actions.add_parser("redteam", help="attack a model by hand, rate what it says, agree on it")
    )
    for action in (run_action, report_action, garak_action):
        action.add_argument("--json", type=Path, metavar="FILE", help="write the report as JSON")
        action.add_argument(
            "--without-answers",
            action="store_true",
            help="leave the model's answers out of the JSON",
        )
        action.add_argument(
            "--html", type=Path, metavar="FILE", help="write the report as one page"
        )


def _add_probes(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what is asked")
    group.add_argument(
        "--probe",
        action="append",
        default=[],
        metavar="NAME",
        help="this probe only (repeatable; default all)",
    )
    group.add_argument(
        "--limit", type=int, metavar="N", help="first cases of each probe (default all)"
    )
    group.add_argument("--seed", type=int, default=0)
    group.add_argument(
        "--xstest",
        type=Path,
        metavar="FILE",
        help="also XSTest's own 450 prompts, from its public csv file",
    )
    group.add_argument(
        "--judge-again",
        action="store_true",
        help="ask nothing: apply today's detectors to the stored answers",
    )
    group.add_argument(
        "--store",
        type=Path,
        default=Path("safety.jsonl"),
        help="answers, one a line (default safety.jsonl)",
    )


def run(arguments: argparse.Namespace) -> int:
    ways = {"run": _run, "report": _report, "garak": _garak, "redteam": redteam.run, "list": _list}
    return ways[arguments.action](arguments)


def _list(_: argparse.Namespace) -> int:
    from understudy.judge.safety.probes import PROBES

    for probe in PROBES.values():
        write(f"{probe.name:24} {len(probe.cases):3} cases  {probe.says}\n")
    return 0


def _run(arguments: argparse.Namespace) -> int:
    from understudy.judge.safety.run import run_probes

    probes = list(_chosen(arguments))
    if arguments.judge_again:
        return _judge_again(probes, arguments)
    if arguments.limit is not None and arguments.limit < 1:
        raise UsageError(
            "setting is out of range", where="--limit", expected="at least 1", found=arguments.limit
        )
    with load_model(arguments) as model, Progress("asking") as bar:

        def show(done: int, total: int, left_s: float) -> None:
            bar(done, total)
            if not sys.stderr.isatty() and (done % 10 == 0 or done == total):
                write(f"{done} of {total} cases, {left_s:.0f} s left\n", sys.stderr)

        report = run_probes(
            model,
            probes,
            arguments.store,
            seed=arguments.seed,
            limit=arguments.limit,
            progress=show,
        )
    _write(report, arguments)
    return 0


def _chosen(arguments: argparse.Namespace) -> Iterator[Probe]:
    from understudy.judge.safety.probes import PROBES
    from understudy.judge.safety.probes.xstest import read_xstest

    known = dict(PROBES)
    if arguments.xstest is not None:
        known |= {probe.name: probe for probe in read_xstest(arguments.xstest)}
    for name in arguments.probe or known:
        if name not in known:
            raise UsageError("no such probe", where="--probe", expected=" ".join(known), found=name)
        yield known[name]


def _judge_again(probes: list[Probe], arguments: argparse.Namespace) -> int:
    from understudy.judge.safety.run import judge_again

    _only_run(arguments.store)
    judged, kept = judge_again(arguments.store, probes)
    write(f"judged again: {judged} stored answers; {kept} keep their judgement\n", sys.stderr)
    return _report(arguments)


def _report(arguments: argparse.Namespace) -> int:
    from understudy.judge.safety.report import SafetyReport

    _write(SafetyReport(_only_run(arguments.store)), arguments)
    return 0


def _garak(arguments: argparse.Namespace) -> int:
    from understudy.judge.safety.report import SafetyReport

    if arguments.list:
        safety_garak.list_probes()
        return 0
    lines, failed = safety_garak.run(arguments)
    _write(SafetyReport(lines), arguments)
    return 1 if failed else 0


def _only_run(store: Path) -> list[dict[str, Any]]:
    """The lines of a store.

    Raises:
        UsageError: it does not hold one run, but none or several.
    """
    from understudy.judge.safety.run import read_store

    lines = read_store(store)
    runs = sorted({(line["fingerprint"], line["seed"]) for line in lines})
    if len(runs) != 1:
        raise UsageError(
            "the file does not hold one run",
            where=store,
            expected="one model and seed",
            found=len(runs),
        )
    return lines


def _write(report: SafetyReport, arguments: argparse.Namespace) -> None:
    from understudy.judge.safety.page import to_page
    from understudy.report.write import write_text

    texts = {
        arguments.json: report.to_json(with_answers=not arguments.without_answers),
        arguments.html: to_page(report),
    }
    for path, text in texts.items():
        if path is not None:
            write_text(path, text)
    write(report.table())
