"""This engine and stock llama.cpp on the same GGUF with the same threads, turn about in one run.

    python bench/peers.py MODEL.gguf --llama-bin llama-build/bin [--rounds 5] [--prefill 128 512 2048]
                          [--depth 0 2048 3500] [--batch 4 8] [--tokens 32] [--json docs/results/NAME.json] [--plot FILE]

How to build llama.cpp: `bench/peer_llama.py`. In each round every situation is run by both, who goes first alternates, and the
read bandwidth is measured before and after. What is reported is the median of the rounds' ratios with their spread, and the
share of what the bandwidth (decode) or the int8 arithmetic (prefill) of the same seconds allows. Before anything is timed,
the tokens that llama.cpp chooses are checked against our logits; a model that the two compute differently is not timed.
At depth llama.cpp runs with flash attention on and off, and its faster one counts.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import json
import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from machine import processor_name
from peer_llama import LlamaCpp, run

import understudy
from understudy import core, hub
from understudy.measure.speed import SpeedTest

CHECK_TOKENS = 48
NEAR_TIE = 0.5  # logits; both engines round activations to 8 bits, which moves a logit by a few hundredths of its spread


@dataclass
class Situation:
    """One thing that both engines do, with a rate of each for every round (tokens per second)."""

    kind: str
    tokens: int
    depth: int = 0
    batch: int = 1
    ours: list[float] = field(default_factory=list)
    theirs: list[float] = field(default_factory=list)
    bandwidths: list[float] = field(default_factory=list)
    limits: list[float] = field(default_factory=list)

    @property
    def label(self) -> str:
        if self.kind == "prefill":
            return f"prefill {self.tokens}"
        return f"decode at {self.depth}" + (f" × {self.batch}" if self.batch > 1 else "")

    @property
    def ratios(self) -> list[float]:
        return [ours / theirs for ours, theirs in zip(self.ours, self.theirs, strict=True)]

    def as_dict(self) -> dict[str, Any]:
        ratios = self.ratios
        return dataclasses.asdict(self) | {
            "label": self.label,
            "ratio": {"median": statistics.median(ratios), "min": min(ratios), "max": max(ratios)},
            "share_of_limit": statistics.median(a / b for a, b in zip(self.ours, self.limits, strict=True)),
            "peer_share_of_limit": statistics.median(a / b for a, b in zip(self.theirs, self.limits, strict=True)),
        }


def situations(arguments: argparse.Namespace) -> list[Situation]:
    found = [Situation("prefill", length) for length in arguments.prefill]
    found += [Situation("decode", arguments.tokens, depth) for depth in arguments.depth]
    return found + [Situation("decode", arguments.tokens, 32, batch) for batch in arguments.batch]


def check_outputs(model: understudy.Model, llama: LlamaCpp, path: Path) -> dict[str, Any]:
    """llama.cpp's greedy tokens under our logits: the share that we would choose too, and the largest gap where not.

    Raises:
        RuntimeError: a token that we hold clearly worse than ours, or too little agreement.
    """
    prompt = np.random.default_rng(1).integers(300, model.spec.vocab_size, 12).tolist()
    if model.spec.architecture != "nemotron" and model.spec.vocab_size < 200_000:
        prompt = model.tokenizer.encode("Explain in two sentences what a bridge is.")
    theirs = llama.greedy(path, prompt, CHECK_TOKENS)
    logits = model.logits([*prompt, *theirs])[len(prompt) - 1 : -1]
    gaps = logits.max(axis=-1) - logits[np.arange(len(theirs)), theirs]
    spread = float(logits.std())
    found = {
        "tokens": len(theirs),
        "agreement": float(np.mean(gaps == 0)),
        "largest_gap": float(gaps.max()),
        "deviation_of_logits": spread,
    }
    if found["largest_gap"] > NEAR_TIE * max(1.0, spread) or found["agreement"] < 0.75:
        raise RuntimeError(f"the engines disagree on this model, so their speeds cannot be compared: {found}")
    return found


class Contest:
    """Both engines, loaded and ready, and how each does a situation."""

    def __init__(self, path: Path, model: understudy.Model, llama: LlamaCpp, todo: list[Situation]) -> None:
        self.path, self.llama, self.todo = path, llama, todo
        longest = max(s.tokens + s.depth for s in todo)
        self.test = SpeedTest(model.core_model, model.spec, max_positions=longest, max_batch=max(s.batch for s in todo))
        self.int8_ops = core.measure_int8_peak(llama.num_threads)

    def ours(self, s: Situation) -> float:
        if s.kind == "prefill":
            return s.tokens / self.test.prefill(s.tokens)
        return s.batch * s.tokens / sum(self.test.decode(s.tokens, s.depth, s.batch))

    def theirs(self, s: Situation) -> float:
        if s.kind == "prefill":
            return self.llama.prefill(self.path, s.tokens)
        if s.batch > 1:
            return self.llama.decode_batch(self.path, s.tokens, s.batch, s.depth)
        choices = ("auto",) if s.depth < 512 else ("on", "off")
        return max(self.llama.decode(self.path, s.tokens, s.depth, choice) for choice in choices)

    def limit(self, s: Situation, bandwidth: float) -> float:
        """Tokens per second at most: arithmetic for a prompt; bytes, or arithmetic where it is less, for decoding."""
        if s.kind == "prefill":
            return self.int8_ops * s.tokens / self.test.prefill_operations(s.tokens)
        return s.batch * bandwidth / self.test.decode_bytes(s.depth, s.batch)

    def round(self, number: int) -> None:
        for s in self.todo:
            before = core.measure_bandwidth(self.llama.num_threads)
            order: list[tuple[list[float], Callable[[Situation], float]]] = [(s.ours, self.ours), (s.theirs, self.theirs)]
            for samples, play in order if number % 2 == 0 else reversed(order):
                samples.append(play(s))
            bandwidth = (before + core.measure_bandwidth(self.llama.num_threads)) / 2
            s.bandwidths.append(bandwidth)
            s.limits.append(self.limit(s, bandwidth))
            print(f"  {s.label}: {s.ours[-1]:.1f} against {s.theirs[-1]:.1f}, {bandwidth / 1e9:.0f} GB/s", flush=True)


def starts(path: Path, llama: LlamaCpp, context: int) -> dict[str, Any]:
    """Time and memory of a start to the first token, each engine in a process of its own; ours cold, then warm."""
    script = Path(__file__).with_name("first_token.py")
    command = [sys.executable, script, path, "--context", context, "--threads", llama.num_threads]
    warm = [run(list(map(str, command))) for _ in range(2)][-1]
    theirs = [llama.first_token(path, context) for _ in range(2)][-1]
    return {
        "context": context,
        "ours_warm": {"seconds": warm.seconds, "peak_bytes": warm.peak_bytes} | json.loads(warm.output.splitlines()[-1]),
        "llama_cpp": {"seconds": theirs.seconds, "peak_bytes": theirs.peak_bytes},
    }


def table(todo: list[Situation]) -> str:
    lines = [f"{'tokens/s, medians':20}{'ours':>9}{'llama.cpp':>11}{'ratio':>8}{'from … to':>16}{'GB/s':>7}{'of limit':>10}"]
    for s in todo:
        d = s.as_dict()
        ratio = d["ratio"]
        lines.append(
            f"{s.label:20}{statistics.median(s.ours):>9.1f}{statistics.median(s.theirs):>11.1f}{ratio['median']:>8.2f}"
            f"{ratio['min']:>8.2f} … {ratio['max']:.2f}{statistics.median(s.bandwidths) / 1e9:>8.0f}{d['share_of_limit']:>9.0%}"
        )
    return "\n".join(lines)


def plot(todo: list[Situation], path: Path, title: str) -> None:
    """Bars of both medians, ratio above. Needs matplotlib."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(1.1 * len(todo) + 3, 4))
    places = np.arange(len(todo))
    ours = [statistics.median(s.ours) for s in todo]
    theirs = [statistics.median(s.theirs) for s in todo]
    axes.bar(places - 0.2, ours, 0.4, label="understudy")
    axes.bar(places + 0.2, theirs, 0.4, label="llama.cpp", color="0.7")
    for place, top, s in zip(places, np.maximum(ours, theirs), todo, strict=True):
        axes.text(place, top, f"{statistics.median(s.ratios):.2f}×", ha="center", va="bottom")
    axes.set_xticks(places, [s.label for s in todo], rotation=20, ha="right")
    axes.set_ylabel("tokens per second")
    axes.set_title(title)
    axes.legend()
    figure.tight_layout()
    figure.savefig(path)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a GGUF file, or a name that `understudy list` prints")
    parser.add_argument("--llama-bin", type=Path, required=True, help="folder of llama.cpp's programs")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=core.choose_threads())
    parser.add_argument("--prefill", type=int, nargs="*", default=[128, 512, 2048])
    parser.add_argument("--depth", type=int, nargs="*", default=[0, 2048, 3500])
    parser.add_argument("--batch", type=int, nargs="*", default=[4, 8])
    parser.add_argument("--tokens", type=int, default=32, help="tokens of a decode sample")
    parser.add_argument("--context", type=int, default=4096, help="context for load time and memory")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path)
    return parser.parse_args()


