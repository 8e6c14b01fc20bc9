"""The model card beside the weights: where the student comes from, how it was made, how good it is."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from understudy.compress.recipe import Recipe
from understudy.compress.report import Report
from understudy.spec import ModelSpec, parameter_counts


def write(
    folder: Path, recipe: Recipe, reports: Sequence[Report], teacher: ModelSpec, student: ModelSpec
) -> None:
    """README.md: lineage, shape, figures of every stage, the recipe that makes it again."""
    ours, theirs = parameter_counts(student)["total"], parameter_counts(teacher)["total"]
    lines = [
        f"# A student of {Path(recipe.model).name}",
        "",
        f"{ours / 1e6:.1f}M parameters, {ours / theirs:.0%} of its teacher's {theirs / 1e6:.1f}M. Made with Understudy by "
        f"{', then '.join(r.stage for r in reports if r.stage != 'export') or 'conversion alone'}.",
        "",
        "| | teacher | student |",
        "|---|---|---|",
    ]
    axes = (
        "num_layers",
        "hidden_size",
        "intermediate_size",
        "num_heads",
        "num_kv_heads",
        "vocab_size",
    )
    lines += [f"| {name} | {getattr(teacher, name)} | {getattr(student, name)} |" for name in axes]
    lines += [
        "",
        "| stage | perplexity | teacher's | KL to teacher | same top-1 | seconds |",
        "|---|---|---|---|---|---|",
    ]
    for report in reports:
        quality = report.figures.get("quality") or report.figures.get("final")
        if quality:
            lines.append(
                f"| {report.stage} | {quality['perplexity']:.2f} | {quality['teacher_perplexity']:.2f} "
                f"| {quality['kl']:.4f} | {quality['agreement']:.1%} | {report.figures.get('seconds', '')} |"
            )
    lines += [
        "",
        "Measured on held-out rows of the recipe's data; the licence is the teacher's. What it was not "
        "measured on is not known: try it on your own text.",
        "",
        "## Recipe",
        "",
        "```json",
        json.dumps(recipe.raw, indent=2),
        "```",
        "",
    ]
    (folder / "README.md").write_text("\n".join(lines), encoding="utf-8")


def annotate(folder: Path, note: Mapping[str, Any]) -> None:
    """Write `note` into the folder's config.json under the key `understudy`, which readers of the format step over."""
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config["understudy"] = dict(config.get("understudy", {})) | dict(note)
    aside = path.with_suffix(".tmp")
    aside.write_text(json.dumps(config, indent=2), encoding="utf-8")
    aside.rename(path)
