"""A tuning run from recipe to files: mixture, outlook, training, measures, adapter, report, card.

    made = align(read_recipe(Path("recipes/jobs.toml")), Path("out"), data=Path("data"))

In `out`: `adapter/` (a PEFT folder), `adapter.gguf` (for llama.cpp), `report.html`, `card.md`, and
`training/` with the checkpoints that the same command goes on from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from understudy.adapters import Adapter, gguf, peft
from understudy.align.lora import Adapters
from understudy.align.measure import before_and_after
from understudy.align.recipe import AlignRecipe
from understudy.align.report import Findings, card_text, document
from understudy.align.sft import SupervisedRun
from understudy.align.workbench import Outlook, Workbench, outlook
from understudy.compress.data import Progress, quiet
from understudy.data.mixture import MixPart, Mixture, mix
from understudy.data.overlap import EvaluationSets
from understudy.data.parts import PartContext, part_of
from understudy.report.provenance import file_sha256
from understudy.report.write import write_page, write_text

ALL = 1 << 40
MOST_MEASURED = 60
Say = Callable[[str], None]


@dataclass
class AlignRun:
    """The steps of a run, each on what the former made."""

    recipe: AlignRecipe
    out: Path
    data: Path
    sets: Mapping[str, Sequence[Path]] = field(default_factory=dict)
    device: str = "auto"
    say: Say = lambda text: None

    def __post_init__(self) -> None:
        self.bench = Workbench.open(self.recipe.model)

    def mixture(self) -> Mixture:
        """What is learnt and what is kept apart; without what evaluation sets hold."""
        sets = EvaluationSets.read(self.sets, self.recipe.overlap_words) if self.sets else None
        context = PartContext(
            self.data,
            self.recipe.where,
            self.bench.spec,
            self.bench.chat_template,
            seed=self.recipe.seed,
        )
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

    def prepare(self, mixture: Mixture) -> tuple[SupervisedRun, Outlook]:
        training = self.recipe.training
        network, adapters = self.bench.adapted(training.precision, self.recipe.adapter, self.device)
        settings = training.settings(self.recipe.seed)
        run = SupervisedRun(network, adapters, mixture.trees, settings, self.out / "training")
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
        run, seen = self.prepare(mixture)
        if run.first_step:
            self.say(f"going on from step {run.first_step}")
        report = run.train(progress=progress)
        measured = before_and_after(run.network, run.adapters, mixture.held_out[:MOST_MEASURED])
        adapter = adapter_of(run.adapters, self.recipe, self.bench)
        findings = Findings(self.recipe, self.bench, mixture, report, seen, measured, adapter)
        if run.world.is_first:
            self.write(findings)
        return findings

    def write(self, findings: Findings) -> None:
        """Adapter in both forms, card and report."""
        adapter, spec = findings.adapter, self.bench.spec
        base = self.bench.path.name
        peft.write(adapter, self.out / "adapter", base=base)
        gguf.write(adapter, self.out / "adapter.gguf", spec, base=base)
        write_text(self.out / "card.md", card_text(findings))
        write_page(document(findings), self.out)


def adapter_of(
    adapters: Adapters, recipe: AlignRecipe, bench: Workbench, name: str = ""
) -> Adapter:
    """What was trained as an adapter that says where it comes from."""
    settings = recipe.adapter
    lineage = {
        "base": bench.name,
        "base_sha256": file_sha256(bench.path) if bench.path.is_file() else "",
        "recipe": recipe.where.name,
        "seed": recipe.seed,
    }
    return Adapter(
        name or recipe.where.stem,
        settings.rank,
        settings.alpha,
        settings.rslora,
        adapters.tensors(),
        metadata={"base": bench.name, "lineage": lineage},
    )
