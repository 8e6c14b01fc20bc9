"""New cases out of what somebody has: a tool list, documents, a card.

cases = of_tools(Path("tools.json"), Order(count=200))
write_data(cases.make(), path)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from understudy.data.make_documents import DocumentCases
from understudy.data.make_scenes import SceneCases
from understudy.data.make_tools import ToolCases, read_tools
from understudy.data.requests import read_phrased, read_values
from understudy.data.writers import Writer
from understudy.rag.readers import read_document
from understudy.roleplay.card_files import read_card


@dataclass(frozen=True)
class Order:
    """How many records, from which draw, and who writes the words (None: templates)."""

    count: int
    seed: int = 0
    writer: Writer | None = None


def of_tools(
    tools: Path, order: Order, phrases: Path | None = None, values: Path | None = None
) -> ToolCases:
    """Requests to the functions of a file.

    Args:
        phrases: ways to ask for functions, as `data.requests` reads them.
        values: values by kind.
    """
    return ToolCases(
        read_tools(tools),
        order.count,
        order.seed,
        read_values(values) if values else {},
        read_phrased(phrases) if phrases else (),
        order.writer,
    )


def of_documents(paths: Sequence[Path], order: Order) -> DocumentCases:
    """Questions about files that `rag add` takes."""
    read = [(path.stem, read_document(path)) for path in paths]
    return DocumentCases(read, order.count, order.seed, order.writer)


def of_card(path: Path, order: Order) -> SceneCases:
    """Scenes of a character."""
    return SceneCases(read_card(path), order.count, order.seed, order.writer)
