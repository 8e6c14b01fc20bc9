"""Logits of whole texts and scores of continuations, computed between the steps of other
requests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from understudy.engine.driver import Driver
from understudy.engine.engine import Engine
from understudy.engine.limits import check_length, check_vocabulary
from understudy.engine.runner import AdaptedRunner, Runner
from understudy.engine.scoring import Limits, Score, score_continuations
from understudy.errors import UsageError

MIN_ROWS = 64  # of logits at a time, however large the vocabulary
MAX_VALUES = 16_000_000  # of the rows of logits that are held at a time: 64 MB


def iterate_logits(
    driver: Driver, runner: Runner, tokens: list[int]
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """(position of the first row, rows: float32 (count, vocab)), chunk by chunk.

    Raises:
        UsageError: no tokens, one outside the vocabulary, or requests under way hold the cache.
        ContextError: the text is longer than the context.
    """
    vocab_size, pool = driver.engine.vocab_size, driver.engine.pool
    if not tokens:
        raise UsageError("the text is empty")
    check_vocabulary(tokens, vocab_size)
    check_length(len(tokens), driver.engine.context)
    adapted = AdaptedRunner(runner, driver.engine.default_adapters)
    pages, state = driver.call(
        lambda engine: (_take_pages(engine, len(tokens)), _take_state(engine))
    )
    num_rows = max(MIN_ROWS, MAX_VALUES // vocab_size // 4)
    try:
        for first in range(0, len(tokens), num_rows):
            compute = _chunk(adapted, tokens, pages, first, num_rows, state)
            yield first, driver.call(compute)
    finally:
        driver.post(lambda: pool.release(pages))
        driver.post(lambda: _release_state(driver.engine, state))


def _chunk(
    runner: AdaptedRunner,
    tokens: list[int],
    pages: list[int],
    first: int,
    num_rows: int,
    state: int | None,
) -> Callable[[Engine], NDArray[np.float32]]:
    count = min(num_rows, len(tokens) - first)

    def compute(engine: Engine) -> NDArray[np.float32]:
        turns = engine.scheduler.frequency_set(len(tokens))
        return runner.logits(tokens, pages, first, count, turns, -1 if state is None else state)

    return compute


def _take_pages(engine: Engine, num_tokens: int) -> list[int]:
    pool = engine.pool
    if pool.num_free < pool.pages_for(num_tokens):
        raise UsageError(
            "requests under way hold the cache",
            do="wait for them, or give the model more cache_tokens",
        )
    return [pool.take() for _ in range(pool.pages_for(num_tokens))]


def _take_state(engine: Engine) -> int | None:
    """A state to read with; None for a model without recurrent layers."""
    if engine.scheduler.states is None:
        return None
    state = engine.scheduler.states.take()
    if state is None:
        raise UsageError("requests under way hold all states", do="wait for them")
    return state


def _release_state(engine: Engine, state: int | None) -> None:
    if engine.scheduler.states is not None and state is not None:
        engine.scheduler.states.release(state)


def score(
    driver: Driver, runner: Runner, pairs: Sequence[tuple[Sequence[int], Sequence[int]]]
) -> list[Score]:
    """The log-likelihood of each continuation after its context; see `scoring`.

    Raises:
        UsageError: an empty context or continuation, or a token outside the vocabulary.
        ContextError: both together are more than the context + 1 tokens.
    """
    vocab_size = driver.engine.vocab_size
    for context, continuation in pairs:
        if not context or not continuation:
            raise UsageError("a context and a continuation of at least one token are needed")
        check_vocabulary(context, vocab_size)
        check_vocabulary(continuation, vocab_size)
        check_length(len(context) + len(continuation) - 1, driver.engine.context)
    num_rows = max(MIN_ROWS, MAX_VALUES // vocab_size)

    def compute(engine: Engine) -> list[Score]:
        limits = Limits(engine.scheduler.max_batch_tokens, num_rows)
        short = engine.scheduler.short_context
        adapted = AdaptedRunner(runner, engine.default_adapters)
        state = _take_state(engine)
        try:
            return score_continuations(adapted, engine.pool, pairs, limits, short, state)
        finally:
            _release_state(engine, state)

    return driver.call(compute)
