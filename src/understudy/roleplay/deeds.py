"""What a character does and remembers, decided after it has spoken: actions with a reason, facts
that were said.

Small models do something whenever they may. So an action is offered only where the player's words
ask for it: they hold one of its cues, or its name, or one of its targets together with a wish; and
only where its condition may hold. The model then chooses whether to do it, with which target and
values, under a grammar.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from understudy.generation.words import content_words
from understudy.roleplay.knowledge import stands_in
from understudy.roleplay.state import Action, ActionKind, GameState, turn_schema

MIN_SHARED = 0.5  # of a fact's telling words must stand in the exchange
_WISH = re.compile(
    r"\b(?:give|hand|pass|bring|sell|buy|trade|take|get|fetch|show|lend|borrow|please|want|need|"
    r"(?:i'd|would) like|can i|may i"
    r"|could i|let me|i'll|here (?:is|are)|have (?:a|an|the|some|this|that)|pay)\b",
    re.IGNORECASE,
)
_WHO_SPEAKS = {"player", "the player", "user", "you", "me", "him", "her", "them", "self", "myself"}
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
    """Whether a text asks for an action: see the module's docstring."""
    if any(stands_in(cue, text) for cue in kind.cues):
        return True
    words = content_words(text) | _stems(text)
    names_it = bool(_stems(kind.name.replace("_", " ")) & words)
    telling = [target for target in kind.targets if target.casefold() not in _WHO_SPEAKS]
    names_target = any(content_words(target) & words for target in telling)
    if not telling:
        return names_it
    return names_target and (names_it or bool(_WISH.search(text)))


def _stems(text: str) -> set[str]:
    """Words without the commonest endings, those too that tell little by themselves: "give" is a
    name of an action.
    """
    return {
        re.sub(r"(?:ing|ed|es|s|e)$", "", word.casefold())
        for word in re.findall(r"[^\W\d_]{3,}", text)
    } - {"item", "th", "and", "you", "player"}


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
        if action in done:
            continue
        fault = kinds[action.name].fault(action, state.facts)
        if fault is None:
            done.append(action)
        else:
            refused.append((action, fault))
    facts = tuple(fact for fact in document["memory"] if is_memorable(fact, exchange))
    return Deeds(document["emotion"], tuple(done), facts, tuple(refused))


def is_memorable(fact: str, exchange: str) -> bool:
    """Whether a fact is words, and most of what it tells stands in what was said."""
    told = content_words(fact)
    if len(told) < 2 or _NOISE.search(fact):
        return False
    return len(told & content_words(exchange)) / len(told) >= MIN_SHARED
