"""`understudy safety garak`: garak's offline probes on a model of ours, or on a server that
runs.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from understudy.cli.options import Progress, add_loading, add_model, load_model
from understudy.cli.terminal import write
from understudy.errors import MissingError, UnderstudyError, UsageError

if TYPE_CHECKING:
    from understudy.judge.safety.garak import GarakRun, Target


def configure(parser: argparse.ArgumentParser) -> None:
    add_model(parser)
    parser.add_argument(
        "--garak", type=Path, metavar="PYTHON", help="the Python of an environment that has garak"
    )
    parser.add_argument(
        "--url",
        help="ask this OpenAI endpoint (http://…/v1) instead of loading MODEL; MODEL is then the "
        "name it serves",
    )
    parser.add_argument(
        "--probe",
        action="append",
        default=[],
        metavar="NAME",
        help="this probe or family only (repeatable; default all offline ones)",
    )
    parser.add_argument(
        "--list",
        action="store_true",
        help="name the offline probes with their AEGIS 2.0 categories, and end",
    )
    _add_asking(parser)
    parser.add_argument(
        "--folder",
        type=Path,
        help="garak's own reports and logs (default the store's name with .garak)",
    )
    add_loading(parser)


def _add_asking(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("how it is asked")
    group.add_argument(
        "--cap", type=int, default=16, metavar="N", help="most prompts of a probe (default 16)"
    )
    group.add_argument(
        "--generations", type=int, default=1, metavar="N", help="answers to each prompt (default 1)"
    )
    group.add_argument(
        "--answer-tokens",
        type=int,
        default=96,
        metavar="N",
        help="most tokens of an answer (default 96)",
    )
    group.add_argument("--temperature", type=float, default=0.0, help="0 is greedy (default)")
    group.add_argument("--seed", type=int, default=0)


def run(arguments: argparse.Namespace) -> tuple[list[dict[str, Any]], int]:
    """Asks; returns the lines of this model in the store, and how many probes failed."""
    from understudy.judge.safety.garak import GarakRun, GarakSettings
    from understudy.judge.safety.run import read_store

    if arguments.garak is None:
        raise UsageError(
            "no Python named",
            where="--garak",
            do="name the Python of an environment that has garak; see docs/safety.md",
        )
    probes = list(_chosen(arguments.probe))
    settings = GarakSettings(
        cap=arguments.cap,
        generations=arguments.generations,
        max_tokens=arguments.answer_tokens,
        temperature=arguments.temperature,
        seed=arguments.seed,
    )
    folder = arguments.folder or arguments.store.with_suffix(".garak")
    with _target(arguments) as target:
        failed = _ask(GarakRun(arguments.garak, target, folder, arguments.store, settings), probes)
    lines = [
        line
        for line in read_store(arguments.store)
        if (line["fingerprint"], line["seed"]) == (target.fingerprint, arguments.seed)
    ]
    return lines, failed


def list_probes() -> None:
    from understudy.judge.safety.garak import OFFLINE

    for name, category in sorted(OFFLINE.items()):
        write(f"{name:55} {category}\n")


def _chosen(names: list[str]) -> Iterator[str]:
    """The probes of the preset that were named, alone or by their family."""
    from understudy.judge.safety.garak import OFFLINE

    for name in names:
        if name not in OFFLINE and not any(probe.startswith(f"{name}.") for probe in OFFLINE):
            raise UsageError(
                "no offline probe of garak",
                where="--probe",
                found=name,
                do="understudy safety garak --list",
            )
    for probe in sorted(OFFLINE):
        if not names or probe in names or probe.partition(".")[0] in names:
            yield probe


def _ask(run: GarakRun, probes: list[str]) -> int:
    """Runs the probes; says of each that failed why, and goes on."""
    failed, started = 0, time.monotonic()
    with Progress("garak") as bar:
        for number, probe in enumerate(probes):
            try:
                count = run.probe(probe)
            except UnderstudyError as error:
                failed += 1
                write(f"understudy: {error}\n", sys.stderr)
                continue
            bar(number + 1, len(probes))
            if not sys.stderr.isatty():
                left = (time.monotonic() - started) / (number + 1) * (len(probes) - number - 1)
                write(
                    f"{number + 1} of {len(probes)} probes, {probe}: {count} answers, {left:.0f} "
                    "s left\n",
                    sys.stderr,
                )
    return failed


@contextlib.contextmanager
def _target(arguments: argparse.Namespace) -> Iterator[Target]:
    from understudy.engine.adapters import describe
    from understudy.judge.safety.garak import Target
    from understudy.report.provenance import describe_run, describe_served

    if arguments.url is not None:
        yield Target(
            arguments.url,
            arguments.model,
            _fingerprint(arguments.url, arguments.model),
            describe_served(arguments.model),
        )
        return
    try:
        from understudy.serve.app import create_app
        from understudy.serve.run import running
        from understudy.serve.settings import Settings
    except ImportError as error:
        raise MissingError(
            "the server's packages are not installed",
            where=error.name,
            do="pip install 'understudy[serve]'",
        ) from error
    with load_model(arguments) as model:
        settings = Settings(port=0, log=False)
        with running(create_app({model.path.name: model}, settings), settings) as port:
            record = describe_run(model.path, describe(model.active_adapters()))
            yield Target(f"http://127.0.0.1:{port}/v1", model.path.name, model.fingerprint, record)


def _fingerprint(url: str, model: str) -> str:
    """What a server says that its model is: the `system_fingerprint` of an answer of one token."""
    from understudy.judge.safety.garak import KEY_VARIABLE

    body = {"model": model, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 1}
    headers = {
        "Content-Type": "application/json",
        "Authorization": f"Bearer {os.environ.get(KEY_VARIABLE, 'none')}",
    }
    if not url.startswith(("http://", "https://")):
        raise UsageError("no address of a server", where="--url", expected="http://…/v1", found=url)
    request = urllib.request.Request(
        url.rstrip("/") + "/chat/completions", json.dumps(body).encode(), headers
    )
    try:
        with urllib.request.urlopen(request, timeout=120) as answer:
            document = json.load(answer)
    except (OSError, ValueError) as error:
        raise UnderstudyError(f"the server does not answer ({error})", where=url) from error
    return str(document.get("system_fingerprint") or f"{url} {model}")
