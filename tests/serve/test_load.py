"""Many clients at once: texts as on a quiet server, nothing left behind by those who leave, and
refusals when there is no room.
"""

from __future__ import annotations

import asyncio
import random
import threading
import time

import httpx
import pytest

import understudy
from tests.serve.conftest import MODEL, live

PROMPTS = [
    "Name three colours.",
    "What is a bridge?",
    "Tell me about the sea.",
    "Who was Newton?",
    "Why is snow white?",
]


def body(i: int, **more) -> dict:
    return {
        "messages": [{"role": "user", "content": PROMPTS[i % len(PROMPTS)]}],
        "max_tokens": 16,
        "temperature": 0.9,
        "seed": i,
        **more,
    }


def text_of(document: dict) -> str:
    return document["choices"][0]["message"]["content"]


def held(served) -> tuple[int, int]:
    (loaded,) = served.server.pool.loaded
    pool = loaded.model.engine.pool
    return pool.num_pages - pool.num_free, loaded.driver.num_open


def wait_until_quiet(served) -> None:
    deadline = time.monotonic() + 20
    while held(served) != (0, 0) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert held(served) == (0, 0)


def leaving_and_staying(served, num_leaving: int, num_staying: int, seconds: float) -> list[str]:
    """The texts of those who stay, while others come and go within some seconds."""
    url = served.url + "/v1/chat/completions"

    async def run() -> list[str]:
        async with httpx.AsyncClient(
            timeout=600, limits=httpx.Limits(max_connections=None)
        ) as client:

            async def leave(i: int) -> None:
                """Begins to read and goes, at a random moment."""
                chance = random.Random(i)
                await asyncio.sleep(chance.random() * max(0.0, seconds - 2))
                try:
                    async with asyncio.timeout(chance.random() * 2):
                        if i % 2:
                            await client.post(url, json=body(i, max_tokens=200))
                        else:
                            async with client.stream(
                                "POST", url, json=body(i, max_tokens=200, stream=True)
                            ) as answer:
                                async for _ in answer.aiter_bytes():
                                    if chance.random() < 0.2:
                                        return
                except TimeoutError:
                    pass

            async def stay(i: int) -> str:
                await asyncio.sleep(random.Random(i).random() * seconds / 2)
                return text_of((await client.post(url, json=body(i))).json())

            async with asyncio.TaskGroup() as group:
                kept = [group.create_task(stay(i)) for i in range(num_staying)]
                for i in range(num_leaving):
                    group.create_task(leave(100 + i))
        return [task.result() for task in kept]

    return asyncio.run(run())


def quiet(served, number: int) -> list[str]:
    with httpx.Client(timeout=120) as client:
        return [
            text_of(client.post(served.url + "/v1/chat/completions", json=body(i)).json())
            for i in range(number)
        ]


def test_seeded_texts_do_not_depend_on_others(served):
    expected = quiet(served, 8)
    assert leaving_and_staying(served, 24, 8, 2.0) == expected
    wait_until_quiet(served)


@pytest.mark.slow
def test_two_hundred_clients_for_a_minute(served):
    expected = quiet(served, 20)
    assert leaving_and_staying(served, 180, 20, 60.0) == expected
    wait_until_quiet(served)
    assert httpx.get(served.url + "/ready").status_code == 200


def test_a_client_that_goes_stops_its_request(served):
    with httpx.stream(
        "POST",
        served.url + "/v1/chat/completions",
        json=body(1, max_tokens=900, stream=True, ignore_eos=True),
    ) as answer:
        next(answer.iter_bytes())
    started = time.monotonic()
    wait_until_quiet(served)
    assert time.monotonic() - started < 2


@pytest.fixture
def small():
    with understudy.load(MODEL, context=512) as model:
        yield model


def test_a_full_queue_is_429(small):
    with live(small, max_running=1, max_waiting=1) as served:
        url = served.url + "/v1/chat/completions"

        async def run() -> list[httpx.Response]:
            async with httpx.AsyncClient(timeout=60) as client:
                return await asyncio.gather(
                    *(
                        client.post(url, json=body(i, max_tokens=30, ignore_eos=True))
                        for i in range(6)
                    )
                )

        answers = asyncio.run(run())
        assert sorted(answer.status_code for answer in answers) == [200, 200, 429, 429, 429, 429]
        refused = next(answer for answer in answers if answer.status_code == 429)
        assert int(refused.headers["Retry-After"]) >= 1
        assert refused.json()["error"]["code"] == "server_busy"
        wait_until_quiet(served)


def test_a_request_that_takes_too_long_is_504(small):
    with live(small, request_timeout_s=0.3) as served:
        answer = httpx.post(
            served.url + "/v1/chat/completions",
            json=body(1, max_tokens=450, ignore_eos=True),
            timeout=30,
        )
        assert answer.status_code == 504
        streamed = httpx.post(
            served.url + "/v1/chat/completions",
            json=body(1, max_tokens=450, ignore_eos=True, stream=True),
            timeout=30,
        )
        assert '"code":"timeout"' in streamed.text
        wait_until_quiet(served)


def test_stopping_ends_every_request(small):
    found = []
    with live(small, grace_s=0.3) as served:
        url = served.url + "/v1/chat/completions"

        def ask() -> None:
            found.append(
                httpx.post(
                    url, json=body(1, max_tokens=450, ignore_eos=True, stream=True), timeout=30
                ).text
            )

        thread = threading.Thread(target=ask)
        thread.start()
        while not served.server.pool.loaded[0].driver.num_running:
            time.sleep(0.01)
        served.begin_stop()
        thread.join(20)
    assert '"code":"server_stopping"' in found[0]


def test_models_take_turns_in_memory():
    loads = []

    def loader(name):
        def load():
            loads.append(name)
            return understudy.load(MODEL, context=256)

        return load

    with live({name: loader(name) for name in "abc"}, max_loaded=2) as served:
        for name in "abcbca":
            answer = httpx.post(
                served.url + "/v1/completions",
                json={"model": name, "prompt": "Hi", "max_tokens": 2},
                timeout=60,
            )
            assert answer.status_code == 200
        assert loads == ["a", "b", "c", "a"]
        assert {one.name for one in served.server.pool.loaded} == {"c", "a"}
