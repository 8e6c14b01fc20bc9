"""What a stage leaves behind: `report.json` for programs and `report.html`, one self-contained
page, for people.

The page shows sizes, quality and curves first; every figure, table and the recipe are folded below
them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from understudy.report.document import (
    Bar,
    Bars,
    Beside,
    Block,
    Fields,
    Folded,
    Heading,
    HeatMap,
    KeyFigure,
    KeyFigures,
    Lines,
    Listing,
    Prose,
    Quote,
    ReportDocument,
    Series,
    Table,
    Text,
)
from understudy.report.text import duration, num_bytes, number
from understudy.report.write import write_json, write_page

Curve = Sequence[tuple[float, float]]
TITLES = {
    "vocabulary": "A smaller vocabulary",
    "search": "Which shape",
    "prune": "Pruned",
    "correct": "Teacher corrected on the data",
    "distill": "Distilled",
    "export": "The student",
}
# Tables of matrices whose error is drawn as a map: the table, its column, what the picture says.
ERRORS = (
    ("quantized matrices", "output_error", "Error of each matrix's output after rounding"),
    ("reconstructed linears", "after", "Error of each linear's output after reconstruction"),
)
_PLACE = re.compile(r"layers\.(\d+)\..*?(\w+?)(?:_proj)?(?:\.weight)?$")


@dataclass
class StageReport:
    """A stage's name, its figures (nested mappings and lists of plain values), tables and curves by
    title.

    Attributes:
        run: `report.provenance.describe_run` of the file that came out, once there is one.
        warnings: what the reader should know before using what came out.
        samples: the same words continued by several models, by name.
    """

    stage: str
    figures: dict[str, Any] = field(default_factory=dict)
    tables: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    curves: dict[str, Curve] = field(default_factory=dict)
    recipe: dict[str, Any] = field(default_factory=dict)
    run: dict[str, Any] | None = None
    warnings: list[str] = field(default_factory=list)
    samples: dict[str, str] = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        """Both files. Raises UnderstudyError if the place cannot be written."""
        content = {
            "stage": self.stage,
            "figures": self.figures,
            "tables": self.tables,
            "curves": {
                title: [list(point) for point in curve] for title, curve in self.curves.items()
            },
            "recipe": self.recipe,
            "run": self.run,
            "warnings": self.warnings,
            "samples": self.samples,
        }
        write_json(folder / "report.json", content)
        write_page(document(self), folder)


def read_report(folder: Path) -> StageReport:
    """What `Report.write` left in a folder."""
    content = json.loads((folder / "report.json").read_text())
    names = ("stage", "figures", "tables", "curves", "recipe", "run", "warnings", "samples")
    return StageReport(**{name: content[name] for name in names})


def document(report: StageReport) -> ReportDocument:
    """The report as blocks."""
    name = Path(str(report.recipe.get("source", {}).get("model", ""))).name
    title = TITLES.get(report.stage, report.stage) + (f": {name}" if name else "")
    blocks: list[Block] = [*_glance(report), *_samples(report), *_details(report)]
    run = report.run or {}
    about = ", ".join(str(run[key]) for key in ("model", "date", "version") if run.get(key))
    return ReportDocument("report", title, about or f"Stage {report.stage}", blocks)


def _glance(report: StageReport) -> Iterator[Block]:
    yield Heading("At a glance")
    for warning in report.warnings:
        yield Prose([Text("Warning.", kind="bad"), warning])
    tiles = [*_quality_tiles(report.figures), *_size_tiles(report.figures)]
    if tiles:
        yield KeyFigures(tiles)
    yield from _size_bars(report.figures)
    yield from _perplexity_bars(report.figures)
    for title, curve in report.curves.items():
        label, _, across = title.partition(", by ")
        series = [Series(label, [(float(x), float(y)) for x, y in curve])]
        yield Lines(_stem(title), title, series, x_label=across, y_label=label)
    yield from _layers(report.tables.get("layers", []))
    yield from _errors(report)


def quality_of(figures: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """How good the stage's result is against the teacher (`evaluate.Quality`)."""
    found = figures.get("final") or figures.get("quality")
    return found if isinstance(found, Mapping) else None


def _quality_tiles(figures: Mapping[str, Any]) -> Iterator[KeyFigure]:
    quality = quality_of(figures)
    if quality is None:
        return
    teacher = f"teacher {number(quality['teacher_perplexity'])}"
    yield KeyFigure("perplexity", number(quality["perplexity"]), teacher)
    yield KeyFigure("KL to the teacher", f"{quality['kl']:.3f}", "nats per token")
    yield KeyFigure("same most likely token", f"{quality['agreement']:.1%}", "as the teacher")


def _size_tiles(figures: Mapping[str, Any]) -> Iterator[KeyFigure]:
    size, before = figures.get("gguf", {}).get("bytes"), figures.get("teacher", {}).get("bytes")
    if size is not None:
        yield KeyFigure("file", num_bytes(size), f"from {num_bytes(before)}" if before else "")
    if parameters := figures.get("parameters", {}).get("total"):
        of_teacher = figures.get("teacher", {}).get("parameters")
        note = f"{parameters / of_teacher:.0%} of the teacher's" if of_teacher else ""
        yield KeyFigure("parameters", f"{parameters / 1e6:.1f}M", note)
    if "seconds" in figures:
        yield KeyFigure("time", duration(figures["seconds"]))
    if "peak_memory_bytes" in figures:
        yield KeyFigure("memory at the peak", num_bytes(figures["peak_memory_bytes"]))


