"""Characters in games: `Npc.turn(player_text, state) -> Turn(say, emotion, actions, memory)`.

npc = Npc(model, read_card("hilde.png"))
turn = npc.turn("What do you sell?", state, on_say=speak)
state = reducer.commit(state, turn.actions).state

A turn is one JSON object held to a schema, `say` first and handed on sentence by sentence, each checked before it is heard.
The model only proposes actions: see `state.Reducer`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from understudy.chat import saved
from understudy.engine import Output, Usage
from understudy.errors import DocumentError, UsageError
from understudy.generation.moderation import ModerationGate, TextGuard, Verdict, flags_of
from understudy.generation.plan import Block, Ledger, fit
from understudy.generation.plan import Turn as ChatTurn
from understudy.roleplay.card import Card
from understudy.roleplay.knowledge import Guard
from understudy.roleplay.lorebook import Lorebook, Rules
from understudy.roleplay.macros import MacroContext
from understudy.roleplay.memory import Said, first_sentences
from understudy.roleplay.part import Part
from understudy.roleplay.state import Action, GameState, turn_schema
from understudy.text.grammar import Grammar

if TYPE_CHECKING:
    from understudy.model import Model

EMOTIONS = ("neutral", "happy", "sad", "angry", "afraid", "surprised")
_UNIT = re.compile(r'[^"\\]|\\u[0-9a-fA-F]{4}|\\[^u]', re.DOTALL)  # one character of a JSON string
_BODY = re.compile(rf"(?:{_UNIT.pattern})*", re.DOTALL)
_HIGH = re.compile(r"\\u[dD][89abAB][0-9a-fA-F]{2}")


@dataclass(frozen=True, slots=True)
class Turn:
    """What a character says and wants to do. `fault` says why a guard cut in, `is_cut` that the answer outgrew its reserve.

    `verdict` is there where it was the content guard: what it found, and on which side.
    """

    say: str
    emotion: str
    actions: tuple[Action, ...] = ()
    memory: tuple[str, ...] = ()
    ledger: Ledger | None = None
    usage: Usage | None = None
    fault: str | None = None
    is_cut: bool = False
    verdict: Verdict | None = None


@dataclass(frozen=True, slots=True)
class NpcSettings:
    """How turns are made. `reserve` tokens of the context are kept for the answer."""

    user: str = "Traveller"
    emotions: tuple[str, ...] = EMOTIONS
    max_say: int = 240  # characters
    max_actions: int = 2
    max_memory: int = 1
    reserve: int = 320
    context: int | None = None
    temperature: float = 0.7
    top_p: float = 0.9
    repetition_penalty: float = 1.1
    seed: int = 0
    greeting: int = 0
    persona: str = ""  # who the player is, for `{{persona}}`
    rules: Rules | None = None  # of the card's lorebook; None: as its origin says


class Npc(Part):
    """One character: its card, what it remembers, and a model to speak with. The model may be shared by many."""

    def __init__(
        self,
        model: Model,
        card: Card,
        *,
        lorebooks: Sequence[Lorebook] = (),
        guard: Guard | None = None,
        content_guard: TextGuard | None = None,
        settings: NpcSettings | None = None,
    ) -> None:
        """Args:
        guard: of the character's world; default that of the card.
        content_guard: of what may be said at all, to the character and by it; None: nothing is checked.
        """
        self.model, self.settings, self.content_guard = (
            model,
            settings or NpcSettings(),
            content_guard,
        )
        super().__init__(
            card,
            lorebooks=lorebooks,
            guard=guard,
            user=self.settings.user,
            seed=self.settings.seed,
            greeting=self.settings.greeting,
            persona=self.settings.persona,
            rules=self.settings.rules,
        )
        self.last: Turn | None = None
        self._grammar = Grammar(model.tokenizer)
        self._prompt: list[int] = []

    # ---- a turn ----

    def turn(
        self,
        player_text: str,
        state: GameState | None = None,
        *,
        on_say: Callable[[str], None] | None = None,
    ) -> Turn:
        """One turn. `on_say` gets what is said, sentence by sentence, while the model is still writing.

        Raises:
            ContextError: the character and the message do not fit the context.
        """
        pieces = self.stream(player_text, state)
        for piece in pieces:
            if on_say is not None:
                on_say(piece)
        assert self.last is not None
        return self.last

    def stream(self, player_text: str, state: GameState | None = None) -> Iterator[str]:
        """As `turn`, giving what is said piece by piece; the turn is in `last` at the end. Leaving early interrupts."""
        if verdict := self._stopped(player_text):
            yield from self._deflect(verdict)
            return
        state = state or GameState()
        model, memory = self.model, self.memory
        context = min(self.settings.context or model.context, model.context)
        history = [spoken(said) for said in memory.history[memory.num_summarised :]]
        plan = self.plan(
            history,
            player_text,
            count_tokens=lambda text: len(model.tokenizer.encode(text)),
            context=context,
            note=state.in_words(),
        )
        prompt, ledger = fit(
            plan,
            model.chat_template,
            model.tokenizer,
            context=context,
            reserve=self.settings.reserve,
            where=self.name,
        )
        self.absorb(len(plan.dropped_turns))
        self._prompt = prompt.encode(self.model.tokenizer)
        writing = _Writing(self.guard, player_text, self.macros, self.content_guard)
        outputs = self.model.stream_outputs(prompt, **self._options(state))
        usage = None
        try:
            with closing(outputs):  # type: ignore[type-var]
                for output in outputs:
                    usage = output.usage or usage
                    yield from writing.push(output)
                    if writing.fault is not None:
                        break
            yield from writing.finish()
        finally:
            self.last = self._finish(player_text, writing, ledger, usage)

    def _stopped(self, player_text: str) -> Verdict | None:
        flags = (
            flags_of(self.content_guard, player_text, "input")
            if self.content_guard is not None
            else ()
        )
        return Verdict(flags, "input") if flags else None

    def _deflect(self, verdict: Verdict) -> Iterator[str]:
        """The player's words are not given to the model, and nobody remembers them."""
        line = self.guard.deflection(self.macros)
        self.last = Turn(
            line, self.settings.emotions[0], fault=f"content: {verdict}", verdict=verdict
        )
        yield line

    def _options(self, state: GameState) -> dict[str, Any]:
        settings = self.settings
        schema = turn_schema(
            state,
            settings.emotions,
            max_say=settings.max_say,
            max_actions=settings.max_actions,
            max_memory=settings.max_memory,
        )
        return {
            "make_mask": self._grammar.json_schema(schema),
            "max_tokens": settings.reserve,
            "temperature": settings.temperature,
            "top_p": settings.top_p,
            "repetition_penalty": settings.repetition_penalty,
            "seed": settings.seed * 1_000_003 + self.memory.turn,
        }

    def _finish(
        self, player_text: str, writing: _Writing, ledger: Ledger, usage: Usage | None
    ) -> Turn:
        turn = writing.turn(ledger, usage, self.settings.emotions)
        self.commit(player_text, turn.say, was_cut=not writing.is_done)
        for fact in turn.memory:
            self.memory.remember(fact)
        return turn

    def interrupt(self, heard_chars: int) -> str:
        """The player cut in: what was not heard was never said. Returns what stays, cut after a whole word.

        The text and everything the turn wanted to remember go; keys and values of unheard tokens are never looked up again, since
        the cache is found by text.
        """
        if (
            self.last is None
            or not self.memory.history
            or self.memory.history[-1].role != "assistant"
        ):
            raise UsageError("there is no turn to interrupt")
        said = self.last.say
        heard = (
            said
            if heard_chars >= len(said)
            else re.sub(r"\s*\S*\Z", "", said[: max(0, heard_chars) + 1])
        )
        if (
            self.last.verdict is not None and self.last.verdict.where == "input"
        ):  # nobody remembers that exchange
            self.last = replace(self.last, say=heard)
            return heard
        self.memory.forget(self.last.memory)
        self.memory.history[-1] = Said("assistant", heard, was_cut=heard != said)
        self.last = replace(self.last, say=heard, actions=(), memory=())
        return heard

    def summarise(self) -> None:
        """Rewrites the running summary with the model; for moments when nobody waits."""
        memory = self.memory
        if not memory.summary:
            return
        task = f"Sum up in at most three sentences what happened.\n\n{memory.summary}"
        reply = self.model.generate(
            [{"role": "user", "content": task}], max_tokens=160, temperature=0.0
        )
        memory.summary = reply.text.strip() or first_sentences(memory.summary, ())

    # ---- saved sessions ----

    def save(self, path: str | Path) -> None:
        """Writes the session (`path`) and its keys and values (`path` + `.kv`)."""
        saved.save(path, self.model, self._prompt, self.digest, self.to_document())

    def resume(self, path: str | Path) -> None:
        """Goes on with a saved session of the same character; with the same model without computing its prompt again.

        Raises:
            DocumentError: not a session, or of another character.
        """
        document = saved.read(path, self.digest)
        try:
            self.restore(document)
        except (ValueError, KeyError, TypeError) as error:
            raise DocumentError(
                f"not a saved session ({type(error).__name__})", where=path
            ) from error
        saved.load_state(path, self.model, document)


