"""Documents as files: Markdown, HTML and charts, each written aside and then renamed. The same
document, the same bytes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from understudy.atomic import written_aside
from understudy.report.charts import svg
from understudy.report.document import ReportDocument
from understudy.report.html import to_html
from understudy.report.markdown import to_markdown


def write_documents(documents: Sequence[ReportDocument], folder: Path) -> list[Path]:
    """Each document as `.md` and `.html`, each chart as `figures/NAME.svg`.

    Raises:
        UnderstudyError: the place cannot be written.
    """
    texts: dict[Path, str] = {}
    for document in documents:
        texts[folder / f"{document.stem}.md"] = to_markdown(document)
        texts[folder / f"{document.stem}.html"] = to_html(document)
        for chart in document.charts:
            texts[folder / "figures" / f"{chart.name}.svg"] = svg(chart, is_alone=True) + "\n"
    for path, text in texts.items():
        write_text(path, text)
    return list(texts)


def write_page(document: ReportDocument, folder: Path) -> Path:
    """The document as `STEM.html` alone, which holds its charts."""
    path = folder / f"{document.stem}.html"
    write_text(path, to_html(document))
    return path


def write_json(path: Path, value: object) -> None:
    """ASCII, so that nothing that a model wrote can act on a terminal.

    Raises:
        UnderstudyError: the place cannot be written.
    """
    write_text(path, json.dumps(value, indent=1) + "\n")


def write_text(path: Path, text: str) -> None:
    with written_aside(path) as aside:
        aside.write_text(text, encoding="utf-8")
