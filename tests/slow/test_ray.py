"""Two replicas behind Ray Serve, one killed with signal 9 under load: every accepted request is
answered, with its own text.
"""

from __future__ import annotations

import concurrent.futures
import os
import signal
import sys
import time
from pathlib import Path

import httpx
import pytest

from tests.support.http_server import free_port

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
MODEL = "tests/data/stories-nemotron"


@pytest.fixture(scope="module")
def address():
    ray = pytest.importorskip("ray", reason="pip install 'ray[serve]'")
    serve = pytest.importorskip("ray.serve")
    port = free_port()
    paths = os.pathsep.join([str(ROOT / "packaging"), str(ROOT / "src")])
    ray.init(
        num_cpus=4,
        include_dashboard=False,
        log_to_driver=False,
        runtime_env={"env_vars": {"PYTHONPATH": paths}},
    )
    sys.path.insert(0, str(ROOT / "packaging"))
    from ray_serve import build

    try:
        serve.start(http_options={"host": "127.0.0.1", "port": port})
        serve.run(
            build(str(ROOT / MODEL), replicas=2, cpus=0.5, context=256, num_threads=1),
            name="understudy",
        )
        yield f"http://127.0.0.1:{port}"
    finally:
        serve.shutdown()
        ray.shutdown()


def ask(address: str, number: int) -> tuple[int, str]:
    body = {
        "prompt": "Once upon a time",
        "max_tokens": 60,
        "seed": number % 4,
        "temperature": 0.8,
        "ignore_eos": True,
    }
    answer = httpx.post(f"{address}/v1/completions", json=body, timeout=120)
    return answer.status_code, answer.json()["choices"][0][
        "text"
    ] if answer.status_code == 200 else answer.text


def test_a_killed_replica_loses_no_request(address):
    from ray import serve

    quiet = [ask(address, number) for number in range(4)]
    assert [status for status, _ in quiet] == [200] * 4
    assert len({text for _, text in quiet}) > 1
    handle = serve.get_deployment_handle("Replica", "understudy")
    victims = {handle.pid.remote().result() for _ in range(16)}
    assert len(victims) == 2
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(ask, address, number) for number in range(96)]
        while not any(future.done() for future in waiting):
            time.sleep(0.02)
        os.kill(victims.pop(), signal.SIGKILL)
        answers = [future.result() for future in waiting]
    assert [status for status, _ in answers] == [200] * 96
    assert [text for _, text in answers] == [quiet[number % 4][1] for number in range(96)]
