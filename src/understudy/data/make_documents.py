"""Cases out of documents: questions with the quote that answers them, and the same questions where
the passage is away.

Without a writer, questions are asked of sentences that say what something is; with one, it writes a
question for a sentence, and the case is kept only if the answer stands in that sentence alone.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from understudy.data.records import Record
from understudy.data.writers import Writer
from understudy.rag.cite import NOT_SAID, sentences_of
from understudy.rag.document import Document

_SAYS = re.compile(
    r"^(?P<subject>(?:The |A |An )?[A-Z][\w'’-]*(?: [\w'’-]+){0,5}?) "
    r"(?P<verb>is|are|was|were) "
    r"(?P<rest>(?:a|an|the|one|called|made|used|located|built)\b.{8,160}?)[.;]"
)
_ASKED = (
    "Write one question that this sentence answers, without words like 'the sentence'.\n\n"
    "Sentence: {sentence}\n\nQuestion:"
)
_ANSWERED = (
    "Answer in a few words copied from the sentence.\n\n"
    "Sentence: {sentence}\n\nQuestion: {question}\n\nAnswer:"
)
_PRONOUNS = frozenset(
    ("it", "this", "that", "these", "they", "he", "she", "there", "we", "you", "i")
)
PASSAGE_CHARACTERS = 900
NUM_PASSAGES = 3


@dataclass(frozen=True, slots=True)
class SourcePassage:
    title: str
    text: str


@dataclass
class DocumentCases:
    """See the module's docstring."""

    documents: Sequence[tuple[str, Document]]
    count: int
    seed: int = 0
    writer: Writer | None = None

    def make(self) -> Iterator[Record]:
        """At most `count` records, every third with its passage away."""
        chance = random.Random(self.seed)
        passages = [
            p for title, document in self.documents for p in passages_of(title, document.text)
        ]
        places = [(i, s) for i, p in enumerate(passages) for s in sentences_of(p.text)]
        chance.shuffle(places)
        made = 0
        for number, sentence in places:
            if made >= self.count:
                return
            if case := self._case(sentence.strip(), chance):
                made += 1
                yield self._record(made, number, passages, case, chance, is_away=made % 3 == 0)

    def _case(self, sentence: str, chance: random.Random) -> tuple[str, str, str] | None:
        """(question, answer, quote)."""
        if self.writer is not None and 40 <= len(sentence) <= 300:
            question = self.writer.write(
                _ASKED.format(sentence=sentence), seed=chance.randrange(1 << 30)
            )
            request = _ANSWERED.format(sentence=sentence, question=question)
            answer = self.writer.write(request, seed=0).rstrip(".")
            is_good = question.endswith("?") and answer and answer.lower() in sentence.lower()
            return (question, answer, sentence) if is_good else None
        match = _SAYS.match(sentence)
        if self.writer is not None or match is None or match["subject"].lower() in _PRONOUNS:
            return None
        subject = match["subject"]
        if subject.split()[0] in ("The", "A", "An"):
            subject = subject[0].lower() + subject[1:]
        return f"What {match['verb']} {subject}?", match["rest"].strip(), sentence

    def _record(
        self,
        number: int,
        at: int,
        passages: Sequence[SourcePassage],
        case: tuple[str, str, str],
        chance: random.Random,
        *,
        is_away: bool,
    ) -> Record:
        question, answer, quote = case
        others = [p for i, p in enumerate(passages) if i != at and quote not in p.text]
        shown = chance.sample(others, min(NUM_PASSAGES - 1, len(others)))
        if is_away and not shown:
            is_away = False
        if not is_away:
            shown.insert(chance.randint(0, len(shown)), passages[at])
        reply: dict[str, Any] = {"role": "assistant", "content": NOT_SAID if is_away else answer}
        if not is_away:
            reply["quotes"] = [{"context": shown.index(passages[at]), "text": quote}]
        writer = self.writer.name if self.writer else "template"
        return Record(
            f"doc-{self.seed}-{number}",
            "no_answer" if is_away else "rag",
            ({"role": "user", "content": question}, reply),
            contexts=tuple({"title": p.title, "text": p.text} for p in shown),
            source="understudy data make",
            licence="that of the documents",
            provenance={"maker": "documents", "writer": writer, "seed": self.seed},
        )


def passages_of(title: str, text: str) -> Iterator[SourcePassage]:
    """Paragraphs joined to passages of some length."""
    held = ""
    for paragraph in re.split(r"\n\s*\n", text):
        plain = " ".join(paragraph.split())
        if held and len(held) + len(plain) > PASSAGE_CHARACTERS:
            yield SourcePassage(title, held)
            held = ""
        held = f"{held} {plain}".strip()
    if held:
        yield SourcePassage(title, held)
