"""Prune, heal, distil and quantize a model, each step against its baselines; figures into docs/results.

    python bench/compress_bars.py prepare TRAIN TEST SECOND FOLDER [FOLDER ...] [--beside FILE ...]   # weights and rows, spread over folders
    python bench/compress_bars.py run RESULT.json WORK FOLDER [FOLDER ...] [--device cuda] [--minutes 9] [--windows 64]

SmolLM2-135M by default: TRAIN and TEST are WikiText-2 raw (`.gz` or plain), SECOND another text. With `--model
tests/data/stories-nemotron` the texts are one file of token rows, as `bench/compress_stories.py --stories` keeps them. `run` needs torch,
numpy and safetensors only. Students have one size (`SHAPES`: MLP 1536 -> 896, 75 % of the parameters, or 21 of 30 layers,
76 %); calibration, tokens, optimizer and evaluation windows are the same for all. All learn from one cache of the teacher but where
a figure says live. RESULT is rewritten after every figure; one that is there is not measured again, none is begun after the
minutes are over, and a run that was cut goes on from its last checkpoint in WORK.
"""

from __future__ import annotations

import argparse
import dataclasses
import fcntl
import functools
import itertools
import json
import math
import shutil
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from understudy.compress import losses
from understudy.compress.calibrate import calibrate
from understudy.compress.compensate import compensate
from understudy.compress.data import Rows, mixed, read_rows
from understudy.compress.depth import choose_layers
from understudy.compress.distill import DistillSettings, distill
from understudy.compress.evaluate import compare, perplexity, remember
from understudy.compress.grids import GRIDS, plain
from understudy.compress.importance import CRITERIA, Importance
from understudy.compress.network import Network, initialise, network_from_weights
from understudy.compress.prune import Selection, Shape, select, trim
from understudy.compress.qad import LEARNS, tune
from understudy.compress.quantize import Quantized, QuantizeSettings, quantize
from understudy.compress.teacher import Labels, LiveTeacher, Teacher, capture
from understudy.spec import ModelSpec, parameter_counts

SHAPES = {  # layers of the teacher -> a narrow and a shallow student of one size
    30: (Shape(intermediate_size=896), Shape(num_layers=21)),
    6: (Shape(intermediate_size=256), Shape(num_layers=4)),
}
OURS = "reconstruction healed"
BEST = "scales, search, feedback, refit in order"
Student = tuple[Network, Selection]


def prepare(options: argparse.Namespace) -> None:
    """Raw blocks of the tensors (uint8, Hugging Face's names and order) and rows of token ids, spread over the folders."""
    from understudy.compress.folder import open_source

    source = open_source(options.model)
    stored = [source.checkpoint.weights[name] for name in source.checkpoint.weights]
    folders, size = options.folders, sum(t.data.size for t in stored) / len(options.folders)
    parts: list[dict[str, torch.Tensor]] = [{} for _ in folders]
    taken = 0
    for tensor in stored:
        parts[min(int(taken / size), len(folders) - 1)][tensor.name] = torch.from_numpy(np.array(tensor.data))
        taken += tensor.data.size
    for folder, part in zip(folders, parts, strict=True):
        folder.mkdir(parents=True, exist_ok=True)
        save_file(part, folder / "blocks.safetensors")
    if options.train.suffix == ".st":  # stories of the teacher: the first are held out, as they were when it was made
        stories = load_file(options.train)["stories"].numpy().astype(np.uint16)
        for name, part in (("test", stories[:64]), ("second", stories[64:128]), ("train", stories[128:])):
            np.save(folders[0] / f"{name}.npy", part)
    else:
        texts = [("train", [options.train], 512), ("test", [options.test], 1024), ("second", [options.second], 1024)]
        if options.beside:
            texts.append(("beside", options.beside, 512))
        for name, files, length in texts:
            rows = read_rows(files, source.encoder, length)
            np.save(folders[0] / f"{name}.npy", rows.tokens.astype(np.uint16))
    about = {"spec": dataclasses.asdict(source.network.spec), "tensors": {t.name: [t.format, t.shape] for t in stored}}
    (folders[0] / "material.json").write_text(json.dumps(about))


