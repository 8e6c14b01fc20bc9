"""One live server for all tests of a folder: the embedded model behind uvicorn on a free port."""

from __future__ import annotations

import contextlib
import signal
from dataclasses import dataclass

import pytest

pytest.importorskip("uvicorn")

import understudy
from tests.support.http_server import free_port, serving
from understudy.serve.app import create_app
from understudy.serve.run import make_server
from understudy.serve.settings import Settings

MODEL = "smollm2-135m-instruct"


@dataclass
class Live:
    url: str
    port: int
    app: object
    model: understudy.Model
    running: object
    guard: object = None

    def begin_stop(self):
        """What SIGTERM does."""
        self.running.handle_exit(signal.SIGTERM, None)

    @property
    def server(self):
        return self.app.state.server


@contextlib.contextmanager
def live(model, *, app=None, **options):
    """A running server for the block; `app` are further arguments of `create_app`."""
    port = free_port()
    settings = Settings(**{"port": port, "log": False, "grace_s": 2.0, **options})
    app = create_app(model if isinstance(model, dict) else {MODEL: model}, settings, **(app or {}))
    server = make_server(app, settings)
    with serving(server, start_s=60, stop_s=30):
        yield Live(
            f"http://127.0.0.1:{port}",
            port,
            app,
            model if not isinstance(model, dict) else None,
            server,
        )


@pytest.fixture(scope="package")
def served(tmp_path_factory):
    folder = tmp_path_factory.mktemp("state")
    with (
        understudy.load(MODEL, context=1024, cache_tokens=4096) as model,
        live(model, state_folder=folder) as running,
    ):
        yield running
