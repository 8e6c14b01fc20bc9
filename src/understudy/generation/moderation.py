"""What checks a conversation must offer to it, and how text is held back until it is checked.
`safety.guard.Guard` is one; others may be.

Session(model, guard=Guard())          # off unless somebody hands one in

Held back sentence by sentence: before one goes out, the answer as far as its end is checked, so
what a guard stops is never given out, and what was before it reads as the model wrote it. A guard
that asks a model is better asked once, about the whole answer (`by_sentence` False): nothing of it
goes out before.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

Side = Literal["input", "output"]
# A sentence's end with white space behind it, or a blank line: no listed phrase, number or address
# goes across one.
_END = re.compile(r"[.!?…。！？][\"'”’)\]]*\s|\n[^\S\n]*\n")
_ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})|\\([nrt\"\\/])")
_SHORT = {"n": "\n", "r": "\r", "t": "\t"}


@dataclass(frozen=True, slots=True)
class Flag:
    """A category of AEGIS 2.0, how it was found (`words`, `pii`, `model`), and what was."""

    category: str
    by: str
    found: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """`where` is the side that was stopped, None where nothing was."""

    flags: tuple[Flag, ...] = ()
    where: Side | None = None

    @property
    def is_safe(self) -> bool:
        return not self.flags

    def to_document(self) -> dict[str, Any]:
        """For those who asked: categories and how they were found, never the words of a stopped
        answer.
        """
        found = dict.fromkeys((flag.category, flag.by) for flag in self.flags)
        return {
            "where": self.where,
            "categories": [{"category": category, "by": by} for category, by in found],
        }

    def __str__(self) -> str:
        found = dict.fromkeys(f"{flag.category} ({flag.by})" for flag in self.flags)
        return f"{self.where}: {', '.join(found)}" if found else "nothing found"


class TextGuard(Protocol):
    """Checks texts. `checks` names how, `notice` is said instead of what is stopped."""

    @property
    def checks(self) -> tuple[str, ...]: ...

    @property
    def notice(self) -> str: ...

    @property
    def by_sentence(self) -> bool:
        """Whether an answer may go out sentence by sentence; else it goes out whole."""

    def check(self, text: str, side: Side) -> Sequence[Flag]:
        """What is wrong with a text; nothing where it may pass."""


class Stopped(Exception):
    """A guard stopped a text; for whoever writes the reply."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(str(verdict))
        self.verdict = verdict


def end_of_sentences(text: str) -> int:
    """How much of an unfinished text ends with whole sentences."""
    return max((match.end() for match in _END.finditer(text)), default=0)


def flags_of(guard: TextGuard, text: str, side: Side) -> tuple[Flag, ...]:
    """What a guard finds in a text, also where JSON's escapes hide it."""
    if flags := tuple(guard.check(text, side)):
        return flags
    plain = _ESCAPE.sub(lambda m: chr(int(m[1], 16)) if m[1] else _SHORT.get(m[2], m[2]), text)
    return tuple(guard.check(plain, side)) if plain != text else ()


def checked(guard: TextGuard | None, text: str, side: Side) -> str:
    """The text.

    Raises:
        Stopped: the guard, where there is one, found something.
    """
    if guard is not None and (flags := flags_of(guard, text, side)):
        raise Stopped(Verdict(flags, side))
    return text


class ModerationGate:
    """A text on its way out, held back until it is checked: whoever writes it pushes, asks what is
    `due`, checks that, and then releases it.

    A sentence is due when it is whole, all that is left at the end; without `by_sentence` nothing
    is due before.
    """

    def __init__(self, *, by_sentence: bool) -> None:
        self.text, self.num_released = "", 0
        self._by_sentence = by_sentence

    def push(self, text: str) -> None:
        self.text += text

    def due(self, *, is_end: bool = False) -> int | None:
        """How much of the text is to be checked now; None: nothing new."""
        end = len(self.text) if is_end else end_of_sentences(self.text) if self._by_sentence else 0
        return end if end > self.num_released else None

    def release(self, end: int) -> str:
        piece, self.num_released = self.text[self.num_released : end], end
        return piece

    def checked(self, guard: TextGuard | None, *, is_end: bool = False) -> str:
        """What is due, once it has been checked.

        Raises:
            Stopped: it may not go out.
        """
        if (end := self.due(is_end=is_end)) is None:
            return ""
        checked(guard, self.text[:end], "output")
        return self.release(end)
