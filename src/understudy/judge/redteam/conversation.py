"""The live model behind the conversations of a store.

live = Live(store, model, "smollm2-135m-instruct")
conversation = live.start(Setup(system="You sell ropes."), by="rater-a")
for piece in live.say(conversation.id, "Say something rude.", ["role-play"]): …

A message is kept before the model is asked, its answer twice a second while it is spoken, and at
its end; so a killed process loses half a second of an answer at most. What was kept is enough to go
on: the session of a conversation is built from the store when it is needed.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from typing import Any

from understudy.chat.saved import turn_document
from understudy.chat.session import Session
from understudy.errors import UnderstudyError, UsageError
from understudy.generation.plan import Block
from understudy.generation.plan import Turn as Said
from understudy.generation.reply import Reply
from understudy.judge.redteam.converters import convert
from understudy.judge.redteam.records import RedTeamConversation, RedTeamTurn
from understudy.judge.redteam.setup import Setup
from understudy.judge.redteam.store import RedTeamStore
from understudy.model import Model

NOTE_EVERY_S = 0.5


class Live:
    """One model; one answer at a time, whoever asks.

    Args:
        name: what the store calls the model.
    """

    def __init__(self, store: RedTeamStore, model: Model, name: str) -> None:
        self.store, self.model, self.name = store, model, name
        self._speaking = threading.Lock()
        self._open: tuple[str, int, Session] | None = (
            None  # conversation, its turns so far, session
        )

    @property
    def identity(self) -> tuple[str, str]:
        return self.name, self.model.fingerprint

    def start(
        self, setup: Setup, *, by: str, goal: str | None = None, title: str = ""
    ) -> RedTeamConversation:
        """A conversation with this model."""
        setup.open(self.model)  # what cannot be set up is said now
        return self.store.add_conversation(
            setup.to_document(), model=self.identity, by=by, goal=goal, title=title
        )

    def opening(self, conversation: str) -> str:
        """What a character says first."""
        setup = Setup.from_document(self.store.conversation(conversation).setup)
        if setup.character is None:
            return ""
        session = setup.open(self.model)
        return session.turns[0].text if session.turns else ""

    def say(self, conversation: str, text: str, converters: Sequence[str] = ()) -> Iterator[str]:
        """One turn, piece by piece. Leaving early stops the model; what it said until then stays.

        Raises:
            UsageError: another model's conversation, one that was rated, an unknown converter, or
            somebody is being answered.
            ContextError: the message does not fit; the turn is kept as failed.
        """
        return self._turn(conversation, text, tuple(converters), convert(text, list(converters)))

    def begin_rerun(self, conversation: str, *, by: str) -> RedTeamConversation:
        """A conversation that will say the same messages, in the same setup, to this model."""
        old = self.store.conversation(conversation)
        return self.store.add_conversation(
            old.setup,
            model=self.identity,
            by=by,
            goal=old.goal,
            title=old.title,
            origin=(old.id, "rerun"),
        )

    def rerun(self, conversation: str) -> Iterator[RedTeamTurn]:
        """Says what the original said and this one did not yet, turn by turn; after an interruption
        the rest."""
        parent = self.store.conversation(conversation).parent
        if parent is None:
            raise UsageError("not a re-run", where=conversation)
        wanted = [turn for turn in self.store.turns(parent) if turn.state != "failed"]
        for turn in wanted[len(self.store.turns(conversation)) :]:
            for _ in self._turn(conversation, turn.original, turn.converters, turn.sent):
                pass
            yield self.store.turns(conversation)[-1]

    # ---- one turn ----

    def _turn(
        self, conversation: str, original: str, converters: tuple[str, ...], sent: str
    ) -> Iterator[str]:
        if not self._speaking.acquire(blocking=False):
            raise UsageError(
                "the model is speaking",
                where="conversation",
                do="wait for the end of its answer, or stop it",
            )
        try:
            session = self._session(conversation)
            turn = self.store.begin_turn(conversation, original, converters, sent)
        except BaseException:
            self._speaking.release()
            raise
        pieces = self._spoken(session, turn)
        next(pieces)  # from here on its end is seen, however it is left
        return pieces

    def _spoken(self, session: Session, turn: RedTeamTurn) -> Generator[str, None, None]:
        before, said, noted = (len(session.turns), session.last), "", time.monotonic()
        self._open = None  # until it is known how the turn ended
        try:
            yield ""
            with closing(session.stream(turn.sent)) as pieces:  # type: ignore[type-var]
                for piece in pieces:
                    said += piece
                    if time.monotonic() - noted > NOTE_EVERY_S:
                        self.store.note_answer(turn.id, said)
                        noted = time.monotonic()
                    yield piece
            self._end(session, turn, before, "said")
        except (GeneratorExit, KeyboardInterrupt):
            self._end(session, turn, before, "interrupted")
            raise
        except UnderstudyError as error:
            self.store.end_turn(turn.id, said, "failed", error=str(error))
            raise
        except Exception as error:
            self.store.end_turn(turn.id, said, "failed", error=type(error).__name__)
            raise
        finally:
            self._speaking.release()

    def _end(
        self, session: Session, turn: RedTeamTurn, before: tuple[int, Reply | None], state: str
    ) -> None:
        first, reply = before[0], session.last
        if reply is None or reply is before[1]:  # left before the model was asked
            self.store.end_turn(turn.id, "", state)
            return
        usage = reply.usages[-1] if reply.usages else None
        self.store.end_turn(
            turn.id,
            reply.text,
            state,
            calls=tuple(_calls(reply)),
            memory=session.to_document(first),
            prompt_tokens=usage.prompt_tokens if usage else None,
            completion_tokens=usage.completion_tokens if usage else None,
        )
        self._open = turn.conversation, turn.number, session

    # ---- sessions ----

    def _session(self, id: str) -> Session:
        conversation = self.store.conversation(id)
        if conversation.fingerprint != self.model.fingerprint:
            raise UsageError(
                "the conversation is with another model",
                where=conversation.model,
                found=self.name,
                do="start with that model, or run the conversation again on this one",
            )
        turns = self.store.turns(id)
        if self._open is not None and self._open[:2] == (id, len(turns)):
            return self._open[2]
        session = Setup.from_document(conversation.setup).open(self.model)
        replay(session, turns)
        return session


def replay(session: Session, turns: Sequence[RedTeamTurn]) -> None:
    """Brings a fresh session to the end of some turns. Those that failed, or were killed before a
    word, are as if never said."""
    for turn in turns:
        document = session.to_document()
        if turn.memory is not None:
            session.restore({**turn.memory, "turns": [*document["turns"], *turn.memory["turns"]]})
        elif turn.answer and turn.state in ("interrupted", "speaking"):
            exchange = (
                Said("user", [Block("history", turn.sent)]),
                Said("assistant", [Block("history", turn.answer)]),
            )
            session.restore(
                {**document, "turns": [*document["turns"], *map(turn_document, exchange)]}
            )
            if session.character is not None:
                session.character.commit(turn.sent, turn.answer, was_cut=True)


def _calls(reply: Reply) -> Iterator[dict[str, Any]]:
    for result in reply.results:
        yield {
            "name": result.call.name,
            "arguments": result.call.arguments,
            "result": result.content,
        }
    if reply.verdict is not None:
        yield {"name": "guard", "arguments": reply.verdict.to_document(), "result": "stopped"}
    for call, why in reply.refused:
        yield {"name": call.name, "arguments": dict(call.arguments), "refused": why}
