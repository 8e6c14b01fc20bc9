"""`understudy prune MODEL FOLDER`: trim layers, heads, neurons or channels, and reconstruction what
is left."""

from __future__ import annotations

import argparse
from pathlib import Path

from understudy.cli.compress import add_data, raw_recipe, require_torch, run_raw

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
    parser.add_argument(
        "--criterion", default="minitron", help="minitron, reconstruction, magnitude or random"
    )
    parser.add_argument("--depth", default="influence", help="influence, perplexity or contiguous")
    parser.add_argument(
        "--no-reconstruct", action="store_true", help="only trim, reconstruction nothing"
    )
    parser.add_argument(
        "--residual-heads", action="store_true", help="Minitron's residual of pruned heads"
    )
    add_data(parser)


def run(arguments: argparse.Namespace) -> int:
    require_torch()
    shape = {
        field: value
        for name, field in AXES.items()
        if (value := getattr(arguments, name)) is not None
    }
    prune = shape | {
        "criterion": arguments.criterion,
        "depth": arguments.depth,
        "reconstruct": not arguments.no_reconstruct,
        "residual_heads": arguments.residual_heads,
    }
    return run_raw(raw_recipe(arguments, arguments.model, arguments.folder, prune=prune), arguments)
