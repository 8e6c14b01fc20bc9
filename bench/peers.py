"""This engine and stock llama.cpp on the same GGUF with the same threads, turn about in one run.

    python bench/peers.py MODEL.gguf --llama-bin llama-build/bin [--rounds 5]
        [--prefill 128 512 2048] [--depth 0 2048 3500] [--batch 4 8] [--kv int8] [--tokens 32]
        [--starts 3] [--json bench/results/NAME.json]

How to build llama.cpp: `bench/peer_llama.py`; a model of random weights in a published shape, with
a share of zeros after the squared ReLU: `bench/synthetic.py`. The machine is measured first. In
each round every situation is run by both, who goes first alternates, and the read bandwidth is
measured before and after. What is reported is the median of the rounds' ratios with their spread,
and the share of what the bandwidth (decode) or the int8 arithmetic (prefill) of the same seconds
allows. Before anything is timed, the tokens that llama.cpp chooses are checked against our logits;
a model that the two compute differently is not timed. From a depth of 512 on llama.cpp decodes with
flash attention on and off in the first round of a piece, and its faster one counts and goes on; as
it fills the cache anew for each, it then decodes three times and its median counts.

A run can be made in pieces: with the same `--json` each adds its situations, or further rounds of
those that are there, and is refused if the model, the machine, the compiled core or llama.cpp is
another. `--starts 0` leaves out load time and memory, `--prefill`, `--depth` and `--batch` without
a number leave out theirs. `bench/peer_plot.py` draws the files.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import json
import statistics
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from machine import measure, processor_name
from peer_llama import LlamaCpp, run
from peer_rows import Result, Setting, Situation, spread, table

import understudy
from understudy import core, hub
from understudy.core import _core
from understudy.judge.benchmark.speed import SpeedTest
from understudy.spec import KvFormat

CHECK_TOKENS = 48
# logits; both engines round activations to 8 bits, which moves a logit by a few hundredths of its
# spread
NEAR_TIE = 0.5
# positions from which llama.cpp is given the choice of flash attention, and several decodes for one
# prompt
DEEP = 512
DEEP_REPEATS = 3
KV_FORMATS = {"f16": "f16", "int8": "q8_0"}  # ours: llama.cpp's


def situations(arguments: argparse.Namespace) -> list[Situation]:
    found = [Situation("prefill", length) for length in arguments.prefill]
    found += [Situation("decode", arguments.tokens, depth) for depth in arguments.depth]
    return found + [Situation("decode", arguments.tokens, 32, batch) for batch in arguments.batch]


def check_outputs(model: understudy.Model, llama: LlamaCpp, path: Path) -> dict[str, Any]:
    """llama.cpp's greedy tokens under our logits: the share that we would choose too, and the
    largest gap where not.

    Raises:
        RuntimeError: a token that we hold clearly worse than ours, or too little agreement.
    """
    prompt = np.random.default_rng(1).integers(300, model.spec.vocab_size, 12).tolist()
    if model.spec.architecture != "nemotron" and model.spec.vocab_size < 200_000:
        prompt = model.tokenizer.encode("Explain in two sentences what a bridge is.")
    theirs = llama.greedy(path, prompt, CHECK_TOKENS)
    logits = model.logits([*prompt, *theirs])[len(prompt) - 1 : -1]
    gaps = logits.max(axis=-1) - logits[np.arange(len(theirs)), theirs]
    spread_of_logits = float(logits.std())
    found = {
        "tokens": len(theirs),
        "agreement": float(np.mean(gaps == 0)),
        "largest_gap": float(gaps.max()),
        "deviation_of_logits": spread_of_logits,
    }
    if found["largest_gap"] > NEAR_TIE * max(1.0, spread_of_logits) or found["agreement"] < 0.75:
        raise RuntimeError(
            f"the engines disagree on this model, so their speeds cannot be compared: {found}"
        )
    return found


class Contest:
    """Both engines, loaded and ready, and how each does a situation."""

    def __init__(
        self,
        path: Path,
        model: understudy.Model,
        llama: LlamaCpp,
        todo: list[Situation],
        kv: KvFormat = "f16",
    ) -> None:
        self.path, self.llama, self.todo = path, llama, todo
        longest = max(s.tokens + s.depth for s in todo)
        self.test = SpeedTest(
            model.core_model,
            model.spec,
            kv_format=kv,
            max_positions=longest,
            max_batch=max(s.batch for s in todo),
        )
        self.int8_ops = core.measure_int8_peak(llama.num_threads)
        self.flash: dict[
            int, str
        ] = {}  # by depth: which choice of flash attention llama.cpp decodes faster with

    def ours(self, s: Situation) -> float:
        if s.kind == "prefill":
            return s.tokens / self.test.prefill(s.tokens)
        return s.batch * s.tokens / sum(self.test.decode(s.tokens, s.depth, s.batch))

    def theirs(self, s: Situation) -> float:
        if s.kind == "prefill":
            return self.llama.prefill(self.path, s.tokens)
        if s.batch > 1:
            return self.llama.decode_batch(self.path, s.tokens, s.batch, s.depth)
        if s.depth < DEEP:
            return self.llama.decode(
                self.path, s.tokens, s.depth, "auto" if self.llama.kv == "f16" else "on"
            )
        both = (
            ("on", "off") if self.llama.kv == "f16" else ("on",)
        )  # it keeps values in 8 bits with flash attention only
        choices = (self.flash[s.depth],) if s.depth in self.flash else both
        rates = {
            choice: self.llama.decode(self.path, s.tokens, s.depth, choice, DEEP_REPEATS)
            for choice in choices
        }
        self.flash[s.depth] = max(rates, key=lambda choice: rates[choice])
        return rates[self.flash[s.depth]]

    def operations(self, s: Situation) -> float:
        """Multiplications and additions of one token, in the mean."""
        if s.kind == "prefill":
            return self.test.prefill_operations(s.tokens) / s.tokens
        return self.test.prefill_operations(1)

    def limit(self, s: Situation, bandwidth: float) -> float:
        """Tokens per second at most: arithmetic for a prompt; bytes, or arithmetic where it is
        less, for decoding.
        """
        arithmetic = self.int8_ops / self.operations(s)
        if s.kind == "prefill":
            return arithmetic
        return min(s.batch * bandwidth / self.test.decode_bytes(s.depth, s.batch), arithmetic)

    def round(self, number: int) -> None:
        for s in self.todo:
            before = core.measure_bandwidth(self.llama.num_threads)
            order: list[tuple[list[float], Callable[[Situation], float]]] = [
                (s.ours, self.ours),
                (s.theirs, self.theirs),
            ]
            rates = [
                (samples, play(s))
                for samples, play in (order if number % 2 == 0 else reversed(order))
            ]
            bandwidth = (before + core.measure_bandwidth(self.llama.num_threads)) / 2
            for (
                samples,
                rate,
            ) in rates:  # all at once: an interrupted round leaves no half of a row behind
                samples.append(rate)
            s.bandwidths.append(bandwidth)
            s.limits.append(self.limit(s, bandwidth))
            s.work = (
                self.operations(s)
                if s.kind == "prefill"
                else self.test.decode_bytes(s.depth, s.batch) / s.batch
            )
            print(
                f"  {s.label}: {s.ours[-1]:.1f} against {s.theirs[-1]:.1f}, {bandwidth / 1e9:.0f} GB/s",
                flush=True,
            )


def measure_apart(num_threads: int, seconds: float) -> dict[str, Any]:
    """`machine.measure` in a process of its own: what a process has used before it starts another
    counts as the other's peak.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(measure, num_threads, seconds).result()


