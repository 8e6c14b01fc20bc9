"""The workbench over a store and a model that says what a test wants, through ASGI or behind
uvicorn on a free port.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass

import pytest

pytest.importorskip("uvicorn")
pytest.importorskip("httpx")

from tests.support.http_server import free_port, serving
from tests.support.random_model import babbler
from tests.unit.judge.redteam.test_conversation import Slow
from understudy.judge.redteam.conversation import Live
from understudy.judge.redteam.store import RedTeamStore
from understudy.judge.redteam.web.app import create_app
from understudy.judge.redteam.web.run import make_server


@pytest.fixture(scope="package")
def loaded(tmp_path_factory):
    with babbler(tmp_path_factory.mktemp("model")) as model:
        yield model


class Paced(Slow):
    """Says a word every `pause` seconds."""

    pause = 0.0

    def stream_outputs(self, prompt, **options):
        for output in super().stream_outputs(prompt, **options):
            time.sleep(self.pause)
            yield output


@dataclass
class Bench:
    url: str
    live: Live
    store: RedTeamStore
    model: Paced


@contextlib.contextmanager
def running(app):
    """Behind uvicorn; gives the address."""
    port = free_port()
    with serving(make_server(app, port), start_s=30, stop_s=20):
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def bench(loaded, tmp_path):
    model = Paced(loaded, lambda prompt: f"I say {prompt.text.count('I say') + 1}")
    with RedTeamStore(tmp_path / "team.sqlite") as store:
        live = Live(store, model, "fake")
        with running(create_app(live, rater="rater-a")) as url:
            yield Bench(url, live, store, model)
