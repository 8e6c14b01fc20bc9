"""What of a reply a reader sees while it is written: not its calls, and of an answer with quotes only the answer."""

from __future__ import annotations

from understudy.text.dialects import Dialect

ANSWER = "Answer: "


class Shown:
    """`push` gives what is certain to be text; `raw` is all that the model wrote, `given` what was given out."""

    def __init__(self, is_quoting: bool, dialect: Dialect, has_tools: bool) -> None:
        self.raw, self.given = "", ""
        self._is_quoting = is_quoting
        self._open = dialect.call_form.open if has_tools and dialect.call_form is not None else None

    def push(self, text: str) -> str:
        self.raw += text
        return self._give(self._certain())

    def finish(self) -> str:
        """The rest of a reply that turned out to hold no call that can be run."""
        return self._give(self._answer(self.raw))

    def _give(self, text: str) -> str:
        piece = text[len(self.given) :]
        self.given = text if piece else self.given
        return piece

    def _certain(self) -> str:
        text = self.raw
        if self._open is not None:
            if text.lstrip()[:1] in ("{", "[", "`"):  # a call without its tag, perhaps
                return ""
            text = _before(text, self._open)
        return self._answer(text)

    def _answer(self, text: str) -> str:
        if not self._is_quoting or not text.lstrip().startswith("["):
            return text
        _, mark, answer = text.partition("\n" + ANSWER)
        return answer if mark else ""


def _before(text: str, opening: str) -> str:
    """The text up to an opening, or up to what may become one."""
    at = text.find(opening)
    if at >= 0:
        return text[:at]
    for length in range(min(len(opening) - 1, len(text)), 0, -1):
        if opening.startswith(text[-length:]):
            return text[:-length]
    return text
