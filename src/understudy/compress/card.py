"""The model card beside the weights: where the student comes from, how it was made, how good it
is."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from understudy.compress.recipe import Recipe
from understudy.compress.report import StageReport, quality_of
from understudy.report.document import (
    Block,
    Cell,
    Heading,
    Listing,
    Prose,
    ReportDocument,
    Table,
    Text,
)
from understudy.report.markdown import to_markdown
from understudy.report.text import duration, number
from understudy.report.write import write_json, write_text
from understudy.spec import ModelSpec, parameter_counts

AXES = (
    "num_layers",
    "hidden_size",
    "intermediate_size",
    "num_heads",
    "num_kv_heads",
    "vocab_size",
)


def write(
    folder: Path,
    recipe: Recipe,
    reports: Sequence[StageReport],
    teacher: ModelSpec,
    student: ModelSpec,
) -> None:
    """README.md: lineage, shape, figures of every stage, the recipe that makes it again."""
    write_text(folder / "README.md", to_markdown(card(recipe, reports, teacher, student)))


def card(
    recipe: Recipe, reports: Sequence[StageReport], teacher: ModelSpec, student: ModelSpec
) -> ReportDocument:
    """The card as blocks."""
    ours, theirs = parameter_counts(student)["total"], parameter_counts(teacher)["total"]
    made = ", then ".join(report.stage for report in reports if report.stage != "export")
    about = (
        f"{ours / 1e6:.1f}M parameters, {ours / theirs:.0%} of its teacher's {theirs / 1e6:.1f}M. "
        f"Made with Understudy by {made or 'conversion alone'}."
    )
    shape = [
        [name.replace("_", " "), str(getattr(teacher, name)), str(getattr(student, name))]
        for name in AXES
    ]
    note = (
        "Measured on held-out text of the recipe's data; the licence is the teacher's. "
        "What it was not measured on is not known: try it on your own text."
    )
    warnings = [warning for report in reports for warning in report.warnings]
    blocks: list[Block] = [
        *(Prose([Text("Warning.", kind="strong"), warning]) for warning in warnings),
        Table(("", "teacher", "student"), shape, frozenset({1, 2})),
        Table(
            ("stage", "perplexity", "teacher's", "KL to teacher", "same top-1", "time"),
            [row for report in reports if (row := _row(report))],
            frozenset(range(1, 6)),
        ),
        Prose([note]),
        Heading("Recipe"),
        Listing(json.dumps(recipe.raw, indent=2), "json"),
    ]
    return ReportDocument("README", f"A student of {Path(recipe.model).name}", about, blocks)


def _row(report: StageReport) -> list[Cell]:
    quality = quality_of(report.figures)
    if quality is None:
        return []
    return [
        report.stage,
        number(quality["perplexity"]),
        number(quality["teacher_perplexity"]),
        f"{quality['kl']:.4f}",
        f"{quality['agreement']:.1%}",
        duration(report.figures["seconds"]) if "seconds" in report.figures else "",
    ]


def annotate(folder: Path, note: Mapping[str, Any]) -> None:
    """Write `note` into config.json under the key `understudy`, which readers of the format pass
    over."""
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config["understudy"] = dict(config.get("understudy", {})) | dict(note)
    write_json(path, config)
