"""What the files of a student carry of where they come from: teacher, stages, recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from understudy import __version__
from understudy.checkpoint.lineage import lineage_of
from understudy.compress.context import Context
from understudy.report.provenance import model_bytes, model_sha256
from understudy.spec import parameter_counts


def teacher_figures(context: Context) -> dict[str, Any]:
    source = context.source
    total = parameter_counts(source.network.spec)["total"]
    return {"bytes": model_bytes(source.checkpoint.path), "parameters": total}


def lineage(context: Context) -> dict[str, Any]:
    """As `checkpoint.lineage` reads it; names of files without their places."""
    raw, source = context.recipe.raw, context.source.checkpoint
    recipe = {name: dict(table) for name, table in raw.items() if name != "output"}
    for table in ("source", "data"):
        recipe[table] = {key: _names(value) for key, value in recipe.get(table, {}).items()}
    stages = [
        {
            "stage": report.stage,
            "quality": report.figures.get("quality"),
            "parameters": report.figures.get("parameters"),
        }
        for report in context.reports
    ]
    before = lineage_of(source.metadata)
    return {
        "teacher": source.path.name,
        "teacher_sha256": model_sha256(source.path),
        "teacher_parameters": teacher_figures(context)["parameters"],
        "stages": stages,
        "recipe": recipe,
        "version": __version__,
        **({"teacher_lineage": before} if before else {}),
    }


def _names(value: Any) -> Any:
    """Paths without their folders, in a text or a list of texts."""
    if isinstance(value, str):
        return Path(value).name
    return [_names(entry) for entry in value] if isinstance(value, (list, tuple)) else value
