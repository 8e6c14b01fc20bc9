"""A mixture of trees out of parts, each up to its share of the tokens.

A part gives groups of conversations without end or until its data are used up; the mixer encodes
them, leaves out what is too long, and keeps every fortieth group apart for measuring.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from understudy.data.encode import ConversationEncoder, Dialogue
from understudy.data.overlap import EvaluationSets
from understudy.data.trees import Encoded, Tree, grow

HELD_OUT_EVERY = 40


@dataclass(frozen=True, slots=True)
class MixPart:
    """`share` of all tokens; `groups` are conversations that may begin alike; trees and single
    conversations longer than `most` tokens are left out.
    """

    name: str
    share: float
    groups: Iterable[Sequence[Dialogue]]
    most: int = 700


@dataclass
class Mixture:
    """Trees to train on, trees to measure on, and what was counted by part."""

    trees: list[Tree] = field(default_factory=list)
    held_out: list[Tree] = field(default_factory=list)
    tokens: Counter[str] = field(default_factory=Counter)
    learnt: Counter[str] = field(default_factory=Counter)
    decisions: Counter[str] = field(default_factory=Counter)
    too_long: Counter[str] = field(default_factory=Counter)
    overlapping: Counter[tuple[str, str]] = field(default_factory=Counter)  # (part, set)


def mix(
    parts: Sequence[MixPart],
    num_tokens: int,
    encoder: ConversationEncoder,
    sets: EvaluationSets | None = None,
) -> Mixture:
    """Draws from each part until it has its share of `num_tokens` or nothing more.

    Args:
        sets: what shares a run of words with one of them is left out and counted.
    """
    mixture = Mixture()
    whole = sum(part.share for part in parts)
    for part in parts:
        budget = num_tokens * part.share / whole
        for number, group in enumerate(part.groups):
            if mixture.tokens[part.name] >= budget:
                break
            kept = [c for c in group if not _overlaps(c, part, sets, mixture)]
            for tree in trees_of(part, kept, encoder, mixture):
                if number % HELD_OUT_EVERY == HELD_OUT_EVERY - 1:
                    mixture.held_out.append(tree)
                    continue
                mixture.trees.append(tree)
                mixture.tokens[part.name] += len(tree)
                mixture.learnt[part.name] += int((tree.weights > 0).sum())
                mixture.decisions[part.name] += tree.num_branches
    return mixture


def _overlaps(
    conversation: Dialogue, part: MixPart, sets: EvaluationSets | None, mixture: Mixture
) -> bool:
    if sets is None:
        return False
    said = [str(m.get("content") or "") for m in conversation.messages if m["role"] != "system"]
    found = sets.overlaps([*said, *conversation.contexts])
    if found:
        mixture.overlapping[part.name, found] += 1
    return bool(found)


def trees_of(
    part: MixPart, group: Sequence[Dialogue], encoder: ConversationEncoder, mixture: Mixture
) -> Iterator[Tree]:
    """The group's conversations as trees of at most `part.most` tokens."""
    pending: list[Encoded] = []
    size = 0
    for conversation in group:
        encoded = encoder.encode(conversation)
        if len(encoded.ids) > part.most:
            mixture.too_long[part.name] += 1
            continue
        own = len(encoded.ids) if not pending else _added(pending[0], encoded)
        if pending and size + own > part.most:
            yield grow(pending, part.name)
            pending, own, size = [], len(encoded.ids), 0
        pending.append(encoded)
        size += own
    if pending:
        yield grow(pending, part.name)


def _added(first: Encoded, other: Encoded) -> int:
    shared = next(
        (i for i, (a, b) in enumerate(zip(first.ids, other.ids, strict=False)) if a != b),
        min(len(first.ids), len(other.ids)),
    )
    return len(other.ids) - shared


def shares_of(mixture: Mixture) -> Mapping[str, float]:
    """What each part has of all tokens."""
    whole = sum(mixture.tokens.values()) or 1
    return {name: count / whole for name, count in mixture.tokens.items()}
