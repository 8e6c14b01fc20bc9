"""From a character and its memory to a prompt: what stands where, what is dropped first, and whose tokens are whose.

What stays stands first (system prompt, persona, constant lore, examples, summary), then the history, and what changes every
turn goes into the newest message: so a warm turn computes only its tail, in dialects too that move every system
message to the top.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from understudy.errors import ContextError
from understudy.roleplay.card import Card
from understudy.roleplay.lorebook import Found, Placed
from understudy.roleplay.macros import MacroContext, expand
from understudy.roleplay.memory import Said
from understudy.text import Tokenizer
from understudy.text.dialects import Dialect, Part, Prompt
from understudy.text.dialects.base import ORIGINS, Origin

DEFAULT_SYSTEM = "You are {{char}}. Stay in character and answer {{user}} in a few sentences, as {{char}} would speak."
DROP_ORDER = ("history", "lore", "memories", "examples", "summary")  # never persona, system prompt or the newest message
DROP_SLACK = 256  # tokens of history dropped beyond need, so that the next turns find the same beginning in the cache
KEPT_MESSAGES = 2  # of the history that stay until everything else that may go is gone


@dataclass(frozen=True, slots=True)
class Block:
    origin: Origin
    text: str


@dataclass(slots=True)
class Scene:
    """Everything a prompt is made of; what `fit` takes out is noted in `dropped`."""

    card: Card
    macros: MacroContext
    lore: Found
    history: list[Said]
    player_text: str
    summary: str = ""
    memories: list[str] = field(default_factory=list)
    note: str = ""  # the state of the game, and what the character must not know
    examples: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    num_dropped_messages: int = 0


@dataclass(frozen=True, slots=True)
class Ledger:
    """Where the tokens of a prompt went; they sum to the prompt's length exactly. `reserve` is kept free for the answer."""

    tokens: dict[Origin, int]
    reserve: int
    context: int
    dropped: tuple[str, ...] = ()

    @property
    def total(self) -> int:
        return sum(self.tokens.values())

    @property
    def free(self) -> int:
        return self.context - self.total - self.reserve


def examples_of(card: Card, macros: MacroContext) -> list[str]:
    """The example conversations of a card: pieces between `<START>` lines."""
    pieces = re.split(r"<start>", card.text("mes_example"), flags=re.IGNORECASE)
    return [expand(piece, macros).strip() for piece in pieces if piece.strip()]


def fit(scene: Scene, dialect: Dialect, tokenizer: Tokenizer, *, context: int, reserve: int) -> tuple[Prompt, Ledger]:
    """The prompt, made to fit by dropping in `DROP_ORDER`; every drop is written into the ledger.

    Raises:
        ContextError: persona and newest message alone do not fit.
    """
    room = context - reserve
    while True:
        prompt = render(scene, dialect)
        num_tokens = len(prompt.encode(tokenizer))
        if num_tokens <= room:
            return prompt, Ledger(count_origins(prompt, tokenizer), reserve, context, tuple(scene.dropped))
        if not any(drop(scene, num_tokens - room) for drop in _DROPS):
            raise ContextError("character and message do not fit the context", where=scene.card.name,
                               expected=f"at most {room} tokens beside {reserve} for the answer", found=num_tokens,
                               do="shorten the card or the message, or give more context")  # fmt: skip


def render(scene: Scene, dialect: Dialect) -> Prompt:
    """The prompt of a scene as it is."""
    turns: list[tuple[str, list[Block]]] = [("system", _standing(scene))]
    turns += [(said.role, [Block("history", said.text + (" —" if said.was_cut else ""))]) for said in scene.history]
    turns.append(("user", [*_volatile(scene), Block("user", scene.player_text)]))
    for placed in scene.lore.at("depth"):
        _insert(turns, placed)
    if "post_history_instructions" not in scene.lore.disabled_prompts and (text := scene.card.text("post_history_instructions")):
        turns[-1][1].append(Block("persona", expand(text, replace(scene.macros, original=""))))
    turns = [(role, blocks) for role, blocks in turns if any(block.text.strip() for block in blocks)]
    return with_origins(dialect, turns)


def _standing(scene: Scene) -> list[Block]:
    card, lore = scene.card, scene.lore
    default = expand(DEFAULT_SYSTEM, scene.macros)
    given = card.text("system_prompt") if "system_prompt" not in lore.disabled_prompts else ""
    blocks = [Block("system", expand(given, replace(scene.macros, original=default)) if given.strip() else default)]

    def add(origin: Origin, *texts: str) -> None:
        blocks.extend(Block(origin, text) for text in texts if text.strip())

    def add_lore(position: Any) -> None:
        add("lore", *(placed.content for placed in lore.at(position) if _is_standing(placed)))

    add_lore("before_char")
    add_lore("before_desc")
    add("persona", expand(card.text("description"), scene.macros))
    add_lore("after_desc")
    for name, position in (("personality", "personality"), ("scenario", "scenario")):
        text = expand(card.text(name), scene.macros)
        add("persona", f"{name.capitalize()}: {text}" if text.strip() else "")
        add_lore(position)
    add_lore("after_char")
    add("persona", *(f"Example:\n{example}" for example in scene.examples))
    add("memory", f"So far: {scene.summary}" if scene.summary else "")
    return blocks


