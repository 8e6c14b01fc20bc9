"""Export: the student as a folder and a GGUF, each opened again and measured, with card and
report."""

from __future__ import annotations

import dataclasses
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from understudy.checkpoint.checkpoint import Checkpoint
from understudy.compress import card
from understudy.compress.calibrate import Statistics, calibrate
from understudy.compress.context import Context
from understudy.compress.engine_check import int8_cache_kl
from understudy.compress.evaluate import Quality, compare, continuation
from understudy.compress.folder import save_network, save_quantized
from understudy.compress.lineage import lineage, teacher_figures
from understudy.compress.network import Network
from understudy.compress.report import StageReport
from understudy.compress.sparsity import thresholds, zero_rates
from understudy.compress.stages.base import effort
from understudy.compress.stages.quantize import packed, quantized
from understudy.report.provenance import describe_run, model_bytes

FAR = 2.0  # times the teacher's perplexity: what is further away is said aloud
SAMPLE_TOKENS = 24  # of the beginning, and of each continuation


@dataclass
class Exported:
    """What came out, on its way: the float student, its statistics, what the report says of it."""

    context: Context
    student: Network
    statistics: Statistics
    report: StageReport

    @property
    def figures(self) -> dict[str, Any]:
        return self.report.figures


def export(context: Context, student: Network) -> StageReport:
    """Writes model/, model.gguf, model-packed/ and the report of all."""
    out, output, started = context.out, context.recipe.output, time.monotonic()
    folder = out / "model"
    save_network(student, context.source.checkpoint, folder, output.dtype)
    statistics = calibrate(
        student, context.calibration, context.scratch("statistics"), progress=context.progress
    )
    report = StageReport("export", recipe=context.recipe.raw)
    made = Exported(context, student, statistics, report)
    reopened = compare(context.open(folder).network, student, context.held_out)
    report.figures |= {
        "teacher": teacher_figures(context),
        "folder": of_student(reopened.as_dict()),
        "folder_bytes": model_bytes(folder),
        "zero_rates": zero_rates(statistics),
    }
    note = lineage(context) | {"zero_rates": report.figures["zero_rates"]}
    if output.gguf:
        metadata = {**context.source.checkpoint.metadata, "understudy": note}
        _write_gguf(made, dataclasses.replace(context.source.checkpoint, metadata=metadata))
    if output.threshold_kl:
        found = thresholds(student, context.held_out.take(8), output.threshold_kl)
        note["thresholds"] = dataclasses.asdict(found)
    card.annotate(folder, note)
    _measure(made)
    report.figures |= effort(student, started)
    report.run = describe_run(out / "model.gguf" if output.gguf else folder)
    report.write(out)
    reports = [*context.reports, report]
    card.write(folder, context.recipe, reports, context.source.network.spec, student.spec)
    shutil.rmtree(out / "statistics", ignore_errors=True)
    return report


def _measure(made: Exported) -> None:
    """How far the student is from its teacher, on each text, and in words."""
    context, student, data = made.context, made.student, made.context.recipe.data
    if data.second:
        second = context.read(data.second, data.held_out_sequences).learnt()
        made.figures["second text"] = compare(student, context.source.network, second).as_dict()
    final = context.quality(student)
    made.figures["final"] = final.as_dict()
    if final.perplexity > FAR * final.teacher_perplexity:
        made.report.warnings.append(
            f"the student is far from its teacher (perplexity {final.perplexity:,.1f} against "
            f"{final.teacher_perplexity:,.1f} on held-out text): distil it for more tokens, cut "
            "less "
            "at once, or calibrate on more text"
        )
    made.report.samples = _samples(context, student)


def _samples(context: Context, student: Network) -> dict[str, str]:
    """The same beginning of held-out text, continued by both, always by the likeliest token."""
    tokenizer = context.source.encoder.tokenizer
    start = context.held_out.tokens[0, :SAMPLE_TOKENS]
    found = {"beginning": tokenizer.decode(start.tolist())}
    for name, network in (("teacher", context.source.network), ("student", student)):
        told = continuation(network, start, SAMPLE_TOKENS, tokenizer.vocab_size)
        found[name] = tokenizer.decode(told)
    return found


def of_student(figures: dict[str, float]) -> dict[str, float]:
    """Of a file against the float student: what is the teacher's elsewhere is the student's
    here."""
    return {name.replace("teacher", "student"): value for name, value in figures.items()}


def _write_gguf(made: Exported, like: Checkpoint) -> None:
    context, student, path = made.context, made.student, made.context.out / "model.gguf"
    if context.recipe.quantize is None:
        save_network(student, like, path, "bf16")
        bits: Mapping[str, float] = {}
    else:
        result = quantized(context, student, made.statistics, made.report)
        save_quantized(result.tensors, result.network, like, path)
        made.figures["gguf against its own network"] = {
            "kl": _reopened(context, path, result.network).kl
        }
        made.figures["kv int8"] = {"kl": int8_cache_kl(path, context.held_out.take(2))}
        if context.recipe.output.packed:
            made.figures["packed"] = of_student(packed(context, student, result, like))
        bits = {"bits_per_weight": result.bits_per_weight()}
        del result
    quality = of_student(_reopened(context, path, student).as_dict())
    made.figures["gguf"] = {"bytes": path.stat().st_size, **bits, **quality}


def _reopened(context: Context, path: Path, like: Network) -> Quality:
    return compare(context.open(path).network, like, context.held_out)
