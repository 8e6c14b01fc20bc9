"""`understudy eval`: how good a model is, measured here, from local files; `understudy eval fetch`:
the whole sets.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from understudy.cli.options import (
    ItemLine,
    Progress,
    add_loading,
    add_model,
    cache_tokens,
    load_model,
)

if TYPE_CHECKING:
    from understudy.model import Model


def configure(parser: argparse.ArgumentParser) -> None:
    add_model(parser)
    parser.epilog = (
        "`understudy eval fetch [TASK …] --data FOLDER` fetches whole public sets and checks them; "
        "--list shows them."
    )
    parser.add_argument(
        "names", nargs="*", metavar="TASK", help=argparse.SUPPRESS
    )  # of `eval fetch`
    _add_tasks(parser)
    _add_output(parser)
    add_loading(parser)


def _add_tasks(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what is asked")
    group.add_argument(
        "--suite",
        nargs="+",
        default=[],
        metavar="NAME",
        help="quick (default: the package's samples), full, likelihood, applications, a task, jobs",
    )
    group.add_argument("--tasks", default="", metavar="A,B", help="single tasks")
    group.add_argument(
        "--data",
        type=Path,
        metavar="FOLDER",
        help="whole sets in their public layouts; a task without a file there is taken from the "
        "samples",
    )
    group.add_argument(
        "--whole", action="store_true", help="no samples: a task without its whole set is an error"
    )
    group.add_argument(
        "--limit",
        nargs="+",
        default=[],
        metavar="N",
        help="rows of each task, drawn evenly over its categories; TASK=N for one",
    )
    group.add_argument("--seed", type=int, default=0)
    group.add_argument(
        "--parallel", type=int, default=8, metavar="N", help="answers under way at once (default 8)"
    )


def _add_output(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what comes out")
    group.add_argument(
        "--output",
        type=Path,
        default=Path("evaluation"),
        metavar="FOLDER",
        help="where items and reports go, and a stopped run goes on (default evaluation)",
    )
    group.add_argument(
        "--compare",
        nargs=2,
        type=Path,
        metavar=("A", "B"),
        help="two reports or their folders; runs no model",
    )
    group.add_argument(
        "--list",
        action="store_true",
        help="the tasks, and the sets that `fetch` knows; runs no model",
    )
    group.add_argument("--yes", action="store_true", help="with fetch: do not ask before fetching")
    group.add_argument("--json", action="store_true")


def run(arguments: argparse.Namespace) -> int:
    if arguments.compare:
        return _compare(arguments)
    if arguments.model == "fetch" or arguments.list:
        return _fetch(arguments)
    from understudy.errors import UsageError

    if arguments.names:
        raise UsageError(
            "one model is judged at a time",
            found=", ".join([str(arguments.model), *arguments.names]),
            do="name tasks with --tasks",
        )
    if "jobs" in arguments.suite:
        return _jobs(arguments)
    return _evaluate(arguments)


def _jobs(arguments: argparse.Namespace) -> int:
    """The suite that measures the switches of the three jobs: `understudy jobs` on our own
    items.
    """
    from understudy.cli.jobs import DEFAULT_ITEMS, measure_jobs
    from understudy.errors import UsageError

    if len(arguments.suite) > 1 or arguments.tasks or arguments.data is not None:
        raise UsageError(
            "the suite jobs is measured alone, on its own items",
            where="--suite jobs",
            do="understudy jobs MODEL --calls FILE --documents FILE --characters FILE",
        )
    limit, limits = _limits(arguments.limit)
    if limits:
        raise UsageError("one limit for all jobs", where="--limit", expected="N")
    files: dict[str, Path | None] = dict.fromkeys(("calls", "documents", "characters"))
    with load_model(arguments) as model:
        return measure_jobs(model, files, limit or DEFAULT_ITEMS, arguments)


def _evaluate(arguments: argparse.Namespace) -> int:
    from understudy.engine.adapters import describe
    from understudy.errors import UsageError
    from understudy.judge.evaluate.judge import Judge
    from understudy.judge.evaluate.report import write_report
    from understudy.judge.evaluate.run import RunSettings, evaluate
    from understudy.judge.evaluate.tasks import chosen_tasks
    from understudy.report.provenance import describe_run

    single = [name for name in arguments.tasks.split(",") if name]
    suites = arguments.suite or ([] if single else ["quick"])
    names = chosen_tasks(suites, single)
    if "full" in suites and arguments.data is None:
        raise UsageError(
            "the whole sets are not in the package",
            where="--suite full",
            do="name their folder with --data",
        )
    limit, limits = _limits(arguments.limit)
    model = load_model(arguments, cache_tokens=cache_tokens(arguments))
    with Judge(model, arguments.seed) as judge:
        settings = RunSettings(
            identity=_identity(arguments, model, judge.embedder),
            model=_facts(model),
            run=describe_run(model.path, describe(model.active_adapters())),
            suite=[*suites, *single],
            data=arguments.data,
            is_whole=arguments.whole,
            limit=limit,
            limits=limits,
            parallel=arguments.parallel,
        )
        result = evaluate(judge, names, arguments.output, settings, ItemLine())
    write_report(result, arguments.output)
    if arguments.json:
        print(json.dumps(result))
    else:
        _print_figures(result)
        print(f"{arguments.output / 'report.html'}")
    return 0


def _limits(words: list[str]) -> tuple[int | None, dict[str, int]]:
    """`N` for all tasks and `TASK=N` for single ones."""
    from understudy.errors import UsageError
    from understudy.judge.evaluate.tasks import TASKS

    limit, limits = None, {}
    for word in words:
        name, is_one, number = word.rpartition("=")
        if not number.isdecimal() or (is_one and name not in TASKS):
            raise UsageError("not a limit", where="--limit", expected="N or TASK=N", found=word)
        if is_one:
            limits[name] = int(number)
        else:
            limit = int(number)
    return limit, limits


def _fetch(arguments: argparse.Namespace) -> int:
    """Says what would be fetched under which licence, asks on a terminal, fetches; a set that fails
    does not stop the others.
    """
    from understudy.errors import UnderstudyError, UsageError
    from understudy.judge.evaluate.fetch import chosen_sets, fetch, forget_archives, is_complete

    sets = chosen_sets(arguments.names)
    folder = arguments.data
    for one in sets:
        state = (
            "there"
            if folder is not None and is_complete(one, folder)
            else f"{one.num_bytes / 1e6:,.1f} MB"
        )
        source = (
            one.archive.requirement or one.archive.url
            if one.archive is not None
            else one.files[0].url.split("/master/")[0]
        )
        print(
            f"{one.name:16} for {one.task:14} {one.rows:6} rows  {state:>10} "
            f" {one.licence:16} {one.home}; from {source}"
        )
    if arguments.list:
        return 0
    if folder is None:
        raise UsageError("where to?", where="fetch", do="name a folder with --data")
    wanted = [one for one in sets if not is_complete(one, folder)]
    if not wanted or not _agreed(arguments):
        return 0
    failed = 0
    for one in wanted:
        try:
            with Progress(f"fetching {one.name}") as progress:
                paths = fetch(one, folder, progress)
            print(f"{one.name}: {len(paths)} files in {folder / one.task}, checked")
        except UnderstudyError as error:
            failed += 1
            print(f"understudy: {one.name}: {error}", file=sys.stderr)
    forget_archives(folder)
    return 1 if failed else 0


def _agreed(arguments: argparse.Namespace) -> bool:
    if arguments.yes or not sys.stdin.isatty():
        return True
    return input("Fetch these under their licences? [y/N] ").strip().lower() in ("y", "yes")


def _identity(arguments: argparse.Namespace, model: Model, embedder: str) -> dict[str, Any]:
    """What a folder's run is of; a folder of another is refused."""
    from understudy import __version__

    return {
        "model": model.path.name,
        "fingerprint": str(model.fingerprint),
        "seed": arguments.seed,
        "context": model.context,
        "weights": arguments.weights or "as in the file",
        "kv": arguments.kv,
        "embedder": embedder,
        "understudy": __version__,
    }


