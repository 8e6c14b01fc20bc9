"""`understudy convert SRC DST`: a checkpoint as one GGUF file or as a Hugging Face folder, in
formats of choice.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from understudy import hub
from understudy.checkpoint.checkpoint import open_checkpoint
from understudy.checkpoint.convert import save_checkpoint
from understudy.cli.options import Progress
from understudy.spec import QuantSpec

FORMATS = ["f32", "bf16", "q8", "q4"]


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "source",
        metavar="SRC",
        help="GGUF file, Hugging Face folder, .nemo file, hub id or listed name",
    )
    parser.add_argument(
        "target", metavar="DST", type=Path, help="a path ending in .gguf, or a folder"
    )
    parser.add_argument(
        "--format", choices=FORMATS, help="format of the matrices (default: as stored)"
    )
    parser.add_argument(
        "--embedding", choices=FORMATS, help="format of the embedding (default: --format)"
    )
    parser.add_argument(
        "--head", choices=FORMATS, help="format of the output head (default: --format)"
    )


def run(arguments: argparse.Namespace) -> int:
    quant = None
    if arguments.format or arguments.embedding or arguments.head:
        quant = QuantSpec(arguments.format or "bf16", arguments.embedding, arguments.head)
    checkpoint = open_checkpoint(hub.resolve(arguments.source))
    with Progress("writing tensors") as progress:
        notes = save_checkpoint(checkpoint, arguments.target, quant, progress=progress)
    for note in notes:
        print(f"note: {note}", file=sys.stderr)
    print(arguments.target)
    return 0