def decode(raw: torch.Tensor, kind: str, shape: list[int]) -> torch.Tensor:
    """ggml's F32, BF16, Q8_0 (float16 d, 32 int8) and Q4_1 (float16 d and m, 16 bytes of low and high nibbles)."""
    if kind == "F32":
        return raw.view(torch.float32).reshape(shape)
    if kind == "BF16":
        return raw.view(torch.bfloat16).float().reshape(shape)
    if kind == "Q8_0":
        blocks = raw.view(-1, 34)
        return (blocks[:, 2:].view(torch.int8).float() * blocks[:, :2].contiguous().view(torch.float16).float()).reshape(shape)
    assert kind == "Q4_1", kind
    blocks = raw.view(-1, 20)
    d, m = blocks[:, :4].contiguous().view(torch.float16).float().split(1, dim=1)
    nibbles = torch.cat([blocks[:, 4:] & 15, blocks[:, 4:] >> 4], dim=1).float()
    return (nibbles * d + m).reshape(shape)


class Bench:
    def __init__(self, options: argparse.Namespace) -> None:
        self.options, self.work, self.started = options, options.work, time.monotonic()
        self.device = options.device
        self.work.mkdir(parents=True, exist_ok=True)
        self.result = self.known()
        about = json.loads((options.folders[0] / "material.json").read_text())
        spec = ModelSpec(**about["spec"])
        weights: dict[str, torch.Tensor] = {}
        for folder in options.folders:
            for name, raw in load_file(folder / "blocks.safetensors").items():
                weights[name] = decode(raw, *about["tensors"][name])
        self.here = network_from_weights(spec, weights).requires_grad_(False)  # stays on the CPU, for trimming
        self.teacher = network_from_weights(spec, weights).to(self.device).requires_grad_(False)
        rows = {n: np.load(options.folders[0] / f"{n}.npy").astype(np.int32) for n in ("train", "test", "second")}
        self.test, self.second = (
            all_count(rows["test"][: options.windows]),
            all_count(rows["second"][: max(4, options.windows // 8)]),
        )
        every = all_count(rows["train"])
        if (beside := options.folders[0] / "beside.npy").exists():
            self.calibration = mixed(every, all_count(np.load(beside).astype(np.int32)), options.calibration_rows)
        else:
            self.calibration = every.spread(options.calibration_rows)
        some = slice(None, None, max(1, len(self.calibration) // options.refit_rows))
        self.refit = Rows(self.calibration.tokens[some], self.calibration.mask[some])
        shuffled = np.random.default_rng(0).permutation(len(every))
        self.train = Rows(every.tokens[shuffled], every.mask[shuffled])
        self.live: Teacher = LiveTeacher(self.teacher)
        self.memory = {id(r): remember(self.teacher, r) for r in (self.test, self.second)}
        self.narrow, self.shallow = SHAPES[spec.num_layers]
        self.row_tokens = every.mask.shape[1]

    def known(self) -> dict[str, Any]:
        return json.loads(self.options.result.read_text()) if self.options.result.exists() else {}

    def figure(self, name: str, measure: Callable[[], dict[str, Any]]) -> None:
        spent = (time.monotonic() - self.started) / 60
        is_wanted = not self.options.only or any(word in name for word in self.options.only)
        if name in self.result or spent > self.options.minutes or not is_wanted:
            return
        started = time.monotonic()
        found = measure() | {"seconds": round(time.monotonic() - started, 1)}
        self.options.result.parent.mkdir(parents=True, exist_ok=True)
        with (self.work / "result.lock").open("w") as lock:  # several may run at once, each with its own --only
            fcntl.flock(lock, fcntl.LOCK_EX)
            self.result = self.known() | {name: found}
            self.result["machine"] = (
                torch.cuda.get_device_name() if self.device == "cuda" else f"CPU, {torch.get_num_threads()} threads"
            )
            self.options.result.write_text(json.dumps(self.result, indent=1) + "\n")
        brief = {k: v for k, v in self.result[name].items() if k != "losses"}
        print(f"{spent:.1f} min  {name}  {json.dumps(brief)}", flush=True)

    def quality(self, student: Network, teacher: Network | None = None) -> dict[str, Any]:
        first = compare(student, self.teacher, self.test, 4, self.memory[id(self.test)])
        other = compare(student, self.teacher, self.second, 4, self.memory[id(self.second)])
        return first.as_dict() | {"second_perplexity": other.perplexity, "second_kl": other.kl,
                                  "parameters": parameter_counts(student.spec)["total"]}  # fmt: skip

    # ---- students -----------------------------------------------------------------------------------------------

    def make(self, name: str) -> Student:
        """ "CRITERION", "CRITERION healed", "influence", "contiguous" (depth), or these healed; on the device."""
        kind, _, healed = name.partition(" ")
        if kind in ("influence", "contiguous"):
            kept = choose_layers(kind, self.here, self.statistics, self.shallow.num_layers or 1, self.calibration.take(8))
            selection = select(self.here, self.shallow, self.scores("minitron"), kept)
        else:
            selection = select(self.here, self.narrow, self.scores(kind))
        student = trim(self.here, selection).to(self.device).requires_grad_(False)
        if healed:
            compensate(self.teacher, student, selection, self.refit, batch_rows=16)
        save_file({n: w.contiguous().cpu() for n, w in student.state_dict().items()}, self.kept(name))
        return student, selection

    def kept(self, name: str) -> Path:
        return self.work / f"{name.replace(' ', '-').replace(',', '')}.safetensors"

    def scores(self, criterion: str) -> Importance:
        if criterion == "taylor":
            return taylor(self.teacher, self.calibration.take(16))
        return CRITERIA[criterion](self.here, self.statistics, 0)

    def zero_shot(self, name: str) -> None:
        def measure() -> dict[str, Any]:
            started, is_new = time.monotonic(), not self.kept(name).exists()
            student = self.student(name).requires_grad_(False)
            seconds = {"making_seconds": round(time.monotonic() - started, 1)} if is_new else {}
            return self.quality(student) | seconds | {"layers": student.spec.num_layers}

        self.figure(f"zero-shot {name}", measure)

    def student(self, name: str) -> Network:
        if name == "from nothing":
            fresh = Network(self.narrow.apply(self.here.spec))
            initialise(fresh, seed=0)
            return fresh.to(self.device)
        if not self.kept(name).exists():
            self.make(name)
        is_shallow = name.split()[0] in ("influence", "contiguous")
        shape = self.shallow if is_shallow else self.narrow
        return network_from_weights(shape.apply(self.here.spec), load_file(self.kept(name))).to(self.device)

    def distilled(self, name: str, tokens: int, seed: int = 0, is_live: bool = False, lora: bool = False) -> None:
        label = f"distilled {tokens} {name}" + " live" * is_live + " by LoRA" * lora + (f", seed {seed}" if seed else "")
        kept = self.kept(label)

        def measure() -> dict[str, Any]:
            if kept.exists():  # trained before: a second RESULT with other windows costs no training
                return self.quality(network_from_weights(self.student(name).spec, load_file(kept)).to(self.device))
            student, folder = self.student(name), self.work / "runs" / kept.stem
            if lora:
                add_lora(student)
            settings = self.settings(tokens, seed, self.options.rate * (5 if lora else 1))
            rows = self.train.take(tokens // self.row_tokens)  # one epoch
            teacher = self.live if is_live else self.cached(tokens)
            curve: list[list[float]] = []
            times = [time.monotonic()]

            def note(done: int, total: int, what: str) -> None:
                del total, what
                times.append(time.monotonic())
                if (at := done * settings.batch_rows * self.row_tokens) % (1 << 17) == 0 and tokens > 1 << 18:
                    curve.append([at, round(perplexity(student, self.test.take(8)), 3)])

            report = distill(student, teacher, rows, settings, folder, progress=note, device=self.device, trains_all=not lora)
            student.requires_grad_(False)
            if lora:
                merge_lora(student)
            save_file({n: w.contiguous().cpu() for n, w in student.state_dict().items()}, kept)
            shutil.rmtree(folder)
            step = statistics.median(after - before for before, after in itertools.pairwise(times))
            return self.quality(student) | {
                "step_seconds": round(step, 4), "curve": curve, "losses": [round(x, 4) for x in report.losses[::4]],
            }  # fmt: skip

        self.figure(label, measure)

    def settings(self, tokens: int, seed: int, rate: float) -> DistillSettings:
        return DistillSettings(
            tokens=tokens, batch_rows=max(1, 4096 // self.row_tokens), micro_rows=self.options.micro_rows, rate=rate, final_rate=rate / 10,
            precision="bfloat16", checkpoint_steps=16 if self.device == "cpu" else 1 << 30, seed=seed,
        )  # fmt: skip

    # ---- the plan -----------------------------------------------------------------------------------------------

    def run(self) -> None:
        """By value: what a bar needs first, comparisons that only widen the picture last."""
        self.figure("teacher", lambda: self.quality(self.teacher))
        self.statistics = calibrate(self.teacher, self.calibration, self.work / "calibration", batch_rows=16)
        small, large = self.options.tokens
        self.zero_shot("minitron")
        self.zero_shot(OURS)
        self.distilled("minitron", small)
        self.distilled(OURS, small)
        self.quantized(OURS, small)
        self.distilled(OURS, small, is_live=True)
        for name in ("magnitude", "minitron healed", "reconstruction", "random", "influence", "contiguous", "taylor"):
            self.zero_shot(name)
        self.zero_shot("influence healed")
        self.distilled(OURS, large)
        self.quantized(OURS, large)
        self.distilled("influence", large)
        self.distilled("taylor", large, lora=True)
        for seed in range(1, self.options.seeds):
            for name in ("minitron", OURS):
                self.distilled(name, small, seed)
        self.corrected(small)
        self.distilled("from nothing", 20 * small)
        for name in ("contiguous", "minitron", "random", "magnitude"):
            self.distilled(name, large)

    def cached(self, tokens: int) -> Teacher:
        rows, started = self.train.take(tokens // self.row_tokens), time.monotonic()
        cached = capture(self.teacher, rows, self.work / f"cache-{tokens}", batch_rows=16, precision="bfloat16")
        print(f"cache of {rows.num_tokens} tokens in {time.monotonic() - started:.0f} s", flush=True)
        return cached

    def corrected(self, tokens: int) -> None:
        """The teacher itself, trained on the same data with labels: its perplexity is the honest floor."""

        def measure() -> dict[str, Any]:
            own = network_from_weights(self.teacher.spec, self.teacher.state_dict())
            distill(own, Labels(), self.train, self.settings(tokens, 0, 2e-5), self.work / "corrected", device=self.device)
            return self.quality(own.requires_grad_(False))

        self.figure(f"teacher corrected on {tokens}", measure)

    def quantized(self, name: str, tokens: int) -> None:
        kept = self.kept(f"distilled {tokens} {name}")
        if not kept.exists() or (time.monotonic() - self.started) / 60 > self.options.minutes:
            return
        student = network_from_weights(self.narrow.apply(self.here.spec), load_file(kept)).to(self.device).requires_grad_(False)
        statistics = calibrate(student, self.calibration, self.work / f"student-calibration-{tokens}", batch_rows=16)
        memory = remember(student, self.test)
        best = functools.cache(lambda: quantize(student, statistics, QuantizeSettings(), rows=self.calibration))
        for label, make in (
            ("plain", lambda: quantize(student, statistics, QuantizeSettings(method="plain"))),
            ("search", lambda: quantize(student, statistics, QuantizeSettings(method="search", equalise=False))),
            ("scales, search", lambda: quantize(student, statistics, QuantizeSettings(method="search"))),
            ("scales, search, feedback", lambda: quantize(student, statistics, QuantizeSettings())),
            (BEST, best),
        ):

            def measure(make: Callable[[], Quantized] = make) -> dict[str, Any]:
                started = time.monotonic()
                found = make()
                seconds = round(time.monotonic() - started, 1)
                quality = compare(found.network, student, self.test, 4, memory).as_dict()
                return quality | {"bits_per_weight": found.bits_per_weight(), "quantize_seconds": seconds}

            self.figure(f"4 bits after {tokens}: {label}", measure)
        for learns, count in (("scales", 262_144), ("weights", 262_144)):
            self.figure(
                f"4 bits after {tokens}: {BEST}, then {count} tokens of tuning {learns}",
                lambda tuning=(learns, count): self.tuned(student, best(), memory, str(tokens), *tuning),
            )

    def tuned(
        self, student: Network, best: Quantized, memory: torch.Tensor, trained: str, learns: str, count: int
    ) -> dict[str, Any]:
        settings = self.settings(count, 0, LEARNS[learns])
        folder = self.work / f"tuning-{trained}-{learns}"
        after, _ = tune(best, LiveTeacher(student), self.train, settings, folder, learns=learns, device=self.device)
        return compare(after.network, student, self.test, 4, memory).as_dict() | {"bits_per_weight": after.bits_per_weight()}


def taylor(network: Network, rows: Rows) -> Importance:
    """LLM-Pruner's element-wise first order: the sum of |w · ∂loss/∂w| over all weights of a neuron, labels as the loss."""
    layers = network.model.layers
    learns = [m for layer in layers for m in (layer.mlp.up_proj, layer.mlp.gate_proj, layer.mlp.down_proj) if m is not None]
    for module in learns:
        module.weight.requires_grad_(True)
    for row in range(0, len(rows), 4):
        tokens = torch.from_numpy(rows.tokens[row : row + 4].astype(np.int64)).to(network.device)
        mask = torch.from_numpy(rows.mask[row : row + 4]).float().flatten().to(network.device)
        losses.cross_entropy(
            network.hidden(tokens[:, :-1]).flatten(0, 1), network.head_weight, tokens[:, 1:].flatten(), mask
        ).backward()

    def score(module: nn.Linear | None, axis: int) -> Tensor:
        return (module.weight * module.weight.grad).abs().sum(axis).detach().cpu() if module is not None else torch.zeros(())

    inner = [score(layer.mlp.up_proj, 1) + score(layer.mlp.gate_proj, 1) + score(layer.mlp.down_proj, 0) for layer in layers]
    for module in learns:
        module.weight.requires_grad_(False).grad = None
    spec = network.spec
    return Importance(torch.stack(inner), torch.ones(spec.num_layers, spec.num_heads), torch.ones(spec.hidden_size))


class LowRank(nn.Module):
    """y = W x + B A x · alpha / rank, with alpha = 2 rank; A small noise, B zero (2106.09685). Only A and B learn."""

    def __init__(self, linear: nn.Linear, rank: int) -> None:
        super().__init__()
        out, into = linear.weight.shape
        generator = torch.Generator().manual_seed(linear.weight.numel())
        self.linear = linear
        self.a = nn.Parameter((torch.randn(rank, into, generator=generator) / math.sqrt(into)).to(linear.weight.device))
        self.b = nn.Parameter(torch.zeros(out, rank, device=linear.weight.device))

    def forward(self, x: Tensor) -> Tensor:
        small = nn.functional.linear(nn.functional.linear(x, self.a), self.b)
        return self.linear(x) + 2 * small

    @torch.no_grad()
    def merged(self) -> nn.Linear:
        self.linear.weight += 2 * (self.b @ self.a)
        return self.linear


def add_lora(student: Network, rank: int = 8) -> None:
    """Freezes all weights; every linear layer of every block learns an addition of this rank."""
    student.requires_grad_(False)
    replace_linears(student, lambda linear: LowRank(linear, rank))


def merge_lora(student: Network) -> None:
    replace_linears(student, LowRank.merged)


def replace_linears(student: Network, change: Callable[[Any], nn.Module]) -> None:
    for layer in student.model.layers:
        for owner in (layer.self_attn, layer.mlp):
            for name, module in list(owner.named_children()):
                setattr(owner, name, change(module))


def all_count(tokens: np.ndarray) -> Rows:
    """All count but padding, which is a run of the stories' end token, 2."""
    is_padding = (tokens[:, 1:] == 2) & (tokens[:, :-1] == 2)
    return Rows(tokens, (~is_padding).astype(np.uint8))


def check_decoding() -> None:
    """Our Q8_0 reading against our own rounding, so that a wrong block layout is seen at once."""
    from understudy.compress.grids import encode

    rounded = plain(torch.randn(4, 64), GRIDS["q8"])
    assert torch.equal(decode(torch.from_numpy(encode(rounded)), "Q8_0", [4, 64]), rounded.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    made = commands.add_parser("prepare")
    for name in ("train", "test", "second"):
        made.add_argument(name, type=Path)
    made.add_argument("folders", type=Path, nargs="+")
    made.add_argument("--beside", type=Path, nargs="+", default=[], help="other kinds of text for half of the calibration")
    made.add_argument("--model", default="smollm2-135m-instruct")
    made.set_defaults(work_of=prepare)
    ran = commands.add_parser("run")
    ran.add_argument("result", type=Path)
    ran.add_argument("work", type=Path)
    ran.add_argument("folders", type=Path, nargs="+")
    ran.add_argument("--device", default="cpu")
    ran.add_argument("--minutes", type=float, default=math.inf, help="no figure is begun after them")
    ran.add_argument("--only", nargs="+", default=[], metavar="WORDS", help="only figures whose name holds one of these")
    ran.add_argument("--windows", type=int, default=64, help="test windows of 1024 tokens")
    ran.add_argument("--calibration-rows", type=int, default=128)
    ran.add_argument("--refit-rows", type=int, default=128, help="of the calibration rows, how many the healing sees")
    ran.add_argument("--tokens", type=int, nargs=2, default=[262_144, 1_048_576])
    ran.add_argument("--seeds", type=int, default=3)
    ran.add_argument("--micro-rows", type=int, default=8)
    ran.add_argument("--rate", type=float, default=3e-4)
    ran.add_argument("--threads", type=int, default=0)
    ran.set_defaults(work_of=lambda options: Bench(options).run())
    options = parser.parse_args()
    if getattr(options, "threads", 0):
        torch.set_num_threads(options.threads)
    if getattr(options, "device", "cpu") == "cuda":
        losses.CHUNK_ELEMENTS = 1 << 28
    check_decoding()
    options.work_of(options)


if __name__ == "__main__":
    main()
