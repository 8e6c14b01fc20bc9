"""What a server remembers between requests, each kind under a name and a type of its own."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from understudy.engine.handles import CancelScope
from understudy.roleplay.card import Card
from understudy.roleplay.npc import Npc
from understudy.serve.collections import Collections
from understudy.serve.pool import LoadedModel
from understudy.text.embed import Embedder

K = TypeVar("K")
V = TypeVar("V")
MAX_REMEMBERED = 1000


class BoundedStore(OrderedDict[K, V], Generic[K, V]):
    """A dict of at most so many entries; the one that was put or touched first goes first."""

    def __init__(self, most: int = MAX_REMEMBERED) -> None:
        super().__init__()
        self._most = most

    def put(self, key: K, value: V) -> None:
        self[key] = value
        self.move_to_end(key)
        while len(self) > self._most:
            self.popitem(last=False)

    def touch(self, key: K) -> V | None:
        """The value, which then is the newest."""
        if key in self:
            self.move_to_end(key)
        return self.get(key)


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """A response of `/v1/responses`, and the items of its conversation up to and with it."""

    document: dict[str, Any]
    items: list[Any]


@dataclass(eq=False)
class Playing:
    """A session with a character. `opened` is the request that opened it; `scope` is that of the
    turn under way.
    """

    id: str
    character: str
    model: str
    npc: Npc
    served: LoadedModel
    opened: dict[str, Any]
    created: int = field(default_factory=lambda: int(time.time()))
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    scope: CancelScope | None = None


@dataclass(eq=False)
class Stores:
    """By client where a client owns what is stored: (client, id)."""

    responses: BoundedStore[tuple[str, str], StoredResponse] = field(default_factory=BoundedStore)
    characters: BoundedStore[str, Card] = field(default_factory=BoundedStore)
    sessions: BoundedStore[tuple[str, str], Playing] = field(default_factory=BoundedStore)
    collections: Collections | None = None
    embedder: Embedder | None = None
