"""`understudy bench`: prefill and decode rates of a model on this machine, beside what its memory
and arithmetic allow.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from understudy.cli.options import add_loading, add_model, load_model, traffic_table

if TYPE_CHECKING:
    from understudy import core
    from understudy.engine.adapters import ActiveAdapters
    from understudy.judge.benchmark.speed import SpeedReport
    from understudy.spec import ModelSpec, QuantSpec, WeightFormat


def configure(parser: argparse.ArgumentParser) -> None:
    add_model(parser)
    parser.add_argument(
        "--synthetic",
        metavar="SHAPE",
        help="random weights in memory, such as nemotron-mini-4b, instead of MODEL",
    )
    parser.add_argument("--layers", type=int, help="with --synthetic: only so many layers")
    parser.add_argument("--prefill", type=int, nargs="*", default=[128, 512], metavar="TOKENS")
    parser.add_argument(
        "--depth",
        type=int,
        nargs="*",
        default=[0],
        metavar="TOKENS",
        help="positions in the cache while decoding",
    )
    parser.add_argument(
        "--batch",
        type=int,
        nargs="*",
        default=[1],
        metavar="N",
        help="requests at once while decoding",
    )
    parser.add_argument("--tokens", type=int, default=32, help="tokens of a decode sample")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    add_loading(parser)


def run(arguments: argparse.Namespace) -> int:
    from understudy.judge.benchmark.memory import peak_memory_bytes
    from understudy.judge.benchmark.speed import SpeedTest, measure_speed

    benched = _synthetic(arguments) if arguments.synthetic else _loaded(arguments)
    longest = max(
        [*arguments.prefill, *(depth + arguments.tokens for depth in arguments.depth), 64]
    )
    test = SpeedTest(
        benched.model,
        benched.spec,
        kv_format=arguments.kv,
        max_positions=longest,
        max_batch=max(arguments.batch, default=1),
        adapters=benched.adapters.packed,
    )

    def show(what: str) -> None:
        if sys.stderr.isatty():
            print(f"\r{what:60}", end="", file=sys.stderr, flush=True)

    report = measure_speed(
        test,
        prompt_lengths=arguments.prefill,
        depths=arguments.depth,
        batches=arguments.batch,
        decode_tokens=arguments.tokens,
        rounds=arguments.rounds,
        report=show,
    )
    if sys.stderr.isatty():
        print(f"\r{'':60}\r", end="", file=sys.stderr)
    if arguments.json:
        print(json.dumps(_document(report, benched), indent=1))
    else:
        print(report.table())
        print(f"\n{traffic_table(benched.traffic)}\n")
        print(f"peak memory {peak_memory_bytes() / 1e9:.2f} GB")
    return 0


def _document(report: SpeedReport, benched: Benched) -> dict[str, Any]:
    from understudy.engine.adapters import describe
    from understudy.judge.benchmark.memory import peak_memory_bytes
    from understudy.report.provenance import describe_run

    path = benched.path
    return report.as_dict() | {
        "bytes_read_per_token": benched.traffic,
        "peak_memory_bytes": peak_memory_bytes(),
        "run": None if path is None else describe_run(path, describe(benched.adapters)),
    }


@dataclass(frozen=True)
class Benched:
    """What is timed; `traffic` are the bytes that a token reads, by part, as the file has them and
    as they run."""

    model: core.CoreModel
    spec: ModelSpec
    path: Path | None
    adapters: ActiveAdapters
    traffic: dict[str, dict[str, int]]


def _loaded(arguments: argparse.Namespace) -> Benched:
    from understudy.checkpoint.checkpoint import open_checkpoint
    from understudy.checkpoint.pack import bytes_per_token, packed_sizes
    from understudy.spec import QuantSpec

    model = load_model(arguments)
    checkpoint = open_checkpoint(model.path)
    formats: dict[str, QuantSpec | None] = {"as stored": None}
    if arguments.weights:
        formats[arguments.weights] = QuantSpec(weights=arguments.weights)
    traffic = {
        name: bytes_per_token(model.spec, packed_sizes(checkpoint, quant))
        for name, quant in formats.items()
    }
    return Benched(model.core_model, model.spec, model.path, model.active_adapters(), traffic)


def _synthetic(arguments: argparse.Namespace) -> Benched:
    from understudy import core
    from understudy.checkpoint.pack import bytes_per_token
    from understudy.engine.adapters import NO_ADAPTERS
    from understudy.engine.loading import int12_matrices
    from understudy.judge.benchmark.synthetic import synthetic_packed
    from understudy.spec import QuantSpec

    weights: WeightFormat = arguments.weights or "q4"
    packed = synthetic_packed(arguments.synthetic, QuantSpec(weights=weights), arguments.layers)
    int12 = int12_matrices(packed.spec, arguments.activations)
    model = core.CoreModel(
        packed.spec,
        packed.tensors,
        isa=arguments.isa,
        num_threads=core.choose_threads(arguments.threads),
        int12=int12,
    )
    sizes = {name: tensor.data.size for name, tensor in packed.tensors.items()}
    traffic: dict[str, dict[str, int]] = {weights: bytes_per_token(packed.spec, sizes)}
    return Benched(model, packed.spec, None, NO_ADAPTERS, traffic)
