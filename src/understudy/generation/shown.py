"""What of a reply a reader sees while it is written: not its calls, and an answer from documents
once it is checked.
"""

from __future__ import annotations

from understudy.generation.moderation import Held, TextGuard, checked
from understudy.text.templates import ChatTemplate


class Shown:
    """`push` gives what is certain to be text; `raw` is all that the model wrote, `given` what was
    given out.

    With a guard that is what it has checked: `push` and `finish` raise `Stopped` where it finds
    something.
    """

    def __init__(
        self,
        is_quoting: bool,
        chat_template: ChatTemplate,
        has_tools: bool,
        guard: TextGuard | None = None,
    ) -> None:
        self.raw, self.given = "", ""
        self._seen = ""  # certain to be text, checked or not
        self._held = Held(guard) if guard is not None else None
        self._is_quoting, self._guard = is_quoting, guard
        self._open = (
            chat_template.call_form.open
            if has_tools and chat_template.call_form is not None
            else None
        )

    def push(self, text: str) -> str:
        self.raw += text
        return self._give(self._certain())

    def finish(self, text: str | None = None) -> str:
        """The rest of a reply that turned out to hold no call that can be run.

        Args:
            text: what an answer from documents became when it was held against them.
        """
        if self._is_quoting:
            checked(self._guard, self.raw, "output")
            return self._give(text or "", is_end=True)
        return self._give(self.raw, is_end=True)

    def release(self) -> str:
        """What a guard still held back of the text before a call."""
        return self._give(self._seen, is_end=True)

    def _give(self, text: str, *, is_end: bool = False) -> str:
        piece = text[len(self._seen) :]
        self._seen = text if piece else self._seen
        if self._held is not None:
            piece = self._held.push(piece) + (self._held.finish() if is_end else "")
        self.given += piece
        return piece

    def _certain(self) -> str:
        text = self.raw
        if self._is_quoting:  # what it says is held against the documents first
            return ""
        if self._open is not None:
            if text.lstrip()[:1] in ("{", "[", "`"):  # a call without its tag, perhaps
                return ""
            text = _before(text, self._open)
        return text


def _before(text: str, opening: str) -> str:
    """The text up to an opening, or up to what may become one."""
    at = text.find(opening)
    if at >= 0:
        return text[:at]
    for length in range(min(len(opening) - 1, len(text)), 0, -1):
        if opening.startswith(text[-length:]):
            return text[:-length]
    return text
