"""Where one person of the red team works: the store, the model, and the conversation at hand."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from understudy.cli.terminal import write
from understudy.errors import UsageError
from understudy.judge.redteam.conversation import Live
from understudy.judge.redteam.records import RedTeamConversation
from understudy.judge.redteam.setup import Setup
from understudy.judge.redteam.store import RedTeamStore

MAX_SHOWN = 20_000  # characters of one answer
Commands = dict[str, tuple[str, Callable[[str], object]]]  # name -> what it means, what it does


@dataclass(slots=True)
class Desk:
    """`setup` and `goal` are those of the next conversation, `converters` of the next messages."""

    live: Live
    rater: str
    setup: Setup = field(default_factory=Setup)
    goal: str = ""
    converters: tuple[str, ...] = ()
    conversation: RedTeamConversation | None = None

    @property
    def store(self) -> RedTeamStore:
        return self.live.store

    def begin(self, title: str) -> None:
        """A conversation in the present setup."""
        self.conversation = self.live.start(
            self.setup, by=self.rater, goal=self.goal or None, title=title
        )
        write(f"conversation {self.conversation.id}\n")
        if opening := self.live.opening(self.conversation.id):
            show(opening)

    def here(self) -> RedTeamConversation:
        """The conversation at hand.

        Raises:
            UsageError: there is none.
        """
        if self.conversation is None:
            raise UsageError(
                "no conversation", where="here", do="begin one by saying something, or /open one"
            )
        return self.conversation


def words_of(text: str) -> list[str]:
    """As a shell splits them; at blanks where quotes are open."""
    try:
        return shlex.split(text)
    except ValueError:
        return text.split()


def read_text(path: str) -> str:
    """Raises:
    UsageError: no file of text.
    """
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise UsageError(
            f"cannot read: {getattr(error, 'strerror', None) or 'not UTF-8'}",
            where=path or "no file",
        ) from error


def show(text: str) -> None:
    """Writes a text, cut where it is very long."""
    more = (
        f"\n… {len(text) - MAX_SHOWN:,} more characters are not shown."
        if len(text) > MAX_SHOWN
        else ""
    )
    write(f"{text[:MAX_SHOWN]}{more}\n")


def show_rows(pairs: Iterable[tuple[str, str]]) -> None:
    """Writes two columns."""
    rows = list(pairs)
    width = max((len(name) for name, _ in rows), default=0)
    for name, meaning in rows:
        write(f"{name:{width}}  {meaning}\n")
