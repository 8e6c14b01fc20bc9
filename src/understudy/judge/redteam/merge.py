"""Two people's records put together: nothing is lost, nothing counts twice, and doing it again
changes nothing.

Records have random ids and do not change, so equal ids are equal records. Only conversations can
have grown apart, when a copy of a store was gone on with in two places. Then the shorter one takes
the longer one's turns, if nobody has rated the shorter; else the imported one becomes a branch,
whose id is made of both, so that a second import finds it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

from understudy.errors import DocumentError
from understudy.judge.redteam.records import (
    KINDS,
    Records,
    RedTeamConversation,
    RedTeamTurn,
    kind_of,
)
from understudy.judge.redteam.store import RedTeamStore


def merge(store: RedTeamStore, incoming: Records) -> dict[str, int]:
    """Takes in what the store does not have, all or nothing; returns how many records of each kind
    were new.

    Raises:
        DocumentError: a record refers to a conversation that is nowhere, or differs from the one of
        the same id here.
    """
    with store.writing():
        renamed = _rename_grown_apart(store, incoming)
        known = {one.id for one in store.read("conversation", "1")} | {
            one.id for one in renamed.conversations
        }
        added = dict.fromkeys(KINDS, 0)
        for kind in KINDS:
            for record in renamed.of(kind):
                wanted = getattr(record, "conversation", None)
                if wanted is not None and wanted not in known:
                    raise DocumentError(
                        f"{kind} of a conversation that is nowhere", where=store.path, found=wanted
                    )
                added[kind] += _take(store, record)
        return added


def _take(store: RedTeamStore, record: object) -> bool:
    """Keeps a record unless it is known; returns whether it was new."""
    kind = kind_of(record)  # type: ignore[arg-type]
    key = "revision" if kind == "goal" else "id"
    found = store.read(kind, f"{key} = ?", getattr(record, key))
    if not found:
        store.insert(record)  # type: ignore[type-var]
        return True
    if (
        isinstance(record, RedTeamTurn)
        and found[0] != record
        and found[0].state in ("speaking", "interrupted")
    ):
        if record.state != "speaking" and len(record.answer) >= len(found[0].answer):
            store.replace_turn(record)  # the other copy saw how it ended
        return False
    if found[0] != record and not (
        isinstance(record, RedTeamTurn) and record.state in ("speaking", "interrupted")
    ):
        raise DocumentError(
            f"two different records are the same {kind}",
            where=store.path,
            found=getattr(record, key),
        )
    return False


def _rename_grown_apart(store: RedTeamStore, incoming: Records) -> Records:
    """The records with conversations renamed where they became other ones."""
    names: dict[str, str] = {}
    for one in incoming.conversations:
        if (here := _name_here(store, incoming, one)) != one.id:
            names[one.id] = here
    conversations, turns = [], []
    for one in incoming.conversations:
        theirs, name = incoming.turns_of(one.id), names.get(one.id)
        parent = names.get(one.parent, one.parent) if one.parent else None
        if name is None:
            conversations.append(replace(one, parent=parent))
            turns += theirs
        elif name != one.parent:
            conversations.append(replace(one, id=name, parent=one.id, relation="branch"))
            turns += [
                replace(turn, id=_derived(turn.id, name), conversation=name) for turn in theirs
            ]
    known = {one.id for one in incoming.conversations}
    turns += [turn for turn in incoming.turns if turn.conversation not in known]
    return Records(
        incoming.goals,
        conversations,
        turns,
        [
            replace(one, conversation=names.get(one.conversation, one.conversation))
            for one in incoming.ratings
        ],
        [
            replace(
                one,
                conversation=names.get(one.conversation, one.conversation),
                rerun=names.get(one.rerun, one.rerun) if one.rerun else None,
            )
            for one in incoming.fixes
        ],
    )


def _name_here(store: RedTeamStore, incoming: Records, one: RedTeamConversation) -> str:
    """The id that a conversation has in this store."""
    if (
        one.parent
        and one.relation == "branch"
        and one.id == _derived(one.parent, *(turn.id for turn in store.turns(one.parent)))
    ):
        return one.parent  # ours, come back under the name that it was given elsewhere
    theirs = incoming.turns_of(one.id)
    return (
        one.id
        if _may_join(store, incoming, one.id, theirs)
        else _derived(one.id, *(turn.id for turn in theirs))
    )


def _may_join(
    store: RedTeamStore, incoming: Records, conversation: str, theirs: Sequence[RedTeamTurn]
) -> bool:
    """Whether one of the two goes on where the other ends, and nobody rated the shorter one."""
    if not store.read("conversation", "id = ?", conversation):
        return True
    ours = [turn.id for turn in store.turns(conversation)]
    ids = [turn.id for turn in theirs]
    if ours == ids:
        return True
    if ids == ours[: len(ids)]:
        return all(
            one.num_turns == len(ours)
            for one in incoming.ratings
            if one.conversation == conversation
        )
    is_longer = ours == ids[: len(ours)]
    return is_longer and all(
        one.num_turns == len(ids) for one in store.read("rating", "conversation = ?", conversation)
    )


def _derived(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]
