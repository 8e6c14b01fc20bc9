"""Understudy behind Ray Serve: many replicas of one engine, on one machine or many, behind one address.

    pip install 'understudy[serve]' 'ray[serve]'
    UNDERSTUDY_MODEL=model.gguf UNDERSTUDY_REPLICAS=4 serve run --app-dir packaging ray_serve:application

Each replica is the application of `understudy serve`, whole: OpenAI's and Anthropic's routes, characters, collections. An answer
that is not streamed is asked again of another replica when its own dies, so that no accepted request is lost; a seed gives the
same text there. A stream that has begun cannot be asked again: it ends with an error event, and the client knows.

What belongs to one replica: characters, sessions, collections and responses by id. Use one replica for these, or a proxy in
front that keeps a client at its replica.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from typing import Any

import httpx
import uvicorn
from ray import serve
from ray.exceptions import RayError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

TRIES = 4
HOP_BY_HOP = {"connection", "content-length", "host", "transfer-encoding", "accept-encoding"}
Answer = tuple[int, dict[str, str], bytes]


@serve.deployment(max_ongoing_requests=64, health_check_period_s=2, health_check_timeout_s=10)
class Replica:
    """One engine with its server on a loopback port of its own; requests reach it as bytes."""

    def __init__(self, model: str, options: dict[str, Any]) -> None:
        import understudy
        from understudy.serve.app import create_app
        from understudy.serve.settings import Settings

        settings = Settings(port=0, log=False)
        app = create_app({os.path.basename(model): understudy.load(model, **options)}, settings)  # noqa: PTH119
        self.server = uvicorn.Server(
            uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning", access_log=False)
        )
        self.server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
        self.task: asyncio.Task[None] | None = None
        self.lock = asyncio.Lock()

    async def client(self) -> httpx.AsyncClient:
        async with self.lock:
            if self.task is None:
                self.task = asyncio.create_task(self.server.serve())
                while not self.server.started:
                    await asyncio.sleep(0.01)
                port = self.server.servers[0].sockets[0].getsockname()[1]
                self.http = httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=None)
        return self.http

    async def whole(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
        answer = await (await self.client()).request(method, path, headers=headers, content=body)
        return answer.status_code, dict(answer.headers), answer.content

    async def stream(
        self, method: str, path: str, headers: dict[str, str], body: bytes
    ) -> AsyncIterator[bytes]:
        async with (await self.client()).stream(
            method, path, headers=headers, content=body
        ) as answer:
            async for data in answer.aiter_raw():
                yield data

    async def pid(self) -> int:
        return os.getpid()

    def check_health(self) -> None:
        if self.task is not None and self.task.done():
            raise RuntimeError("the engine's server has ended")


@serve.deployment
class Door:
    """Hands each request to a replica, and again to another when that one dies."""

    def __init__(self, replica: Any) -> None:
        self.replica = replica

    async def __call__(self, request: Request) -> Response:
        headers = {name: value for name, value in request.headers.items() if name not in HOP_BY_HOP}
        path = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        asked = (request.method, path, headers, await request.body())
        if b'"stream":true' in asked[3].replace(b" ", b""):
            parts = self.replica.options(stream=True).stream.remote(*asked)
            return StreamingResponse(_until_lost(parts), media_type="text/event-stream")
        for left in reversed(range(TRIES)):
            try:
                status, answered, data = await self.replica.whole.remote(*asked)
            except (RayError, httpx.TransportError) as error:
                if not left:
                    return _lost(error)
                await asyncio.sleep(0.2)
            else:
                kept = {name: value for name, value in answered.items() if name not in HOP_BY_HOP}
                return Response(data, status, kept)
        raise AssertionError("unreachable")


async def _until_lost(parts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    try:
        async for data in parts:
            yield data
    except (RayError, httpx.TransportError):
        yield b'event: error\ndata: {"error":{"message":"the replica was lost; ask again","type":"server_error","code":"replica_lost"}}\n\n'


def _lost(error: Exception) -> Response:
    message = f"no replica answered in {TRIES} tries ({type(error).__name__})"
    return JSONResponse(
        {"error": {"message": message, "type": "server_error", "code": "replica_lost"}},
        503,
        {"Retry-After": "2"},
    )


def build(model: str, replicas: int = 2, cpus: float = 1, **options: Any) -> Any:
    """The application for `serve.run`; `options` are those of `understudy.load`."""
    engine = Replica.options(num_replicas=replicas, ray_actor_options={"num_cpus": cpus})  # type: ignore[attr-defined]
    return Door.bind(engine.bind(model, options))  # type: ignore[attr-defined]


if model := os.environ.get("UNDERSTUDY_MODEL"):
    application = build(
        model,
        int(os.environ.get("UNDERSTUDY_REPLICAS", "2")),
        float(os.environ.get("UNDERSTUDY_CPUS", "1")),
    )
