"""The pipeline: prune -> correct the teacher -> distil -> quantize, each stage a folder that is kept when the next fails.

    out/prune/      calibration/, model/ (float32 Hugging Face folder), report.json, report.html, stage.json
    out/correct/    out/distill/   the same; distill also run/ (checkpoints, trace) and cache/ (the teacher's targets)
    out/model/      the student, with README.md (its card)        out/model.gguf   the quantized student
    out/model-packed/   the same integers for vLLM, if asked for

`stage.json` is written last: a stage that has it, made by the same recipe, is not run again.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import resource
import shutil
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from understudy import __version__
from understudy.checkpoint.checkpoint import Checkpoint
from understudy.checkpoint.lineage import lineage_of
from understudy.compress import card, parallel
from understudy.compress.calibrate import Statistics, calibrate
from understudy.compress.data import (
    Progress,
    Sequences,
    check_vocabulary,
    mixed,
    quiet,
    read_sequences,
)
from understudy.compress.depth import choose_layers
from understudy.compress.distill import DistillSettings, check, distill
from understudy.compress.engine_check import int8_cache_kl
from understudy.compress.evaluate import Quality, compare
from understudy.compress.folder import Source, open_source, save_network, save_quantized
from understudy.compress.importance import CRITERIA
from understudy.compress.memory import keep_freed_memory
from understudy.compress.network import Network, network_from_weights
from understudy.compress.packed_folder import open_packed, save_packed
from understudy.compress.prune import select, trim
from understudy.compress.qad import BATCH_SIZE, tune
from understudy.compress.quantize import Quantized, quantize, spend_bits
from understudy.compress.recipe import PruneRecipe, QuantizeRecipe, Recipe, TrainRecipe
from understudy.compress.reconstruct import reconstruct
from understudy.compress.report import Report
from understudy.compress.shape_search import candidates, search
from understudy.compress.sparsity import thresholds, zero_rates
from understudy.compress.teacher import CachedTeacher, Labels, LiveTeacher, Teacher, capture
from understudy.errors import UnderstudyError, UsageError
from understudy.report.provenance import describe_run, model_sha256
from understudy.spec import parameter_counts

ORDER = ("prune", "correct", "distill", "quantize")


@dataclass
class Result:
    folder: Path  # the student as a Hugging Face folder
    gguf: Path | None
    reports: list[Report]


class Pipeline:
    """One recipe on its way. Everything that can be seen to be wrong is said in `check`, before any long work."""

    def __init__(self, recipe: Recipe, progress: Progress = quiet, device: str = "auto") -> None:
        keep_freed_memory()
        self.recipe, self.progress, self.device = recipe, progress, parallel.choose_device(device)
        self.out = Path(recipe.output.folder)
        self.reports: list[Report] = []
        self.world = parallel.world()

    def run(self) -> Result:
        self.check()
        self.out.mkdir(parents=True, exist_ok=True)
        student = self.start.network
        if self.recipe.search is not None:
            self._search()
        if self.recipe.prune is not None:
            student = self._stage("prune", self._prune, student)
        self.teacher = self.source.network
        if self.recipe.correct is not None:
            self.teacher = self._stage("correct", self._correct, self.source.network)
        if self.recipe.distill is not None:
            student = self._stage("distill", self._distill, student)
        return self._export(student)

    # ---- what is given ------------------------------------------------------------------------------------------

    @cached_property
    def source(self) -> Source:
        return self._open(self.recipe.model)

    @cached_property
    def start(self) -> Source:
        """What is made smaller: the source itself, or the student that the recipe names."""
        return self.source if self.recipe.student is None else self._open(self.recipe.student)

    def _open(self, model: str | Path) -> Source:
        return open_source(model, device=self.device)

    @cached_property
    def train(self) -> Sequences:
        return self._rows(self.recipe.data.train)

    @cached_property
    def held_out(self) -> Sequences:
        """Sequences of the held-out files, or the last sequences of the training data, which are then not trained on."""
        data = self.recipe.data
        if data.held_out:
            return self._rows(data.held_out, data.held_out_sequences)
        return self.train.take(data.held_out_sequences, len(self.train) - data.held_out_sequences)

    @cached_property
    def training_sequences(self) -> Sequences:
        data = self.recipe.data
        return (
            self.train
            if data.held_out
            else self.train.take(len(self.train) - data.held_out_sequences)
        )

    @cached_property
    def calibration(self) -> Sequences:
        """Sequences spread evenly over the training data, half of them over the texts beside it, where there are any."""
        data = self.recipe.data
        if not data.auxiliary:
            return self.training_sequences.spread(data.calibration_sequences)
        return mixed(
            self.training_sequences, self._rows(data.auxiliary), data.calibration_sequences
        )

    def _rows(self, files: tuple[str, ...], max_sequences: int | None = None) -> Sequences:
        sequences = read_sequences(
            [Path(f) for f in files], self.source.encoder, self.recipe.data.length, max_sequences
        )
        check_vocabulary(sequences, self.source.network.spec.vocab_size, files[0])
        return sequences

    def check(self) -> None:
        """Target, data, settings and disk: every fault that is visible beforehand."""
        recipe, spec = self.recipe, self.start.network.spec
        if recipe.output.threshold_kl and spec.activation != "relu2":
            raise UsageError(
                "thresholds need a relu2 network",
                found=spec.activation,
                do="leave out threshold_kl",
            )
        if self.world.size > 1 and (
            recipe.search or recipe.prune or recipe.correct or recipe.quantize
        ):
            raise UsageError(
                "several processes distil only", do="run the other stages alone, before and after"
            )
        check(
            self.start.network,
            LiveTeacher(self.source.network),
            self.train,
            DistillSettings(tokens=1, batch_size=1),
        )
        if not recipe.data.held_out and len(self.train) < 2 * recipe.data.held_out_sequences:
            raise UsageError(
                "too little data to hold sequences out",
                expected=f"{2 * recipe.data.held_out_sequences} sequences",
                found=len(self.train),
                do="give more text or lower held_out_sequences",
            )
        for files in (recipe.data.auxiliary, recipe.data.second):  # read much later
            if files:
                self._rows(files, 1)
        student = recipe.prune.shape.apply(spec) if recipe.prune is not None else spec
        if recipe.search is not None:
            candidates(spec, recipe.search)
        if recipe.quantize is not None:
            for name in ("hidden_size", "intermediate_size", "query_size"):
                if (size := getattr(student, name)) % 32:
                    raise UsageError(
                        f"{name} of the student cannot be quantized",
                        expected="a multiple of 32",
                        found=size,
                    )
        for trained in (recipe.correct, recipe.distill):
            if trained is not None:
                check(self.start.network, Labels(), self.training_sequences, trained.settings)
        needed = (
            4 * parameter_counts(spec)["total"] * (6 if recipe.distill or recipe.correct else 2)
        )
        if (free := shutil.disk_usage(_existing(self.out)).free) < needed:
            raise UnderstudyError(
                "not enough disk space",
                where=self.out,
                expected=f"{needed / 1e9:.1f} GB",
                found=f"{free / 1e9:.1f} GB",
            )

    def outlook(self) -> dict[str, Any]:
        """What would be made: sizes before and after, sequences of data."""
        spec, shape = (
            self.start.network.spec,
            self.recipe.prune.shape if self.recipe.prune is not None else None,
        )
        student = spec if shape is None else shape.apply(spec)
        return {
            "stages": [name for name in ORDER if getattr(self.recipe, name) is not None],
            "parameters": {
                "teacher": parameter_counts(self.source.network.spec),
                "student": parameter_counts(student),
            },
            "sequences": {"train": len(self.training_sequences), "held_out": len(self.held_out)},
            "folder": str(self.out),
        }

    # ---- the stages ---------------------------------------------------------------------------------------------

    def _stage(self, name: str, work: Any, network: Network) -> Network:
        """Run a stage unless its folder says that this recipe has run it; its network either way."""
        folder, digest = self.out / name, self._digest(name)
        marker = folder / "stage.json"
        if marker.exists() and json.loads(marker.read_text())["digest"] == digest:
            content = json.loads((folder / "report.json").read_text())
            self.reports.append(
                Report(
                    name,
                    content["figures"],
                    content["tables"],
                    content["curves"],
                    content["recipe"],
                )
            )
            return self._open(folder / "model").network
        if self.world.is_first:
            if folder.exists() and not _is_same_unfinished(folder, digest):
                shutil.rmtree(folder)
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "begun.json").write_text(json.dumps({"digest": digest}))
        self.world.wait()
        started = time.monotonic()
        made, report = work(network, folder)
        if not self.world.is_first:
            return made
        report.figures |= _effort(made, started)
        report.figures["quality"] = compare(made, self.source.network, self.held_out).as_dict()
        report.recipe = self.recipe.raw
        save_network(made, self.source.checkpoint, folder / "model", "f32")
        report.write(folder)
        marker.write_text(json.dumps({"digest": digest}))
        self.reports.append(report)
        return network_from_weights(made.spec, made.state_dict()).requires_grad_(False)

    def _search(self) -> None:
        """Find the shape, and make it the target of the prune stage. What was measured before is not measured again."""
        assert self.recipe.search is not None
        folder, network = self.out / "search", self.start.network
        statistics = calibrate(
            network, self.calibration, folder / "calibration", progress=self.progress
        )
        longest = DistillSettings(
            tokens=max(self.recipe.search.rungs), batch_size=self.recipe.search.batch_size
        )
        sequences = longest.sequences_needed(self.training_sequences)
        cached = capture(network, sequences, folder / "cache", progress=self.progress)
        found = search(
            network,
            cached,
            statistics,
            sequences,
            self.calibration,
            self.held_out,
            self.recipe.search,
            folder,
            self.progress,
        )
        recipe = dataclasses.replace(self.recipe.prune or PruneRecipe(), shape=found.best)
        raw = self.recipe.raw | {
            "prune": self.recipe.raw.get("prune", {}) | dataclasses.asdict(found.best)
        }
        self.recipe = dataclasses.replace(self.recipe, prune=recipe, raw=raw)

    def _prune(self, network: Network, folder: Path) -> tuple[Network, Report]:
        recipe = self.recipe.prune
        assert recipe is not None
        statistics = calibrate(
            network, self.calibration, folder / "calibration", progress=self.progress
        )
        scores = CRITERIA[recipe.criterion](network, statistics, recipe.seed)
        depth = recipe.shape.apply(network.spec).num_layers
        probe = self.calibration.take(8)
        kept = choose_layers(recipe.depth, network, statistics, depth, probe)
        selection = select(network, recipe.shape, scores, kept)
        student = trim(network, selection, scores if recipe.residual_heads else None)
        report = Report("prune", {"criterion": recipe.criterion, "kept_layers": list(kept)})
        report.figures["trimmed"] = compare(student, network, self.held_out).as_dict()
        if recipe.reconstruct:
            reconstructions = reconstruct(
                network, student, selection, self.calibration, progress=self.progress
            )
            report.tables["reconstructed linears"] = [
                vars(reconstruction) for reconstruction in reconstructions
            ]
        report.tables["layers"] = [
            {"layer": i, "influence": b, "zero_rate": z}
            for i, (b, z) in enumerate(
                zip(statistics.scalars("influence"), statistics.scalars("zero_rate"), strict=True)
            )
        ]
        return student, report

    def _correct(self, network: Network, folder: Path) -> tuple[Network, Report]:
        assert self.recipe.correct is not None
        copy = network_from_weights(network.spec, network.state_dict())
        return self._train("correct", copy, Labels(), self.recipe.correct, folder)

    def _distill(self, student: Network, folder: Path) -> tuple[Network, Report]:
        recipe = self.recipe.distill
        assert recipe is not None
        teacher: Teacher = LiveTeacher(self.teacher)
        sequences = recipe.settings.sequences_needed(self.training_sequences)
        if recipe.teacher == "cache":
            if self.world.is_first:
                capture(
                    self.teacher,
                    sequences,
                    folder / "cache",
                    budget=recipe.cache_bytes,
                    precision=recipe.settings.precision,
                    progress=self.progress,
                )
            self.world.wait()
            teacher = CachedTeacher(folder / "cache", sequences)
        copy = network_from_weights(student.spec, student.state_dict())
        return self._train("distill", copy, teacher, recipe, folder)

    def _train(
        self, name: str, student: Network, teacher: Teacher, recipe: TrainRecipe, folder: Path
    ) -> tuple[Network, Report]:
        sequences = recipe.settings.sequences_needed(self.training_sequences)
        done = distill(
            student, teacher, sequences, recipe.settings, folder / "run", progress=self.progress
        )
        report = Report(
            name,
            {
                "steps": done.steps,
                "tokens": done.tokens,
                "tokens_per_second": done.tokens / done.seconds,
            },
        )
        report.curves["loss in nats per token, by step"] = list(enumerate(done.losses))
        return network_from_weights(student.spec, student.state_dict()).requires_grad_(
            False
        ), report

    # ---- what comes out -----------------------------------------------------------------------------------------

    def _export(self, student: Network) -> Result:
        """The folder, the GGUF, their checks against the networks they were made of, and the card."""
        if not self.world.is_first:
            return Result(self.out / "model", None, self.reports)
        output, started = self.recipe.output, time.monotonic()
        folder, gguf = self.out / "model", None
        save_network(student, self.source.checkpoint, folder, output.dtype)
        statistics = calibrate(
            student, self.calibration, self._fresh("statistics"), progress=self.progress
        )
        rates = zero_rates(statistics)
        quality = compare(self._open(folder).network, student, self.held_out)
        figures: dict[str, Any] = {"folder": quality.as_dict(), "zero_rates": rates}
        report = Report("export", figures, recipe=self.recipe.raw)
        note = self._lineage() | {"zero_rates": rates}
        if output.gguf:
            gguf = self.out / "model.gguf"
            metadata = {**self.source.checkpoint.metadata, "understudy": note}
            like = dataclasses.replace(self.source.checkpoint, metadata=metadata)
            figures |= self._write_gguf(student, statistics, gguf, report, like)
        if output.threshold_kl:
            note["thresholds"] = dataclasses.asdict(
                thresholds(student, self.held_out.take(8), output.threshold_kl)
            )
        card.annotate(folder, note)
        if self.recipe.data.second:
            second = self._rows(self.recipe.data.second, self.recipe.data.held_out_sequences)
            figures["second text"] = compare(student, self.source.network, second).as_dict()
        report.figures["final"] = compare(student, self.source.network, self.held_out).as_dict()
        report.figures |= _effort(student, started)
        report.run = describe_run(gguf or folder)
        report.write(self.out)
        self.reports.append(report)
        card.write(folder, self.recipe, self.reports, self.source.network.spec, student.spec)
        return Result(folder, gguf, self.reports)

    def _lineage(self) -> dict[str, Any]:
        """What the files made here carry of where they come from (`models.lineage`); names of files without their places."""
        recipe = {name: dict(table) for name, table in self.recipe.raw.items() if name != "output"}
        for table in ("source", "data"):
            recipe[table] = {key: _names(value) for key, value in recipe.get(table, {}).items()}
        stages = [
            {
                "stage": r.stage,
                "quality": r.figures.get("quality"),
                "parameters": r.figures.get("parameters"),
            }
            for r in self.reports
        ]
        before = lineage_of(self.source.checkpoint.metadata)
        return {
            "teacher": self.source.checkpoint.path.name,
            "teacher_sha256": model_sha256(self.source.checkpoint.path),
            "teacher_parameters": parameter_counts(self.source.network.spec)["total"],
            "stages": stages,
            "recipe": recipe,
            "version": __version__,
            **({"teacher_lineage": before} if before else {}),
        }

    def _write_gguf(
        self, student: Network, statistics: Statistics, path: Path, report: Report, like: Checkpoint
    ) -> dict[str, Any]:
        recipe = self.recipe.quantize
        if recipe is None:
            save_network(student, like, path, "bf16")
            return {
                "gguf": {"bytes": path.stat().st_size} | self._reopened(path, student).as_dict()
            }
        settings = recipe.settings
        if recipe.max_bits is not None:
            probe = self.held_out.take(4)
            settings, table = spend_bits(
                student, statistics, settings, probe, recipe.max_bits, self.progress
            )
            report.tables["what q8 would bring"] = table
        result = quantize(student, statistics, settings, self.progress, self.calibration)
        if recipe.tune_tokens:
            report.figures["before tuning"] = compare(
                result.network, student, self.held_out
            ).as_dict()
            result, _ = tune(
                result,
                LiveTeacher(student),
                self.training_sequences,
                self._tuning(recipe),
                self._fresh("tuning"),
                learns=recipe.tune,
                progress=self.progress,
            )
        save_quantized(result.tensors, result.network, like, path)
        report.tables["rounded matrices"] = [
            {"name": n, "output_error": e} for n, e in result.errors.items()
        ]
        exact = self._reopened(path, result.network)
        return self._packed(result, student, like) | {
            "kv int8": {"kl": int8_cache_kl(path, self.held_out.take(2))},
            "gguf": {"bytes": path.stat().st_size, "bits_per_weight": result.bits_per_weight()}
            | self._reopened(path, student).as_dict(),
            "gguf against its own network": {"kl": exact.kl},
        }

    def _packed(self, result: Quantized, student: Network, like: Checkpoint) -> dict[str, Any]:
        if not self.recipe.output.packed:
            return {}
        folder = save_packed(result, like, self.out / "model-packed")
        size = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
        reopened = open_packed(folder, student.spec).to(self.device)
        return {"packed": {"bytes": size} | compare(reopened, student, self.held_out).as_dict()}

    def _tuning(self, recipe: QuantizeRecipe) -> DistillSettings:
        """In the precision of [distill], if there is one."""
        precision = (
            self.recipe.distill.settings.precision if self.recipe.distill is not None else "float32"
        )
        rate, batch = recipe.tune_learning_rate, BATCH_SIZE
        return DistillSettings(
            recipe.tune_tokens, batch, batch, rate, rate / 10, precision=precision
        )

    def _reopened(self, path: Path, like: Network) -> Quality:
        return compare(self._open(path).network, like, self.held_out)

    def _fresh(self, name: str) -> Path:
        shutil.rmtree(self.out / name, ignore_errors=True)
        return self.out / name

    def _digest(self, stage: str) -> str:
        tables = ["source", "data", *ORDER[: ORDER.index(stage) + 1]]
        known = {name: self.recipe.raw.get(name) for name in tables}
        return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()


def _names(value: Any) -> Any:
    """Paths without their folders, in a text or a list of texts."""
    if isinstance(value, str):
        return Path(value).name
    return [_names(entry) for entry in value] if isinstance(value, (list, tuple)) else value


def _effort(made: Network, started: float) -> dict[str, Any]:
    """What a stage made and what it took; started: by the monotonic clock."""
    figures: dict[str, Any] = {
        "parameters": parameter_counts(made.spec),
        "seconds": round(time.monotonic() - started, 1),
        "peak_memory_bytes": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
    }
    if made.device.type == "cuda":
        figures |= {
            "device": torch.cuda.get_device_name(),
            "peak_device_bytes": torch.cuda.max_memory_allocated(),
        }
    return figures


def _existing(path: Path) -> Path:
    while not path.exists():
        path = path.absolute().parent
    return path


def _is_same_unfinished(folder: Path, digest: str) -> bool:
    begun = folder / "begun.json"
    return begun.exists() and json.loads(begun.read_text())["digest"] == digest
