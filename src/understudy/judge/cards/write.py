"""The files of a card: five pages as Markdown and HTML and the figures that the Markdown shows. The same inputs give the same bytes.

write_card(Path("model.gguf"), [Path("runs")], Path("card"), statements) -> [Path("card/model-card.md"), …]
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from understudy.errors import FormatError
from understudy.formats.atomic import written_aside
from understudy.judge.cards import results
from understudy.judge.cards.document import Block, Document, Link
from understudy.judge.cards.evidence import read_evidence
from understudy.judge.cards.facts import read_facts
from understudy.judge.cards.figures import svg
from understudy.judge.cards.markdown import to_markdown
from understudy.judge.cards.overview import Subject, overview
from understudy.judge.cards.page import to_html
from understudy.judge.cards.statements import Statements
from understudy.judge.cards.subcards import bias, explainability, privacy, safety

T = TypeVar("T")
PAGES: dict[str, tuple[str, Callable[[Subject], list[Block]]]] = {
    "model-card": ("Model card", overview),
    "bias": ("Bias", bias),
    "explainability": ("Explainability", explainability),
    "privacy": ("Privacy", privacy),
    "safety": ("Safety and security", safety),
}


def write_card(
    model: Path, runs: Sequence[Path], folder: Path, statements: Statements
) -> list[Path]:
    """Writes all pages.

    Raises:
        CheckpointError: the model cannot be read.
        UsageError: a run of another model.
        FormatError: a run's file is not of its layout.
        UnderstudyError: the place cannot be written.
    """
    facts = read_facts(model)
    subject = Subject(facts, read_evidence(runs, facts), statements)
    return write_documents(guarded(lambda: documents(subject)), folder)


def guarded(build: Callable[[], T]) -> T:
    """Runs are files from anywhere: what is not of its layout ends in one line."""
    try:
        return build()
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise FormatError(
            "a run's file is not of its layout",
            where="runs",
            found=f"{type(error).__name__}: {error}",
            do="make the run again",
        ) from error


def documents(subject: Subject) -> list[Document]:
    """The five pages."""
    links = [Link(stem, title) for stem, (title, _) in PAGES.items()]
    listed = results.run_list(subject.evidence)
    made = []
    for stem, (title, blocks) in PAGES.items():
        about = f"{subject.facts.name}, sha256 {subject.facts.sha256[:16]}…"
        head = subject.title if stem == "model-card" else f"{subject.title}: {title.lower()}"
        made.append(Document(stem, head, f"{title} of {about}", [*blocks(subject), *listed], links))
    return made


def write_documents(made: Sequence[Document], folder: Path) -> list[Path]:
    """Each document as `.md` and `.html`, each figure as `figures/NAME.svg`."""
    texts: dict[Path, str] = {}
    for document in made:
        texts[folder / f"{document.stem}.md"] = to_markdown(document)
        texts[folder / f"{document.stem}.html"] = to_html(document)
        for figure in document.figures:
            texts[folder / "figures" / f"{figure.name}.svg"] = svg(figure, is_alone=True) + "\n"
    for path, text in texts.items():
        with written_aside(path) as aside:
            aside.write_text(text, encoding="utf-8")
    return list(texts)
