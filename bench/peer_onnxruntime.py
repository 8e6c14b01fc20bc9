"""Prefill and decode against ONNX Runtime GenAI (int4, CPU), turn about, on the same weights.

    python -m venv ort && ort/bin/pip install onnxruntime-genai==0.18.0 onnx onnx-ir torch
        transformers
    python bench/peer_onnxruntime.py --python ort/bin/python --work FOLDER
        [--model smollm2-135m-instruct]
    python bench/peer_onnxruntime.py --python ort/bin/python --work FOLDER --synthetic
        nemotron-mini-4b --layers 1 4

The checkpoint is written to FOLDER as bfloat16, from which its model builder makes int4 (blocks of
32, int8 products; the head for the last position of a prompt only, its best setting) and this
engine q4. Both round to 4 bits by their own rule, so the logits of a short text must agree in
direction (cosine), not in value. With two numbers of layers the whole model is extrapolated from
their difference.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from machine import processor_name
from peer_llama import Complete
from peer_rows import spread

import understudy
from understudy import core, hub
from understudy.checkpoint.checkpoint import open_checkpoint
from understudy.checkpoint.convert import save_checkpoint
from understudy.judge.benchmark.shapes import SHAPES
from understudy.judge.benchmark.speed import SpeedTest
from understudy.judge.benchmark.synthetic import synthetic_checkpoint
from understudy.spec import QuantSpec

LEAST_COSINE = 0.8
SETTLE_S = 0.05  # its threads spin for a moment after a run


def prepare(name: str, layers: int | None, work: Path, python: str) -> tuple[Path, Path]:
    """The Hugging Face folder and the ONNX folder of a model, made where they are not there yet."""
    folder = work / (name if layers is None else f"{name}-{layers}")
    source, onnx = folder / "hf", folder / "onnx"
    if not source.exists():
        folder.mkdir(parents=True, exist_ok=True)
        quant = QuantSpec("bf16")
        is_synthetic = name in SHAPES
        checkpoint = (
            synthetic_checkpoint(name, quant, layers)
            if is_synthetic
            else open_checkpoint(hub.resolve(name))
        )
        save_checkpoint(checkpoint, source, quant)
    if not (onnx / "genai_config.json").exists():
        command = [
            python,
            "-m",
            "onnxruntime_genai.models.builder",
            "-i",
            source,
            "-o",
            onnx,
            "-p",
            "int4",
            "-e",
            "cpu",
            "-c",
            work / "cache",
            "--extra_options",
            "int4_block_size=32",
            "int4_accuracy_level=4",
            "hf_token=false",
            "prune_lm_head=true",
        ]
        done = subprocess.run(
            list(map(str, command)),
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | {"HF_HUB_OFFLINE": "1"},
        )
        if done.returncode:
            raise RuntimeError(f"the model builder failed: {done.stderr[-800:]}")
    return source, onnx


@contextmanager
def worker(python: str, onnx: Path, num_threads: int) -> Iterator[tuple[str, Complete]]:
    """The other engine in a process of its own: its version, and `ask(request) -> answer`."""
    command = [
        python,
        str(Path(__file__).with_name("in_onnxruntime.py")),
        str(onnx),
        str(num_threads),
    ]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin
        assert process.stdout
        read, write = process.stdout.readline, process.stdin

        def answer() -> dict[str, Any]:
            line = read()
            if not line:
                raise RuntimeError(
                    f"onnxruntime ended: its words stand above (exit {process.poll()})"
                )
            found: dict[str, Any] = json.loads(line)
            return found

        def ask(request: dict[str, Any]) -> dict[str, Any]:
            write.write(json.dumps(request) + "\n")
            write.flush()
            return answer()

        try:
            yield answer()["version"], ask
        finally:
            write.close()


def check(source: Path, ask: Complete, vocab_size: int) -> float:
    """Cosine of both engines' logits after a short text, ours on the bfloat16 weights. RuntimeError
    where it is low.
    """
    ids = np.random.default_rng(1).integers(300, vocab_size, 12).tolist()
    with understudy.load(source, weights="bf16", context=64, use_cache=False) as model:
        ours = model.logits(ids)[-1].astype(np.float64)
    theirs = np.asarray(ask({"logits": ids})["logits"], np.float64)[-len(ours) :]
    ours, theirs = ours - ours.mean(), theirs - theirs.mean()
    cosine = float(ours @ theirs / np.sqrt((ours @ ours) * (theirs @ theirs)))
    if cosine < LEAST_COSINE:
        raise RuntimeError(
            f"the engines disagree on this model (cosine of logits {cosine:.2f}), so their speeds are not compared"
        )
    return cosine


def contest(arguments: argparse.Namespace, source: Path, onnx: Path) -> dict[str, Any]:
    """Seconds of a prompt and of a decoded token for both, by round."""
    prompt, depth, count = arguments.prefill, arguments.depth, arguments.tokens
    with worker(arguments.python, onnx, arguments.threads) as (version, ask):
        model = understudy.load(
            source,
            weights="q4",
            num_threads=arguments.threads,
            context=prompt,
            cache_tokens=32,
            use_cache=False,
        )
        cosine = check(source, ask, model.spec.vocab_size)
        ours = SpeedTest(model.core_model, model.spec, max_positions=max(prompt, depth + count))
        ids = (
            np.random.default_rng(2)
            .integers(300, model.spec.vocab_size, max(prompt, depth))
            .tolist()
        )
        seconds: dict[str, list[float]] = {
            name: []
            for name in ("our_prefill", "their_prefill", "our_token", "their_token", "bandwidth")
        }
        for number in range(arguments.rounds + 1):  # the first warms up
            theirs_prefill = ask({"prefill": ids[:prompt]})["seconds"]
            time.sleep(SETTLE_S)
            ours_prefill = ours.prefill(prompt)
            theirs_token = statistics.median(
                ask({"decode": ids[:depth], "tokens": count})["seconds"]
            )
            time.sleep(SETTLE_S)
            ours_token = statistics.median(ours.decode(count, depth))
            figures = (
                ours_prefill,
                theirs_prefill,
                ours_token,
                theirs_token,
                core.measure_bandwidth(arguments.threads),
            )
            for name, value in zip(seconds, figures, strict=True):
                seconds[name] += [value] if number else []
    return {
        "version": version,
        "cosine_of_logits": cosine,
        "num_layers": model.spec.num_layers,
        "seconds": seconds,
    }


def ratios(seconds: dict[str, list[float]], prompt: int) -> dict[str, Any]:
    def rate(name: str, tokens: int) -> float:
        return tokens / statistics.median(seconds[name])

    return {
        "prefill": {
            "ours_tokens_s": rate("our_prefill", prompt),
            "theirs_tokens_s": rate("their_prefill", prompt),
            "ratio": spread(
                [
                    b / a
                    for a, b in zip(seconds["our_prefill"], seconds["their_prefill"], strict=True)
                ]
            ),
        },
        "decode": {
            "ours_tokens_s": rate("our_token", 1),
            "theirs_tokens_s": rate("their_token", 1),
            "ratio": spread(
                [b / a for a, b in zip(seconds["our_token"], seconds["their_token"], strict=True)]
            ),
        },
    }


def whole(runs: list[dict[str, Any]], name: str, prompt: int) -> dict[str, Any]:
    """The whole model from two numbers of layers, medians: t = t_few + (layers - few) · (t_many -
    t_few) / (many - few).
    """
    few, many = runs[0], runs[-1]
    layers, found = SHAPES[name].num_layers, {}
    for key in ("our_prefill", "their_prefill", "our_token", "their_token"):
        a, b = (statistics.median(run["seconds"][key]) for run in (few, many))
        found[key] = a + (layers - few["num_layers"]) * (b - a) / (
            many["num_layers"] - few["num_layers"]
        )
    return {
        "num_layers": layers,
        "prefill_ratio": found["their_prefill"] / found["our_prefill"],
        "decode_ratio": found["their_token"] / found["our_token"],
        "prefill_tokens_s": {
            "ours": prompt / found["our_prefill"],
            "theirs": prompt / found["their_prefill"],
        },
        "decode_tokens_s": {"ours": 1 / found["our_token"], "theirs": 1 / found["their_token"]},
    }


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--python", required=True, help="Python of the environment that holds onnxruntime-genai"
    )
    parser.add_argument(
        "--work", type=Path, required=True, help="folder for the checkpoints and ONNX models; kept"
    )
    parser.add_argument("--model", default="smollm2-135m-instruct")
    parser.add_argument(
        "--synthetic", choices=SHAPES, help="random weights in this shape instead of a model"
    )
    parser.add_argument(
        "--layers", type=int, nargs="*", help="with --synthetic: numbers of layers, smallest first"
    )
    parser.add_argument("--prefill", type=int, default=512)
    parser.add_argument("--depth", type=int, default=32)
    parser.add_argument("--tokens", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=core.choose_threads())
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def main() -> None:
    arguments = parse()
    name = arguments.synthetic or arguments.model
    runs = []
    for layers in (arguments.layers or [None]) if arguments.synthetic else [None]:
        run = contest(arguments, *prepare(name, layers, arguments.work, arguments.python))
        run |= ratios(run["seconds"], arguments.prefill)
        runs.append(run)
        for phase in ("prefill", "decode"):
            found = run[phase]
            print(
                f"{name}, {run['num_layers']} layers, {phase}: {found['ours_tokens_s']:.1f} against {found['theirs_tokens_s']:.1f} tokens/s, "
                f"ratio {found['ratio']['median']:.2f} ({found['ratio']['min']:.2f} … {found['ratio']['max']:.2f})",
                flush=True,
            )
    result = {
        "model": name,
        "processor": processor_name(),
        "threads": arguments.threads,
        "isa": core.choose_isa(),
        "prefill": arguments.prefill,
        "depth": arguments.depth,
        "runs": runs,
    }
    if len(runs) > 1:
        result["whole"] = whole(runs, name, arguments.prefill)
        print(json.dumps(result["whole"], indent=1))
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
