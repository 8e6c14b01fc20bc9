"""One engine for everybody: threads ask, score and save while a server answers."""

from __future__ import annotations

import asyncio
import random
import threading
import time

import httpx
import numpy as np
import pytest

import understudy
from tests.serve.conftest import MODEL, live
from tests.support.random_model import babbler

NUM_THREADS = 16
TEXTS = [f"The keeper of bridge {i} counts boats, and more boats, until night." for i in range(6)]
HOT = {"temperature": 1.3, "max_tokens": 24, "ignore_eos": True}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    babbler(folder).close()
    with understudy.load(folder, context=512, cache_tokens=16_384, use_cache=False) as loaded:
        yield loaded


def chat(i: int) -> dict:
    messages = [{"role": "user", "content": TEXTS[i % len(TEXTS)]}]
    return {"messages": messages, "seed": i, **HOT}


def posted(client: httpx.Client, i: int) -> str:
    return client.post("/v1/chat/completions", json=chat(i)).json()["choices"][0]["message"][
        "content"
    ]


def jobs(model, folder, client):
    """All that can be asked of a model, as functions of a number; equal numbers, equal answers."""

    def text_of(i):
        return TEXTS[i % len(TEXTS)]

    def generate(i):
        return model.generate(text_of(i), seed=i, **HOT).tokens

    def stream(i):
        return "".join(model.stream(text_of(i), seed=i, **HOT))

    def async_stream(i):
        async def collect():
            return [piece async for piece in model.astream(text_of(i), seed=i, **HOT)]

        return "".join(asyncio.run(collect()))

    def logits(i):
        return np.asarray(model.logits(model.encode_prompt(text_of(i)))).tobytes()

    def scores(i):
        ids = model.encode_prompt(text_of(i))
        return model.score_continuations([(ids[:5], ids[5:]), (ids[:7], ids[7:])])

    def saved(i):
        """What is computed after a state was written and read is what was computed before."""
        path = folder / f"{threading.get_ident()}-{i}"
        ids = model.encode_prompt(text_of(i))
        reply = model.generate(ids, seed=i, **HOT)
        model.save_state(path, [*ids, *reply.tokens])
        known = model.load_state(path)
        assert known == [*ids, *reply.tokens][: len(known)]
        return model.generate(ids, seed=i, **HOT).tokens

    def left(i):
        outputs = model.stream(text_of(i), seed=i, temperature=1.3, max_tokens=400)
        first = next(outputs)
        outputs.close()
        return first

    def http(i):
        return posted(client, i)

    return [generate, stream, async_stream, logits, scores, saved, left, http]


def test_sixteen_threads_and_a_server_get_what_they_would_get_alone(model, tmp_path):
    free = model.engine.pool.num_free
    with (
        live({MODEL: model}) as served,
        httpx.Client(base_url=served.url, timeout=120) as client,
    ):
        kinds = jobs(model, tmp_path, client)
        alone = {(kind.__name__, i): kind(i) for kind in kinds for i in range(6)}
        model.engine.pool.forget_all()
        found: list[tuple[tuple[str, int], object]] = []

        def work(number: int) -> None:
            chance = random.Random(number)
            for _ in range(8):
                kind, i = chance.choice(kinds), chance.randrange(6)
                found.append(((kind.__name__, i), kind(i)))

        threads = [threading.Thread(target=work, args=(n,)) for n in range(NUM_THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(found) == NUM_THREADS * 8
        assert {name for (name, _), _ in found} == {kind.__name__ for kind in kinds}
        for place, answer in found:
            assert answer == alone[place], place
        deadline = time.monotonic() + 10  # whoever left is taken out before the next step
        while model.driver.num_open and time.monotonic() < deadline:
            time.sleep(0.01)
        assert (model.driver.num_open, model.engine.pool.num_free) == (0, free)
    assert model.generate(TEXTS[0], seed=0, **HOT).tokens == alone["generate", 0]
