"""`understudy quantize MODEL FOLDER`: 3, 4 and 8 bits by calibration, as a GGUF that holds exactly
what was measured."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from understudy.cli.compress import add_data, raw_recipe, require_torch, run_raw

FORMATS = ["q3", "q4", "q8"]


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL")
    _add_formats(parser)
    parser.add_argument(
        "folder", type=Path, metavar="FOLDER", help="receives model.gguf, model/, reports and card"
    )
    parser.add_argument(
        "--method", choices=["round_to_nearest", "scale_search", "gptq"], default="gptq"
    )
    parser.add_argument("--no-equalise", action="store_true", help="leave out the channel scales")
    parser.add_argument(
        "--tune-tokens",
        type=int,
        default=0,
        metavar="N",
        help="then distil MODEL into it for N tokens",
    )
    parser.add_argument(
        "--tune",
        choices=["scales", "weights"],
        default="scales",
        help="what learns then (default scales)",
    )
    parser.add_argument(
        "--packed",
        action="store_true",
        help="also write model-packed/, a compressed-tensors folder for vLLM",
    )
    add_data(parser)


def _add_formats(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--weights",
        "--format",
        choices=FORMATS,
        default="q4",
        help="format of the matrices (default q4)",
    )
    parser.add_argument("--embedding", choices=FORMATS, help="default: as --weights")
    parser.add_argument("--head", choices=FORMATS, help="default: as --weights")
    parser.add_argument(
        "--max-bits",
        type=float,
        metavar="B",
        help="spend up to B bits a weight where they pay most: kinds of matrices in q8",
    )
    parser.add_argument(
        "--bits",
        type=float,
        metavar="B",
        help="q3, q4 or q8 for every matrix by what it costs, at most B bits a weight in all",
    )


def run(arguments: argparse.Namespace) -> int:
    require_torch()
    named = ("weights", "embedding", "head", "max_bits", "bits", "method", "tune_tokens", "tune")
    table: dict[str, Any] = {n: getattr(arguments, n) for n in named}
    table = {name: value for name, value in table.items() if value is not None}
    table["equalise"] = not arguments.no_equalise
    raw = raw_recipe(arguments, arguments.model, arguments.folder, quantize=table)
    raw["output"]["packed"] = arguments.packed
    return run_raw(raw, arguments)
