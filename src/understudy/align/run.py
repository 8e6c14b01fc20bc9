"""A tuning run from recipe to files: mixture, outlook, training, measures, adapter, report, card.

    made = align(read_recipe(Path("recipes/jobs.toml")), Path("out"), data=Path("data"))

In `out`: `adapter/` (a PEFT folder), `adapter.gguf` (for llama.cpp), `report.html`, `card.md`, and
`training/` with the checkpoints that the same command goes on from. Where all weights are tuned,
`model/` (a Hugging Face folder) stands in the place of the adapter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from understudy.align.compare import compare_on
from understudy.align.files import made_of, write_findings
from understudy.align.measure import before_and_after
from understudy.align.recipe import AlignRecipe
from understudy.align.report import Findings
from understudy.align.sft import SupervisedRun
from understudy.align.start import trained_of
from understudy.align.teacher import ask_teacher
from understudy.align.workbench import Outlook, Workbench, outlook
from understudy.compress import parallel
from understudy.compress.data import Progress, quiet
from understudy.data.mixture import MixPart, Mixture, mix
from understudy.data.overlap import EvaluationSets
from understudy.data.parts import PartContext, part_of

ALL = 1 << 40
MAX_MEASURED = 60
Say = Callable[[str], None]


@dataclass
class AlignRun:
    """The steps of a run, each on what the former made."""

    recipe: AlignRecipe
    out: Path
    data: Path
    sets: Mapping[str, Sequence[Path]] = field(default_factory=dict)
    device: str = "auto"
    tests: Sequence[Path] = ()
    start: Path | None = None
    say: Say = lambda text: None

    def __post_init__(self) -> None:
        self.bench = Workbench.open(self.recipe.model)

    def mixture(self) -> Mixture:
        """What is learnt and what is kept apart; without what evaluation sets hold."""
        sets = EvaluationSets.read(self.sets, self.recipe.overlap_words) if self.sets else None
        context = self.context()
        parts = [
            MixPart(
                str(table["name"]),
                float(table.get("share", 1.0)),
                part_of(str(table["name"]))(table, context),
                int(table.get("most", 700)),
            )
            for table in self.recipe.parts
        ]
        encoder = self.bench.encoder(is_even=self.recipe.training.even_weights)
        return mix(parts, self.recipe.training.tokens or ALL, encoder, sets)

    def context(self) -> PartContext:
        spec, template = self.bench.spec, self.bench.chat_template
        return PartContext(self.data, self.recipe.where, spec, template, seed=self.recipe.seed)

    def prepare(
        self, mixture: Mixture, progress: Progress = quiet
    ) -> tuple[SupervisedRun, Outlook]:
        training, targets = self.recipe.training, None
        if training.teacher:
            targets = ask_teacher(
                training.teacher,
                self.bench,
                mixture.trees,
                self.out / "training",
                precision=training.precision,
                device=self.device,
                world=parallel.world(),
                progress=progress,
            )
        network, adapters = trained_of(self.recipe, self.bench, self.device, self.start)
        settings = training.settings(self.recipe.seed)
        folder = self.out / "training"
        run = SupervisedRun(network, adapters, mixture.trees, settings, folder, targets)
        seen = outlook(network, adapters, mixture.trees, run.steps, settings.batching)
        for line in seen.lines():
            self.say(line)
        return run, seen

    def train(self, *, progress: Progress = quiet) -> Findings:
        """Everything. A run that was stopped goes on from its last checkpoint.

        Raises:
            UnderstudyError: what is wrong with recipe, data or model, in a line.
        """
        mixture = self.mixture()
        run, seen = self.prepare(mixture, progress)
        if run.first_step:
            self.say(f"going on from step {run.first_step}")
        report = run.train(progress=progress)
        measured = before_and_after(run.network, run.adapters, mixture.held_out[:MAX_MEASURED])
        made = made_of(run.adapters, self.recipe, self.bench, self.out)
        findings = Findings(self.recipe, self.bench, mixture, report, seen, measured, made)
        if self.tests and run.world.is_first:
            context = self.context()
            found = compare_on(self.tests, self.bench, made, context, progress=progress)
            findings.compared.update(found)
        if run.world.is_first:
            write_findings(findings, self.out)
        return findings