def spoken(said: Said) -> ChatTurn:
    """A message of the memory as a turn of a prompt."""
    return ChatTurn(said.role, [Block("history", said.text + (" —" if said.was_cut else ""))])


class _Writing:
    """A turn on its way: reads `say` out of unfinished JSON and lets whole, checked sentences through."""

    def __init__(
        self, guard: Guard, player_text: str, macros: MacroContext, content_guard: TextGuard | None
    ) -> None:
        self.guard, self.player_text, self.macros, self.content_guard = (
            guard,
            player_text,
            macros,
            content_guard,
        )
        self.verdict: Verdict | None = None
        self.raw, self.released = "", ""
        self.fault: str | None = None
        self.is_done = False
        self._gate = ModerationGate(by_sentence=content_guard is None or content_guard.by_sentence)
        self._is_length = False

    def push(self, output: Output) -> Iterator[str]:
        self.raw += output.text
        self._is_length = self._is_length or output.finish_reason == "length"
        yield from self._release()

    def finish(self) -> Iterator[str]:
        yield from self._release(is_end=True)
        self.is_done = True

    def _release(self, *, is_end: bool = False) -> Iterator[str]:
        text, is_closed = read_say(self.raw)
        self._gate.push(text[len(self._gate.text) :])
        end = self._gate.due(is_end=is_closed or is_end)
        if end is None or self.fault is not None:
            return
        piece = self._gate.release(end)
        self.fault = self.guard.fault(
            self.released[-40:] + piece, self.player_text
        ) or self._content_fault(self.released + piece)
        if self.fault is not None:
            piece = self.guard.deflection(self.macros)
        self.released += piece
        yield piece

    def _content_fault(self, text: str) -> str | None:
        flags = (
            flags_of(self.content_guard, text, "output") if self.content_guard is not None else ()
        )
        self.verdict = Verdict(flags, "output") if flags else self.verdict
        return f"content: {self.verdict}" if flags else None

    def turn(self, ledger: Ledger, usage: Usage | None, emotions: Sequence[str]) -> Turn:
        try:
            document = json.loads(self.raw)
        except ValueError:  # cut by its length, by the guard, or by the player
            document = {}
        if (
            document and self.fault is None
        ):  # what it wants to do and remember is said too, in a way
            self.fault = self._content_fault(
                json.dumps([document["actions"], document["memory"]], ensure_ascii=False)
            )
        if self.fault is not None or not document:
            return Turn(
                self.released.strip(),
                emotions[0],
                (),
                (),
                ledger,
                usage,
                self.fault,
                self._is_length,
                self.verdict,
            )
        actions = tuple(
            Action(
                a["name"],
                a.get("target"),
                {k: v for k, v in a.items() if k not in ("name", "target")},
            )
            for a in document["actions"]
        )
        facts = tuple(
            fact for fact in document["memory"] if self.guard.fault(fact, self.player_text) is None
        )
        return Turn(self.released.strip(), document["emotion"], actions, facts, ledger, usage)


def read_say(raw: str) -> tuple[str, bool]:
    """The value of `say` in the beginning of a turn's JSON, as far as it is there, and whether it is closed."""
    match = re.match(r'\s*\{\s*"say"\s*:\s*"', raw)
    if match is None:
        return "", False
    end = _BODY.match(raw, match.end())
    assert end is not None
    is_closed = raw[end.end() : end.end() + 1] == '"'
    units = _UNIT.findall(end[0])
    if not is_closed and units and _HIGH.fullmatch(units[-1]):  # the first half of a pair
        units.pop()
    body = "".join(units)
    try:
        return str(json.loads(f'"{body}"', strict=False)), is_closed
    except ValueError:
        return "", False
