"""Packed weights that are cut while a model runs on them: an error of the next step, no signal.
What is loaded afterwards packs them anew."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

pytest.importorskip("starlette")

import understudy
from understudy.engine.request import Request
from understudy.errors import UnderstudyError, UnderstudyWarning
from understudy.serve.pool import Pool
from understudy.serve.settings import Settings

STORIES = Path(__file__).parents[2] / "tests/data/stories-nemotron"
PROMPT = "Once upon a time"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("UNDERSTUDY_CACHE", str(tmp_path))
    return tmp_path


def cut(cache: Path, size: int) -> None:
    (packed,) = cache.glob("*.pack")
    os.truncate(packed, size)


@pytest.mark.parametrize("size", [0, 4096, 1 << 20])
def test_a_model_whose_weights_are_cut_says_so(cache, size):
    with understudy.load(STORIES) as model:
        before = model.generate(PROMPT, max_tokens=8, temperature=0).text
        cut(cache, size)
        for _ in range(2):
            with pytest.raises(UnderstudyError, match="was cut while the model ran"):
                model.generate("The dog", max_tokens=8, temperature=0)
        with pytest.raises(UnderstudyError, match="was cut"):
            model.logits([1, 2, 3])
    with (
        pytest.warns(UnderstudyWarning, match="packed anew"),
        understudy.load(STORIES) as again,
    ):
        assert again.generate(PROMPT, max_tokens=8, temperature=0).text == before


def test_a_server_loads_such_a_model_anew(cache):
    async def ask(pool: Pool) -> tuple[object, str]:
        served = await pool.take("stories")
        request = Request(served.model.encode_prompt(PROMPT), understudy.SamplingParams(8))
        try:
            text = "".join([output.text async for output in served.driver.submit(request)])
        finally:
            pool.give_back(served)
        return served, text

    async def run() -> None:
        pool = Pool({"stories": lambda: understudy.load(STORIES)}, Settings())
        first, before = await ask(pool)
        cut(cache, 4096)
        with pytest.raises(UnderstudyError, match="was cut while the model ran"):
            await ask(pool)
        with pytest.warns(UnderstudyWarning, match="packed anew"):
            second, after = await ask(pool)
        assert second is not first
        assert after == before
        await pool.stop()

    asyncio.run(run())
