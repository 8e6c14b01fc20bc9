"""The application under uvicorn: told to stop, it refuses what comes, lets answers under way end
within the grace, and fails the rest.
"""

from __future__ import annotations

import contextlib
import errno
import signal
import socket
import threading
import time
from collections.abc import Iterator
from types import FrameType

import uvicorn
from starlette.applications import Starlette

from understudy.errors import UnderstudyError, UsageError
from understudy.serve.connections import BoundedProtocol
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
            served.driver.fail_clients("the server is stopping")


def make_server(app: Starlette, settings: Settings) -> GracefulServer:
    """A server that is not running yet; `run()` runs it, `should_exit = True` stops it."""
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_level="warning",
        access_log=False,
        server_header=False,
        lifespan="on",
        timeout_graceful_shutdown=int(settings.grace_s) + 5,
        timeout_keep_alive=30,
        ws="none",
        http=BoundedProtocol,  # on h11: httptools has no limit for headers
        h11_max_incomplete_event_size=64 << 10,
    )
    return GracefulServer(config)


@contextlib.contextmanager
def running(app: Starlette, settings: Settings) -> Iterator[int]:
    """The server in a thread of its own for the block; gives its port, which with port 0 is a free
    one.

    Raises:
        UnderstudyError: it does not start.
    """
    server = make_server(app, settings)
    thread = threading.Thread(target=server.run, name="server", daemon=True)
    thread.start()
    while not server.started and thread.is_alive():
        time.sleep(0.02)
    if not server.started:
        raise UnderstudyError("the server does not start", where=f"{settings.host}:{settings.port}")
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()


def listen(settings: Settings) -> socket.socket:
    """The socket that the server will answer at, opened before a model is loaded.

    Raises:
        UsageError: the address is not one of this machine.
        UnderstudyError: the port is in use, or not allowed.
    """
    where = f"{settings.host}:{settings.port}"
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise UsageError("no such address", where=where, found=error.strerror) from error
    try:
        if hasattr(signal, "SIGKILL"):  # elsewhere the option lets two programs share a port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(2048)
    except OSError as error:
        listener.close()
        raise _cannot_listen(error, where) from error
    return listener


def _cannot_listen(error: OSError, where: str) -> UnderstudyError:
    if error.errno == errno.EADDRINUSE:
        return UnderstudyError(
            "the port is in use", where=where, do="stop who listens there, or choose another --port"
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return UsageError(
            "not an address of this machine", where=where, do="0.0.0.0 stands for all that it has"
        )
    return UnderstudyError(f"cannot listen: {error.strerror}", where=where)


def serve(app: Starlette, settings: Settings, listener: socket.socket | None = None) -> int:
    """Runs until it is told to stop, by Ctrl+C or SIGTERM. Returns the exit code."""
    server = make_server(app, settings)
    before = signal.signal(signal.SIGTERM, lambda *_: None)  # uvicorn raises it again at the end
    try:
        server.run(sockets=None if listener is None else [listener])
    except KeyboardInterrupt:  # so it does with Ctrl+C
        pass
    except SystemExit:
        return 1
    finally:
        signal.signal(signal.SIGTERM, before)
    return 0 if server.started else 1
