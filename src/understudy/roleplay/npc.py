"""Characters in games: `Npc.turn(player_text, state) -> Turn(say, emotion, actions, memory)`.

npc = Npc(model, read_card("hilde.png"))
turn = npc.turn("What do you sell?", state, on_say=speak)
state = reducer.commit(state, turn.actions).state

A character speaks first, in free text, handed on sentence by sentence and each checked before it is
heard (`speech.py`). What it feels, does and remembers is asked afterwards, under a grammar
(`deeds.py`). The model only proposes actions: see `state.Reducer`.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from understudy.chat.saved import SavedConversation
from understudy.engine import AdapterAsked
from understudy.errors import UsageError
from understudy.generation.moderation import TextGuard, Verdict, flags_of
from understudy.generation.plan import Block, Ledger, Plan, Turn, fit
from understudy.roleplay.acting import Acting
from understudy.roleplay.card import Card
from understudy.roleplay.knowledge import Knowledge
from understudy.roleplay.lorebook import Lorebook
from understudy.roleplay.memory import Said, first_sentences
from understudy.roleplay.played import PlayedCharacter
from understudy.roleplay.state import GameState
from understudy.roleplay.turn import (
    EMOTIONS,
    NpcSettings,
    NpcTurn,
    samplers_of_card,
    without_unloaded,
)
from understudy.text.templates import Prompt

if TYPE_CHECKING:
    from understudy.model import Model


class Npc(PlayedCharacter, SavedConversation):
    """One character: its card, what it remembers, and a model to speak with. The model may be
    shared by many.
    """

    def __init__(
        self,
        model: Model,
        card: Card,
        *,
        lorebooks: Sequence[Lorebook] = (),
        knowledge: Knowledge | None = None,
        content_guard: TextGuard | None = None,
        settings: NpcSettings | None = None,
        **changed: Any,
    ) -> None:
        """Args:
        lorebooks, settings, changed: further books beside the card's own; how turns are made, and
        fields of that by name, as `user="Ann"`.
        knowledge: what the character may know and say; default that of the card.
        content_guard: of what may be said, to the character and by it; None: nothing is checked.
        """
        self.model, self.content_guard = model, content_guard
        self.settings = replace(settings or NpcSettings(), **changed)
        knowledge = knowledge or Knowledge.from_card(card)
        if not self.settings.stays_in_character:
            knowledge = replace(knowledge, outside=(), is_program=True)
        super().__init__(
            card,
            lorebooks=lorebooks,
            knowledge=knowledge,
            user=self.settings.user,
            seed=self.settings.seed,
            greeting=self.settings.greeting,
            persona=self.settings.persona,
            rules=self.settings.rules,
        )
        asked, not_used = samplers_of_card(card)
        loaded = [one.name for one in model.adapters.list()] if "adapter" in asked else []
        kept, not_loaded = without_unloaded(asked, loaded)
        shipped = {} if model.limits.job_adapter is None else {"adapter": model.limits.job_adapter}
        self.card_samplers: Mapping[str, Any] = {**shipped, **kept}
        self.warnings += [*not_used, *not_loaded]
        self.last: NpcTurn | None = None
        self._prompt: list[int] = []
        self._turning = threading.Lock()

    # ---- a turn ----

    def turn(
        self,
        player_text: str,
        state: GameState | None = None,
        *,
        on_say: Callable[[str], None] | None = None,
    ) -> NpcTurn:
        """One turn.

        Args:
            player_text: what the player says.
            state: of the game: scene, facts, and what can be done; None: nothing can.
            on_say: gets what is said, sentence by sentence, while the model is still writing.

        Raises:
            ContextError: the character and the message do not fit the context.
            UsageError: a turn of this character is under way in another thread.
        """
        pieces = self.stream(player_text, state)
        for piece in pieces:
            if on_say is not None:
                on_say(piece)
        assert self.last is not None
        return self.last

    def stream(self, player_text: str, state: GameState | None = None) -> Iterator[str]:
        """As `turn`, giving what is said piece by piece; the turn is in `last` at the end. Leaving
        early interrupts.

        `player_text`, `state` and what is raised, with the first piece, are those of `turn`.
        """
        if not self._turning.acquire(blocking=False):
            raise UsageError("a turn of this character is under way", where=self.name)
        try:
            yield from self._stream(player_text, state)
        finally:
            self._turning.release()

    def _stream(self, player_text: str, state: GameState | None) -> Iterator[str]:
        if verdict := self._stopped(player_text):
            yield from self._deflect(verdict)
            return
        state = state or GameState()
        prompt, ledger = self._fitted(player_text, state)
        self._prompt = prompt.encode(self.model.tokenizer)
        acting = Acting(self, prompt, ledger, player_text, state)
        try:
            yield from acting.play()
        finally:
            self.last = self._finish(acting)

    @property
    def adapter(self) -> AdapterAsked | None:
        """Which of the model's adapters act on it: of its settings, else of its card, else the one
        that ships with the model."""
        own = self.settings.adapter
        return self.card_samplers.get("adapter") if own is None else own

    def _fitted(self, player_text: str, state: GameState) -> tuple[Prompt, Ledger]:
        """The prompt. What leaves it for want of room stands in the summary of this very turn."""
        gone: tuple[str, ...] = ()
        for _ in range(2):
            plan = self._plan(player_text, state)
            prompt, ledger = fit(
                plan,
                self.model.chat_template.without_thoughts,
                self.model.tokenizer,
                context=self._context,
                reserve=self.settings.reserve,
                where=self.name,
            )
            if not plan.dropped_turns:
                break
            gone += tuple(line for line in ledger.dropped if line.startswith("history"))
            self.absorb(len(plan.dropped_turns))
        return prompt, replace(ledger, dropped=tuple(dict.fromkeys((*gone, *ledger.dropped))))

    @property
    def _context(self) -> int:
        return min(self.settings.context or self.model.context, self.model.context)

    def _plan(self, player_text: str, state: GameState) -> Plan:
        memory, tokenizer = self.memory, self.model.tokenizer
        return self.plan(
            [spoken(said) for said in memory.history[memory.num_summarised :]],
            player_text,
            count_tokens=lambda text: len(tokenizer.encode(text)),
            context=self._context,
            note=state.in_words(),
        )

    def _stopped(self, player_text: str) -> Verdict | None:
        guard = self.content_guard
        flags = flags_of(guard, player_text, "input") if guard is not None else ()
        return Verdict(flags, "input") if flags else None

    def _deflect(self, verdict: Verdict) -> Iterator[str]:
        """The player's words are not given to the model, and nobody remembers them."""
        line, fault = self.knowledge.deflection(self.macros), f"content: {verdict}"
        self.last = NpcTurn(line, self.settings.emotions[0], fault=fault, verdict=verdict)
        yield line

    def _finish(self, acting: Acting) -> NpcTurn:
        turn = acting.turn()
        self.commit(acting.player_text, turn.say, was_cut=not acting.speech.is_done)
        for fact in turn.memory:
            self.memory.remember(fact)
        return turn

    def interrupt(self, heard_chars: int) -> str:
        """The player cut in: what was not heard was never said. Returns what stays, cut after a
        whole word.

        The text and everything the turn wanted to remember go; keys and values of unheard tokens
        are never looked up again, since the cache is found by text.

        Args:
            heard_chars: how many characters of what was said the player heard.

        Raises:
            UsageError: there is no turn to interrupt.
        """
        history = self.memory.history
        if self.last is None or not history or history[-1].role != "assistant":
            raise UsageError("there is no turn to interrupt")
        said, verdict = self.last.say, self.last.verdict
        heard = whole_words(said, heard_chars)
        if verdict is not None and verdict.where == "input":  # nobody remembers that exchange
            self.last = replace(self.last, say=heard)
            return heard
        self.memory.forget(self.last.memory)
        history[-1] = Said("assistant", heard, was_cut=heard != said)
        self.last = replace(self.last, say=heard, actions=(), memory=())
        return heard

    def summarise(self) -> None:
        """Rewrites the running summary with the model; for moments when nobody waits."""
        if self.memory.summary:
            self.memory.summary = _shorter(self.model, self.memory.summary)

    # ---- saved sessions ----

    @property
    def owner(self) -> str:
        """Of a saved session: the card."""
        return self.digest

    @property
    def computed(self) -> tuple[list[int], AdapterAsked | None]:
        """The last prompt, and the adapters that acted."""
        return self._prompt, self.adapter


def _shorter(model: Model, summary: str) -> str:
    """A summary in three sentences by the model, else its first ones."""
    task = f"Sum up in at most three sentences what happened.\n\n{summary}"
    reply = model.generate([{"role": "user", "content": task}], max_tokens=160, temperature=0.0)
    return reply.text.strip() or first_sentences(summary, ())


def whole_words(text: str, num_characters: int) -> str:
    """The beginning of a text of at most so many characters, cut after a whole word."""
    if num_characters >= len(text):
        return text
    return re.sub(r"\s*\S*\Z", "", text[: max(0, num_characters) + 1])


def spoken(said: Said) -> Turn:
    """A message of the memory as a turn of a prompt."""
    return Turn(said.role, [Block("history", said.text + (" —" if said.was_cut else ""))])


__all__ = ["EMOTIONS", "Npc", "NpcSettings", "NpcTurn"]
