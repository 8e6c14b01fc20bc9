"""Shapes and formats against each other in one process, in turn, with random weights.

    python bench/formats.py nemotron-mini-4b:q4 nemotron-mini-4b:q3 [--layers 6] [--rounds 25]
        [--prefill 512] [--batch 1 4 8] [--threads 2] [--kv int8]

Prints for each how many milliseconds a step takes (median), and the median and quartiles of its
speed against the first one's in the same round. The models stand in memory side by side.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable

from understudy import core
from understudy.engine.loading import int12_matrices
from understudy.judge.benchmark.speed import SpeedTest
from understudy.judge.benchmark.synthetic import synthetic_packed
from understudy.spec import QuantSpec


def opened(name: str, arguments: argparse.Namespace) -> SpeedTest:
    """name: "shape:format"."""
    shape, _, weights = name.partition(":")
    packed = synthetic_packed(shape, QuantSpec(weights), arguments.layers)  # type: ignore[arg-type]
    model = core.CoreModel(
        packed.spec,
        packed.tensors,
        num_threads=core.choose_threads(arguments.threads),
        int12=int12_matrices(packed.spec),
    )
    return SpeedTest(
        model,
        packed.spec,
        kv_format=arguments.kv,
        max_positions=max(arguments.prefill, 64) + 32,
        max_batch=max(arguments.batch),
    )


def decoding(size: int) -> Callable[[SpeedTest], float]:
    """A step of so many requests at once, in seconds."""
    return lambda test: statistics.median(test.decode(4, 0, size))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="+", metavar="SHAPE:FORMAT")
    parser.add_argument("--layers", type=int)
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--prefill", type=int, default=512)
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 4, 8])
    parser.add_argument("--threads", type=int)
    parser.add_argument("--kv", default="int8")
    arguments = parser.parse_args()
    tests = {name: opened(name, arguments) for name in arguments.models}
    steps: dict[str, Callable[[SpeedTest], float]] = {
        f"{size} at once": decoding(size) for size in arguments.batch
    }
    steps[f"prompt of {arguments.prefill}"] = lambda test: test.prefill(arguments.prefill)
    for test in tests.values():
        test.decode(2)
    for what, step in steps.items():
        rounds = []
        for number in range(arguments.rounds):
            order = list(tests)[:: -1 if number % 2 else 1]
            rounds.append({name: step(tests[name]) for name in order})
        for name in tests:
            ratios = sorted(one[arguments.models[0]] / one[name] for one in rounds)
            low, middle, high = (ratios[len(ratios) * i // 4] for i in (1, 2, 3))
            taken = statistics.median(one[name] for one in rounds)
            print(f"{what}: {name} {taken * 1e3:.2f} ms, {middle:.3f} ({low:.3f} to {high:.3f})")


if __name__ == "__main__":
    main()
