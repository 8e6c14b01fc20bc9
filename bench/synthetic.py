"""Writes a GGUF of random weights in the exact shape of a published model, for this engine and for
others.

    python bench/synthetic.py nemotron-mini-4b /tmp/4b-q4.gguf [--weights q4] [--embedding q4]
        [--head q4] [--layers 2] [--zero-share 0.9] [--seed 0]

Tensors are made one at a time, so the 4B shape needs a minute and the memory of its largest matrix.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from understudy.checkpoint.convert import save_checkpoint
from understudy.judge.benchmark.shapes import SHAPES
from understudy.judge.benchmark.synthetic import synthetic_checkpoint
from understudy.spec import QuantSpec

FORMATS = ("q4", "q8", "bf16")


def write(
    path: Path, name: str, quant: QuantSpec, num_layers: int | None = None, **settings: Any
) -> None:
    """`settings` are `zero_share` and `seed` of `synthetic_checkpoint`."""

    def show(done: int, total: int) -> None:
        print(f"\r{done} of {total} tensors", end="", file=sys.stderr, flush=True)

    save_checkpoint(synthetic_checkpoint(name, quant, num_layers, **settings), path, progress=show)
    print(file=sys.stderr)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("shape", choices=SHAPES)
    parser.add_argument("path", type=Path)
    parser.add_argument("--weights", choices=FORMATS, default="q4")
    parser.add_argument("--embedding", choices=FORMATS, help="default: as --weights")
    parser.add_argument("--head", choices=FORMATS, help="default: as --weights")
    parser.add_argument("--layers", type=int, help="only so many layers")
    parser.add_argument(
        "--zero-share", type=float, default=0.5, help="exact zeros after the squared ReLU"
    )
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    quant = QuantSpec(arguments.weights, arguments.embedding, arguments.head)
    settings = {"zero_share": arguments.zero_share, "seed": arguments.seed}
    write(arguments.path, arguments.shape, quant, arguments.layers, **settings)
    print(f"{arguments.path}: {arguments.path.stat().st_size / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
