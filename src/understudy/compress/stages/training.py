"""Correct and distil: the two stages that train. One learns from the labels, the other from a
teacher."""

from __future__ import annotations

from pathlib import Path

from understudy.compress.context import Context
from understudy.compress.distill import check, distill
from understudy.compress.memory import rest
from understudy.compress.network import Network, network_from_weights, network_on
from understudy.compress.recipe import TrainRecipe
from understudy.compress.report import StageReport
from understudy.compress.teacher import CachedTeacher, Labels, LiveTeacher, Teacher, capture


class Correct:
    """The teacher sees the data first, with labels: what the student then learns fits the data."""

    name = "correct"

    def check(self, context: Context) -> None:
        assert context.recipe.correct is not None
        settings = context.recipe.correct.settings
        check(context.start.network, Labels(), context.training_sequences, settings)

    def run(self, context: Context, network: Network, folder: Path) -> tuple[Network, StageReport]:
        assert context.recipe.correct is not None
        return _train(context, "correct", network, Labels(), context.recipe.correct, folder)


class Distill:
    """The student learns its teacher's distribution."""

    name = "distill"

    def check(self, context: Context) -> None:
        assert context.recipe.distill is not None
        settings = context.recipe.distill.settings
        check(context.start.network, Labels(), context.training_sequences, settings)

    def run(self, context: Context, network: Network, folder: Path) -> tuple[Network, StageReport]:
        recipe = context.recipe.distill
        assert recipe is not None
        teacher = self._teacher(context, recipe, folder / "cache")
        return _train(context, "distill", network, teacher, recipe, folder)

    def _teacher(self, context: Context, recipe: TrainRecipe, cache: Path) -> Teacher:
        if recipe.teacher != "cache":
            return LiveTeacher(context.teacher)
        sequences = recipe.settings.sequences_needed(context.training_sequences)
        if context.world.is_first:
            capture(
                context.teacher,
                sequences,
                cache,
                budget=recipe.cache_bytes,
                precision=recipe.settings.precision,
                progress=context.progress,
            )
        context.world.wait()
        return CachedTeacher(cache, sequences)


def _train(
    context: Context,
    name: str,
    network: Network,
    teacher: Teacher,
    recipe: TrainRecipe,
    folder: Path,
) -> tuple[Network, StageReport]:
    student = network_from_weights(network.spec, network.state_dict())
    idle = {network, context.source.network, context.start.network, context.teacher}
    if isinstance(teacher, LiveTeacher):
        idle -= {teacher.network}
    for one in idle:
        rest(one, folder)
    sequences = recipe.settings.sequences_needed(context.training_sequences)
    done = distill(
        student, teacher, sequences, recipe.settings, folder / "run", progress=context.progress
    )
    figures = {
        "steps": done.steps,
        "tokens": done.tokens,
        "tokens_per_second": done.tokens / done.seconds,
        "steps_passed_over": done.passed_over,
    }
    report = StageReport(name, figures)
    report.curves["loss in nats per token, by step"] = list(enumerate(done.losses))
    return network_on(student.spec, student.state_dict()), report
