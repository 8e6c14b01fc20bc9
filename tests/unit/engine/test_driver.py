"""The driver: one owner of an engine for threads and loops; a lone caller needs no thread."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time

import pytest

from tests.support.random_model import babbler
from understudy.engine import Request, SamplingParams
from understudy.engine import driver as driver_module
from understudy.engine.dispatch import Admission
from understudy.engine.handles import (
    CANCEL_SCOPE,
    BusyError,
    CancelScope,
    StoppedError,
    TimeoutExceeded,
)
from understudy.errors import Cancelled, UnderstudyError, UsageError


@pytest.fixture
def model(tmp_path):
    with babbler(tmp_path) as loaded:
        yield loaded


def request(model, seed=1, num_tokens=12, **options):
    params = SamplingParams(
        max_tokens=num_tokens, temperature=1.5, seed=seed, ignore_eos=True, **options
    )
    return Request(model.encode_prompt(f"Text {seed}"), params)


def tokens(outputs):
    return [token for output in outputs for token in output.new_tokens]


def engine_threads():
    return [thread for thread in threading.enumerate() if thread.name == "engine"]


def wait_until(is_true):
    deadline = time.monotonic() + 10
    while not is_true() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert is_true()


def test_alone_there_is_no_thread_and_with_others_there_is(model, monkeypatch):
    monkeypatch.setattr(driver_module, "IDLE_S", 0.05)
    expected = [tokens(model.outputs(request(model, seed))) for seed in range(4)]
    assert not engine_threads()
    streams = [model.outputs(request(model, seed)) for seed in range(4)]
    found = [list(next(stream).new_tokens) for stream in streams]
    assert engine_threads()
    for stream, known in zip(streams, found, strict=True):
        known += tokens(stream)
    assert found == expected
    wait_until(lambda: not engine_threads())
    assert tokens(model.outputs(request(model, 2))) == expected[2]


def test_an_event_loop_gets_what_a_thread_gets(model):
    expected = [tokens(model.outputs(request(model, seed))) for seed in range(6)]

    async def ask(seed):
        return tokens([output async for output in model.driver.submit(request(model, seed))])

    async def run():
        return await asyncio.gather(*(ask(seed) for seed in range(6)))

    assert asyncio.run(run()) == expected


def test_leaving_frees_at_once(model):
    free = model.engine.pool.num_free

    async def leave():
        outputs = aiter(model.driver.submit(request(model, num_tokens=200)))
        await anext(outputs)
        await outputs.aclose()

    asyncio.run(leave())
    stream = model.outputs(request(model, num_tokens=200))
    next(stream)
    stream.close()
    wait_until(lambda: model.engine.pool.num_free == free and not model.driver.num_open)


def test_clients_take_turns_and_too_many_are_refused(model):
    model.driver.configure(Admission(max_running=1, max_waiting=4))
    order = []

    async def ask(client, seed):
        async for _ in model.driver.submit(request(model, seed), client=client):
            pass
        order.append(client)

    async def run():
        asked = [ask("a", 1), ask("a", 2), ask("a", 3), ask("b", 4), ask("c", 5)]
        with model.driver._ownership.held():  # so that none is over before the last one asks
            tasks = [asyncio.create_task(one) for one in asked]
            await asyncio.sleep(0)
            with pytest.raises(BusyError) as caught:
                model.driver.submit(request(model, 6), client="d")
        assert caught.value.retry_after_s == 1
        await asyncio.gather(*tasks)

    asyncio.run(run())
    assert order == ["a", "b", "c", "a", "a"] or order == ["a", "a", "b", "c", "a"]


def test_a_request_that_takes_too_long_ends(model):
    model.driver.configure(Admission(timeout_s=0.05))
    slowly = (time.sleep(0.01) for _ in model.outputs(request(model, num_tokens=200)))
    with pytest.raises(TimeoutExceeded, match=r"at most 0\.05 s"):
        list(slowly)
    assert not model.driver.num_open


def test_a_scope_ends_its_requests_from_another_thread(model):
    scope = CancelScope("somebody")
    CANCEL_SCOPE.set(scope)
    try:
        stream = model.outputs(request(model, num_tokens=200))
        next(stream)
        threading.Thread(target=scope.cancel).start()
        with pytest.raises(Cancelled):
            list(stream)
        with pytest.raises(Cancelled):  # as everything that is asked in it from now on
            list(model.outputs(request(model)))
    finally:
        CANCEL_SCOPE.set(None)


def test_a_server_that_stops_fails_its_clients_only(model):
    own = model.outputs(request(model, num_tokens=60))
    next(own)

    async def run():
        outputs = aiter(model.driver.submit(request(model, num_tokens=200), client="somebody"))
        await anext(outputs)
        model.driver.fail_clients("the server is stopping")
        return [output async for output in outputs]

    with pytest.raises(StoppedError):
        asyncio.run(run())
    assert len(tokens(own)) == 59


def test_a_fault_of_a_step_is_told_to_everybody(model, monkeypatch):
    streams = [model.outputs(request(model, seed, num_tokens=900)) for seed in range(3)]
    for stream in streams:
        next(stream)

    def broken(*_):
        raise RuntimeError("of our own")

    monkeypatch.setattr(model.engine, "step", broken)
    for stream in streams:
        with pytest.raises(UnderstudyError, match="the engine failed"):
            list(stream)
    monkeypatch.undo()
    assert len(tokens(model.outputs(request(model)))) == 12


def test_closing_ends_what_is_open(model):
    stream = model.outputs(request(model, num_tokens=200))
    next(stream)
    model.close()
    for use in (
        lambda: list(stream),
        lambda: model.generate("x"),
        lambda: model.driver.call(lambda engine: engine),
        lambda: model.engine,
    ):
        with pytest.raises(UsageError, match="the model is closed"):
            use()
    model.close()


def test_a_script_that_ends_while_the_thread_is_there_leaves_nothing_behind():
    script = """
import sys
from concurrent.futures import ThreadPoolExecutor

import understudy

model = understudy.load(sys.argv[1], num_threads=1)
with ThreadPoolExecutor(3) as threads:
    list(threads.map(lambda seed: model.generate("Once", max_tokens=40, seed=seed), range(3)))
left = model.stream("Once", max_tokens=100)
next(left)
print("thread" if model.driver._thread is not None else "no thread")
"""
    command = [sys.executable, "-c", script, "tests/data/stories-nemotron"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert (ended.stdout.split(), ended.stderr) == (["thread"], "")
