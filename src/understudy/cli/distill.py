"""`understudy distill TEACHER STUDENT FOLDER`: train a student on its teacher's distribution;
resumes when run again.

Also under torchrun: `torchrun --nproc-per-node 2 -m understudy distill TEACHER STUDENT FOLDER …`.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from understudy.cli.compress import add_data, add_former, raw_recipe, require_torch, run_raw

_SETTINGS = (
    "tokens",
    "batch_size",
    "micro_batch_size",
    "learning_rate",
    "final_learning_rate",
    "schedule",
    "seed",
    "checkpoint_steps",
    "precision",
    "activation_megabytes",
)


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("teacher", metavar="TEACHER")
    parser.add_argument(
        "student", metavar="STUDENT", help="a model with the same tokenizer, e.g. what prune wrote"
    )
    parser.add_argument(
        "folder",
        type=Path,
        metavar="FOLDER",
        help="where the student, checkpoints, reports and card go",
    )
    _add_training(parser)
    _add_teaching(parser)
    add_former(parser, "--batch-rows", "batch_size")
    add_former(parser, "--micro-rows", "micro_batch_size")
    add_former(parser, "--rate", "learning_rate", float)
    add_former(parser, "--final-rate", "final_learning_rate", float)
    add_data(parser)


def _add_training(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("training")
    group.add_argument("--tokens", type=int, required=True, help="to train on in all")
    group.add_argument(
        "--batch-size",
        type=int,
        metavar="N",
        help="sequences of one step, over all processes (default 8)",
    )
    group.add_argument(
        "--micro-batch-size",
        type=int,
        metavar="N",
        help="most sequences in memory at once (default 4)",
    )
    group.add_argument("--learning-rate", type=float, help="peak learning rate (default 2e-4)")
    group.add_argument(
        "--final-learning-rate", type=float, help="learning rate at the end (default 2e-5)"
    )
    group.add_argument("--schedule", help="cosine, linear, constant or plateau (default cosine)")
    group.add_argument("--precision", help="float32 (default) or bfloat16")
    group.add_argument(
        "--activation-megabytes",
        type=int,
        metavar="N",
        help="kept of a pass for its backward pass: fewer sequences at once, and what one alone "
        "has beyond it is computed again (default 128 on a CPU, all on a GPU)",
    )
    group.add_argument("--seed", type=int)
    group.add_argument(
        "--checkpoint-steps", type=int, metavar="N", help="steps between checkpoints (default 50)"
    )


def _add_teaching(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what the teacher gives")
    group.add_argument(
        "--live",
        action="store_true",
        help="ask the teacher at every step instead of once into a cache",
    )
    group.add_argument(
        "--state-loss", choices=["cosine", "mse"], help="also match hidden states (needs --live)"
    )
    group.add_argument(
        "--cache-bytes",
        type=int,
        default=64,
        metavar="N",
        help="of the cache, for a token (default 64)",
    )


def run(arguments: argparse.Namespace) -> int:
    require_torch()
    settings: dict[str, Any] = {
        n: getattr(arguments, n) for n in _SETTINGS if getattr(arguments, n) is not None
    }
    settings |= {
        "teacher": "live" if arguments.live else "cache",
        "cache_bytes": arguments.cache_bytes,
    }
    if arguments.state_loss:
        settings["state_loss"] = arguments.state_loss
    raw = raw_recipe(arguments, arguments.teacher, arguments.folder, distill=settings)
    raw["source"]["student"] = arguments.student
    return run_raw(raw, arguments)
