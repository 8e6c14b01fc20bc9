"""The application under uvicorn, on this machine's own address and no other."""

from __future__ import annotations

import uvicorn
from starlette.applications import Starlette


def make_server(app: Starlette, port: int) -> uvicorn.Server:
    """A server that is not running yet; `run()` runs it, `should_exit = True` stops it."""
    config = uvicorn.Config(
        app,
        host="127.0.0.1",
        port=port,
        log_level="warning",
        access_log=False,
        server_header=False,
        lifespan="on",
        timeout_graceful_shutdown=10,
        ws="none",
    )
    return uvicorn.Server(config)


def serve(app: Starlette, port: int) -> int:
    """Runs until it is told to stop. Returns the exit code."""
    server = make_server(app, port)
    server.run()
    return 0 if server.started else 1
