"""Clients that behave badly on the wire: one that does not read, one that closes its half, one that
sends half a body.
"""

from __future__ import annotations

import json
import socket
import threading
import time

import httpx
import pytest

import understudy

from .conftest import live


@pytest.fixture(scope="module")
def stories():
    with (
        understudy.load("tests/data/stories-nemotron", num_threads=1, cache_tokens=4096) as model,
        live(model, write_timeout_s=1.0, ping_s=0.5) as running,
    ):
        yield running


def connect(running) -> socket.socket:
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    made.settimeout(20)
    made.connect(("127.0.0.1", running.port))
    return made


def post(body: dict, path: str = "/v1/completions") -> bytes:
    data = json.dumps(body).encode()
    return (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(data)}\r\n\r\n".encode()
        + data
    )


def held(running) -> tuple[int, int]:
    """Requests in the engine, and answers that still hold the model."""
    (served,) = running.server.pool.loaded
    return served.driver.num_open, served.num_users


def wait_until_idle(running, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while held(running) != (0, 0) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert held(running) == (0, 0)


LONG = {
    "prompt": "Once",
    "max_tokens": 240,
    "n": 8,
    "logprobs": 5,
    "stream": True,
    "temperature": 1,
    "seed": 1,
    "ignore_eos": True,
}


def test_one_that_does_not_read_is_left(stories):
    quiet = httpx.post(
        f"{stories.url}/v1/completions", json={"prompt": "Once", "max_tokens": 20, "temperature": 0}
    ).json()
    with connect(stories) as lazy:
        for _ in range(8):  # pipelined, so that the buffers of both ends are full at some time
            lazy.sendall(post(LONG))
        time.sleep(0.5)
        other = httpx.post(
            f"{stories.url}/v1/completions",
            json={"prompt": "Once", "max_tokens": 20, "temperature": 0},
            timeout=60,
        )
        assert other.json()["choices"] == quiet["choices"]
        wait_until_idle(stories, 60)


def test_one_that_closes_its_half_ends_its_request_or_gets_its_answer(stories):
    with connect(stories) as half:
        half.sendall(post({**LONG, "n": 1, "logprobs": None}))
        half.shutdown(socket.SHUT_WR)
        answer = bytearray()
        while piece := half.recv(1 << 16):
            answer += piece
        assert not answer or answer.startswith(b"HTTP/1.1 200")
    wait_until_idle(stories, 20)


def test_half_a_body_holds_nothing(stories):
    with connect(stories) as half:
        half.sendall(post(LONG)[:-10])
        time.sleep(0.2)
        assert held(stories) == (0, 0)
    assert httpx.get(f"{stories.url}/health").status_code == 200


def test_one_that_leaves_while_it_sends_its_body_is_no_fault_of_ours(stories, caplog):
    def ends(status: str) -> int:
        lines = httpx.get(f"{stories.url}/metrics").text.splitlines()
        wanted = [line for line in lines if f'status="{status}"' in line and "_total{" in line]
        return sum(int(float(line.split()[-1])) for line in wanted)

    gone, broken = ends("499"), ends("500")
    for path in ("/v1/completions", "/v1/characters", "/tokenize"):
        with connect(stories) as half:
            half.sendall(post(LONG, path)[:-10])
            time.sleep(0.1)
    deadline = time.monotonic() + 10
    while ends("499") < gone + 3 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert (ends("499"), ends("500")) == (gone + 3, broken)
    assert not caplog.records


@pytest.mark.parametrize(
    "head", [b"X: " + b"a" * (8 << 20), b"".join(b"X%d: y\r\n" % i for i in range(500_000))]
)
def test_headers_have_a_limit(stories, head):
    with connect(stories) as greedy:
        try:
            greedy.sendall(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n" + head + b"\r\n\r\n")
            answer = greedy.recv(1 << 16)
        except ConnectionError:
            answer = b""
        assert not answer.startswith(b"HTTP/1.1 200")
    assert httpx.get(f"{stories.url}/health").status_code == 200


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr("understudy.serve.shell.RECEIVE_TIMEOUT_S", 0.5)
    monkeypatch.setattr("understudy.serve.connections.RECEIVE_TIMEOUT_S", 0.5)


@pytest.mark.parametrize("sent", [b"", b"GET /health HTTP/1.1\r\nHost: 127", b"\r\n"])
def test_a_connection_whose_headers_do_not_come_is_closed(stories, impatient, sent):
    with connect(stories) as silent:
        silent.sendall(sent)
        started = time.monotonic()
        assert silent.recv(1 << 16) in (b"", b"HTTP/1.1 400 Bad Request\r\n") or sent == b"\r\n"
        assert time.monotonic() - started < 10


def test_a_second_request_whose_headers_do_not_come_is_closed_too(stories, impatient):
    with connect(stories) as half:
        half.sendall(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        answer = bytearray(half.recv(1 << 16))
        half.sendall(b"GET /hea")
        while piece := half.recv(1 << 16):
            answer += piece
        assert answer.startswith(b"HTTP/1.1 200")


def test_a_body_that_does_not_come_is_answered_and_the_connection_closed(stories, impatient):
    with connect(stories) as half:
        half.sendall(post(LONG)[:-10])
        answer = bytearray()
        while piece := half.recv(1 << 16):
            answer += piece
        assert answer.startswith(b"HTTP/1.1 408")
        assert b"body_timeout" in answer
    assert held(stories) == (0, 0)


def test_an_answer_may_take_longer_than_a_pause_of_a_client(stories, impatient):
    body = {"prompt": "Once", "max_tokens": 240, "ignore_eos": True, "n": 8}
    answer = httpx.post(f"{stories.url}/v1/completions", json=body, timeout=60)
    assert answer.status_code == 200


WIDE = {"type": "object", "properties": {f"p{i}": {"type": "string"} for i in range(20_000)}}
TALK = {"role": "user", "content": "hi"}
HUGE = {
    "a long text": {"messages": [{"role": "user", "content": "ab " * 1_000_000}]},
    "many messages": {"messages": [TALK] * 90_000},
    "many wrong messages": {"messages": [{"role": "user", "content": 7}] * 90_000},
    "a wide tool": {
        "messages": [TALK],
        "tools": [{"type": "function", "function": {"name": "f", "parameters": WIDE}}],
    },
    "a wide form": {
        "messages": [TALK],
        "response_format": {"type": "json_schema", "json_schema": {"name": "f", "schema": WIDE}},
    },
}


@pytest.mark.parametrize("name", HUGE)
def test_what_cannot_be_served_is_refused_while_others_are(stories, name):
    data, answers = json.dumps({**HUGE[name], "max_tokens": 4}).encode(), []

    def ask() -> None:
        answers.append(httpx.post(f"{stories.url}/v1/chat/completions", content=data, timeout=60))

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    slowest = 0.0
    while any(thread.is_alive() for thread in threads):
        started = time.monotonic()
        assert httpx.get(f"{stories.url}/health", timeout=20).status_code == 200
        slowest = max(slowest, time.monotonic() - started)
    assert [answer.status_code for answer in answers] == [400] * 3
    assert len({answer.json()["error"]["message"] for answer in answers}) == 1
    assert slowest < 3  # far below the seconds that any of these would take
