"""An answer to results of tools on its way out: it streams for as long as its numbers are theirs.

    gate = NumberGate(check)
    gate.push([TextPiece("They cost 9")])   [TextPiece("They cost")]: the number may go on
    gate.end()                              [TextPiece(" 9")], or nothing: 9 stands in no result

From the first number that stands in no result nothing goes out; the answer is then written on from
`given`, which ends before it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from understudy.generation.reader import ReasoningPiece, ReplyPiece, TextPiece
from understudy.generation.results import ResultCheck

_OPEN_END = re.compile(r"\s*(?:[-−]?\d[\d.,)]*)?\s*[-−]?\Z")  # a number that may go on, and blanks


class NumberGate:
    """`given` is the text that went out, `is_shut` whether a number ended it."""

    def __init__(self, check: ResultCheck) -> None:
        self._check = check
        self._text, self._line = "", 0  # where the line begins that the last text given out is of
        self.given, self.is_shut, self._is_off = "", False, False

    def push(self, pieces: Sequence[ReplyPiece]) -> list[ReplyPiece]:
        """What of these may go out. With a call the text before it is no answer to results."""
        out: list[ReplyPiece] = []
        for piece in pieces:
            if isinstance(piece, TextPiece):
                self._text += piece.text
                out += self._up_to(_open_end(self._text, len(self.given)))
            elif isinstance(piece, ReasoningPiece):
                out.append(piece)
            else:
                self._is_off, self.is_shut = True, False
                out += [*self._up_to(len(self._text)), piece]
        return out

    def end(self) -> list[ReplyPiece]:
        """What is left of an answer that is over."""
        return self._up_to(len(self._text))

    def let_go(self) -> list[ReplyPiece]:
        """All that is held back, whatever numbers it has."""
        self.is_shut, self._is_off = False, True
        return self.end()

    @property
    def fault(self) -> str | None:
        """Why nothing more goes out, in a line."""
        return self._check.fault(self._text) if self.is_shut else None

    def _up_to(self, end: int) -> list[ReplyPiece]:
        if self.is_shut:
            return []
        if not self._is_off:
            text = self._text[self._line : end]
            at = self._check.first_invented(text, len(self.given) - self._line)
            if at is not None:
                self.is_shut = True
                end = self._line + len(text[:at].rstrip())
        start = len(self.given)
        if end <= start:
            return []
        self.given = self._text[:end]
        self._line = self.given.rfind("\n") + 1
        return [TextPiece(self.given[start:])]


def _open_end(text: str, start: int) -> int:
    """Where the end of a text begins that is not certain yet, not before `start`."""
    match = _OPEN_END.search(text, max(start, len(text) - 64))
    return match.start() if match is not None else len(text)
