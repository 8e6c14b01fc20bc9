"""Adapters of a running model: loaded, replaced and dropped while it serves, chosen by request.

model.adapters.add("banter", "adapters/banter")          # a folder of PEFT, or llama.cpp's GGUF
model.generate(messages, adapter="banter")                # or "banter:0.5", {"a": 0.5, "b": 1.0}
model.adapters.drop("banter")                             # answers under way keep theirs
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from understudy import core
from understudy.adapters import Adapter, read_adapter
from understudy.engine.params import AdapterChoice
from understudy.errors import MissingError, UsageError
from understudy.spec import ModelSpec


@dataclass(frozen=True, slots=True)
class LoadedAdapter:
    """An adapter that requests may choose.

    Attributes:
        id: its number in the order of loading, as llama.cpp's server counts.
        factor: how strongly it acts on requests that choose nothing; 0: not at all.
        sha256: its identity, of its values (`adapters.Adapter.sha256`).
        packed: what the core computes with.
        path: where it came from.
        metadata: what its file says of it: `base`, `lineage`, …
    """

    id: int
    name: str
    factor: float
    sha256: str
    rank: int
    packed: core.PackedAdapter = field(repr=False)
    path: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class ActiveAdapters:
    """Adapters that act on one request together, each with a factor; none: the model alone."""

    parts: tuple[tuple[LoadedAdapter, float], ...] = ()

    @property
    def packed(self) -> list[tuple[core.PackedAdapter, float]] | None:
        """What `core.step` takes."""
        return [(part.packed, factor) for part, factor in self.parts] or None

    @property
    def identity(self) -> str:
        """Contents and factors, whatever the names; empty for none."""
        return "+".join(f"{part.sha256}*{factor:g}" for part, factor in self.parts)

    @property
    def root(self) -> bytes:
        """What digests of cached beginnings begin with: keys of one mixture are no other's."""
        identity = self.identity
        return hashlib.blake2b(identity.encode(), digest_size=16).digest() if identity else b""


NO_ADAPTERS = ActiveAdapters()


class AdapterTable:
    """The adapters of a model by name. Safe to use from any thread.

    Requests hold what they were begun with, so that dropping or replacing changes later ones only.

    Args:
        format: q8 beside integer weights, f32 beside float ones.
    """

    def __init__(
        self, spec: ModelSpec, model: core.CoreModel, format: core.LowRankFormat = "q8"
    ) -> None:
        self._spec, self._model, self._format = spec, model, format
        self._by_name: dict[str, LoadedAdapter] = {}  # replaced, never changed
        self._lock = threading.Lock()
        self._num_loaded = 0

    def add(
        self, name: str, adapter: Adapter | str | Path, *, factor: float = 0.0
    ) -> LoadedAdapter:
        """Loads an adapter, or puts it in the place of one of this name.

        Args:
            adapter: a folder of PEFT, a GGUF of llama.cpp, or an adapter that was read.
            factor: how strongly it acts on requests that choose nothing.

        Raises:
            UsageError: a name that cannot be chosen.
            CheckpointError: it cannot be read, or was made for another model.
        """
        _check_name(name)
        path = "" if isinstance(adapter, Adapter) else str(adapter)
        read = adapter if isinstance(adapter, Adapter) else read_adapter(adapter, self._spec, name)
        read.check(self._spec)
        matrices = {m: (*pair, read.scale_for(m)) for m, pair in read.tensors.items()}
        packed = core.PackedAdapter(self._model, matrices, self._format)
        with self._lock:
            known = self._by_name.get(name)
            id = known.id if known is not None else self._num_loaded
            self._num_loaded += known is None
            loaded = LoadedAdapter(
                id, name, float(factor), read.sha256, read.rank, packed, path, read.metadata
            )
            self._by_name = {**self._by_name, name: loaded}
        return loaded

    def drop(self, name: str) -> None:
        """Forgets an adapter. UsageError where there is none of this name."""
        with self._lock:
            _ = self._find(name)
            self._by_name = {n: a for n, a in self._by_name.items() if n != name}

    def list(self) -> tuple[LoadedAdapter, ...]:
        """All, in the order in which they were loaded."""
        return tuple(sorted(self._by_name.values(), key=lambda adapter: adapter.id))

    def set_factors(self, factors: Mapping[str, float]) -> None:
        """How strongly each acts on requests that choose nothing; those not named do not."""
        with self._lock:
            for name in factors:
                _ = self._find(name)
            self._by_name = {
                name: replace(adapter, factor=float(factors.get(name, 0.0)))
                for name, adapter in self._by_name.items()
            }

    @property
    def default(self) -> ActiveAdapters:
        """What acts on requests that choose nothing."""
        return ActiveAdapters(tuple((a, a.factor) for a in self.list() if a.factor))

    def choose(self, choice: AdapterChoice | None) -> ActiveAdapters:
        """What acts on a request that asks for these. UsageError where one is not loaded."""
        if choice is None:
            return self.default
        return ActiveAdapters(tuple((self._find(n), factor) for n, factor in choice if factor))

    def of_identity(self, identity: str) -> ActiveAdapters:
        """The loaded adapters of such an identity, under whatever names.

        Raises:
            MissingError: one of them is not loaded.
        """
        by_sha256 = {adapter.sha256: adapter for adapter in self.list()}
        parts = []
        for part in filter(None, identity.split("+")):
            sha256, _, factor = part.partition("*")
            if sha256 not in by_sha256:
                raise MissingError(
                    "needs an adapter that is not loaded", found=f"sha256 {sha256[:16]}…"
                )
            parts.append((by_sha256[sha256], float(factor)))
        return ActiveAdapters(tuple(parts))

    def _find(self, name: str) -> LoadedAdapter:
        if name not in self._by_name:
            raise UsageError(
                "no such adapter is loaded",
                where="adapter",
                expected=" | ".join(adapter.name for adapter in self.list()) or "none is loaded",
                found=name,
            )
        return self._by_name[name]


def _check_name(name: str) -> None:
    if not name or not name.isprintable() or any(c in name for c in ":,=+") or name != name.strip():
        raise UsageError(
            "not a name for an adapter", where="adapter", expected="no : , = +", found=name
        )


def describe(active: ActiveAdapters | Sequence[LoadedAdapter]) -> list[dict[str, Any]]:
    """For reports and cards: name, content and lineage of each, with the factor it acts with."""
    parts = active.parts if isinstance(active, ActiveAdapters) else [(a, a.factor) for a in active]
    return [
        {"name": part.name, "sha256": part.sha256, "scale": factor, "rank": part.rank}
        | dict(part.metadata)
        for part, factor in parts
    ]