def our_start(path: Path, threads: int, context: int, kv: str) -> dict[str, float]:
    """Seconds to a ready model and to the first token, peak memory with a full cache, of a process
    of its own.
    """
    script = Path(__file__).with_name("first_token.py")
    done = run(
        [
            sys.executable,
            script,
            path,
            "--context",
            str(context),
            "--threads",
            str(threads),
            "--kv",
            kv,
        ]
    )
    inside = json.loads(done.output.splitlines()[-1])
    outside = done.seconds - inside["total_s"]  # the interpreter's own start, before our clock
    return {
        "ready_s": inside["ready_s"] + outside,
        "first_token_s": inside["first_token_s"] + outside,
        "peak_bytes": done.peak_bytes,
    }


def starts(path: Path, llama: LlamaCpp, context: int, rounds: int) -> dict[str, Any]:
    """Load time, first token and peak memory of both, alternately, warm page cache; with each
    format of the cache.

    llama.cpp's time to the first token is that of its whole process, which ends after it; its load
    time that of a ready server.
    """
    (
        our_start(path, llama.num_threads, context, "f16"),
        llama.load(path, context),
    )  # packed weights written, pages warm
    found: dict[str, Any] = {"context": context}
    for kv, their_kv in KV_FORMATS.items():
        ours, theirs = [], []
        for _ in range(rounds):
            ours.append(our_start(path, llama.num_threads, context, kv))
            done = llama.first_token(path, context, their_kv)
            load = llama.load(path, context) if kv == "f16" else float("nan")
            theirs.append(
                {"ready_s": load, "first_token_s": done.seconds, "peak_bytes": done.peak_bytes}
            )
        found[kv] = {
            what: {
                "ours": spread([o[what] for o in ours]),
                "theirs": spread([t[what] for t in theirs]),
            }
            for what in ("ready_s", "first_token_s", "peak_bytes")
            if kv == "f16" or what == "peak_bytes"
        }
    return found


