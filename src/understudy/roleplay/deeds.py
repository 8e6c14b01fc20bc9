"""What a character does and remembers, decided after it has spoken: actions with a reason, facts
that were said.

Small models do something whenever they may. So an action is offered only where the player's words
ask for it (`wishes`): they hold one of its cues, or ask to do what its name says, or wish for one
of its targets; and only where its condition may hold. The model then chooses whether to do it, with
which target and values, under a grammar.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from understudy.generation.message.words import content_words, telling_words, words_of
from understudy.roleplay.knowledge import stands_in
from understudy.roleplay.state import Action, ActionKind, GameState, turn_schema
from understudy.roleplay.wishes import (
    LIGHT_VERBS,
    asks_to,
    is_bare,
    is_english,
    names,
    sentences,
    wishes,
)

LONGEST = 4000  # characters of a message in which a wish is looked for
MIN_SHARED = 0.5  # of a fact's telling words must stand in the exchange
_WHO_SPEAKS = {"player", "the player", "user", "you", "me", "him", "her", "them", "self", "myself"}
_TELLS_NOTHING = {"item", "thing", "the", "a", "an", "and", "to", "of", "with", *_WHO_SPEAKS}
_NOISE = re.compile(r"[\x00-\x1f{}<>|\\\[\]]")


@dataclass(frozen=True, slots=True)
class Deeds:
    """What follows from a turn besides its words. `refused` are proposals that a condition forbids,
    with the reason.
    """

    emotion: str
    actions: tuple[Action, ...] = ()
    memory: tuple[str, ...] = ()
    refused: tuple[tuple[Action, str], ...] = ()


def wanted_actions(player_text: str, state: GameState) -> tuple[ActionKind, ...]:
    """The kinds of action that the player's words ask for and that may happen now."""
    return tuple(
        kind
        for kind in state.actions
        if kind.may_happen(state.facts) and is_asked_for(kind, player_text)
    )


def is_asked_for(kind: ActionKind, text: str) -> bool:
    """Whether a text asks for an action: see the module's docstring and `wishes`."""
    if any(stands_in(cue, text) for cue in kind.cues):
        return True
    text = text[:LONGEST]
    words = words_of(kind.name)
    name = [word for word in words if word not in _TELLS_NOTHING] or words
    things = {
        word for target in kind.targets for word in telling_words(target) if word not in _WHO_SPEAKS
    }
    if not is_english(text):
        return names(text, things or name)
    return any(_asks_for(sentence, name, things) for sentence in sentences(text))


def _asks_for(sentence: str, name: list[str], things: set[str]) -> bool:
    """Whether a sentence asks for what words name: with a thing to do it to where there are some,
    else by its verb, or by what else its name tells together with a wish.
    """
    if things:
        return names(sentence, things) and (asks_to(sentence, name) or wishes(sentence))
    objects = name[1:]
    if objects and names(sentence, objects):
        return is_bare(sentence, name) or asks_to(sentence, name) or wishes(sentence)
    return asks_to(sentence, [word for word in name if not objects or word not in LIGHT_VERBS])


def deeds_schema(
    said: str,
    state: GameState,
    kinds: Sequence[ActionKind],
    emotions: Sequence[str],
    *,
    max_actions: int,
    max_memory: int,
) -> dict[str, Any]:
    """The schema of a turn whose words are given, so that nothing of them is written again."""
    offered = GameState(state.scene, state.facts, tuple(kinds))
    schema = turn_schema(
        offered, emotions, max_say=len(said) + 1, max_actions=max_actions, max_memory=max_memory
    )
    schema["properties"]["say"] = {"const": said}
    return schema


def read_deeds(raw: str, state: GameState, emotions: Sequence[str], exchange: str) -> Deeds:
    """A turn's JSON as deeds; one that is cut gives none.

    Args:
        exchange: what the player and the character said, out of which facts may come.
    """
    try:
        document = json.loads(raw)
    except ValueError:
        return Deeds(emotions[0])
    done: list[Action] = []
    refused: list[tuple[Action, str]] = []
    kinds = {kind.name: kind for kind in state.actions}
    for entry in document["actions"]:
        values = {k: v for k, v in entry.items() if k not in ("name", "target")}
        action = Action(entry["name"], entry.get("target"), values)
        if any(_is_repeated(action, other) for other in done):
            continue
        fault = kinds[action.name].fault(action, state.facts)
        if fault is None:
            done.append(action)
        else:
            refused.append((action, fault))
    facts = tuple(fact for fact in document["memory"] if is_memorable(fact, exchange))
    return Deeds(document["emotion"], tuple(done), facts, tuple(refused))


def _is_repeated(action: Action, other: Action) -> bool:
    """Whether a turn does the same again, as small models do: to one target only once, whatever
    the other values are.
    """
    if action.name != other.name or action.target != other.target:
        return False
    return action.target is not None or action.arguments == other.arguments


def is_memorable(fact: str, exchange: str) -> bool:
    """Whether a fact is words, and most of what it tells stands in what was said."""
    told = content_words(fact)
    if len(told) < 2 or _NOISE.search(fact):
        return False
    return len(told & content_words(exchange)) / len(told) >= MIN_SHARED
