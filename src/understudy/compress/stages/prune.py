"""Prune: rank units, cut the least important, reconstruct what is left where that helps."""

from __future__ import annotations

from pathlib import Path

from understudy.compress.calibrate import Statistics, calibrate
from understudy.compress.context import Context
from understudy.compress.depth import choose_layers
from understudy.compress.evaluate import Quality
from understudy.compress.importance import CRITERIA
from understudy.compress.network import Network
from understudy.compress.prune import Selection, select, trim
from understudy.compress.recipe import PruneRecipe
from understudy.compress.reconstruct import reconstruct
from understudy.compress.report import StageReport
from understudy.errors import UsageError


class Prune:
    name = "prune"

    def check(self, context: Context) -> None:
        recipe = _recipe(context)
        spec = context.start.network.spec
        if context.recipe.search is None and recipe.shape.apply(spec) == spec:
            raise UsageError(
                "nothing to prune: the target is the size that the model has",
                where="[prune]",
                expected="a smaller num_layers, hidden_size, intermediate_size, num_heads or "
                "num_kv_heads",
                do="name a target (`understudy prune`: --mlp, --layers, --hidden, --heads, "
                "--kv-heads)",
            )

    def run(self, context: Context, network: Network, folder: Path) -> tuple[Network, StageReport]:
        recipe, progress = _recipe(context), context.progress
        calibration = context.calibration
        statistics = calibrate(network, calibration, folder / "calibration", progress=progress)
        scores = CRITERIA[recipe.criterion](network, statistics, recipe.seed)
        depth = recipe.shape.apply(network.spec).num_layers
        kept = choose_layers(recipe.depth, network, statistics, depth, calibration.take(8))
        selection = select(network, recipe.shape, scores, kept)
        residual_heads = scores if recipe.residual_heads else None
        student = trim(network, selection, residual_heads)
        report = StageReport("prune", {"criterion": recipe.criterion, "kept_layers": list(kept)})
        progress(0, 1, "measuring the trimmed network")
        trimmed = context.quality(student)
        report.figures["trimmed"] = trimmed.as_dict()
        report.tables["layers"] = _layers(statistics)
        if recipe.reconstruct and not _reconstructed(
            context, network, student, selection, trimmed, report
        ):
            student = trim(network, selection, residual_heads)
        return student, report


def _recipe(context: Context) -> PruneRecipe:
    assert context.recipe.prune is not None
    return context.recipe.prune


def _reconstructed(
    context: Context,
    network: Network,
    student: Network,
    selection: Selection,
    trimmed: Quality,
    report: StageReport,
) -> bool:
    """Reconstructs `student` in place; False where it is worse on held-out text, and not taken."""
    calibration = context.calibration
    spec = student.spec
    width = max(spec.hidden_size, spec.intermediate_size, spec.query_size)
    if calibration.num_tokens < width:
        report.warnings.append(
            f"calibration has {calibration.num_tokens:,} tokens, fewer than the {width:,} inputs "
            "of a "
            "linear layer: raise calibration_sequences or length"
        )
    gains = reconstruct(network, student, selection, calibration, progress=context.progress)
    report.tables["reconstructed linears"] = [vars(gain) for gain in gains]
    context.progress(0, 1, "measuring the reconstructed network")
    quality = context.quality(student)
    report.figures["reconstructed"] = quality.as_dict()
    report.figures["is_reconstruction_taken"] = quality.kl <= trimmed.kl
    if quality.kl <= trimmed.kl:
        return True
    report.warnings.append(
        f"the reconstruction was worse on held-out text (KL {quality.kl:.3f} against "
        f"{trimmed.kl:.3f}) and is not taken: calibrate on more text"
    )
    return False


def _layers(statistics: Statistics) -> list[dict[str, float]]:
    pairs = zip(statistics.scalars("influence"), statistics.scalars("zero_rate"), strict=True)
    return [
        {"layer": i, "influence": influence, "zero_rate": rate}
        for i, (influence, rate) in enumerate(pairs)
    ]
