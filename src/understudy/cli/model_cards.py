"""`understudy card model MODEL --runs …` and `card compare A B --runs …`: model cards and
comparisons, from stored runs.
"""

from __future__ import annotations

import argparse
import contextlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

from understudy.cli.terminal import write


def configure(actions: Any) -> None:
    model = actions.add_parser(
        "model", help="write a Model Card and its four sub-cards from stored runs"
    )
    model.add_argument(
        "model", nargs="?", metavar="MODEL", help="as everywhere; its file is read, not loaded"
    )
    model.add_argument(
        "--about", type=Path, metavar="FILE", help="a card.toml: what only a person can say of it"
    )
    model.add_argument(
        "--init", type=Path, metavar="FILE", help="write a card.toml to fill in, and nothing else"
    )
    model.add_argument(
        "--measure",
        type=Path,
        metavar="FOLDER",
        help="first make the runs that FOLDER lacks (eval on the samples, safety, bench); FOLDER "
        "is among --runs then",
    )
    _add_adapters(model)
    compare = actions.add_parser(
        "compare", help="two models side by side from their stored runs: what compression cost"
    )
    for side in ("a", "b"):
        compare.add_argument(
            side, metavar=side.upper(), help="a model; its file is read, not loaded"
        )
    for action, folder in ((model, "model-card"), (compare, "comparison")):
        action.add_argument(
            "--runs",
            type=Path,
            nargs="+",
            default=[],
            metavar="PATH",
            help="files or folders of eval, safety, bench, redteam, compress",
        )
        action.add_argument(
            "--output", type=Path, default=Path(folder), metavar="FOLDER", help=f"default {folder}"
        )


def _add_adapters(model: argparse.ArgumentParser) -> None:
    model.add_argument(
        "--adapter",
        action="append",
        default=[],
        metavar="NAME=PATH[:SCALE]",
        help="a LoRA adapter that acts on the model (repeatable)",
    )
    model.add_argument(
        "--no-adapter",
        action="store_true",
        help="without the adapter that ships with the default model",
    )


def _model(arguments: argparse.Namespace) -> int:
    from understudy.atomic import written_aside
    from understudy.errors import UsageError
    from understudy.judge.cards import statements

    if arguments.init is not None:
        if arguments.init.exists():
            raise UsageError(
                "the file is there already", where=arguments.init, do="name another, or fill it in"
            )
        with written_aside(arguments.init) as aside:
            aside.write_text(statements.template(), encoding="utf-8")
        write(f"{arguments.init}\n")
        return 0
    if arguments.model is None:
        raise UsageError("no model is named", where="card model", expected="MODEL, or --init FILE")
    from understudy import hub
    from understudy.judge.cards.write import write_card

    if arguments.measure is not None:
        if code := _measure(arguments):
            return code
        arguments.runs = [*arguments.runs, arguments.measure]
    said = (
        statements.Statements()
        if arguments.about is None
        else statements.read_statements(arguments.about)
    )
    path = hub.resolve(arguments.model)
    adapters = _adapters(path, arguments)
    _tell(write_card(path, arguments.runs, arguments.output, said, adapters))
    return 0


def _adapters(path: Path, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """What acts on all that the model does: the adapters that are named. The one that ships with it
    acts on its jobs alone."""
    from understudy.adapters import read_adapter
    from understudy.checkpoint.checkpoint import open_checkpoint
    from understudy.cli.options import adapters_of
    from understudy.model import RESIDENT

    asked = adapters_of(arguments)
    paths, scales = asked["adapters"], asked["adapter"] or {}
    if scales == RESIDENT:
        return []
    spec = open_checkpoint(path).spec
    found = []
    for name, scale in scales.items():
        adapter = read_adapter(paths[name], spec, name)
        facts = {"name": name, "sha256": adapter.sha256, "scale": scale, "rank": adapter.rank}
        found.append(facts | dict(adapter.metadata))
    return found


def _measure(arguments: argparse.Namespace) -> int:
    """Runs the commands that make evidence, each into its place in the folder; evaluation and
    probes go on where they were stopped.
    """
    from understudy import cli
    from understudy.atomic import written_aside

    model, folder = arguments.model, arguments.measure
    chosen = [word for value in arguments.adapter for word in ("--adapter", value)]
    chosen += ["--no-adapter"] if arguments.no_adapter else []
    for words in (
        ["eval", model, "--output", str(folder / "eval"), *chosen],
        ["safety", "run", model, "--store", str(folder / "safety.jsonl"), *chosen],
    ):
        if code := cli.main(words):
            return code
    if (bench := folder / "bench.json").exists():
        return 0
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        code = cli.main(["bench", model, "--json", *chosen])
    if code == 0:
        with written_aside(bench) as aside:
            aside.write_text(said.getvalue(), encoding="utf-8")
    return code


def _compare(arguments: argparse.Namespace) -> int:
    from understudy import hub
    from understudy.judge.cards.comparison_page import write_comparison

    _tell(
        write_comparison(
            hub.resolve(arguments.a), hub.resolve(arguments.b), arguments.runs, arguments.output
        )
    )
    return 0


def _tell(paths: list[Path]) -> None:
    write("".join(f"{path}\n" for path in paths if path.suffix in (".md", ".html")))


ACTIONS: dict[str, Callable[[argparse.Namespace], int]] = {"model": _model, "compare": _compare}
