"""Models by name: loaded when they are asked for, the longest unused one let go where another needs
its place.

async with pool.lease("smollm2-135m-instruct") as served: served.driver.submit(...)
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field

from understudy.engine import Driver
from understudy.engine.dispatch import Admission, OnOutput
from understudy.errors import UnderstudyError
from understudy.generation.moderation import TextGuard, Verdict
from understudy.model import Model
from understudy.serve.errors import ApiError
from understudy.serve.settings import Settings

Loader = Callable[[], Model]


@dataclass(eq=False)
class LoadedModel:
    """A model in memory, for a server. `num_users` leases are open; `leave` takes back what the
    server has said to its driver.
    """

    name: str
    model: Model
    loaded: float = field(default_factory=time.time)
    last_used: float = field(default_factory=time.time)
    num_users: int = 0
    guard: TextGuard | None = None
    on_output: OnOutput | None = None
    leave: Callable[[], None] = lambda: None
    verdicts: dict[bytes, Verdict] = field(default_factory=dict)  # of messages, by their digest

    @property
    def driver(self) -> Driver:
        return self.model.driver

    @property
    def num_slots(self) -> int:
        """Requests that are computed together."""
        admitted: int = self.driver.dispatcher.admission.max_running
        return min(admitted, self.model.engine.scheduler.max_sequences)

    @property
    def is_damaged(self) -> bool:
        """Whether the file of its weights was cut: nothing that it computes is given out."""
        return self.model.core_model.is_cut


class Pool:
    """The first name is the default. Values are loaded models, or functions that load one."""

    def __init__(self, models: Mapping[str, Model | Loader], settings: Settings) -> None:
        self.settings = settings
        self.created = int(time.time())
        self._loaders: dict[str, Loader] = {}
        self._loaded: OrderedDict[str, LoadedModel] = OrderedDict()
        self._lock = asyncio.Lock()
        self._pinned = {
            name for name, model in models.items() if isinstance(model, Model)
        }  # handed in loaded: not ours to close
        self.num_loads = 0
        self.num_unloads = 0
        self.on_load: Callable[[LoadedModel], None] | None = None
        for name, model in models.items():
            if isinstance(model, Model):
                self._loaders[name] = _returns(model)
            else:
                self._loaders[name] = model

    @property
    def names(self) -> list[str]:
        return list(self._loaders)

    @property
    def loaded(self) -> list[LoadedModel]:
        return list(self._loaded.values())

    def resolve(self, name: str | None) -> str:
        if not self._loaders:
            raise ApiError(404, "this server has no model", param="model", code="model_not_found")
        if not name:
            return self.names[0]
        if name not in self._loaders:
            raise ApiError(
                404,
                f"there is no model {name!r}; there are: {', '.join(self.names[:20])}",
                param="model",
                code="model_not_found",
            )
        return name

    def split(self, name: str | None) -> tuple[str | None, str | None]:
        """`base:adapter` as the model's name and the adapter's; None where none is named."""
        base, mark, adapter = (name or "").rpartition(":")
        if not mark or name in self._loaders or base not in self._loaders:
            return name, None
        return base, adapter

    @contextlib.asynccontextmanager
    async def lease(self, name: str | None) -> AsyncIterator[LoadedModel]:
        """A model that stays loaded until the block ends.

        Raises:
            ApiError: no such model, or it cannot be loaded beside those that are in use.
        """
        served = await self.take(name)
        try:
            yield served
        finally:
            self.give_back(served)

    async def take(self, name: str | None) -> LoadedModel:
        name = self.resolve(name)
        async with self._lock:
            served = self._loaded.get(name)
            if served is not None and served.is_damaged and self._is_idle(served):
                await self._unload(served)
                served = None
            served = served or await self._load(name)
            self._loaded.move_to_end(name)
            served.num_users += 1
            served.last_used = time.time()
        return served

    def give_back(self, served: LoadedModel) -> None:
        served.num_users -= 1
        served.last_used = time.time()

    async def _load(self, name: str) -> LoadedModel:
        while len(self._loaded) >= self.settings.max_loaded:
            idle = next((s for s in self._loaded.values() if self._is_idle(s)), None)
            if idle is None:
                raise ApiError(
                    503,
                    "all places for models are in use",
                    code="models_busy",
                    headers={"Retry-After": "5"},
                )
            await self._unload(idle)
        try:
            model = await asyncio.to_thread(self._loaders[name])
        except UnderstudyError as error:
            raise ApiError(
                503, f"the model cannot be loaded ({error})", param="model", code="model_not_loaded"
            ) from error
        served = LoadedModel(name, model)
        if self.on_load is not None:
            self.on_load(served)
        settings = self.settings
        served.leave = served.driver.configure(
            Admission(settings.max_running, settings.max_waiting, settings.request_timeout_s),
            served.on_output,
        )
        self._loaded[name] = served
        self.num_loads += 1
        return served

    def _is_idle(self, served: LoadedModel) -> bool:
        return (
            not served.num_users and not served.driver.num_open and served.name not in self._pinned
        )

    async def _unload(self, served: LoadedModel) -> None:
        del self._loaded[served.name]
        self.num_unloads += 1
        await asyncio.to_thread(served.model.close)

    async def stop(self) -> None:
        """Fails what is open; models that were handed in loaded stay usable."""
        for served in self.loaded:
            if served.name in self._pinned:
                served.driver.fail_clients("the server is stopping")
                served.leave()
            else:
                await asyncio.to_thread(served.model.close)
        self._loaded.clear()


def _returns(model: Model) -> Loader:
    return lambda: model
