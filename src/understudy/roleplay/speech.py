"""What a character says: free text, handed on sentence by sentence, each checked before it is
heard.

A small model that has to speak inside JSON says two words; in free text it speaks. What ends it: a
limit of characters, another speaker's turn, a sentence that was said before, or a guard.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from understudy.engine import Output
from understudy.generation.moderation import TextGuard, Verdict, flags_of
from understudy.roleplay.knowledge import Knowledge
from understudy.roleplay.macros import MacroContext
from understudy.roleplay.said_before import SaidBefore, words_of

# One paragraph, in llguidance's Lark; braces and tags belong to no speech. Sentences end as one.
_SPOKEN = r"[^\n\r{}<>|\\\[\]#]"
PARAGRAPH = f"start: SAY\nSAY: /{_SPOKEN}{{1,}}/"
SENTENCES = f'start: SAY\nSAY: /{_SPOKEN}{{5,}}[.!?…。！？]["”’»)*]?/'
_END = re.compile(r"(?:[.!?…]+[\"'”’*)»]*(?=\s)|[。！？]+[」』]?)\s*")
SPEAKERS = ("User", "Assistant", "System", "Player", "Narrator")


def speaker_stops(*names: str) -> tuple[str, ...]:
    """Strings at which a reply ends, since somebody else would speak from there on."""
    known = dict.fromkeys(name.strip() for name in (*names, *SPEAKERS))
    return tuple(f"{name}:" for name in known if name)


class Speech:
    """A character's words on their way. `text` is what was released, `fault` why a check cut in.

    Args:
        may_redraw: before anything is heard a fault ends the speech without words, so that it can
            be drawn again.
        before: what is not to be said once more.
    """

    def __init__(
        self,
        knowledge: Knowledge,
        player_text: str,
        macros: MacroContext,
        content_guard: TextGuard | None,
        *,
        max_characters: int,
        may_redraw: bool = False,
        before: SaidBefore | None = None,
    ) -> None:
        self.knowledge, self.player_text, self.macros = knowledge, player_text, macros
        self.content_guard, self.may_redraw = content_guard, may_redraw
        self.max_characters, self.before = max_characters, before or SaidBefore()
        self.raw, self.text = "", ""
        self.fault: str | None = None
        self.verdict: Verdict | None = None
        self.is_done = self.is_over = self.is_length = False

    @property
    def is_cut(self) -> bool:
        """Whether nothing was said but what the token limit tore."""
        return self.is_length and not _num_whole(self.text + " ")

    def push(self, output: Output) -> Iterator[str]:
        """Gives the sentences that became whole; `is_over` says that nothing more will be heard."""
        self.is_length = self.is_length or output.finish_reason == "length"
        yield from self._hear(output.text)

    def hear(self, text: str) -> str:
        """As `push`, for text of which somebody else took out what is none."""
        return "".join(self._hear(text))

    def end(self, *, is_length: bool) -> str:
        """As `finish`; `is_length`: it was the token limit that ended the text."""
        self.is_length = self.is_length or is_length
        return "".join(self.finish())

    def _hear(self, text: str) -> Iterator[str]:
        self.raw += text
        may_part = self.content_guard is None or self.content_guard.by_sentence
        yield from self._release(_num_whole(self.raw) if may_part else 0)

    def finish(self) -> Iterator[str]:
        """The rest; half a sentence at the token limit is left out where something was said before
        it.
        """
        if self.fault is None and not self.is_over:
            is_torn = self.is_length and bool(self.text)
            yield from self._release(_num_whole(self.raw) if is_torn else len(self.raw))
        self.is_done = True

    def _release(self, end: int) -> Iterator[str]:
        while not self.is_over and len(self.text) < end:
            rest = self.raw[len(self.text) : end]
            piece = rest[: _num_first(rest)]
            if not piece.strip() and len(piece) == len(rest):
                return
            yield from self._sentence(piece)

    def _sentence(self, piece: str) -> Iterator[str]:
        if len(self.text) + len(piece.rstrip()) > self.max_characters:
            self.is_over = True
            if self.text.strip():
                return
            piece = _cut(piece, self.max_characters)
        if self._is_repeated(piece):
            self.is_over = True
            return
        self.fault = self.knowledge.fault(
            self.text[-40:] + piece, self.player_text
        ) or self._content_fault(self.text + piece)
        if self.fault is not None:
            self.is_over = True
            if self.text.strip() or self.may_redraw:  # what was said before it stays
                return
            piece = self.knowledge.deflection(self.macros)
        self.text += piece
        yield piece

    def _is_repeated(self, piece: str) -> bool:
        """Whether a sentence was said before; as the first one it is a fault where the speech can
        be drawn again, and else is heard.
        """
        words, own = words_of(piece), [words_of(sentence) for sentence in sentences_in(self.text)]
        if self.text.strip():
            is_long = sum(map(len, words)) > 3  # "2." and "Ho!" may come again
            is_again = self.before.repeats(words) or self.before.recites([*own, words])
            return is_again or (is_long and words in own)
        if self.may_redraw and self.before.repeats(words):
            self.fault = "said before"
        return self.fault is not None

    def _content_fault(self, text: str) -> str | None:
        flags = flags_of(self.content_guard, text, "output") if self.content_guard else ()
        self.verdict = Verdict(flags, "output") if flags else self.verdict
        return f"content: {self.verdict}" if flags else None

    def flags(self, text: str) -> str | None:
        """Why a content guard stops a text that belongs to the turn, None if it does not."""
        return self._content_fault(text)


def _num_whole(text: str) -> int:
    """How much of an unfinished text ends with whole sentences."""
    return max((match.end() for match in _END.finditer(text)), default=0)


def _num_first(text: str) -> int:
    """The length of the first sentence; all of a text that ends in none."""
    match = _END.search(text)
    return match.end() if match else len(text)


def sentences_in(text: str) -> Sequence[str]:
    """The sentences of a speech with the space behind them."""
    sentences = []
    while text:
        end = _num_first(text)
        sentences.append(text[:end])
        text = text[end:]
    return sentences


def _cut(text: str, most: int) -> str:
    """A text of at most so many characters, cut after a whole word."""
    text = text.strip()
    if len(text) <= most:
        return text
    kept = text[: most - 1].rpartition(" ")[0] or text[: most - 1]
    return kept.rstrip(" ,;:") + "…"
