"""One turn of a character on its way: its words first, drawn again once if they leave the
character or repeat what was just said, then its deeds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import TYPE_CHECKING, Any, Protocol

from understudy.engine import Usage
from understudy.generation.moderation import TextGuard
from understudy.generation.plan import Ledger
from understudy.roleplay.deeds import Deeds, deeds_schema, read_deeds, wanted_actions
from understudy.roleplay.knowledge import Knowledge
from understudy.roleplay.macros import MacroContext
from understudy.roleplay.memory import Memory
from understudy.roleplay.said_before import SaidBefore
from understudy.roleplay.speech import PARAGRAPH, SENTENCES, Speech, speaker_stops
from understudy.roleplay.state import GameState
from understudy.roleplay.turn import NpcSettings, NpcTurn
from understudy.text.grammar import Grammar
from understudy.text.templates import Prompt

if TYPE_CHECKING:
    from understudy.model import Model


class Actor(Protocol):
    """What a turn needs of a character."""

    model: Model
    settings: NpcSettings
    knowledge: Knowledge
    content_guard: TextGuard | None
    memory: Memory
    card_samplers: Mapping[str, Any]

    @property
    def name(self) -> str: ...
    @property
    def macros(self) -> MacroContext: ...
    def said_before(self, player_text: str) -> SaidBefore: ...


class Acting:
    """`play` gives what is heard, piece by piece; `turn` what came of it, also where it was left
    early.
    """

    def __init__(
        self, npc: Actor, prompt: Prompt, ledger: Ledger, player_text: str, state: GameState
    ) -> None:
        self.npc, self.prompt, self.ledger = npc, prompt, ledger
        self.player_text, self.state = player_text, state
        self.speech = self._new_speech(may_redraw=True)
        self._deeds: Deeds | None = None
        self._usage: Usage | None = None
        self._was_redrawn = False
        self._grammar = Grammar(npc.model.tokenizer)

    def play(self) -> Iterator[str]:
        yield from self._speak()
        if self.speech.fault is not None and not self.speech.text:
            self.speech, self._was_redrawn = self._new_speech(), True
            yield from self._speak(again=1)
        if self.speech.fault is None and not self.speech.is_cut:
            self._deeds = self._act()

    def turn(self) -> NpcTurn:
        npc, speech, deeds = self.npc, self.speech, self._deeds
        if deeds is not None and (deeds.actions or deeds.memory):  # they are said too, in a way
            told = [str(action) for action in deeds.actions] + list(deeds.memory)
            speech.fault = speech.fault or speech.flags(" ".join(told))
        if deeds is None or speech.fault is not None:
            deeds = Deeds(npc.settings.emotions[0])
        facts = (f for f in deeds.memory if npc.knowledge.fault(f, self.player_text) is None)
        return NpcTurn(
            speech.text.strip(),
            deeds.emotion,
            deeds.actions,
            tuple(facts),
            self.ledger,
            self._usage,
            speech.fault,
            speech.is_cut,
            speech.verdict,
            deeds.refused,
            self._was_redrawn,
        )

    def _new_speech(self, *, may_redraw: bool = False) -> Speech:
        npc = self.npc
        return Speech(
            npc.knowledge,
            self.player_text,
            npc.macros,
            npc.content_guard,
            max_characters=npc.settings.max_say,
            may_redraw=may_redraw,
            before=npc.said_before(self.player_text) if npc.settings.speaks_anew else None,
        )

    def _speak(self, again: int = 0) -> Iterator[str]:
        npc, settings = self.npc, self.npc.settings
        form = SENTENCES if settings.speaks_in_sentences else PARAGRAPH
        outputs = npc.model.stream_outputs(
            self.prompt,
            make_mask=self._grammar.lark(form),
            stop=speaker_stops(npc.name, settings.user) if settings.stops_at_speakers else (),
            max_tokens=settings.reserve,
            **settings.draw(npc.model.spec, npc.memory.turn, again, npc.card_samplers),
        )
        with closing(outputs):  # type: ignore[type-var]
            for output in outputs:
                self._usage = output.usage or self._usage
                yield from self.speech.push(output)
                if self.speech.is_over:
                    break
        yield from self.speech.finish()

    def _act(self) -> Deeds:
        """What it feels, does and remembers, written behind its words."""
        npc, settings = self.npc, self.npc.settings
        said = self.speech.text.strip()
        kinds = wanted_actions(self.player_text, self.state)
        schema = deeds_schema(
            said,
            self.state,
            kinds,
            settings.emotions,
            max_actions=settings.max_actions if kinds else 0,
            max_memory=settings.max_memory if settings.keeps_memory(npc.model.spec) else 0,
        )
        drawn = settings.draw(npc.model.spec, npc.memory.turn, of_card=npc.card_samplers)
        reply = npc.model.generate(
            self.prompt,
            make_mask=self._grammar.json_schema(schema),
            max_tokens=settings.reserve,
            **{name: drawn[name] for name in ("temperature", "top_p", "top_k", "min_p", "seed")},
        )
        self._usage = self._usage or reply.usage  # a speech that was ended early has none
        exchange = f"{self.player_text} {said}"
        return read_deeds(reply.raw_text, self.state, settings.emotions, exchange)