def _size_bars(figures: Mapping[str, Any]) -> Iterator[Block]:
    sizes = {
        "teacher": figures.get("teacher", {}).get("bytes"),
        "student, folder": figures.get("folder_bytes"),
        "student, GGUF": figures.get("gguf", {}).get("bytes"),
        "student, packed": figures.get("packed", {}).get("bytes"),
    }
    found = {name: size for name, size in sizes.items() if size}
    if len(found) > 1:
        bars = [
            Bar(name, size, num_bytes(size), "quiet" if name == "teacher" else "plain")
            for name, size in found.items()
        ]
        yield Bars("sizes", "Bytes before and after", bars)


def _perplexity_bars(figures: Mapping[str, Any]) -> Iterator[Block]:
    quality = quality_of(figures)
    if quality is None:
        return
    bars = [Bar("teacher", quality["teacher_perplexity"], mark="quiet")]
    if "trimmed" in figures:
        bars.append(Bar("trimmed", figures["trimmed"]["perplexity"], mark="quiet"))
    bars.append(Bar("student", quality["perplexity"]))
    if "gguf" in figures:
        bars.append(Bar("student, GGUF", figures["gguf"]["perplexity"]))
    if "packed" in figures:
        bars.append(Bar("student, packed", figures["packed"]["perplexity"]))
    yield Bars("perplexity", "Perplexity on held-out text (lower is better)", bars)


def _layers(rows: Sequence[Mapping[str, Any]]) -> Iterator[Block]:
    names = {"influence": "influence on the stream", "zero_rate": "share of zeros"}
    for name, label in names.items():
        points = [(float(row["layer"]), float(row[name])) for row in rows if name in row]
        if any(value for _, value in points):
            caption = f"Each layer of the source: {label}"
            yield Lines(name, caption, [Series(label, points)], x_label="layer", y_label=label)


def _errors(report: StageReport) -> Iterator[Block]:
    """The error of each matrix where it lies in the network, of what was rounded or refitted."""
    for table, value, caption in ERRORS:
        if chart := error_map(report.tables.get(table, []), value, caption):
            yield chart


def error_map(rows: Sequence[Mapping[str, Any]], value: str, caption: str) -> HeatMap | None:
    """Rows named `model.layers.N.PART.KIND` as a map of kinds and layers; None where none is."""
    found: dict[tuple[str, int], float] = {}
    for row in rows:
        place = _PLACE.search(str(row.get("name", "")))
        if place and isinstance(row.get(value), int | float):
            found[place[2], int(place[1])] = float(row[value])
    if not found:
        return None
    kinds = list(dict.fromkeys(kind for kind, _ in found))
    layers = range(max(layer for _, layer in found) + 1)
    values = [[found.get((kind, layer)) for layer in layers] for kind in kinds]
    return HeatMap(_stem(caption), caption, kinds, [str(i) for i in layers], values, "layer")


def _samples(report: StageReport) -> Iterator[Block]:
    if report.samples:
        yield Heading("The same beginning, continued")
        told = {name: text for name, text in report.samples.items() if name != "beginning"}
        if "beginning" in report.samples:
            yield Quote(report.samples["beginning"], "beginning")
        yield Beside([Quote(text, name) for name, text in told.items()])


def _details(report: StageReport) -> Iterator[Block]:
    yield Heading("Every figure")
    rows = [(name, shown(value)) for name, value in flat(report.figures)]
    yield Folded("Figures", [Table(("figure", "value"), rows, frozenset({1}))])
    for title, table in report.tables.items():
        if table:
            yield Folded(title, [_table(table)])
    if report.recipe:
        yield Folded("Recipe", [Listing(json.dumps(report.recipe, indent=2), "json")])
    if report.run:
        yield Folded(
            "Run", [Fields([(name, [shown(value)]) for name, value in report.run.items()])]
        )


def flat(figures: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested figures by one name, as in `quality, kl`; lists stay whole."""
    for name, value in figures.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{name}, ")
        else:
            yield f"{prefix}{name}", value


def _table(rows: Sequence[Mapping[str, Any]]) -> Table:
    heads = list(rows[0])
    numeric = frozenset(
        i for i, name in enumerate(heads) if all(_is_number(row.get(name)) for row in rows)
    )
    return Table(heads, [[shown(row.get(name)) for name in heads] for row in rows], numeric)


def _is_number(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def shown(value: Any) -> str:
    """A value as a reader sees it: ranges of whole numbers short, floats with four digits."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1e5 else f"{value:,.0f}"
    if isinstance(value, list | tuple):
        return _range(value) or ", ".join(map(shown, value))
    return str(value)


def _range(values: Sequence[Any]) -> str:
    """`0 to 29` for a list of whole numbers without a gap."""
    if len(values) < 3 or not all(type(value) is int for value in values):
        return ""
    is_whole = list(values) == list(range(values[0], values[0] + len(values)))
    return f"{values[0]} to {values[-1]}" if is_whole else ""


def _stem(title: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in title.lower()).strip("-")[:60]
