"""`understudy safety redteam STORE [MODEL]`: the workbench of a red team, as a page, in the
terminal, or its records out and in.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from understudy.cli.options import add_loading, add_model, load_model
from understudy.cli.serve import check_packages
from understudy.cli.terminal import write
from understudy.errors import UsageError

if TYPE_CHECKING:
    from understudy.judge.redteam.conversation import Live
    from understudy.judge.redteam.store import RedTeamStore


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "store", type=Path, metavar="STORE", help="the team's SQLite file; made where it is missing"
    )
    add_model(parser)
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--page", action="store_true", help="a page on this machine (default)")
    form.add_argument(
        "--terminal", action="store_true", help="in the terminal; /help lists the commands"
    )
    form.add_argument(
        "--export", type=Path, metavar="FILE", help="write everything as JSONL; no model is loaded"
    )
    form.add_argument(
        "--import",
        type=Path,
        metavar="FILE",
        dest="take",
        help="take in what another's export has more",
    )
    form.add_argument(
        "--agreement", action="store_true", help="how far the raters agree, and where they do not"
    )
    form.add_argument(
        "--summary", action="store_true", help="counts by severity, category, turn and fix"
    )
    form.add_argument(
        "--rerun",
        metavar="ID",
        help="run a conversation again on MODEL; `findings`: all that were rated harmful",
    )
    _add_rating(parser)
    _add_export(parser)
    add_loading(parser)


def _add_rating(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("the rater")
    group.add_argument(
        "--rater", metavar="NAME", help="who you are; needed for --terminal and --rerun"
    )
    group.add_argument(
        "--open-ratings",
        action="store_true",
        help="show others' ratings before one's own; these do not count as blind",
    )


def _add_export(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("page and export")
    group.add_argument("--port", type=int, default=8090, help="of the page (default 8090)")
    group.add_argument("--json", action="store_true", help="--agreement or --summary as JSON")
    group.add_argument(
        "--without-texts",
        action="store_true",
        help="export without what was said: counts and ratings stay",
    )
    group.add_argument(
        "--without-embargoed", action="store_true", help="export without findings under embargo"
    )


def run(arguments: argparse.Namespace) -> int:
    from understudy.judge.redteam.store import RedTeamStore

    if arguments.export or arguments.agreement or arguments.summary:
        with RedTeamStore(arguments.store, must_exist=True) as store:
            return _export(store, arguments) if arguments.export else _tell(store, arguments)
    if arguments.take is None and not arguments.terminal and not arguments.rerun:
        check_packages()
    if (arguments.terminal or arguments.rerun) and not arguments.rater:
        raise UsageError("who are you?", where="--rater", do="give a name: --rater NAME")
    with RedTeamStore(arguments.store, is_open=arguments.open_ratings) as store:
        if arguments.take is not None:
            return _import(store, arguments.take)
        return _with_model(store, arguments)


def _export(store: RedTeamStore, arguments: argparse.Namespace) -> int:
    from understudy.judge.redteam import export

    records = store.records()
    if arguments.without_embargoed:
        records = export.without_embargoed(records)
    if arguments.without_texts:
        records = export.without_texts(records)
    export.write_export(records, arguments.export)
    write(
        f"{len(records.conversations)} conversations, {len(records.ratings)} ratings "
        f"in {arguments.export}\n"
    )
    return 0


def _import(store: RedTeamStore, path: Path) -> int:
    from understudy.judge.redteam.export import read_export
    from understudy.judge.redteam.merge import merge

    added = merge(store, read_export(path))
    write(
        "new: "
        + ", ".join(
            f"{count} {kind}{'' if count == 1 else 'es' if kind == 'fix' else 's'}"
            for kind, count in added.items()
        )
        + "\n"
    )
    return 0


def _tell(store: RedTeamStore, arguments: argparse.Namespace) -> int:
    from understudy.cli.redteam_tables import agreement_table, summary_table
    from understudy.judge.redteam.agreement import agreement
    from understudy.judge.redteam.summary import summary

    records = store.records(is_bare=True)
    found = agreement(records) if arguments.agreement else summary(records)
    table = agreement_table if arguments.agreement else summary_table
    write(json.dumps(found, indent=1) + "\n" if arguments.json else table(found))
    return 0


def _with_model(store: RedTeamStore, arguments: argparse.Namespace) -> int:
    from understudy.judge.redteam.conversation import Live

    with load_model(arguments) as model:
        live = Live(store, model, model.path.name)
        if arguments.terminal:
            from understudy.cli.redteam_terminal import RedTeam

            return RedTeam(live, arguments.rater).run()
        if arguments.rerun:
            return _rerun(live, arguments)
        from understudy.judge.redteam.web.app import create_app
        from understudy.judge.redteam.web.run import serve

        address = f"http://127.0.0.1:{arguments.port}/"
        write(
            f"understudy: {arguments.store} with {live.name} at {address} (Ctrl+C stops)\n",
            sys.stderr,
        )
        return serve(create_app(live, rater=arguments.rater or ""), arguments.port)


def _rerun(live: Live, arguments: argparse.Namespace) -> int:
    from understudy.judge.redteam.summary import worst_ratings

    records = live.store.records(is_bare=True)
    ids = [arguments.rerun]
    if arguments.rerun == "findings":
        first = {
            one.id
            for one in records.conversations
            if one.relation != "rerun" and one.fingerprint != live.model.fingerprint
        }
        ids = [
            id for id, rating in worst_ratings(records, first).items() if rating.severity != "none"
        ]
        done = {
            one.parent
            for one in records.conversations
            if one.fingerprint == live.model.fingerprint and live.store.is_whole_rerun(one)
        }
        ids = [id for id in ids if id not in done]
    for id in ids:
        new = live.begin_rerun(id, by=arguments.rater)
        num_turns = sum(1 for _ in live.rerun(new.id))
        write(f"{id} run again as {new.id}: {num_turns} turns\n")
    write(
        f"{len(ids)} conversations run again on {live.name}; rate them, then set their fix to "
        "verified\n"
    )
    return 0
