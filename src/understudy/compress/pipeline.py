"""The pipeline: trim the vocabulary, prune, correct the teacher, distil, quantize. Each stage is a
folder of its own.

    out/vocabulary/    the model with fewer pieces, and its report
    out/prune/         calibration/, model/ (float32 folder), report.json, report.html, stage.json
    out/correct/       the same
    out/distill/       the same, with run/ (checkpoints, trace) and cache/ (the teacher's targets)
    out/model/         the student, with README.md (its card)
    out/model.gguf     the quantized student
    out/model-packed/  the same integers for vLLM, if asked for
    out/earlier-1/     what another recipe had made in this folder

A stage that is finished, by the same recipe, is not run again; what another recipe left is moved,
never deleted.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from understudy.compress import parallel
from understudy.compress.checks import check_recipe, outlook
from understudy.compress.context import Context, Say
from understudy.compress.data import Progress, quiet
from understudy.compress.folder import save_network
from understudy.compress.network import Network
from understudy.compress.recipe import Recipe
from understudy.compress.report import StageReport, read_report
from understudy.compress.stage_folder import StageFolder, digest_of, set_aside
from understudy.compress.stages.base import Stage, effort
from understudy.compress.stages.export import export
from understudy.compress.stages.prune import Prune
from understudy.compress.stages.search import with_searched_shape
from understudy.compress.stages.training import Correct, Distill
from understudy.compress.stages.vocabulary import trim, with_trimmed_model

STAGES: tuple[Stage, ...] = (Prune(), Correct(), Distill())
ORDER = (
    "vocabulary",
    "search",
    *(stage.name for stage in STAGES),
    "quantize",
    "output",
)  # tables that decide
RESULT = ("model", "model.gguf", "model-packed", "report.json", "report.html", "result.json")


def unsaid(line: str) -> None:
    """Nobody is told."""


@dataclass
class Result:
    folder: Path  # the student as a Hugging Face folder
    gguf: Path | None
    reports: list[StageReport]

    @property
    def warnings(self) -> list[str]:
        """What the user should know before using the student."""
        return [warning for report in self.reports for warning in report.warnings]


class Pipeline:
    """One recipe on its way. `check` says all that can be seen to be wrong before any long work.

    Args:
        recipe: what `read_recipe` gave.
        progress: called with done, total and what is being done.
        device: "auto", "cpu", "cuda" or "cuda:N".
        say: told what is kept, moved aside or passed over, a line at a time.

    Raises:
        UsageError: torch knows no such device.
    """

    def __init__(
        self, recipe: Recipe, progress: Progress = quiet, device: str = "auto", say: Say = unsaid
    ) -> None:
        self.context = Context(recipe, progress, parallel.choose_device(device), say)
        self.out, self.world = self.context.out, self.context.world

    @property
    def recipe(self) -> Recipe:
        """What is done, as read from the file."""
        return self.context.recipe

    def run(self) -> Result:
        """All stages that are not finished.

        Raises:
            UsageError, MissingError, DocumentError: as `check`, before anything is written.
            UnderstudyError: a stage failed; those before it are kept, and the same call goes on.
        """
        self.check()
        self.out.mkdir(parents=True, exist_ok=True)
        if self.recipe.vocabulary is not None:
            self._trim_vocabulary()
        if self.recipe.search is not None:
            folder = self._claimed("search")
            folder.begin()
            self.context.recipe = with_searched_shape(self.context, folder.path)
            folder.finish()
        student = self.context.start.network
        for stage in STAGES:
            if getattr(self.recipe, stage.name) is not None:
                student = self._stage(stage, student)
        return self._export(student)

    def check(self) -> None:
        """Target, data, settings and disk: every fault that is visible beforehand."""
        check_recipe(self.context)
        for stage in STAGES:
            if getattr(self.recipe, stage.name) is not None:
                stage.check(self.context)

    def outlook(self) -> dict[str, Any]:
        """What would be made: sizes before and after, sequences of data, memory and disk."""
        names = [name for name in ORDER[:-1] if getattr(self.recipe, name) is not None]
        return outlook(self.context, names)

    def _trim_vocabulary(self) -> None:
        """What follows works on the trimmed model, as student and as teacher."""
        before, folder = self.context, self._claimed("vocabulary")
        if not folder.is_finished and self.world.is_first:
            folder.begin()
            trim(self.context, folder.path)
            folder.finish()
        self.world.wait()
        recipe = with_trimmed_model(self.recipe, folder.path)
        self.context = Context(recipe, before.progress, before.device, before.say)

    # ---- stages and their folders ---------------------------------------------------------------

    def _stage(self, stage: Stage, student: Network) -> Network:
        """Runs a stage unless its folder says that this recipe has run it; the student either
        way."""
        context = self.context
        is_teachers = stage.name == "correct"  # makes a teacher, and leaves the student
        folder = self._claimed(stage.name)
        if folder.is_finished:
            context.say(f"{stage.name}: finished before, kept")
            context.reports.append(read_report(folder.path))
            made = context.open(folder.path / "model").network
        else:
            made = self._run(stage, context.teacher if is_teachers else student, folder)
        if is_teachers:
            context.corrected = made
        return student if is_teachers else made

    def _run(self, stage: Stage, network: Network, folder: StageFolder) -> Network:
        context, started = self.context, time.monotonic()
        if self.world.is_first:
            folder.begin()
        self.world.wait()
        made, report = stage.run(context, network, folder.path)
        if not self.world.is_first:
            return made
        report.figures |= effort(made, started)
        report.figures["quality"] = context.quality(made).as_dict()
        report.recipe = self.recipe.raw
        save_network(made, context.source.checkpoint, folder.path / "model", "f32")
        report.write(folder.path)
        folder.finish()
        context.reports.append(report)
        return made

    def _export(self, student: Network) -> Result:
        context, folder = self.context, self._result
        gguf = self.out / "model.gguf" if self.recipe.output.gguf else None
        made = Result(self.out / "model", gguf, context.reports)
        if not self.world.is_first:
            return made
        self._claim_result()
        is_whole = all(path.exists() for path in (made.folder, gguf or made.folder))
        if folder.is_finished and is_whole:
            context.say("export: finished before, kept")
            context.reports.append(read_report(self.out))
            return made
        folder.begin()
        context.reports.append(export(context, student))
        folder.finish()
        return made

    @property
    def _result(self) -> StageFolder:
        return StageFolder(self.out, self._digest("output"), "result.json")

    def _claimed(self, name: str) -> StageFolder:
        """A stage's folder; what another recipe left there, and in later ones, is moved aside."""
        folder = StageFolder(self.out / name, self._digest(name))
        if self.world.is_first and folder.is_of_another:
            later = [other for other in ORDER[ORDER.index(name) :] if other != "output"]
            self._set_aside([*later, *RESULT])
        return folder

    def _claim_result(self) -> None:
        is_there = any((self.out / name).exists() for name in RESULT)
        marker = self.out / "result.json"
        if is_there and (self._result.is_of_another or not marker.exists()):
            self._set_aside(RESULT)

    def _set_aside(self, names: Any) -> None:
        aside = set_aside(self.out, names)
        if aside is not None:
            kept = ", ".join(sorted(path.name for path in aside.iterdir()))
            self.context.say(
                f"{self.out} holds the work of another recipe; kept in {aside}: {kept}"
            )

    def _digest(self, last: str) -> str:
        tables = ["source", "data", *ORDER[: ORDER.index(last) + 1]]
        known = {name: self.recipe.raw.get(name) for name in tables}
        if "output" in known:
            kept = known["output"] or {}
            known["output"] = {key: value for key, value in kept.items() if key != "folder"}
        return digest_of(known)