def _is_standing(placed: Placed) -> bool:
    return placed.entry.flag("constant") or placed.position not in ("before_char", "after_char")


def _volatile(scene: Scene) -> list[Block]:
    """What was called up for this turn alone, before the player's words."""
    called = [p.content for p in scene.lore.placed if p.position in ("before_char", "after_char") and not _is_standing(p)]
    blocks = [Block("lore", text) for text in called]
    if scene.memories:
        blocks.append(Block("memory", "You remember: " + " ".join(scene.memories)))
    if scene.note:
        blocks.append(Block("persona", scene.note))
    return blocks


def _insert(turns: list[tuple[str, list[Block]]], placed: Placed) -> None:
    """Lore that counts from the newest message; `assistant` as a message of its own, the rest inside the player's."""
    block = Block("lore", placed.content)
    at = max(1, len(turns) - placed.depth)
    if placed.role == "assistant" and placed.depth > 0:
        turns.insert(at, ("assistant", [block]))
    elif at >= len(turns):
        turns[-1][1].append(block)
    elif turns[at][0] == "user":
        turns[at][1].insert(0, block)
    elif turns[at - 1][0] != "assistant":
        turns[at - 1][1].append(block)
    else:
        turns.insert(at, ("user", [block]))


def with_origins(dialect: Dialect, turns: Sequence[tuple[str, Sequence[Block]]]) -> Prompt:
    """Renders turns of several blocks each, and gives every block's text its own part again, so that it can be counted."""
    texts = ["\n\n".join(block.text.strip() for block in blocks if block.text.strip()) for _, blocks in turns]
    prompt = dialect.render([{"role": role, "content": text} for (role, _), text in zip(turns, texts, strict=True)])
    pending = [(text, blocks) for text, (_, blocks) in zip(texts, turns, strict=True)]
    parts: list[Part] = []
    for part in prompt.parts:
        index = next((i for i, (text, _) in enumerate(pending) if not part.is_markup and part.text == text), None)
        if index is None:
            parts.append(part)
            continue
        _, blocks = pending.pop(index)
        kept = [block for block in blocks if block.text.strip()]
        parts += [Part(("\n\n" if i else "") + block.text.strip(), origin=block.origin) for i, block in enumerate(kept)]
    return Prompt(tuple(parts))


def count_origins(prompt: Prompt, tokenizer: Tokenizer) -> dict[Origin, int]:
    """Tokens by origin. A token across two parts counts for the later one, so that the sum is exact."""
    counts: dict[Origin, int] = dict.fromkeys(ORIGINS, 0)
    before = 0
    for i, part in enumerate(prompt.parts, 1):
        if i < len(prompt.parts) and prompt.parts[i].origin == part.origin and prompt.parts[i].is_markup == part.is_markup:
            continue  # counted with its neighbour
        after = len(Prompt(prompt.parts[:i]).encode(tokenizer))
        counts[part.origin] += after - before
        before = after
    return counts


def _drop_history(scene: Scene, excess: int) -> bool:
    if len(scene.history) <= KEPT_MESSAGES:
        return False
    count = 0
    excess += DROP_SLACK
    while len(scene.history) > KEPT_MESSAGES and excess > 0:
        excess -= max(4, len(scene.history.pop(0).text) // 5)
        count += 1
    if scene.history[0].role == "assistant" and len(scene.history) > KEPT_MESSAGES:  # a conversation opens with the player
        scene.history.pop(0)
        count += 1
    scene.num_dropped_messages += count
    _note(scene, "history", f"history: {scene.num_dropped_messages} oldest messages")
    return True


def _drop_lore(scene: Scene, excess: int) -> bool:
    if not scene.lore.placed:
        return False
    worst = min(
        scene.lore.placed,
        key=lambda p: (not p.entry.decorated.values.get("ignore_on_max_context"), p.entry.priority, -p.entry.index),
    )
    scene.lore = replace(scene.lore, placed=tuple(p for p in scene.lore.placed if p is not worst))
    scene.dropped.append(f"lore: {worst.entry.label}")
    return True


def _drop_memory(scene: Scene, excess: int) -> bool:
    if not scene.memories:
        return False
    scene.dropped.append(f"memories: {scene.memories.pop(0)[:40]}")
    return True


def _drop_example(scene: Scene, excess: int) -> bool:
    if not scene.examples:
        return False
    scene.examples.pop()
    _note(scene, "examples", f"examples: down to {len(scene.examples)}")
    return True


def _drop_summary(scene: Scene, excess: int) -> bool:
    if scene.summary:
        scene.summary = ""
        scene.dropped.append("summary")
        return True
    if scene.history:  # the last of it, before giving up
        scene.history.pop(0)
        scene.num_dropped_messages += 1
        _note(scene, "history", f"history: {scene.num_dropped_messages} oldest messages")
        return True
    return False


def _note(scene: Scene, kind: str, text: str) -> None:
    scene.dropped[:] = [line for line in scene.dropped if not line.startswith(f"{kind}:")] + [text]


_DROPS: tuple[Callable[[Scene, int], bool], ...] = (_drop_history, _drop_lore, _drop_memory, _drop_example, _drop_summary)
