"""Records mixed out of files by share, and split so that no conversation is on both sides.

chosen = mixed({Path("calls.jsonl"): 0.7, Path("chat.jsonl"): 0.3}, 5000, seed=1)
    train, held_out = split(chosen, 0.05)
"""

from __future__ import annotations

import hashlib
import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from understudy.data.check import fingerprint
from understudy.data.records import Record, read_data
from understudy.errors import UsageError

_TAIL = re.compile(r"[-_.:]\d+[a-z]?$")


def mixed(shares: Mapping[Path, float], count: int | None, seed: int) -> list[Record]:
    """At most `count` records, each file by its share; duplicates once; in a drawn order.

    Raises:
        UsageError: a share below 0, or all of them 0.
    """
    if not shares or min(shares.values()) < 0 or not sum(shares.values()):
        raise UsageError("shares are numbers above 0", found=", ".join(map(str, shares.values())))
    chance, whole = random.Random(seed), sum(shares.values())
    chosen: list[Record] = []
    known: set[str] = set()
    pools = {path: _unique(path, known) for path in shares}
    for path, share in shares.items():
        pool = pools[path]
        chance.shuffle(pool)
        most = _most(pools, shares, whole) if count is None else count
        chosen += pool[: round(most * share / whole)]
    chance.shuffle(chosen)
    return chosen


def _most(
    pools: Mapping[Path, Sequence[Record]], shares: Mapping[Path, float], whole: float
) -> int:
    """How many records there can be in all before the first file is used up."""
    sizes = [len(pools[path]) * whole / share for path, share in shares.items() if share]
    return int(min(sizes))


def _unique(path: Path, known: set[str]) -> list[Record]:
    records = []
    for record in read_data([path]):
        mark = fingerprint(record)
        if mark not in known:
            known.add(mark)
            records.append(record)
    return records


def conversation_id(record: Record) -> str:
    """What records of one conversation share: the id without the number of its turn, and the first
    words of the user.
    """
    first = next((str(m.get("content")) for m in record.messages if m.get("role") == "user"), "")
    opening = " ".join(first.lower().split()[:12])
    return opening or _TAIL.sub("", record.id)


def split(records: Sequence[Record], share: float) -> tuple[list[Record], list[Record]]:
    """(to train on, kept apart): whole conversations, chosen by a hash: more data move none.

    Raises:
        UsageError: a share that is none.
    """
    if not 0 <= share < 1:
        raise UsageError("the share that is kept apart lies between 0 and 1", found=share)
    sides: tuple[list[Record], list[Record]] = ([], [])
    for record in records:
        digest = hashlib.sha256(conversation_id(record).encode()).digest()
        sides[int.from_bytes(digest[:4], "big") / 2**32 < share].append(record)
    return sides


def counts(records: Sequence[Record]) -> Counter[str]:
    return Counter(record.kind for record in records)