def main() -> None:
    arguments = parse()
    path = Path(hub.resolve(arguments.model))
    llama = LlamaCpp(arguments.llama_bin, arguments.threads)
    started = starts(path, llama, arguments.context)
    model = understudy.load(path, num_threads=arguments.threads, context=arguments.context)
    checked = check_outputs(model, llama, path)
    print(
        f"{path.name}: {checked['agreement']:.0%} of {checked['tokens']} greedy tokens agree, "
        f"largest gap {checked['largest_gap']:.3f}"
    )
    contest = Contest(path, model, llama, situations(arguments))
    for number in range(arguments.rounds):
        print(f"round {number + 1} of {arguments.rounds}", flush=True)
        contest.round(number)
    print(table(contest.todo))
    for what, key, unit in [("start to first token, s", "seconds", 1), ("peak memory, GB", "peak_bytes", 1e9)]:
        print(f"{what}: {started['ours_warm'][key] / unit:.2f} against {started['llama_cpp'][key] / unit:.2f}")
    found = {
        "model": path.name, "bytes": path.stat().st_size, "processor": processor_name(), "threads": arguments.threads,
        "isa": contest.test.model.isa, "date": datetime.date.today().isoformat(), "llama_cpp": llama.version(),
        "int8_ops": contest.int8_ops, "outputs": checked, "start": started,
        "situations": [s.as_dict() for s in contest.todo],
    }  # fmt: skip
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(found, indent=1) + "\n")
    if arguments.plot:
        plot(contest.todo, arguments.plot, f"{path.name}, {arguments.threads} threads")


if __name__ == "__main__":
    main()
