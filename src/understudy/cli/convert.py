"""`understudy convert SRC DST`: a checkpoint as one GGUF file or as a Hugging Face folder, in
formats of choice.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from understudy import hub
from understudy.cli.options import Progress, split_scale
from understudy.errors import UsageError

if TYPE_CHECKING:
    from understudy.adapters import Adapter
    from understudy.spec import ModelSpec

FORMATS = ["f32", "bf16", "q8", "q4", "q3"]


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
    parser.add_argument(
        "--adapter",
        action="append",
        default=[],
        metavar="PATH[:SCALE]",
        help="merge a LoRA adapter into the weights (repeatable)",
    )
    parser.add_argument(
        "--check",
        type=Path,
        metavar="TEXT",
        help="measure on a text what merging changed: perplexities and divergence",
    )


def run(arguments: argparse.Namespace) -> int:
    from understudy.adapters.merge import merged
    from understudy.checkpoint.checkpoint import open_checkpoint
    from understudy.checkpoint.convert import save_checkpoint
    from understudy.spec import QuantSpec

    quant = None
    if arguments.format or arguments.embedding or arguments.head:
        quant = QuantSpec(arguments.format or "bf16", arguments.embedding, arguments.head)
    if arguments.check is not None and not arguments.adapter:
        raise UsageError("nothing to check without an adapter", where="--check")
    checkpoint = open_checkpoint(hub.resolve(arguments.source))
    mix = _read_adapters(arguments.adapter, checkpoint.spec)
    if mix:
        checkpoint = merged(checkpoint, mix)
    with Progress("writing tensors") as progress:
        notes = save_checkpoint(checkpoint, arguments.target, quant, progress=progress)
    for note in notes:
        print(f"note: {note}", file=sys.stderr)
    if arguments.check is not None:
        _check(arguments, mix)
    print(arguments.target)
    return 0


def _read_adapters(words: list[str], spec: ModelSpec) -> list[tuple[Adapter, float]]:
    from understudy.adapters import read_adapter

    mix = []
    for word in words:
        path, scale = split_scale(word)
        adapter = read_adapter(path, spec)
        mix.append((adapter, 1.0 if scale is None else scale))
        print(f"merged: {adapter.name} (sha256 {adapter.sha256[:16]}…)", file=sys.stderr)
    return mix


def _check(arguments: argparse.Namespace, mix: list[tuple[Adapter, float]]) -> None:
    """Says what merging and rounding changed, on a text."""
    from understudy.judge.benchmark.merging import compare_merged

    try:
        text = arguments.check.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError("cannot be read as text", where=arguments.check) from error
    found = compare_merged(arguments.source, mix, arguments.target, text)
    for name, value in found.items():
        print(f"{name}: {value:.5g}", file=sys.stderr)
