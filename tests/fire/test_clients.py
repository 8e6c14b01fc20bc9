"""Many clients at once, half of which leave in the middle: no 5xx, the same texts, memory stays.

UNDERSTUDY_FIRE_CLIENTS (default 20; `make test-fire` takes 200) ask for UNDERSTUDY_FIRE_SECONDS
(default 5; 600). From 120 s on the memory at the end may be at most 5 % above that after a minute:
with SECONDS=3600 it is a soak.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections import Counter
from pathlib import Path

import httpx
import pytest

import understudy
from tests.serve.conftest import live

CLIENTS = int(os.environ.get("UNDERSTUDY_FIRE_CLIENTS", "20"))
SECONDS = float(os.environ.get("UNDERSTUDY_FIRE_SECONDS", "5"))
LONG = 120.0
WORDS = ["Once", "The keeper", "A boat", "At night"]


def resident_bytes() -> int:
    """Of this process, in which the server runs."""
    line = Path("/proc/self/statm").read_text().split()[1]
    return int(line) * os.sysconf("SC_PAGE_SIZE")


async def client(url: str, number: int, texts: dict[tuple[str, int], str], ends: Counter) -> None:
    """Asks until the time is over; leaves every second answer somewhere in the middle."""
    chance = random.Random(number)
    until = time.monotonic() + SECONDS
    async with httpx.AsyncClient(base_url=url, timeout=120) as http:
        while time.monotonic() < until:
            key = (chance.choice(WORDS), chance.randrange(8))
            body = {"prompt": key[0], "seed": key[1], "max_tokens": 24, "stream": True}
            leaves = chance.randint(1, 12) if chance.random() < 0.5 else None
            text = ""
            async with http.stream("POST", "/completion", json=body) as answer:
                ends[answer.status_code] += 1
                if answer.status_code != 200:
                    await asyncio.sleep(0.05)
                    continue
                async for i, line in _numbered(answer):
                    if line.startswith("data: {"):
                        text += httpx.Response(200, text=line[6:]).json()["content"]
                    if leaves is not None and i >= leaves:
                        break
            if leaves is None:
                assert texts.setdefault(key, text) == text
                ends["whole"] += 1


async def _numbered(answer: httpx.Response):
    i = 0
    async for line in answer.aiter_lines():
        yield i, line
        i += 1


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads /proc")
def test_many_clients_that_come_and_go():
    options = {"num_threads": 1, "cache_tokens": 8192, "context": 256}
    with (
        understudy.load("tests/data/stories-nemotron", **options) as model,
        live(model, max_waiting=CLIENTS) as running,
    ):
        texts: dict[tuple[str, int], str] = {}
        ends: Counter = Counter()
        memory: list[int] = []

        async def everybody() -> None:
            clients = [client(running.url, i, texts, ends) for i in range(CLIENTS)]
            await asyncio.gather(*clients, _watch(memory))

        asyncio.run(everybody())
        (served,) = running.server.pool.loaded
        deadline = time.monotonic() + 20
        while served.driver.num_open and time.monotonic() < deadline:
            time.sleep(0.05)
        assert served.driver.num_open == 0
        assert ends["whole"] > 0
        assert not [status for status in ends if isinstance(status, int) and status >= 500], ends
        for (prompt, seed), text in list(texts.items())[:10]:  # as if each had been alone
            alone = {"prompt": prompt, "seed": seed, "max_tokens": 24}
            answer = httpx.post(f"{running.url}/completion", json=alone, timeout=60)
            assert answer.json()["content"] == text
        if SECONDS >= LONG:
            assert memory[-1] <= 1.05 * memory[60]


async def _watch(memory: list[int]) -> None:
    """A reading a second."""
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        memory.append(resident_bytes())
        await asyncio.sleep(1)
