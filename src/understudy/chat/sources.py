"""What documents and characters must offer to a session. `rag.Index` and `roleplay.Card` do;
anything else may.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from understudy.generation.plan import Plan, Turn
    from understudy.spec import ModelSpec


class Grounding(Protocol):
    """Passages found for one question. Where a method takes a `count`, only the first so many found
    room in the prompt.
    """

    @property
    def confidence(self) -> float: ...

    @property
    def is_enough(self) -> bool:
        """Whether an answer may be tried at all."""

    @property
    def contexts(self) -> list[str]:
        """The passages as the model sees them, numbered from 1, the best first."""

    def grammar(self, count: int, spec: ModelSpec) -> str:
        """The form of an answer that quotes, in llguidance's Lark."""

    @property
    def instructions(self) -> str:
        """How the model is told to answer from them."""

    def read(self, raw: str, count: int) -> tuple[str | None, tuple[Any, ...]]:
        """An answer in that form as text (None where the documents do not say) and citations."""

    def second_try(self, raw: str, count: int) -> Grounding | None:
        """What the model is to see where its answer says more than is there; None: it may stand."""

    def quotes(self, text: str, count: int) -> tuple[Any, ...]:
        """Citations of what a free text quotes word for word."""


class Documents(Protocol):
    """Where passages come from; `not_said` is the answer where they do not say."""

    @property
    def not_said(self) -> str: ...

    def ground(self, question: str, k: int, spec: ModelSpec) -> Grounding:
        """Passages as a model of this shape sees them."""


class HeardSpeech(Protocol):
    """A character's reply on its way: `text` is what was heard. With `is_over` nothing more will
    be; a `fault` before anything was heard asks for other words.
    """

    text: str
    fault: str | None
    is_over: bool

    def hear(self, text: str) -> str:
        """What is heard by now; whole sentences."""

    def end(self, *, is_length: bool) -> str:
        """The rest; `is_length`: it was the token limit that ended the reply."""


class ActiveCharacter(Protocol):
    """A character in play, with its memory: what `Character.play` gives."""

    @property
    def name(self) -> str: ...

    @property
    def digest(self) -> str:
        """Of what it is made: a saved session belongs to one."""

    @property
    def stops(self) -> tuple[str, ...]:
        """Strings at which a reply ends, since somebody else would speak from there on."""

    def greeting(self) -> str: ...

    def speech(self, text: str, *, may_redraw: bool) -> HeardSpeech:
        """What is heard of a reply to `text`."""

    def plan(
        self,
        history: Sequence[Turn],
        text: str,
        *,
        count_tokens: Callable[[str], int],
        context: int,
        system: str = "",
    ) -> Plan: ...

    def commit(self, text: str, reply: str, *, was_cut: bool = False) -> None:
        """An exchange took place."""

    def absorb(self, num_messages: int) -> None:
        """So many more of the oldest messages have left the prompt."""

    def to_document(self) -> dict[str, Any]: ...

    def read_document(self, document: Mapping[str, Any]) -> None:
        """Goes on with what `to_document` gave; KeyError, TypeError or ValueError where it is
        something else.
        """


class Character(Protocol):
    def play(self, *, user: str, seed: int, greeting: int) -> ActiveCharacter: ...
