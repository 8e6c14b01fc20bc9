"""What routes share: the server's parts, reading bodies, and one request's work from the lease of
its model to its end.
"""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import Request
from starlette.responses import Response

from understudy.engine import AdapterAsked, Usage
from understudy.engine.handles import AsyncOutputs
from understudy.generation.moderation import Verdict
from understudy.generation.prepare import RequestLimits
from understudy.serve.adapters import chosen_adapter
from understudy.serve.errors import ApiError, from_validation
from understudy.serve.metrics import Metrics
from understudy.serve.pool import LoadedModel, Pool
from understudy.serve.settings import Settings
from understudy.serve.stores import Stores

B = TypeVar("B", bound=BaseModel)
Endpoint = Callable[[Request], Awaitable[Response]]
LONG_BODY = 64 << 10  # bytes from which a body is checked beside the event loop


@dataclass(eq=False)
class Server:
    """The parts of one server; `app.state.server`."""

    settings: Settings
    pool: Pool
    metrics: Metrics
    started: float = field(default_factory=time.time)
    is_stopping: bool = False
    stores: Stores = field(default_factory=Stores)
    long_bodies: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(2))


def server_of(request: Request) -> Server:
    server = request.app.state.server
    assert isinstance(server, Server)
    return server


async def read_body(request: Request, kind: type[B]) -> B:
    """The body, checked; a long one beside the event loop, so that nobody else waits for it.

    Raises:
        ApiError: no JSON, or not such a body; the first fault, named.
    """
    data = await request.body()
    if len(data) < LONG_BODY:
        return _checked(data, kind)
    async with server_of(request).long_bodies:
        return await asyncio.to_thread(_checked, data, kind)


def _checked(data: bytes, kind: type[B]) -> B:
    try:
        return kind.model_validate_json(data)
    except ValidationError as error:
        raise from_validation(error) from error


def json_response(
    document: Any, status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    """JSON as UTF-8; lone surrogates, which a model's bytes cannot give but a client's text could,
    become question marks.
    """
    data = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode(
        "utf-8", "replace"
    )
    return Response(data, status, headers, media_type="application/json")


class RequestContext:
    """One request's hold on a model and on the engine. `close` ends both; it may be called
    twice.
    """

    def __init__(
        self,
        request: Request,
        server: Server,
        served: LoadedModel,
        adapter: AdapterAsked | None = None,
    ) -> None:
        self.request, self.server, self.served = request, server, served
        self.adapter = adapter
        self.model = served.model
        self.client = str(request.state.client)
        self.limits = _limits_of(served, server.settings)
        self.started = time.monotonic()
        self.handles: list[AsyncOutputs] = []
        self.usages: list[Usage] = []
        self.num_reasoning = 0  # tokens of thoughts, counted from their text
        self.stops: dict[int, Verdict] = {}  # by answer
        self._is_closed = False
        request.state.record["model"] = self.name

    @property
    def name(self) -> str:
        """The model's, with an adapter that was asked for by name."""
        by_name = f":{self.adapter}" if isinstance(self.adapter, str) else ""
        return self.served.name + by_name

    def note(self, usage: Usage | None) -> None:
        if usage is not None:
            self.usages.append(usage)

    def note_reasoning(self, text: str) -> None:
        self.num_reasoning += len(self.model.tokenizer.encode(text)) if text else 0

    def count_calls(self, num_whole: int, num_cut: int) -> None:
        for end, number in (("whole", num_whole), ("cut", num_cut)):
            if number:
                self.server.metrics.count(
                    "understudy_tool_calls_total", number, model=self.served.name, end=end
                )

    def note_stop(self, verdict: Verdict, *indices: int) -> None:
        """The guard stopped answers, or the message before them."""
        self.stops |= dict.fromkeys(indices, verdict)
        self.request.state.record["guard"] = str(verdict)
        for category, by in dict.fromkeys((flag.category, flag.by) for flag in verdict.flags):
            side, metrics = verdict.where or "", self.server.metrics
            metrics.count(
                "understudy_guard_stops_total",
                model=self.served.name,
                side=side,
                category=category,
                by=by,
            )

    def guard_document(self) -> dict[str, Any]:
        """`guard` of a usage: how texts were checked, and which answers were stopped for what;
        nothing where nobody checks.
        """
        if self.served.guard is None:
            return {}
        stopped = [
            {"index": index, **verdict.to_document()}
            for index, verdict in sorted(self.stops.items())
        ]
        return {"guard": {"checks": list(self.served.guard.checks), "stopped": stopped}}

    @property
    def notice(self) -> str:
        """What is said instead of what was stopped."""
        assert self.served.guard is not None
        return self.served.guard.notice

    def usage(self) -> dict[str, int]:
        """Tokens of all answers; those of a prompt count once for all its answers."""
        context = self.model.engine.context
        asked = [outputs.handle.request for outputs in self.handles]
        return {
            "prompt": sum(min(len(r.prompt), context - (r.params.max_tokens or 1)) for r in asked),
            "cached": min((usage.cached_tokens for usage in self.usages), default=0),
            "completion": sum(usage.completion_tokens for usage in self.usages),
            "reasoning": self.num_reasoning,
        }

    def close(self, how: str = "done") -> None:
        if self._is_closed:
            return
        self._is_closed = True
        for outputs in self.handles:
            outputs.cancel()
        self.server.pool.give_back(self.served)
        usage = self.usage()
        self.request.state.record.update(
            prompt_tokens=usage["prompt"],
            cached_tokens=usage["cached"],
            completion_tokens=usage["completion"],
            end=how,
        )


def _limits_of(served: LoadedModel, settings: Settings) -> RequestLimits:
    limits = served.model.limits
    calls = limits.calls
    if calls is not None:
        switches = {"check_results": settings.check_results, **settings.calls}
        calls = calls.switched(switches)
    return dataclasses.replace(
        limits,
        calls=calls,
        max_tokens=settings.max_tokens,
        temperature=settings.temperature,
        caps_answers=True,
    )


ModelEndpoint = Callable[[RequestContext, B], Awaitable[Response]]


def with_model(
    kind: type[B], model_of: Callable[[Request, B], str | None] | None = None
) -> Callable[[ModelEndpoint[B]], Endpoint]:
    """Makes an endpoint of a function that answers a body with a leased model.

    The body is checked, the model leased; what goes wrong before there is an answer gives it back.
    Whoever answers gives it back else (`events.respond`).

    Args:
        kind: of the body.
        model_of: which model is asked for; default the body's `model`.
    """

    def decorate(answer: ModelEndpoint[B]) -> Endpoint:
        @functools.wraps(answer)
        async def endpoint(request: Request) -> Response:
            body = await read_body(request, kind)
            server = server_of(request)
            if server.is_stopping:
                raise ApiError(
                    503,
                    "the server is stopping",
                    code="server_stopping",
                    headers={"Retry-After": "5"},
                )
            name = getattr(body, "model", None) if model_of is None else model_of(request, body)
            base, by_name = server.pool.split(name)
            context = RequestContext(request, server, await server.pool.take(base))
            try:
                context.adapter = chosen_adapter(context.served, by_name, body)
                return await answer(context, body)
            except BaseException:
                context.close("error")
                raise

        return endpoint

    return decorate