def _facts(model: Model) -> dict[str, Any]:
    from understudy.spec import parameter_counts

    return {
        "name": model.path.name,
        "fingerprint": str(model.fingerprint),
        "architecture": model.spec.architecture,
        "parameters": parameter_counts(model.spec)["total"],
        "packed_bytes": model.packed_bytes,
    }


def _compare(arguments: argparse.Namespace) -> int:
    from understudy.judge.evaluate.compare import compare, comparison_document
    from understudy.report.write import write_json, write_page

    result = compare(*arguments.compare)
    write_json(arguments.output / "comparison.json", result)
    write_page(comparison_document(result), arguments.output)
    if arguments.json:
        print(json.dumps(result))
    else:
        _print_figures(result)
        print(f"{arguments.output / 'comparison.html'}")
    return 0


def _print_figures(result: dict[str, Any]) -> None:
    for name, task in result["tasks"].items():
        for metric, figure in task["figures"].items():
            _print_figure(name, metric, figure)
        for group, found in task["groups"].items() if len(task["groups"]) <= 20 else ():
            metric = next(iter(found))
            _print_figure(f"  {group}", metric, found[metric])


def _print_figure(name: str, metric: str, figure: dict[str, Any]) -> None:
    test = f"  p {figure['p_holm']:.4f} {figure['verdict']}" if "p_holm" in figure else ""
    low_to_high = f"{figure['low']:.3f} to {figure['high']:.3f}"
    print(
        f"{name[:24]:24} {metric:18} {figure['value']:8.3f}  {low_to_high:20} {figure['items']:5} "
        f"items{test}"
    )
