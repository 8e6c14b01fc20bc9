"""A character in play: its card, its lorebooks, what it remembers, and the plan of its next
prompt.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from understudy.errors import UsageError
from understudy.generation.plan import Plan, Turn
from understudy.roleplay.card import Card
from understudy.roleplay.card_notes import extension_notes
from understudy.roleplay.card_values import CardValues
from understudy.roleplay.fired import FiredEntry, fired_entries
from understudy.roleplay.knowledge import Knowledge
from understudy.roleplay.layout import Scene, plan
from understudy.roleplay.lorebook import (
    Found,
    Line,
    Lorebook,
    LoreMemory,
    Rules,
    ScanSettings,
    scan_books,
)
from understudy.roleplay.macro_variables import Variables
from understudy.roleplay.macros import MacroContext, expand
from understudy.roleplay.memory import Memory, Said
from understudy.roleplay.said_before import SaidBefore
from understudy.roleplay.speech import Speech, sentences_in, speaker_stops

MAX_REPLY = 1 << 20  # characters: the reply's tokens are its limit
LORE_SHARE = 0.25  # of the context, unless a lorebook has its own budget


class PlayedCharacter:
    """See `chat.sources.Part`. The greeting opens the history."""

    def __init__(
        self,
        card: Card,
        *,
        lorebooks: Sequence[Lorebook] = (),
        knowledge: Knowledge | None = None,
        user: str = "Traveller",
        seed: int = 0,
        greeting: int = 0,
        persona: str = "",
        rules: Rules | None = None,
    ) -> None:
        """Args:
        persona: who the user plays, for `{{persona}}` and for lore that asks for it.
        rules: of the card's own lorebook; None: as its origin says.
        """
        self.card, self.knowledge = card, knowledge or Knowledge.from_card(card)
        self.user, self.seed, self.greeting_index = user, seed, greeting
        self.persona = persona
        own = [Lorebook(card.lorebook, rules=rules)] if card.lorebook is not None else []
        self.lorebooks = [*own, *lorebooks]
        self.memory, self.lore_memory = Memory(), [LoreMemory() for _ in self.lorebooks]
        self._found = self.lore_memory
        self.fired: tuple[FiredEntry, ...] = ()  # entries of lorebooks in the last prompt
        self.warnings = extension_notes(card)
        self.warnings += [warning for book in self.lorebooks for warning in book.warnings]
        self.variables, self.global_variables = Variables(), Variables()
        self._variables = (self.variables, self.global_variables)
        if text := self.greeting():
            self.memory.history.append(Said("assistant", text))

    @property
    def name(self) -> str:
        return self.card.shown_name

    @property
    def digest(self) -> str:
        return self.card.digest

    @property
    def stops(self) -> tuple[str, ...]:
        """Strings at which a reply ends, since somebody else would speak from there on."""
        return speaker_stops(self.name, self.user)

    def speech(self, text: str, *, may_redraw: bool) -> Speech:
        """What is heard of a reply to `text`: whole sentences that stay in character."""
        return Speech(
            self.knowledge.of_chat(),
            text,
            self.macros,
            None,
            max_characters=MAX_REPLY,
            may_redraw=may_redraw,
            before=self.said_before(text),
        )

    def said_before(self, player_text: str) -> SaidBefore:
        """What an answer to `player_text` is not to say once more."""
        own = [said.text for said in self.memory.history if said.role == "assistant"][-1:]
        card = (str(self.card.data.get(name) or "") for name in ("description", "personality"))
        return SaidBefore.of(map(sentences_in, [player_text, *own]), card)

    @property
    def macros(self) -> MacroContext:
        """What macros know before a turn; variables that they set are kept at once."""
        return self._macros(self.variables, self.global_variables, self._messages(), {})

    def _messages(self) -> list[tuple[str, str]]:
        return [(said.role, said.text) for said in self.memory.history]

    def _macros(
        self,
        variables: Variables,
        global_variables: Variables,
        messages: Sequence[tuple[str, str]],
        more: dict[str, str],
    ) -> MacroContext:
        context = MacroContext(
            self.name,
            self.user,
            seed=self.seed,
            turn=self.memory.turn,
            variables=variables,
            global_variables=global_variables,
            messages=messages,
            greetings=self.card.greetings,
            warnings=self.warnings,
        )
        persona = expand(self.persona, context)
        context.values = CardValues(self.card, {"persona": persona, **more}, context)
        return context

    def _macros_of_turn(self, text: str, context: int) -> MacroContext:
        """As `macros`, for a prompt: variables are drafts until the turn is committed."""
        more = {"max_context": str(context), "first_included": str(self.memory.num_summarised)}
        self._variables = self.variables.copy(), self.global_variables.copy()
        return self._macros(*self._variables, [*self._messages(), ("user", text)], more)

    def greeting(self) -> str:
        """The message that opens the play."""
        greetings = self.card.greetings
        if not 0 <= self.greeting_index < len(greetings):
            raise UsageError(
                "the card has no such greeting",
                where="greeting",
                expected=f"0 to {len(greetings) - 1}",
                found=self.greeting_index,
            )
        return expand(greetings[self.greeting_index], self.macros)

    def plan(
        self,
        history: Sequence[Turn],
        text: str,
        *,
        count_tokens: Callable[[str], int],
        context: int,
        system: str = "",
        note: str = "",
    ) -> Plan:
        """The prompt that answers `text`: persona first, called-up lore and memories in the newest
        message.
        """
        lines = [
            Line(turn.role, turn.text)  # type: ignore[arg-type]
            for turn in history
            if turn.role in ("user", "assistant")
        ]
        macros = self._macros_of_turn(text, context)
        settings = ScanSettings(
            count_tokens=count_tokens,
            budget=int(LORE_SHARE * context + 0.5) or 1,
            greeting=self.greeting_index,
            may_use=self.knowledge.may_know,
            macros=macros,
            sources=macros.values,
            num_messages=len(self.memory.history) + 1,
        )
        lines.append(Line("user", text))
        found = scan_books(self.lorebooks, lines, settings, self.lore_memory)
        self._found = [result.memory for result in found]
        self.fired = fired_entries((one for result in found for one in result.placed), lines)
        self._warn(warning for result in found for warning in result.warnings)
        secrets = [f"You know nothing about {topic}." for topic in self.knowledge.asked_about(text)]
        memories = [fact.text for fact in self.memory.recall(text)]
        notes = "\n".join(line for line in (note, *secrets) if line)
        return plan(
            Scene(
                self.card,
                macros,
                _merged(found),
                history,
                text,
                self.memory.summary,
                memories,
                notes,
                system,
            )
        )

    def _warn(self, warnings: Iterable[str]) -> None:
        """Keeps what is new, so that each thing is said once."""
        self.warnings += [w for w in dict.fromkeys(warnings) if w not in self.warnings]

    def commit(self, text: str, reply: str, *, was_cut: bool = False) -> None:
        self.lore_memory = self._found
        self.variables, self.global_variables = self._variables
        self.memory.history += [Said("user", text), Said("assistant", reply, was_cut=was_cut)]
        self.memory.turn += 1

    def absorb(self, num_messages: int) -> None:
        """Lets the summary cover so many more of the oldest messages."""
        self.memory.absorb(self.memory.num_summarised + num_messages)

    def to_document(self) -> dict[str, Any]:
        return {
            "memory": self.memory.to_document(),
            "variables": [self.variables.values, self.global_variables.values],
            "lore": [memory.to_document() for memory in self.lore_memory],
        }

    def read_document(self, document: Mapping[str, Any]) -> None:
        memory, lore = Memory.from_document(document["memory"]), document["lore"]
        if len(lore) != len(self.lorebooks):
            raise ValueError("another number of lorebooks")
        variables = [dict(values) for values in document["variables"]]
        if not all(
            isinstance(v, str | int | float) for values in variables for v in values.values()
        ):
            raise TypeError("a variable is neither text nor number")
        self.variables, self.global_variables = (Variables(values) for values in variables)
        self.memory = memory
        self.lore_memory = [LoreMemory.from_document(one) for one in lore]


def _merged(found: Sequence[Found]) -> Found:
    merged = found[0] if found else Lorebook({"entries": []}).scan([])
    for more in found[1:]:
        merged = replace(
            merged,
            placed=merged.placed + more.placed,
            dropped=merged.dropped + more.dropped,
            disabled_prompts=merged.disabled_prompts | more.disabled_prompts,
        )
    return merged
