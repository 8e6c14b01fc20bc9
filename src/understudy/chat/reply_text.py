"""The text of one reply as a session gives it out while the model writes: checked, without calls.

Of an answer from documents or from results of tools nothing is given out before it has been held
against them; of a character's reply whole sentences are.
"""

from __future__ import annotations

from understudy.chat.sources import HeardSpeech
from understudy.generation.moderation import ModerationGate, TextGuard
from understudy.generation.reader import ReplyPiece, StreamParser, TextPiece


class ReplyText:
    """`push` gives what may go out by now; `given` is all that did.

    Args:
        guard: checks all that the model writes before any of it goes out.
        is_held: nothing goes out: what is read is checked as a whole.
        speech: what is heard of a character's reply.
    """

    def __init__(
        self,
        parser: StreamParser,
        guard: TextGuard | None = None,
        *,
        is_held: bool = False,
        speech: HeardSpeech | None = None,
    ) -> None:
        self.parser, self.given, self.raw, self.speech = parser, "", "", speech
        self._guard, self._is_held = guard, is_held
        self._gate = ModerationGate(by_sentence=guard is None or guard.by_sentence)

    @property
    def text(self) -> str:
        """The reply so far, without calls."""
        return (self.parser.text if self.speech is None else self.speech.text).strip()

    @property
    def is_over(self) -> bool:
        """Whether nothing more will be given out, whatever the model goes on to write."""
        return self.speech is not None and self.speech.is_over

    def push(self, text: str, *, is_end: bool = False, is_length: bool = False) -> str:
        """`is_length`: it was the token limit that ended the text.

        Raises:
        Stopped: the guard found something in what would go out.
        """
        self.raw += text
        if self._guard is not None:
            self._gate.push(text)
            text = self._gate.checked(self._guard, is_end=is_end)
        pieces: list[ReplyPiece] = self.parser.push(text)
        if is_end:
            pieces += self.parser.finish()
        if self._is_held:
            return ""
        piece = "".join(piece.text for piece in pieces if isinstance(piece, TextPiece))
        if self.speech is not None:
            piece = self.speech.hear(piece)
            piece += self.speech.end(is_length=is_length) if is_end else ""
        self.given += piece
        return piece
