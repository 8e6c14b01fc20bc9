"""What is said in a red team's store: goals, conversations and their turns. Each method has
committed when it returns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from understudy.errors import UsageError
from understudy.judge.redteam.database import RedTeamDatabase
from understudy.judge.redteam.records import (
    STOPPED_BY,
    Goal,
    Records,
    RedTeamConversation,
    RedTeamTurn,
    as_category,
    as_name,
    new_id,
    now,
)
from understudy.judge.redteam.rows import storable


class ConversationStore(RedTeamDatabase):
    """Goals, conversations, turns; a conversation that was stopped is neither branched nor gone on
    with."""

    def add_goal(self, title: str, *, by: str, plan: str = "", category: str | None = None) -> Goal:
        """Something to attack."""
        if not title.strip():
            raise UsageError("a goal has a title", where="title", found=title)
        named = as_category(category) if category else None
        return self.insert(
            Goal(new_id(), new_id(), title, plan, named, False, as_name(by, "by"), now())
        )

    def revise_goal(self, id: str, *, by: str, **changes: Any) -> Goal:
        """The goal with other title, plan, category or is_done.

        Raises:
            UsageError: no such goal.
        """
        with self.writing():
            goals = Records(goals=self.read("goal", "id = ?", id)).current_goals()
            if not goals:
                raise UsageError("no such goal", where="goal", found=id)
            if changes.get("category"):
                changes["category"] = as_category(changes["category"])
            revised = replace(
                goals[0], **changes, revision=new_id(), by=as_name(by, "by"), at=now()
            )
            return self.insert(revised)

    def add_conversation(
        self,
        setup: Mapping[str, Any],
        *,
        model: tuple[str, str],
        by: str,
        title: str = "",
        goal: str | None = None,
        origin: tuple[str, str] | None = None,
    ) -> RedTeamConversation:
        """A conversation without turns.

        Args:
            model: its name and fingerprint.
            origin: the conversation that it comes from, and `branch` or `rerun`.

        Raises:
            UsageError: no such goal or origin.
        """
        if goal is not None and not self.read("goal", "id = ?", goal):
            raise UsageError("no such goal", where="goal", found=goal)
        parent, relation = origin or (None, None)
        if parent is not None:
            self.conversation(parent)
        return self.insert(
            RedTeamConversation(
                new_id(),
                goal,
                title,
                *model,
                dict(setup),
                parent,
                relation,
                as_name(by, "by"),
                now(),
            )
        )

    def conversation(self, id: str) -> RedTeamConversation:
        """Raises UsageError where there is none of this id."""
        found = self.read("conversation", "id = ?", id)
        if not found:
            raise UsageError("no such conversation", where=self.path.name, found=id)
        conversation: RedTeamConversation = found[0]
        return conversation

    def branch(self, id: str, keep: int, *, by: str) -> RedTeamConversation:
        """A new conversation with the first `keep` turns of another: to go on otherwise, and lose
        nothing.

        Raises:
            UsageError: not so many turns, or the conversation was stopped.
        """
        with self.writing():
            old, turns = self.conversation(id), self.turns(id)
            if not 0 <= keep <= len(turns):
                raise UsageError(
                    "not so many turns", where="keep", expected=f"0 to {len(turns)}", found=keep
                )
            self._refuse_stopped(id)
            new = self.add_conversation(
                old.setup,
                model=(old.model, old.fingerprint),
                by=by,
                title=old.title,
                goal=old.goal,
                origin=(id, "branch"),
            )
            for turn in turns[:keep]:
                self.insert(replace(turn, id=new_id(), conversation=new.id))
            return new

    def turns(self, conversation: str) -> list[RedTeamTurn]:
        return self.read("turn", "conversation = ? ORDER BY number", conversation)

    def begin_turn(
        self,
        conversation: str,
        original: str,
        converters: Sequence[str] = (),
        sent: str | None = None,
    ) -> RedTeamTurn:
        """Keeps a message before the model is asked.

        Raises:
            UsageError: no such conversation, an empty message, or it has been rated: what was rated
            stays as it was.
        """
        sent = original if sent is None else sent
        if not sent.strip():
            raise UsageError("the message is empty", where="message")
        with self.writing():
            self.conversation(conversation)
            if self.read("rating", "conversation = ? LIMIT 1", conversation):
                raise UsageError(
                    "the conversation has been rated",
                    where=conversation,
                    do="go on in a branch of it",
                )
            for turn in self.turns(conversation):
                if turn.state == "speaking":  # of a process that was killed
                    self.update(replace(turn, state="interrupted", ended_at=now()))
            number = len(self.turns(conversation)) + 1
            return self.insert(
                RedTeamTurn(
                    new_id(),
                    conversation,
                    number,
                    original,
                    tuple(converters),
                    sent,
                    "",
                    (),
                    "speaking",
                    None,
                    None,
                    None,
                    None,
                    now(),
                    None,
                )
            )

    def note_answer(self, turn: str, answer: str) -> None:
        """Keeps what the model has said so far."""
        with self.writing():
            self._db.execute("UPDATE turn SET answer = ? WHERE id = ?", (storable(answer), turn))

    def end_turn(self, turn: str, answer: str, state: str = "said", **more: Any) -> RedTeamTurn:
        """Keeps what the model said. `more`: calls, error, memory, prompt_tokens,
        completion_tokens."""
        with self.writing():
            found: RedTeamTurn = self.read("turn", "id = ?", turn)[0]
            return self.update(replace(found, answer=answer, state=state, ended_at=now(), **more))

    def replace_turn(self, turn: RedTeamTurn) -> None:
        """Keeps what another copy of the store knows of a turn. Inside `writing` only."""
        self.update(turn)

    def _refuse_stopped(self, conversation: str) -> None:
        if self.read("rating", "conversation = ? AND category = ?", conversation, STOPPED_BY):
            raise UsageError(
                f"the conversation was stopped: rated {STOPPED_BY}", where=conversation
            )
