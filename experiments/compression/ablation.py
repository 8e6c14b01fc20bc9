"""Prune, reconstruct, distil and quantize a model, each step against its baselines; figures into bench/results.

    python experiments/compression/ablation.py prepare TRAIN TEST SECOND FOLDER [FOLDER ...] [--auxiliary FILE ...]   # weights and rows, spread over folders
    python experiments/compression/ablation.py run RESULT.json WORK FOLDER [FOLDER ...] [--device cuda] [--minutes 9] [--windows 64]

Several `run`s of one WORK share the plan: each takes the next figure that no other is measuring.

SmolLM2-135M by default: TRAIN and TEST are WikiText-2 raw (`.gz` or plain), SECOND another text. With `--model
tests/data/stories-nemotron` the texts are one file of token rows, as `experiments/compression/stories.py --stories` keeps them. `run` needs torch,
numpy and safetensors only. Students have one size (`SHAPES`: MLP 1536 -> 896, 75 % of the parameters, or 21 of 30 layers,
76 %); calibration, tokens, optimizer and evaluation windows are the same for all. All learn from one cache of the teacher but where
a figure says live or of the corrected teacher. Where `prepare` was given texts `--auxiliary`, students called so were calibrated on both. RESULT is rewritten after every figure; one that is there is not measured again, none is begun after the
minutes are over, and a run that was cut goes on from its last checkpoint in WORK.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import fcntl
import functools
import itertools
import json
import math
import shutil
import statistics
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from understudy.compress import losses
from understudy.compress.calibrate import Statistics, calibrate
from understudy.compress.data import Sequences, mixed, read_sequences
from understudy.compress.depth import choose_layers
from understudy.compress.distill import DistillSettings, distill
from understudy.compress.evaluate import compare, perplexity, remember
from understudy.compress.grids import GRIDS, round_to_nearest
from understudy.compress.importance import CRITERIA, Importance
from understudy.compress.network import Network, initialise, network_from_weights
from understudy.compress.prune import Shape, select, trim
from understudy.compress.qad import BATCH_SIZE, LEARNING_RATE, LEARNS, tune
from understudy.compress.quantize import Quantized, QuantizeSettings, quantize
from understudy.compress.reconstruct import reconstruct
from understudy.compress.teacher import Labels, LiveTeacher, Teacher, capture
from understudy.errors import UnderstudyError
from understudy.spec import ModelSpec, parameter_counts

SHAPES = {  # layers of the teacher -> a narrow and a shallow student of one size
    30: (Shape(intermediate_size=896), Shape(num_layers=21)),
    6: (Shape(intermediate_size=256), Shape(num_layers=4)),
}
OURS, BESIDE = "reconstruction reconstructed", "reconstruction reconstructed beside"
DEPTH, LORA = "influence", "taylor"
RATES = (1.5e-4, 6e-4, 1.2e-3)  # beside the usual one
BEST = "scales, search, feedback, reconstruction in order"


def prepare(options: argparse.Namespace) -> None:
    """Raw blocks of the tensors (uint8, Hugging Face's names and order) and rows of token ids, spread over the folders."""
    from understudy.compress.folder import open_source

    source = open_source(options.model)
    stored = [source.checkpoint.weights[name] for name in source.checkpoint.weights]
    folders, size = options.folders, sum(t.data.size for t in stored) / len(options.folders)
    parts: list[dict[str, torch.Tensor]] = [{} for _ in folders]
    taken = 0
    for tensor in stored:
        parts[min(int(taken / size), len(folders) - 1)][tensor.name] = torch.from_numpy(
            np.array(tensor.data)
        )
        taken += tensor.data.size
    for folder, part in zip(folders, parts, strict=True):
        folder.mkdir(parents=True, exist_ok=True)
        save_file(part, folder / "blocks.safetensors")
    if (
        options.train.suffix == ".st"
    ):  # stories of the teacher: the first are held out, as they were when it was made
        stories = load_file(options.train)["stories"].numpy().astype(np.uint16)
        for name, part in (
            ("test", stories[:64]),
            ("second", stories[64:128]),
            ("train", stories[128:]),
        ):
            np.save(folders[0] / f"{name}.npy", part)
    else:
        texts = [
            ("train", [options.train], 512),
            ("test", [options.test], 1024),
            ("second", [options.second], 1024),
        ]
        if options.auxiliary:
            texts.append(("beside", options.auxiliary, 512))
        for name, files, length in texts:
            rows = read_sequences(files, source.encoder, length)
            np.save(folders[0] / f"{name}.npy", rows.tokens.astype(np.uint16))
    about = {
        "spec": dataclasses.asdict(source.network.spec),
        "tensors": {t.name: [t.format, t.shape] for t in stored},
    }
    (folders[0] / "material.json").write_text(json.dumps(about))


def decode(raw: torch.Tensor, kind: str, shape: list[int]) -> torch.Tensor:
    """ggml's F32, BF16, Q8_0 (float16 d, 32 int8) and Q4_1 (float16 d and m, 16 bytes of low and high nibbles)."""
    if kind == "F32":
        return raw.view(torch.float32).reshape(shape)
    if kind == "BF16":
        return raw.view(torch.bfloat16).float().reshape(shape)
    if kind == "Q8_0":
        blocks = raw.view(-1, 34)
        return (
            blocks[:, 2:].view(torch.int8).float()
            * blocks[:, :2].contiguous().view(torch.float16).float()
        ).reshape(shape)
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
        self.failed: set[str] = set()
        about = json.loads((options.folders[0] / "material.json").read_text())
        spec = ModelSpec(**about["spec"])
        weights: dict[str, torch.Tensor] = {}
        for folder in options.folders:
            for name, raw in load_file(folder / "blocks.safetensors").items():
                weights[name] = decode(raw, *about["tensors"][name])
        self.teacher = network_from_weights(spec, weights).to(self.device).requires_grad_(False)
        rows = {
            n: np.load(options.folders[0] / f"{n}.npy").astype(np.int32)
            for n in ("train", "test", "second")
        }
        self.test, self.second = (
            all_count(rows["test"][: options.windows]),
            all_count(rows["second"][: max(4, options.windows // 8)]),
        )
        every = all_count(rows["train"])
        self.calibrations = {"": every.spread(options.calibration_sequences)}
        if (beside := options.folders[0] / "beside.npy").exists():
            self.calibrations["beside"] = mixed(
                every, all_count(np.load(beside).astype(np.int32)), options.calibration_sequences
            )
        shuffled = np.random.default_rng(0).permutation(len(every))
        self.train = Sequences(every.tokens[shuffled], every.mask[shuffled])
        self.live: Teacher = LiveTeacher(self.teacher)
        self.memory = {id(r): remember(self.teacher, r) for r in (self.test, self.second)}
        self.narrow, self.shallow = SHAPES[spec.num_layers]
        self.sequence_tokens = every.mask.shape[1]

    def known(self) -> dict[str, Any]:
        return json.loads(self.options.result.read_text()) if self.options.result.exists() else {}

    def figure(self, name: str, measure: Callable[[], dict[str, Any]]) -> None:
        spent = (time.monotonic() - self.started) / 60
        is_wanted = not self.options.only or any(word in name for word in self.options.only)
        if spent > self.options.minutes or not is_wanted:
            return
        with self.alone(name, waits=False) as is_mine:
            self.left_out |= not is_mine
            if is_mine and name not in self.known() and name not in self.failed:
                try:
                    self.measured(name, measure, spent)
                except (
                    RuntimeError,
                    UnderstudyError,
                ) as error:  # out of memory, a loss that is no number: the rest goes on
                    self.failed.add(name)
                    print(f"{name}: {error}", flush=True)
                    traceback.print_exc()

    @contextlib.contextmanager
    def alone(self, name: str, waits: bool = True) -> Iterator[bool]:
        """Held by one process of this WORK at a time, and by none that was killed; whether it was to be had."""
        with self.kept(name).with_suffix(".lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | (0 if waits else fcntl.LOCK_NB))
            except BlockingIOError:
                yield False
            else:
                yield True

    def measured(self, name: str, measure: Callable[[], dict[str, Any]], spent: float) -> None:
        started = time.monotonic()
        found = measure() | {"seconds": round(time.monotonic() - started, 1)}
        self.options.result.parent.mkdir(parents=True, exist_ok=True)
        with self.alone("result"):
            machine = (
                torch.cuda.get_device_name()
                if self.device == "cuda"
                else f"CPU, {torch.get_num_threads()} threads"
            )
            self.options.result.write_text(
                json.dumps(self.known() | {name: found, "machine": machine}, indent=1) + "\n"
            )
        brief = {k: v for k, v in found.items() if k not in ("losses", "curve")}
        print(f"{spent:.1f} min  {name}  {json.dumps(brief)}", flush=True)

    def calibrated(self, kind: str) -> Statistics:
        with self.alone(f"calibration {kind}"):
            folder = self.work / f"calibration-{kind}".rstrip("-")
            return calibrate(self.teacher, self.calibrations[kind], folder, batch_size=16)

    def quality(self, student: Network) -> dict[str, Any]:
        """On a GPU with TF32 products, which change a perplexity by a ten-thousandth of it."""
        torch.set_float32_matmul_precision("high" if self.device == "cuda" else "highest")
        try:
            first, other = (
                compare(student, self.teacher, r, 4, self.memory[id(r)])
                for r in (self.test, self.second)
            )
        finally:  # also where memory ran out: what is measured next is float32 again
            torch.set_float32_matmul_precision("highest")
        return first.as_dict() | {
            "second_perplexity": other.perplexity,
            "second_kl": other.kl,
            "parameters": parameter_counts(student.spec)["total"],
        }

    # ---- students -----------------------------------------------------------------------------------------------

    def make(self, name: str) -> None:
        """ "CRITERION", "CRITERION reconstructed", "influence", "contiguous" (depth), or these reconstructed; "beside" calibrated so."""
        kind, *how = name.split()
        calibration = self.calibrations["beside" if "beside" in how else ""]
        statistics = self.calibrated("beside" if "beside" in how else "")
        if kind in ("influence", "contiguous"):
            kept = choose_layers(
                kind, self.teacher, statistics, self.shallow.num_layers or 1, calibration.take(8)
            )
            selection = select(
                self.teacher, self.shallow, self.scores("minitron", statistics), kept
            )
        else:
            selection = select(self.teacher, self.narrow, self.scores(kind, statistics))
        student = trim(self.teacher, selection).requires_grad_(False)
        if "reconstructed" in how:
            some = slice(
                None, None, max(1, len(calibration) // self.options.reconstruction_sequences)
            )
            reconstruct(
                self.teacher,
                student,
                selection,
                Sequences(calibration.tokens[some], calibration.mask[some]),
                batch_size=16,
            )
        self.keep(student, name)

    def keep(self, network: Network, name: str) -> None:
        aside = self.kept(name).with_suffix(".tmp")
        save_file({n: w.contiguous().cpu() for n, w in network.state_dict().items()}, aside)
        aside.rename(self.kept(name))

    def kept(self, name: str) -> Path:
        return self.work / f"{name.replace(' ', '-').replace(',', '')}.safetensors"

    def scores(self, criterion: str, statistics: Statistics) -> Importance:
        if criterion == "taylor":
            return taylor(self.teacher, self.calibrations[""].take(16))
        return CRITERIA[criterion](self.teacher, statistics, 0)

    def zero_shot(self, name: str) -> None:
        def measure() -> dict[str, Any]:
            started, is_new = time.monotonic(), not self.kept(name).exists()
            student = self.student(name).requires_grad_(False)
            seconds = {"making_seconds": round(time.monotonic() - started, 1)} if is_new else {}
            return self.quality(student) | seconds | {"layers": student.spec.num_layers}

        self.figure(f"zero-shot {name}", measure)

    def student(self, name: str) -> Network:
        if name == "from nothing":
            fresh = Network(self.narrow.apply(self.teacher.spec))
            initialise(fresh, seed=0)
            return fresh.to(self.device)
        with self.alone(name):
            if not self.kept(name).exists():
                self.make(name)
        is_shallow = name.split()[0] in ("influence", "contiguous")
        shape = self.shallow if is_shallow else self.narrow
        return network_from_weights(shape.apply(self.teacher.spec), load_file(self.kept(name))).to(
            self.device
        )

    def distilled(
        self,
        name: str,
        tokens: int,
        seed: int = 0,
        source: str = "cache",
        rate: float | None = None,
    ) -> None:
        """source: of the targets, "cache", "live" or "corrected". rate: None for the usual one. Taylor's learn by LoRA."""
        lora = name == LORA
        notes = {"cache": "", "live": " live", "corrected": " of the corrected teacher"}[
            source
        ] + " by LoRA" * lora
        label = (
            f"distilled {tokens} {name}{notes}"
            + (f", rate {rate:g}" if rate else "")
            + (f", seed {seed}" if seed else "")
        )
        kept = self.kept(label)

        def measure() -> dict[str, Any]:
            if (
                kept.exists()
            ):  # trained before: a second RESULT with other windows costs no training
                return self.quality(
                    network_from_weights(self.student(name).spec, load_file(kept)).to(self.device)
                )
            student, folder = self.student(name), self.work / "runs" / kept.stem
            if lora:
                add_lora(student)
            settings = self.settings(tokens, seed, (rate or self.options.rate) * (5 if lora else 1))
            rows = self.train.take(tokens // self.sequence_tokens)  # one epoch
            teacher = self.live if source == "live" else self.cached(rows, source)
            curve: list[list[float]] = []
            times = [time.monotonic()]

            def note(done: int, total: int, what: str) -> None:
                del total, what
                times.append(time.monotonic())
                if (at := done * settings.batch_size * self.sequence_tokens) % (
                    1 << 17
                ) == 0 and tokens > 1 << 18:
                    curve.append([at, round(perplexity(student, self.test.take(8)), 3)])

            report = distill(
                student, teacher, rows, settings, folder, progress=note, trains_all=not lora
            )
            student.requires_grad_(False)
            if lora:
                merge_lora(student)
            self.keep(student, label)
            shutil.rmtree(folder)
            step = statistics.median(after - before for before, after in itertools.pairwise(times))
            return self.quality(student) | {
                "step_seconds": round(step, 4),
                "curve": curve,
                "losses": [round(x, 4) for x in report.losses[::4]],
            }

        self.figure(label, measure)

    def settings(self, tokens: int, seed: int, rate: float) -> DistillSettings:
        return DistillSettings(
            tokens=tokens,
            batch_size=max(1, 4096 // self.sequence_tokens),
            micro_batch_size=self.options.micro_batch_size,
            learning_rate=rate,
            final_learning_rate=rate / 10,
            precision="bfloat16",
            checkpoint_steps=16 if self.device == "cpu" else 1 << 30,
            seed=seed,
        )

    # ---- the plan -----------------------------------------------------------------------------------------------

    def run(self) -> None:
        """By value: what a bar needs first, comparisons that only widen the picture last."""
        self.left_out = True
        while (
            self.left_out
        ):  # what another process had in hand then may be there now, or was given up
            self.left_out = False
            self.plan(*self.options.tokens)
            time.sleep(self.left_out)
        if self.failed:
            sys.exit(f"failed: {', '.join(sorted(self.failed))}")

    def plan(self, small: int, large: int) -> None:
        ours = (OURS, BESIDE) if "beside" in self.calibrations else (OURS,)
        self.figure("teacher", lambda: self.quality(self.teacher))
        for name in ("minitron", *ours):
            self.zero_shot(name)
        for name in ("minitron", *ours):
            self.distilled(name, small)
        for name in (OURS, DEPTH, LORA, *ours[1:]):
            self.distilled(name, large)
        self.quantized(OURS, small)
        self.quantized(OURS, large)
        self.distilled("from nothing", 20 * small)
        for seed in range(1, self.options.seeds):
            for name in ("minitron", *ours):
                self.distilled(name, small, seed)
            for name in (OURS, DEPTH, LORA):
                self.distilled(name, large, seed)
        self.corrected(small)
        self.corrected(large)
        if self.kept(f"teacher corrected on {large}").exists():
            for name in (OURS, DEPTH, LORA, *ours[1:], "minitron"):
                self.distilled(name, large, source="corrected")
        for rate in RATES if self.options.rates else ():
            for name in (OURS, DEPTH, LORA):
                self.distilled(name, large, rate=rate)
        for name in (
            "magnitude",
            "minitron reconstructed",
            "reconstruction",
            "random",
            "influence",
            "contiguous",
            "taylor",
        ):
            self.zero_shot(name)
        self.zero_shot("influence reconstructed")
        for name in (DEPTH, LORA):
            self.distilled(name, small)
        self.distilled(OURS, small, source="live")
        for name in ("contiguous", "minitron", "random", "magnitude"):
            self.distilled(name, large)
        if self.options.longest:
            for name in (OURS, DEPTH, LORA, *ours[1:], "minitron"):
                self.distilled(name, self.options.longest)

    def cached(self, rows: Sequences, source: str) -> Teacher:
        teacher, started = self.teacher, time.monotonic()
        if source == "corrected":
            kept = self.kept(f"teacher corrected on {self.options.tokens[1]}")
            teacher = (
                network_from_weights(teacher.spec, load_file(kept))
                .to(self.device)
                .requires_grad_(False)
            )
        with self.alone(f"{source} of {rows.num_tokens}"):
            folder = self.work / f"{source}-{rows.num_tokens}"
            cached = capture(teacher, rows, folder, batch_size=16, precision="bfloat16")
        print(
            f"{source} of {rows.num_tokens} tokens in {time.monotonic() - started:.0f} s",
            flush=True,
        )
        return cached

    def corrected(self, tokens: int) -> None:
        """The teacher itself, trained on the same data with labels: its perplexity is the honest floor."""
        name = f"teacher corrected on {tokens}"

        def measure() -> dict[str, Any]:
            own = network_from_weights(self.teacher.spec, self.teacher.state_dict())
            folder, rows = (
                self.work / "runs" / self.kept(name).stem,
                self.train.take(tokens // self.sequence_tokens),
            )
            distill(own, Labels(), rows, self.settings(tokens, 0, 2e-5), folder)
            self.keep(own, name)
            shutil.rmtree(folder)
            return self.quality(own.requires_grad_(False))

        self.figure(name, measure)

    def quantized(self, name: str, tokens: int) -> None:
        kept = self.kept(f"distilled {tokens} {name}")
        if not kept.exists() or (time.monotonic() - self.started) / 60 > self.options.minutes:
            return
        narrow, calibration = self.narrow.apply(self.teacher.spec), self.calibrations[""]
        student = (
            network_from_weights(narrow, load_file(kept)).to(self.device).requires_grad_(False)
        )

        @functools.cache
        def statistics() -> Statistics:
            with self.alone(f"student calibration {tokens}"):
                return calibrate(
                    student, calibration, self.work / f"student-calibration-{tokens}", batch_size=16
                )

        memory = functools.cache(lambda: remember(student, self.test))
        best = functools.cache(
            lambda: quantize(student, statistics(), QuantizeSettings(), rows=calibration)
        )
        for label, make in (
            (
                "round_to_nearest",
                lambda: quantize(
                    student, statistics(), QuantizeSettings(method="round_to_nearest")
                ),
            ),
            (
                "search",
                lambda: quantize(
                    student, statistics(), QuantizeSettings(method="search", equalise=False)
                ),
            ),
            (
                "scales, search",
                lambda: quantize(student, statistics(), QuantizeSettings(method="search")),
            ),
            (
                "scales, search, feedback",
                lambda: quantize(student, statistics(), QuantizeSettings()),
            ),
            (BEST, best),
        ):

            def measure(make: Callable[[], Quantized] = make) -> dict[str, Any]:
                started = time.monotonic()
                found = make()
                seconds = round(time.monotonic() - started, 1)
                quality = compare(found.network, student, self.test, 4, memory()).as_dict()
                return quality | {
                    "bits_per_weight": found.bits_per_weight(),
                    "quantize_seconds": seconds,
                }

            self.figure(f"4 bits after {tokens}: {label}", measure)
        rates = (
            (LEARNING_RATE, 0.3 * LEARNING_RATE, 3 * LEARNING_RATE)
            if self.options.rates
            else (LEARNING_RATE,)
        )
        for learns, count, rate in itertools.product(LEARNS, self.options.tokens, rates):
            label = f"4 bits after {tokens}: {BEST}, then {count} tokens of tuning {learns}"

            def tuned(
                learns: str = learns, count: int = count, rate: float = rate
            ) -> dict[str, Any]:
                folder = self.work / "runs" / f"tuning-{tokens}-{learns}-{count}-{rate:g}"
                settings = dataclasses.replace(self.settings(count, 0, rate), batch_size=BATCH_SIZE)
                after, _ = tune(
                    best(), LiveTeacher(student), self.train, settings, folder, learns=learns
                )
                shutil.rmtree(folder)
                return compare(after.network, student, self.test, 4, memory()).as_dict() | {
                    "bits_per_weight": after.bits_per_weight()
                }

            self.figure(label if rate == LEARNING_RATE else f"{label}, rate {rate:g}", tuned)


def taylor(network: Network, rows: Sequences) -> Importance:
    """LLM-Pruner's element-wise first order: the sum of |w · ∂loss/∂w| over all weights of a neuron, labels as the loss."""
    layers = network.model.layers
    learns = [
        m
        for layer in layers
        for m in (layer.mlp.up_proj, layer.mlp.gate_proj, layer.mlp.down_proj)
        if m is not None
    ]
    for module in learns:
        module.weight.requires_grad_(True)
    for row in range(0, len(rows), 4):
        tokens = torch.from_numpy(rows.tokens[row : row + 4].astype(np.int64)).to(network.device)
        mask = torch.from_numpy(rows.mask[row : row + 4]).float().flatten().to(network.device)
        losses.cross_entropy(
            network.hidden(tokens[:, :-1]).flatten(0, 1),
            network.head_weight,
            tokens[:, 1:].flatten(),
            mask,
        ).backward()

    def score(module: nn.Linear | None, axis: int) -> Tensor:
        return (
            (module.weight * module.weight.grad).abs().sum(axis).detach().cpu()
            if module is not None
            else torch.zeros(())
        )

    inner = [
        score(layer.mlp.up_proj, 1) + score(layer.mlp.gate_proj, 1) + score(layer.mlp.down_proj, 0)
        for layer in layers
    ]
    for module in learns:
        module.weight.requires_grad_(False).grad = None
    spec = network.spec
    return Importance(
        torch.stack(inner),
        torch.ones(spec.num_layers, spec.num_heads),
        torch.ones(spec.hidden_size),
    )


class LowRank(nn.Module):
    """y = W x + B A x · alpha / rank, with alpha = 2 rank; A small noise, B zero (2106.09685). Only A and B learn."""

    def __init__(self, linear: nn.Linear, rank: int) -> None:
        super().__init__()
        out, into = linear.weight.shape
        generator = torch.Generator().manual_seed(linear.weight.numel())
        self.linear = linear
        self.a = nn.Parameter(
            (torch.randn(rank, into, generator=generator) / math.sqrt(into)).to(
                linear.weight.device
            )
        )
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


def all_count(tokens: np.ndarray) -> Sequences:
    """All count but padding, which is a run of the stories' end token, 2."""
    is_padding = (tokens[:, 1:] == 2) & (tokens[:, :-1] == 2)
    return Sequences(tokens, (~is_padding).astype(np.uint8))


def check_decoding() -> None:
    """Our Q8_0 reading against our own rounding, so that a wrong block layout is seen at once."""
    from understudy.compress.grids import encode

    rounded = round_to_nearest(torch.randn(4, 64), GRIDS["q8"])
    assert torch.equal(decode(torch.from_numpy(encode(rounded)), "Q8_0", [4, 64]), rounded.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    commands = parser.add_subparsers(required=True)
    made = commands.add_parser("prepare")
    for name in ("train", "test", "second"):
        made.add_argument(name, type=Path)
    made.add_argument("folders", type=Path, nargs="+")
    made.add_argument(
        "--auxiliary",
        type=Path,
        nargs="+",
        default=[],
        help="other kinds of text for half of the calibration",
    )
    made.add_argument("--model", default="smollm2-135m-instruct")
    made.set_defaults(work_of=prepare)
    ran = commands.add_parser("run")
    ran.add_argument("result", type=Path)
    ran.add_argument("work", type=Path)
    ran.add_argument("folders", type=Path, nargs="+")
    ran.add_argument("--device", default="cpu")
    ran.add_argument(
        "--minutes", type=float, default=math.inf, help="no figure is begun after them"
    )
    ran.add_argument(
        "--only",
        nargs="+",
        default=[],
        metavar="WORDS",
        help="only figures whose name holds one of these",
    )
    ran.add_argument("--windows", type=int, default=64, help="test windows of 1024 tokens")
    ran.add_argument("--calibration-sequences", type=int, default=128)
    ran.add_argument(
        "--reconstruction-rows",
        type=int,
        default=128,
        help="of the calibration rows, how many the reconstruction sees",
    )
    ran.add_argument("--tokens", type=int, nargs=2, default=[262_144, 1_048_576])
    ran.add_argument("--seeds", type=int, default=3)
    ran.add_argument("--micro-batch-size", type=int, default=8)
    ran.add_argument("--rate", type=float, default=3e-4)
    ran.add_argument("--rates", action="store_true", help="the large runs with other rates, too")
    ran.add_argument(
        "--longest",
        type=int,
        default=0,
        metavar="TOKENS",
        help="the main students once more, for so many tokens",
    )
    ran.add_argument("--threads", type=int, default=0)
    ran.set_defaults(work_of=lambda options: Bench(options).run())
    options = parser.parse_args()
    if getattr(options, "threads", 0):
        torch.set_num_threads(options.threads)
    check_decoding()
    options.work_of(options)


if __name__ == "__main__":
    main()
