"""Quantize: the float student to 4 and 8 bits, bits spent where they pay, then tuned if asked
for."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

from understudy.checkpoint.checkpoint import Checkpoint
from understudy.compress.bit_budget import find_prices
from understudy.compress.calibrate import Statistics
from understudy.compress.context import Context
from understudy.compress.distill import DistillSettings
from understudy.compress.evaluate import compare
from understudy.compress.network import Network
from understudy.compress.packed_folder import open_packed, save_packed
from understudy.compress.qad import BATCH_SIZE, tune
from understudy.compress.quantize import Quantized, QuantizeSettings, quantize, spend_bits
from understudy.compress.recipe import QuantizeRecipe
from understudy.compress.report import StageReport
from understudy.compress.teacher import LiveTeacher
from understudy.errors import UsageError


def check_quantize(context: Context) -> None:
    """Raises UsageError where a size of the student is no whole number of blocks."""
    recipe, spec = context.recipe, context.start.network.spec
    student = recipe.prune.shape.apply(spec) if recipe.prune is not None else spec
    for name in ("hidden_size", "intermediate_size", "query_size"):
        if (size := getattr(student, name)) % 32:
            raise UsageError(
                f"{name} of the student cannot be quantized",
                expected="a multiple of 32",
                found=size,
            )


def quantized(
    context: Context, student: Network, statistics: Statistics, report: StageReport
) -> Quantized:
    """The student as the recipe wants it rounded; tables and figures go into `report`."""
    recipe = context.recipe.quantize
    assert recipe is not None
    settings, progress = recipe.settings, context.progress
    if recipe.max_bits is not None:
        probe = context.held_out.take(4)
        settings, table = spend_bits(
            student, statistics, settings, probe, recipe.max_bits, progress
        )
        report.tables["what q8 would bring"] = table
    if recipe.bits is not None:
        settings = _within(recipe.bits, context, student, statistics, report)
    result = quantize(student, statistics, settings, progress, context.calibration)
    if recipe.tune_tokens:
        before: dict[str, Any] = compare(result.network, student, context.held_out).as_dict()
        report.figures["before tuning"] = before
        result, _ = tune(
            result,
            LiveTeacher(student),
            context.training_sequences,
            _tuning(context, recipe),
            context.scratch("tuning"),
            learns=recipe.tune,
            progress=progress,
        )
    errors = result.errors.items()
    report.tables["quantized matrices"] = [{"name": n, "output_error": e} for n, e in errors]
    return result


def _within(
    bits: float, context: Context, student: Network, statistics: Statistics, report: StageReport
) -> QuantizeSettings:
    """The settings with a grid for every matrix; what was chosen, and what other budgets would
    bring, go into `report`."""
    recipe = context.recipe.quantize
    assert recipe is not None
    ends = {"embed_tokens": recipe.settings.embedding, "lm_head": recipe.settings.head}
    fixed = {part: grid for part, grid in ends.items() if grid is not None}
    prices = find_prices(student, statistics, context.calibration, fixed, context.progress)
    chosen = prices.within(bits)
    report.tables["what a budget of bits would cost"] = prices.ladder()
    report.tables["chosen grids"] = [
        {"name": name, "grid": price.grid, "estimated_kl": price.kl}
        for name, price in chosen.items()
    ]
    formats = {name: price.grid for name, price in chosen.items()}
    commonest = Counter(formats.values()).most_common(1)[0][0]
    return replace(recipe.settings, weights=commonest, formats=formats)


def packed(
    context: Context, student: Network, result: Quantized, like: Checkpoint
) -> dict[str, float]:
    """Writes model-packed/, opens it again; its bytes, and its quality against the float
    student."""
    folder = save_packed(result, like, context.out / "model-packed")
    reopened = open_packed(folder, student.spec).to(context.device)
    size = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    return {"bytes": size} | compare(reopened, student, context.held_out).as_dict()


def _tuning(context: Context, recipe: QuantizeRecipe) -> DistillSettings:
    """In the precision of [distill], if there is one."""
    trained = context.recipe.distill
    return DistillSettings(
        recipe.tune_tokens,
        BATCH_SIZE,
        BATCH_SIZE,
        recipe.tune_learning_rate,
        recipe.tune_learning_rate / 10,
        precision=trained.settings.precision if trained is not None else "float32",
    )
