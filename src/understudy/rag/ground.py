"""What was found for one question: passages as a model sees them, the grammar of an answer that quotes them, and its reading."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from understudy.rag.abstain import DEFAULT_POINT, OperatingPoint, confidence
from understudy.rag.cite import MIN_QUOTE, Citation, answer_grammar, cite, parse_answer, shown
from understudy.rag.store import Passage
from understudy.spec import ModelSpec, parameter_counts

if TYPE_CHECKING:
    from understudy.rag.index import Index

SYSTEM = (
    "Answer the user's question from the numbered passages only. First quote the words that hold the answer, then answer in a "
    "sentence. If the passages do not hold the answer, say: The documents do not say."
)
JUDGE_PARAMETERS = 1_000_000_000  # a smaller model says "the documents do not say" to everything, so it is not asked
_QUOTED = re.compile(rf'["“”«»„]([^"“”«»„]{{{MIN_QUOTE},400}})["“”«»„]')


@dataclass(frozen=True, slots=True)
class Grounding:
    """Passages for one question, the best first. Where a method takes a `count`, the rest found no room in the prompt."""

    passages: tuple[Passage, ...]
    confidence: float
    point: OperatingPoint = DEFAULT_POINT

    @property
    def is_enough(self) -> bool:
        return bool(self.passages) and self.confidence >= self.point.threshold

    @property
    def contexts(self) -> list[str]:
        return contexts_of(self.passages)

    def grammar(self, count: int, spec: ModelSpec, *, may_abstain: bool | None = None) -> str:
        """Args:
        may_abstain: whether the model may say that the documents do not say; default from `JUDGE_PARAMETERS` on.
        """
        if may_abstain is None:
            may_abstain = parameter_counts(spec)["total"] >= JUDGE_PARAMETERS
        return answer_grammar(self.passages[:count], may_abstain=may_abstain)

    def read(self, raw: str, count: int) -> tuple[str | None, tuple[Citation, ...]]:
        parsed = parse_answer(raw, self.passages[:count])
        return parsed.text, parsed.citations

    def quotes(self, text: str, count: int) -> tuple[Citation, ...]:
        found = []
        for match in _QUOTED.finditer(text):
            places = (cite(match[1], number, self.passages) for number in range(1, count + 1))
            found += [citation for citation in places if citation is not None][:1]
        return tuple(found)


def contexts_of(passages: Sequence[Passage]) -> list[str]:
    """Passages as the model sees them, numbered from 1."""
    return [
        f"[{i}] {_heading(passage)}{shown(passage.text)}" for i, passage in enumerate(passages, 1)
    ]


def ground(
    index: Index, question: str, *, k: int = 8, point: OperatingPoint = DEFAULT_POINT
) -> Grounding:
    """Searches an index for one question."""
    passages = tuple(index.search(question, k)) if question.strip() else ()
    return Grounding(passages, confidence(question, passages) if passages else 0.0, point)


def _heading(passage: Passage) -> str:
    return f"({shown(passage.chunk.heading)}) " if passage.chunk.heading else ""
