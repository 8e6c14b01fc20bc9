"""A uvicorn server in a thread, for as long as a block runs."""

from __future__ import annotations

import contextlib
import socket
import threading
import time


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def serving(server, *, start_s, stop_s):
    """The block begins once the server has started, and the server has ended when it ends; seconds
    that each may take.
    """
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + start_s
    while not server.started and thread.is_alive() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert server.started
    try:
        yield
    finally:
        server.should_exit = True
        thread.join(stop_s)
        assert not thread.is_alive()
