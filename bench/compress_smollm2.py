"""Prune, heal, distil and quantize SmolLM2-135M on a CPU, each step against its baselines; figures into docs/results.

    python bench/compress_smollm2.py TRAIN TEST SECOND WORK [--tokens 131072] [--result docs/results/compress-smollm2.json]

TRAIN and TEST are WikiText-2 raw (`.gz` or plain), SECOND another text. All students have one shape (MLP 1536 -> 896,
75 % of the parameters) or 20 of 30 layers; calibration, tokens, optimizer and evaluation windows are the same for all.
The result file is rewritten after every figure; a figure that is there is not measured again.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from understudy.compress.calibrate import calibrate
from understudy.compress.compensate import compensate
from understudy.compress.data import Rows, read_rows
from understudy.compress.depth import choose_layers
from understudy.compress.distill import DistillSettings, distill
from understudy.compress.evaluate import compare, remember
from understudy.compress.folder import open_source, save_quantized
from understudy.compress.importance import CRITERIA
from understudy.compress.network import Network, network_from_weights
from understudy.compress.prune import Shape, select, trim
from understudy.compress.quantize import QuantizeSettings, quantize
from understudy.compress.teacher import capture
from understudy.spec import parameter_counts

SHAPE = Shape(intermediate_size=896)


class Bench:
    def __init__(self, options: argparse.Namespace) -> None:
        self.options, self.work = options, options.work
        self.work.mkdir(parents=True, exist_ok=True)
        self.result: dict[str, Any] = {}
        if options.result.exists():
            self.result = json.loads(options.result.read_text())
        self.source = open_source("smollm2-135m-instruct")
        self.teacher = self.source.network
        encoder = self.source.encoder
        rows = read_rows([options.train], encoder, 512)
        picked = np.linspace(0, len(rows) - 1, options.calibration_rows).astype(int)
        self.calibration = Rows(rows.tokens[picked], rows.mask[picked])
        self.train = Rows(*(a[:: len(a) // 512][:512] for a in (rows.tokens, rows.mask)))  # 262,144 tokens, spread
        self.test = read_rows([options.test], encoder, 1024, options.windows)
        self.second = read_rows([options.second], encoder, 1024, 4)
        self.remembered = {id(r): remember(self.teacher, r) for r in (self.test, self.second)}

    def figure(self, name: str, measure: Callable[[], dict[str, Any]]) -> None:
        if name in self.result:
            return
        started = time.monotonic()
        found = measure()
        self.result[name] = found | {"seconds": round(time.monotonic() - started, 1)}
        self.options.result.parent.mkdir(parents=True, exist_ok=True)
        self.options.result.write_text(json.dumps(self.result, indent=1))
        print(name, json.dumps(self.result[name])[:300], flush=True)

    def quality(self, student: Network) -> dict[str, Any]:
        first = compare(student, self.teacher, self.test, 2, self.remembered[id(self.test)])
        other = compare(student, self.teacher, self.second, 2, self.remembered[id(self.second)])
        return first.as_dict() | {"second_perplexity": other.perplexity, "second_kl": other.kl,
                                  "parameters": parameter_counts(student.spec)["total"]}  # fmt: skip

    def keep(self, name: str, student: Network) -> None:
        save_file({n: v.contiguous() for n, v in student.state_dict().items()}, self.work / f"{name}.safetensors")

    def load(self, name: str, spec: Any) -> Network:
        return network_from_weights(spec, load_file(self.work / f"{name}.safetensors")).requires_grad_(False)

    # ---- figures ------------------------------------------------------------------------------------------------

    def anchors(self) -> None:
        self.figure("teacher", lambda: self.quality(self.teacher))
        self.statistics = calibrate(self.teacher, self.calibration, self.work / "calibration")

    def zero_shot(self) -> None:
        for criterion in ("minitron", "magnitude", "random", "reconstruction"):
            scores = CRITERIA[criterion](self.teacher, self.statistics, 0)
            selection = select(self.teacher, SHAPE, scores)
            self.spec = selection.spec
            student = trim(self.teacher, selection)
            self.keep(f"trimmed-{criterion}", student)
            self.figure(f"zero-shot trimmed {criterion}", lambda student=student: self.quality(student))
            if criterion == "reconstruction":
                self.figure("zero-shot healed reconstruction", lambda s=student, c=selection: self.healed(s, c))
        kept = choose_layers("influence", self.teacher, self.statistics, 20)
        shallow = trim(self.teacher, select(self.teacher, Shape(num_layers=20), scores, kept))
        self.figure("zero-shot depth by influence", lambda: self.quality(shallow) | {"kept": list(kept)})

    def healed(self, student: Network, selection: Any) -> dict[str, Any]:
        started = time.monotonic()
        compensate(self.teacher, student, selection, self.calibration)
        seconds = time.monotonic() - started
        self.keep("healed-reconstruction", student)
        return self.quality(student) | {"healing_seconds": round(seconds, 1)}

    def distilled(self) -> None:
        rows = self.train.take(self.options.tokens // 512)
        self.figure("teacher cache", lambda: self.captured(rows))
        for name in ("healed-reconstruction", "trimmed-minitron"):
            self.figure(f"distilled {self.options.tokens} {name}", lambda name=name: self.trained(name, rows))

    def captured(self, rows: Rows) -> dict[str, Any]:
        narrow = network_from_weights(self.teacher.spec, self.teacher.state_dict(), torch.bfloat16)
        cached = capture(narrow, rows, self.work / f"cache-{len(rows)}")
        return {"bytes_per_token": cached.form.bytes_per_token, "tokens": rows.num_tokens}

    def trained(self, name: str, rows: Rows) -> dict[str, Any]:
        student = self.load(name, self.spec)
        cached = capture(self.teacher, rows, self.work / f"cache-{len(rows)}")  # is there already
        settings = DistillSettings(
            tokens=self.options.tokens, batch_rows=4, micro_rows=2, rate=3e-4, final_rate=3e-5, precision="bfloat16",
            checkpoint_steps=20,
        )  # fmt: skip
        report = distill(student, cached, rows, settings, self.work / f"run-{name}-{len(rows)}")
        student.requires_grad_(False)
        self.keep(f"distilled-{name}", student)
        speed = report.tokens / report.seconds
        return self.quality(student) | {"tokens_per_second": round(speed), "losses": report.losses[::8]}

    def quantized(self) -> None:
        path = self.work / "distilled-healed-reconstruction.safetensors"
        if not path.exists():
            return
        student = self.load(path.stem, self.spec)
        shutil.rmtree(self.work / "student-calibration", ignore_errors=True)
        statistics = calibrate(student, self.calibration.take(24), self.work / "student-calibration")
        memory = remember(student, self.test)
        for name, settings in {
            "plain": QuantizeSettings(method="plain"),
            "search": QuantizeSettings(method="search", equalise=False),
            "search + scales + feedback": QuantizeSettings(),
        }.items():
            self.figure(f"4-bit {name}", lambda s=settings: self.rounded(student, statistics, s, memory))

    def rounded(self, student: Network, statistics: Any, settings: QuantizeSettings, memory: torch.Tensor) -> dict[str, Any]:
        started = time.monotonic()
        result = quantize(student, statistics, settings)
        seconds = time.monotonic() - started
        found = compare(result.network, student, self.test, 2, memory).as_dict()
        path = self.work / f"student-{settings.method}.gguf"
        save_quantized(result.tensors, result.network, self.source.checkpoint, path)
        return found | {"bits_per_weight": result.bits_per_weight(), "bytes": path.stat().st_size,
                        "quantize_seconds": round(seconds, 1)}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("train", "test", "second", "work"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--tokens", type=int, default=131_072)
    parser.add_argument("--windows", type=int, default=16, help="test windows of 1024 tokens")
    parser.add_argument("--calibration-rows", type=int, default=48)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--result", type=Path, default=Path("docs/results/compress-smollm2.json"))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    bench = Bench(options)
    bench.anchors()
    bench.zero_shot()
    bench.distilled()
    bench.quantized()


if __name__ == "__main__":
    main()
