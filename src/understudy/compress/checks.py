"""What can be seen to be wrong before any long work, and what a recipe would make and need."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from understudy.compress.context import Context
from understudy.compress.distill import DistillSettings, check
from understudy.compress.memory import activation_bytes
from understudy.compress.recipe import TrainRecipe
from understudy.compress.shapes import candidates
from understudy.compress.stages.quantize import check_quantize
from understudy.compress.teacher import Labels
from understudy.errors import UnderstudyError, UsageError
from understudy.spec import ModelSpec, parameter_counts


def check_recipe(context: Context) -> None:
    """All faults that are not those of one stage (`Stage.check`).

    Raises:
        UsageError: settings that contradict each other or the model.
        DocumentError: data that cannot be read.
        UnderstudyError: not enough disk space.
    """
    recipe, spec = context.recipe, context.start.network.spec
    if recipe.output.threshold_kl and spec.activation != "relu2":
        raise UsageError(
            "thresholds need a relu2 network", found=spec.activation, do="leave out threshold_kl"
        )
    alone = (recipe.search, recipe.prune, recipe.correct, recipe.quantize)
    if context.world.size > 1 and any(alone):
        do = "run the other stages alone, before and after"
        raise UsageError("several processes distil only", do=do)
    _check_data(context)
    if recipe.search is not None:
        candidates(spec, recipe.search)
    if recipe.quantize is not None:
        check_quantize(context)
    _check_disk(context)


def outlook(context: Context, stages: list[str]) -> dict[str, Any]:
    """What would be made: sizes before and after, sequences of data, memory and disk."""
    return {
        "stages": stages,
        "parameters": {
            "teacher": parameter_counts(context.source.network.spec),
            "student": parameter_counts(_student(context)),
        },
        "sequences": {
            "train": len(context.training_sequences),
            "held_out": len(context.held_out),
        },
        "memory_bytes": _memory_needed(context),
        "disk_bytes": _disk_needed(context),
        "folder": str(context.out),
    }


def _student(context: Context) -> ModelSpec:
    recipe, spec = context.recipe, context.start.network.spec
    return spec if recipe.prune is None else recipe.prune.shape.apply(spec)


def _check_data(context: Context) -> None:
    data = context.recipe.data
    settings = DistillSettings(tokens=1, batch_size=1)
    check(context.start.network, Labels(), context.train, settings)
    if not data.held_out and len(context.train) < 2 * data.held_out_sequences:
        raise UsageError(
            "too little data to hold sequences out",
            expected=f"{2 * data.held_out_sequences} sequences",
            found=len(context.train),
            do="give more text or lower held_out_sequences",
        )
    for files in (data.auxiliary, data.second):  # read much later
        if files:
            context.read(files, 1)


def _check_disk(context: Context) -> None:
    needed = _disk_needed(context)
    if (free := shutil.disk_usage(_existing(context.out)).free) < needed:
        raise UnderstudyError(
            "not enough disk space",
            where=context.out,
            expected=f"{needed / 1e9:.1f} GB",
            found=f"{free / 1e9:.1f} GB",
        )


def _disk_needed(context: Context) -> int:
    """Float32 copies: a model a stage, and checkpoints with the optimizer's two moments."""
    recipe = context.recipe
    copies = 6 if recipe.distill or recipe.correct else 2
    return 4 * parameter_counts(context.start.network.spec)["total"] * copies


def _memory_needed(context: Context) -> int:
    """About, at the peak: the stage that holds most."""
    recipe, student = context.recipe, _student(context)
    ours, theirs = (
        parameter_counts(spec)["total"] for spec in (student, context.source.network.spec)
    )
    needed = 4 * (theirs + 3 * ours) + (700 << 20)  # float32: teacher, student, two to compare with
    for training in (recipe.correct, recipe.distill):
        if training is not None:
            needed = max(needed, _training_needs(context, training, student, theirs))
    return needed


def _training_needs(
    context: Context, training: TrainRecipe, student: ModelSpec, theirs: int
) -> int:
    """Weights, gradient and two moments in float32, what is kept for the backward pass, a live
    teacher, the libraries."""
    settings, ours = training.settings, parameter_counts(student)["total"]
    length = context.recipe.data.length
    num_tokens = length * settings.num_at_once(student, length, context.device)
    layer = activation_bytes(student, num_tokens, settings.precision)
    again = settings.num_recomputed(student, num_tokens, context.device)
    kept = (student.num_layers - again) * layer
    live = 4 * theirs if training.teacher == "live" and training is context.recipe.distill else 0
    narrow = 2 * ours if settings.precision == "bfloat16" else 0
    return 16 * ours + live + narrow + kept + (500 << 20)


def _existing(path: Path) -> Path:
    while not path.exists():
        path = path.absolute().parent
    return path
