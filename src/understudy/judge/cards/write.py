"""The files of a card: five pages as Markdown and HTML and the figures that the Markdown shows. The
same inputs give the same bytes.

write_card(Path("model.gguf"), [Path("runs")], Path("card"), statements) ->
[Path("card/model-card.md"), …]
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from understudy.errors import FormatError
from understudy.judge.cards import results
from understudy.judge.cards.evidence import read_evidence
from understudy.judge.cards.facts import read_facts
from understudy.judge.cards.overview import Subject, overview
from understudy.judge.cards.statements import Statements
from understudy.judge.cards.subcards.bias import bias
from understudy.judge.cards.subcards.explainability import explainability
from understudy.judge.cards.subcards.privacy import privacy
from understudy.judge.cards.subcards.safety import safety
from understudy.report.document import Block, Link, ReportDocument
from understudy.report.write import write_documents

T = TypeVar("T")
PAGES: dict[str, tuple[str, Callable[[Subject], list[Block]]]] = {
    "model-card": ("Model card", overview),
    "bias": ("Bias", bias),
    "explainability": ("Explainability", explainability),
    "privacy": ("Privacy", privacy),
    "safety": ("Safety and security", safety),
}


def write_card(
    model: Path,
    runs: Sequence[Path],
    folder: Path,
    statements: Statements,
    adapters: Sequence[Mapping[str, Any]] = (),
) -> list[Path]:
    """Writes all pages.

    Args:
        adapters: what acts on the model: with it, it is another model by content, and so are its
            runs.

    Raises:
        CheckpointError: the model cannot be read.
        UsageError: a run of another model.
        FormatError: a run's file is not of its layout.
        UnderstudyError: the place cannot be written.
    """
    facts = read_facts(model, adapters)
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


def documents(subject: Subject) -> list[ReportDocument]:
    """The five pages."""
    links = [Link(stem, title) for stem, (title, _) in PAGES.items()]
    listed = results.run_list(subject.evidence)
    made = []
    for stem, (title, blocks) in PAGES.items():
        about = f"{subject.facts.name}, sha256 {subject.facts.sha256[:16]}…"
        head = subject.title if stem == "model-card" else f"{subject.title}: {title.lower()}"
        made.append(
            ReportDocument(stem, head, f"{title} of {about}", [*blocks(subject), *listed], links)
        )
    return made
