"""The application under uvicorn: told to stop, it refuses what comes, lets answers under way end within the grace, and fails the rest."""

from __future__ import annotations

import threading
from types import FrameType

import uvicorn
from starlette.applications import Starlette

from understudy.serve.server import Server
from understudy.serve.settings import Settings


class GracefulServer(uvicorn.Server):
    """uvicorn's server; the first signal begins the grace, a second one ends it."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        server: Server = self.config.app.state.server  # type: ignore[union-attr]
        if not server.is_stopping:
            server.is_stopping = True
            timer = threading.Timer(server.settings.grace_s, self._fail_all, (server,))
            timer.daemon = True
            timer.start()
        super().handle_exit(sig, frame)

    @staticmethod
    def _fail_all(server: Server) -> None:
        for served in server.pool.loaded:
            served.worker.fail_all("the server is stopping")


def make_server(app: Starlette, settings: Settings) -> GracefulServer:
    """A server that is not running yet; `run()` runs it, `should_exit = True` stops it."""
    config = uvicorn.Config(
        app, host=settings.host, port=settings.port, log_level="warning", access_log=False, server_header=False, lifespan="on",
        timeout_graceful_shutdown=int(settings.grace_s) + 5, timeout_keep_alive=30, ws="none", h11_max_incomplete_event_size=64 << 10,
    )  # fmt: skip
    return GracefulServer(config)


def serve(app: Starlette, settings: Settings) -> int:
    """Runs until it is told to stop. Returns the exit code."""
    server = make_server(app, settings)
    server.run()
    return 0 if server.started else 1