def show_starts(found: dict[str, Any]) -> None:
    named = {
        "ready_s": ("load, s", 1),
        "first_token_s": ("start to first token, s", 1),
        "peak_bytes": ("peak memory, GB", 1e9),
    }
    for kv in KV_FORMATS:
        for what, pair in found.get(kv, {}).items():
            words, unit = named[what]
            print(
                f"{words} ({kv} cache): {pair['ours']['median'] / unit:.2f} against {pair['theirs']['median'] / unit:.2f}"
            )


def share_of_zeros(model: understudy.Model) -> float | None:
    """Exact zeros after the squared ReLU over a short random text; None where the activation has
    none.
    """
    if model.spec.activation != "relu2":
        return None
    model.core_model.count_zeros(True)
    model.logits(np.random.default_rng(3).integers(300, model.spec.vocab_size, 32).tolist())
    shares = model.core_model.zero_shares()
    model.core_model.count_zeros(False)
    return statistics.fmean(shares)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", help="a GGUF file, or a name that `understudy list` prints")
    parser.add_argument(
        "--llama-bin", type=Path, required=True, help="folder of llama.cpp's programs"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=core.choose_threads())
    parser.add_argument("--prefill", type=int, nargs="*", default=[128, 512, 2048])
    parser.add_argument("--depth", type=int, nargs="*", default=[0, 2048, 3500])
    parser.add_argument("--batch", type=int, nargs="*", default=[4, 8])
    parser.add_argument("--tokens", type=int, default=32, help="tokens of a decode sample")
    parser.add_argument("--starts", type=int, default=3, help="rounds of load time and memory")
    parser.add_argument(
        "--context", type=int, default=4096, help="context for load time and memory"
    )
    parser.add_argument(
        "--activations",
        choices=["int8", "int12"],
        help="inputs of our products (default as `understudy.load`)",
    )
    parser.add_argument(
        "--kv", choices=KV_FORMATS, default="f16", help="cache that both decode with"
    )
    parser.add_argument("--json", type=Path, help="result file; added to if it is there")
    return parser.parse_args()


def setting_of(arguments: argparse.Namespace, path: Path, llama: LlamaCpp) -> Setting:
    digest = hashlib.sha256(Path(str(_core.__file__)).read_bytes()).hexdigest()[:12]
    return Setting(
        path.name,
        path.stat().st_size,
        processor_name(),
        arguments.threads,
        core.choose_isa(),
        digest,
        llama.version(),
        arguments.activations or "default",
        arguments.kv,
    )


def main() -> None:
    arguments = parse()
    path = Path(hub.resolve(arguments.model))
    llama = LlamaCpp(arguments.llama_bin, arguments.threads, KV_FORMATS[arguments.kv])
    result = Result.open(arguments.json, setting_of(arguments, path, llama))
    limits = measure_apart(arguments.threads, 2.0)
    bandwidth = limits["bandwidth_gb_s"]
    print(
        f"{result.setting.processor}, {arguments.threads} threads: int8 {limits['int8_gop_s']:.0f} Gop/s, read {bandwidth['median']:.0f} "
        f"GB/s ({bandwidth['min']:.0f} … {bandwidth['max']:.0f})",
        flush=True,
    )
    if arguments.starts:
        result.start = starts(path, llama, arguments.context, arguments.starts)
        show_starts(result.start)
    todo = [result.row(s) for s in situations(arguments)]
    model = understudy.load(
        path,
        num_threads=arguments.threads,
        context=arguments.context,
        activations=arguments.activations,
        cache_tokens=512,
    )
    result.outputs = check_outputs(model, llama, path) | {
        "zeros_after_relu2": share_of_zeros(model)
    }
    print(
        f"{path.name}: {result.outputs['agreement']:.0%} of {result.outputs['tokens']} greedy tokens agree, largest gap "
        f"{result.outputs['largest_gap']:.3f}",
        flush=True,
    )
    result.pieces.append(
        {
            "date": datetime.datetime.now().isoformat(timespec="seconds"),
            "command": " ".join(sys.argv[1:]),
            "rounds": 0,
            "machine": limits,
        }
    )
    contest = Contest(path, model, llama, todo, arguments.kv) if todo else None
    for number in range(arguments.rounds if contest else 0):
        assert contest
        print(f"round {number + 1} of {arguments.rounds}", flush=True)
        contest.round(number)
        result.pieces[-1] |= {"rounds": number + 1, "flash_attention_by_depth": contest.flash}
        if arguments.json:
            result.write(arguments.json)
    if arguments.json:
        result.write(arguments.json)
    print(table([s for s in result.situations if s.ours], "llama.cpp"))


if __name__ == "__main__":
    main()
