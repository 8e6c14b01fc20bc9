"""`understudy data check|mix|make`: training data before it is trained on."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from understudy.errors import UsageError

SHOWN_FAULTS = 20


def configure(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    check = commands.add_parser("check", help="count it, and tell what is wrong with it")
    check.add_argument("files", nargs="+", type=Path, metavar="FILE")
    check.add_argument("--model", help="whose tokens are counted (default: none are)")
    check.add_argument("--context", type=int, default=2048, help="tokens, for what would be cut")
    _add_held_out(check)
    check.add_argument("--json", action="store_true", help="the figures as JSON on stdout")
    mix = commands.add_parser("mix", help="join files by share, and split off what is kept apart")
    mix.add_argument("files", nargs="+", metavar="FILE[=SHARE]")
    mix.add_argument("out", type=Path, metavar="OUT", help="a folder: train.jsonl, held_out.jsonl")
    mix.add_argument("--records", type=int, help="in all (default: as many as the shares allow)")
    mix.add_argument("--held-out-share", type=float, default=0.05)
    mix.add_argument("--seed", type=int, default=0)
    _add_make(commands.add_parser("make", help="new cases out of tools, documents or a card"))


def _add_held_out(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--held-out",
        action="append",
        default=[],
        metavar="NAME=PATH",
        help="an evaluation set: runs of 13 words that it shares with the data are counted",
    )


def _add_make(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("out", type=Path, metavar="OUT", help="a .jsonl file")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--tools", type=Path, help="a list of functions (JSON)")
    source.add_argument("--documents", type=Path, nargs="+", help="files that `rag add` takes")
    source.add_argument("--card", type=Path, help="a character card")
    parser.add_argument("--count", type=int, default=200, help="records (default 200)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--phrases", type=Path, help="ways to ask for functions")
    parser.add_argument("--values", type=Path, help="values by kind")
    parser.add_argument(
        "--writer", help="who writes the words: a model, or the address of a server (…/v1)"
    )
    parser.add_argument("--writer-model", help="the model's name on that server")


def run(arguments: argparse.Namespace) -> int:
    return {"check": _check, "mix": _mix, "make": _make}[arguments.action](arguments)


def _check(arguments: argparse.Namespace) -> int:
    from understudy.cli.align import held_out_sets
    from understudy.data.check import check
    from understudy.data.overlap import EvaluationSets
    from understudy.data.records import read_data

    sets = held_out_sets(arguments.held_out)
    found = check(
        read_data(arguments.files),
        _encoder(arguments.model) if arguments.model else None,
        EvaluationSets.read(sets) if sets else None,
        context=arguments.context,
    )
    if arguments.json:
        print(json.dumps(_document(found), indent=1))
    else:
        _print(found, arguments)
    return 1 if found.faults else 0


def _encoder(model: str) -> Any:
    from understudy.checkpoint.checkpoint import open_checkpoint
    from understudy.data.encode import ConversationEncoder
    from understudy.hub import resolve

    return ConversationEncoder.of_checkpoint(open_checkpoint(resolve(model)))


def _document(found: Any) -> dict[str, Any]:
    return {
        "records": found.num_records,
        "tokens": found.num_tokens,
        "learnt": found.num_learnt,
        "kinds": dict(found.kinds),
        "licences": dict(found.licences),
        "sources": dict(found.sources),
        "truncated": found.truncated,
        "duplicates": found.duplicates,
        "overlaps": dict(found.overlaps),
        "faults": [str(fault) for fault in found.faults],
    }


def _print(found: Any, arguments: argparse.Namespace) -> None:
    def listed(counts: Any) -> str:
        return ", ".join(f"{name} {count:,}" for name, count in counts.most_common()) or "none"

    print(f"records     {found.num_records:,}: {listed(found.kinds)}")
    print(f"licences    {listed(found.licences)}")
    if found.num_tokens:
        print(f"tokens      {found.num_tokens:,}, of which {found.num_learnt:,} are learnt")
        print(f"too long    {found.truncated:,} of more than {arguments.context} tokens")
    print(f"duplicates  {len(found.duplicates):,}")
    if arguments.held_out:
        print(f"overlaps    {listed(found.overlaps)}")
    print(f"faults      {len(found.faults):,}")
    for fault in found.faults[:SHOWN_FAULTS]:
        print(f"  {fault}")
    if len(found.faults) > SHOWN_FAULTS:
        print(f"  … and {len(found.faults) - SHOWN_FAULTS:,} more")


def _mix(arguments: argparse.Namespace) -> int:
    from understudy.data.records import write_data
    from understudy.data.split import counts, mixed, split

    shares: dict[Path, float] = {}
    for given in arguments.files:
        name, is_given, share = given.rpartition("=")
        try:
            shares[Path(name if is_given else given)] = float(share) if is_given else 1.0
        except ValueError:
            raise UsageError("a share is a number", where=given, found=share) from None
    chosen = mixed(shares, arguments.records, arguments.seed)
    train, held_out = split(chosen, arguments.held_out_share)
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name, records in (("train", train), ("held_out", held_out)):
        path = arguments.out / f"{name}.jsonl"
        write_data(records, path)
        told = ", ".join(f"{kind} {count:,}" for kind, count in counts(records).most_common())
        print(f"{path}  {len(records):,} records: {told or 'none'}")
    return 0


def _make(arguments: argparse.Namespace) -> int:
    from understudy.data.records import write_data

    cases = _cases(arguments)
    count = write_data(cases.make(), arguments.out)
    print(f"{arguments.out}  {count:,} records")
    if count < arguments.count:
        print(f"fewer than the {arguments.count:,} that were asked for: the source gives no more")
    for why, dropped in sorted(getattr(cases, "dropped", {}).items()):
        print(f"  not kept, {why}: {dropped:,}")
    return 0


def _cases(arguments: argparse.Namespace) -> Any:
    from understudy.data import make
    from understudy.data.writers import open_writer

    writer = open_writer(arguments.writer, arguments.writer_model) if arguments.writer else None
    order = make.Order(arguments.count, arguments.seed, writer)
    if arguments.card:
        return make.of_card(arguments.card, order)
    if arguments.documents:
        return make.of_documents(arguments.documents, order)
    return make.of_tools(arguments.tools, order, arguments.phrases, arguments.values)
