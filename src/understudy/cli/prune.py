"""`understudy prune MODEL FOLDER`: trim layers, heads, neurons, channels or the vocabulary, and
reconstruct what is left. The vocabulary alone needs no torch."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from understudy.cli.compress import ProgressLine, add_data, raw_recipe, require_torch, run_raw
from understudy.errors import UsageError

AXES = {
    "layers": "num_layers",
    "hidden": "hidden_size",
    "mlp": "intermediate_size",
    "heads": "num_heads",
    "kv_heads": "num_kv_heads",
}


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL")
    parser.add_argument(
        "folder", type=Path, metavar="FOLDER", help="where the smaller model, reports and card go"
    )
    group = parser.add_argument_group("target (what is not named stays)")
    for name in AXES:
        group.add_argument(f"--{name.replace('_', '-')}", type=int, metavar="N")
    _add_vocabulary(parser.add_argument_group("vocabulary"))
    parser.add_argument(
        "--criterion", default="minitron", help="minitron, reconstruction, magnitude or random"
    )
    parser.add_argument("--depth", default="influence", help="influence, perplexity or contiguous")
    parser.add_argument(
        "--no-reconstruct", action="store_true", help="only trim, reconstruct nothing"
    )
    parser.add_argument(
        "--residual-heads", action="store_true", help="Minitron's residual of pruned heads"
    )
    add_data(parser, is_required=False)


def _add_vocabulary(group: Any) -> None:
    group.add_argument(
        "--vocabulary", type=int, metavar="N", help="how many pieces of the tokenizer stay"
    )
    group.add_argument(
        "--texts",
        nargs="+",
        default=[],
        metavar="FILE",
        help="what must be written in few pieces (default: --data)",
    )
    group.add_argument(
        "--tools", nargs="+", default=[], metavar="FILE", help="tool lists, schemas, cards"
    )
    group.add_argument(
        "--scripts",
        nargs="+",
        default=[],
        metavar="NAME",
        help="fill up with pieces of these, as LATIN or CYRILLIC (default: those of the texts)",
    )


def run(arguments: argparse.Namespace) -> int:
    shape = {
        field: value
        for name, field in AXES.items()
        if (value := getattr(arguments, name)) is not None
    }
    trim = _vocabulary(arguments)
    if trim is not None and not shape:
        return _trim(arguments, trim)
    if not arguments.data:
        raise UsageError("no data to calibrate on", expected="--data FILE")
    require_torch()
    tables: dict[str, dict[str, Any]] = {} if trim is None else {"vocabulary": trim}
    tables["prune"] = shape | {
        "criterion": arguments.criterion,
        "depth": arguments.depth,
        "reconstruct": not arguments.no_reconstruct,
        "residual_heads": arguments.residual_heads,
    }
    return run_raw(raw_recipe(arguments, arguments.model, arguments.folder, **tables), arguments)


def _vocabulary(arguments: argparse.Namespace) -> dict[str, Any] | None:
    """The table [vocabulary] that the arguments amount to."""
    if arguments.vocabulary is None:
        return None
    texts = arguments.texts or arguments.data or []
    if not texts:
        raise UsageError("no texts to count pieces in", expected="--texts FILE")
    scripts = [name.upper() for name in arguments.scripts]
    return {
        "size": arguments.vocabulary,
        "texts": texts,
        "tools": arguments.tools,
        "scripts": scripts,
    }


def _trim(arguments: argparse.Namespace, table: dict[str, Any]) -> int:
    """The vocabulary alone: no torch, the weights keep their formats."""
    from understudy.compress.trim.run import trim_vocabulary
    from understudy.compress.trim.settings import VocabularySettings

    size, lists = table["size"], {key: tuple(table[key]) for key in ("texts", "tools", "scripts")}
    line = ProgressLine()
    settings = VocabularySettings(size, **lists)
    path, report = trim_vocabulary(arguments.model, arguments.folder, settings, line)
    for warning in report.warnings:
        line.say(f"warning: {warning}")
    if arguments.json:
        print(json.dumps(report.figures, indent=1))
        return 0
    figures = report.figures
    pieces, tokens = figures["pieces"], figures["tokens of the texts"]
    sizes = (figures["teacher"]["bytes"], figures.get("gguf", {}).get("bytes"))
    after = sizes[1] or figures["folder_bytes"]
    print(f"pieces   {pieces['before']:,} -> {pieces['after']:,}")
    print(f"file     {sizes[0] / 1e6:.1f} -> {after / 1e6:.1f} MB")
    print(f"tokens   {tokens['before']:,} -> {tokens['after']:,} for the same texts")
    print(f"model    {path}")
    print(f"report   {arguments.folder / 'report.html'}")
    return 0
