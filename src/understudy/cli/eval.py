"""`understudy eval`: how good a model is, measured here, from local files."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

from understudy.cli.options import add_loading, add_model, load_model


def configure(parser: argparse.ArgumentParser) -> None:
    add_model(parser)
    parser.add_argument("--suite", nargs="+", default=[], metavar="NAME",
                        help="quick (default: the samples in the package), full, likelihood, applications or a task")  # fmt: skip
    parser.add_argument("--tasks", default="", metavar="A,B", help="single tasks")
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="TASK.jsonl of whole sets in their public layouts")
    parser.add_argument("--limit", type=int, metavar="N", help="rows of each task, from the first")
    parser.add_argument("--output", type=Path, default=Path("evaluation"), metavar="FOLDER",
                        help="where items and reports go; a run that was stopped goes on there (default evaluation)")  # fmt: skip
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--compare", nargs=2, type=Path, metavar=("A", "B"), help="two reports or their folders; runs no model")
    parser.add_argument("--json", action="store_true")
    add_loading(parser)


def run(arguments: argparse.Namespace) -> int:
    if arguments.compare:
        return _compare(arguments)
    from understudy.errors import UsageError
    from understudy.measure.evaluate.judge import Judge
    from understudy.measure.evaluate.report import write_report
    from understudy.measure.evaluate.run import evaluate
    from understudy.measure.evaluate.tasks import chosen_tasks
    from understudy.provenance import describe_run

    single = [name for name in arguments.tasks.split(",") if name]
    suites = arguments.suite or ([] if single else ["quick"])
    names = chosen_tasks(suites, single)
    if "full" in suites and arguments.data is None:
        raise UsageError("the whole sets are not in the package", where="--suite full", do="name their folder with --data")
    model = load_model(arguments)
    identity = {"model": str(arguments.model), "fingerprint": str(model.fingerprint), "seed": arguments.seed,
                "context": model.context, "weights": arguments.weights or "as in the file", "kv": arguments.kv}  # fmt: skip
    result = evaluate(Judge(model, arguments.seed), names, arguments.output, identity=identity, data=arguments.data,
                      limit=arguments.limit, progress=_Line())  # fmt: skip
    result["run"] = describe_run(model.path)
    write_report(result, arguments.output)
    if arguments.json:
        print(json.dumps(result))
    else:
        _print_figures(result)
        print(f"{arguments.output / 'report.html'}")
    return 0


def _compare(arguments: argparse.Namespace) -> int:
    from understudy.measure.evaluate.report import compare, comparison_page

    result = compare(*arguments.compare)
    arguments.output.mkdir(parents=True, exist_ok=True)
    (arguments.output / "comparison.json").write_text(json.dumps(result, indent=1), encoding="utf-8")
    (arguments.output / "comparison.html").write_text(comparison_page(result), encoding="utf-8")
    if arguments.json:
        print(json.dumps(result))
    else:
        _print_figures(result)
    return 0


def _print_figures(result: dict[str, Any]) -> None:
    for name, task in result["tasks"].items():
        for metric, figure in task["figures"].items():
            p = f"  p {figure['p']:.4f}" if "p" in figure else ""
            low_to_high = f"{figure['low']:.3f} to {figure['high']:.3f}"
            print(f"{name:14} {metric:18} {figure['value']:8.3f}  {low_to_high:20} {figure['items']:5} items{p}")


class _Line:
    """Tasks, items and the time left on one line of a terminal."""

    def __init__(self) -> None:
        self._begin, self._first = time.monotonic(), -1

    def __call__(self, task: str, done: int, total: int) -> None:
        if self._first < 0:
            self._begin, self._first = time.monotonic(), done
        rate = (done - self._first) / max(1e-9, time.monotonic() - self._begin)
        left = f"{(total - done) / rate:.0f} s left" if rate else ""
        if sys.stderr.isatty():
            end = "\n" if done == total else ""
            print(f"\r\x1b[K{task}: {done} of {total} items, {left}", end=end, file=sys.stderr, flush=True)
