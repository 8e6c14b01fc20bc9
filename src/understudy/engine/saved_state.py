"""Keys and values of computed tokens in a file: what a prompt that begins alike need not
compute.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from understudy.core import Cache
from understudy.engine.adapters import ActiveAdapters
from understudy.engine.driver import Driver
from understudy.engine.engine import Engine
from understudy.engine.limits import check_vocabulary
from understudy.engine.pages import ROOTS, Digest, PagePool
from understudy.engine.runner import Runner
from understudy.engine.states import StateKeeper
from understudy.errors import FormatError, UsageError
from understudy.formats.state import read_state, write_state

_ADAPTERS = "-adapters:"  # in the fingerprint, before the identity of those that acted


def _piece_bytes(cache: Cache) -> int:
    """Bytes of a page in a file; where no layer has keys and values, those of a state."""
    return int(cache.page_bytes or cache.state_bytes)


def _cut(num_bytes: int, cache: Cache) -> range:
    """Where the pages begin that hold so many bytes of a state."""
    return range(0, num_bytes, _piece_bytes(cache))


def _with_state(
    cache: Cache, keeper: StateKeeper, pages: list[int], digests: list[Digest], page_size: int
) -> tuple[int, list[NDArray[np.uint8]]]:
    """The longest beginning whose state is kept: its length; its pages, then its state in pages."""
    while pages and (state := keeper.knows(digests[len(pages) - 1])) is None:
        pages.pop()
    if not pages or state is None:
        return 0, []
    size = _piece_bytes(cache)
    data = [np.resize(cache.read_page(page), size) for page in pages]
    values = np.zeros(len(_cut(cache.state_bytes, cache)) * size, np.uint8)
    values[: cache.state_bytes] = cache.read_state(state)
    return len(pages) * page_size, [*data, *np.split(values, len(values) // size)]


def _put_state(
    cache: Cache, keeper: StateKeeper, data: list[NDArray[np.uint8]], digest: Digest
) -> None:
    state = keeper.take()
    if state is not None:
        cache.write_state(state, np.concatenate(data)[: cache.state_bytes])
        keeper.remember(digest, state)


def _taken_page(pool: PagePool, index: int, num_tokens: int) -> int:
    """A page for number `index` of a file; of those behind the window it holds nothing for the
    layers with one."""
    page = pool.take()
    if pool.windows is not None and index < pool.windows.first_page(num_tokens):
        pool.windows.lose(page)
    return page


class StateFiles:
    """Writes and reads the states of one model; `fingerprint` tells its files from another's."""

    def __init__(self, driver: Driver, runner: Runner, fingerprint: str) -> None:
        self._driver, self._runner, self._fingerprint = driver, runner, fingerprint

    def save(self, path: Path, tokens: list[int], adapters: ActiveAdapters) -> int:
        """Writes the longest beginning of `tokens` that the cache holds under these adapters;
        returns its length.
        """

        def read(engine: Engine) -> tuple[int, list[NDArray[np.uint8]]]:
            pool = engine.pool
            root = ROOTS[engine.scheduler.frequency_set(len(tokens))] + adapters.root
            digests = pool.digests(tokens, root=root)
            pages = pool.find(digests)
            count = len(pages) * pool.page_size
            before = digests[len(pages) - 1] if pages else root
            cache, keeper = self._runner.cache, engine.scheduler.states
            if keeper is not None:
                return _with_state(cache, keeper, pages, digests, pool.page_size)
            part, more = pool.find_part(before, tokens[count : count + pool.page_size])
            if more and not pool.can_go_on([*pages, part], count + more):
                more = 0
            held = [*pages, *([part] if more else [])]
            return count + more, [cache.read_page(page) for page in held]

        count, data = self._driver.call(read)
        made_with = f"{_ADAPTERS}{adapters.identity}" if adapters.parts else ""
        write_state(path, self._fingerprint + made_with, tokens[:count], data)
        return count

    def load(self, path: Path) -> list[int]:
        """Reads a file into free pages; returns its tokens.

        Raises:
            FormatError: damaged, or made with another model or cache format.
            MissingError: made with an adapter that is not loaded.
        """
        fingerprint, tokens, data = read_state(path)
        fingerprint, _, identity = fingerprint.partition(_ADAPTERS)
        if fingerprint != self._fingerprint:
            raise FormatError(
                "the saved state belongs to another model",
                where=path,
                expected=self._fingerprint,
                found=fingerprint,
            )
        adapters = self._driver.engine.find_adapters(identity)
        cache = self._runner.cache

        def write(engine: Engine) -> None:
            pool, keeper = engine.pool, engine.scheduler.states
            num_pages = pool.pages_for(len(tokens))
            num_more = 0 if keeper is None or not tokens else len(_cut(cache.state_bytes, cache))
            sizes_fit = all(page.size == _piece_bytes(cache) for page in data)
            if len(data) != num_pages + num_more or not sizes_fit:
                raise FormatError("the saved state is damaged", where=path)
            root = ROOTS[engine.scheduler.frequency_set(len(tokens))] + adapters.root
            digests = pool.digests(tokens, root=root)
            if keeper is not None and num_more:
                _put_state(cache, keeper, data[num_pages:], digests[-1])
            known = pool.find(digests)
            for page in known:
                pool.hold(page)  # not to be taken for what follows them
            pages = list(known)
            for index in range(len(known), min(num_pages, len(known) + pool.num_free)):
                pages.append(_taken_page(pool, index, len(tokens)))
                cache.write_page(pages[-1], data[index][: cache.page_bytes])
                part = tokens[index * pool.page_size : (index + 1) * pool.page_size]
                pool.remember(pages[-1], digests, index, part, root)
            pool.release(pages)

        try:
            check_vocabulary(tokens, self._driver.engine.vocab_size)
        except UsageError as error:
            raise FormatError("the saved state is damaged", where=path) from error
        self._driver.call(write)
        return tokens
