"""Keys and values of computed tokens in a file: what a prompt that begins alike need not
compute.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from understudy.engine.adapters import ActiveAdapters
from understudy.engine.driver import Driver
from understudy.engine.engine import Engine
from understudy.engine.limits import check_vocabulary
from understudy.engine.pages import ROOTS
from understudy.engine.runner import Runner
from understudy.errors import FormatError, UsageError
from understudy.formats.state import read_state, write_state

_ADAPTERS = "-adapters:"  # in the fingerprint, before the identity of those that acted


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
            part, more = pool.find_part(before, tokens[count : count + pool.page_size])
            held = [*pages, *([part] if more else [])]
            return count + more, [self._runner.cache.read_page(page) for page in held]

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
            pool = engine.pool
            sizes_fit = all(page.size == cache.page_bytes for page in data)
            if len(data) != pool.pages_for(len(tokens)) or not sizes_fit:
                raise FormatError("the saved state is damaged", where=path)
            root = ROOTS[engine.scheduler.frequency_set(len(tokens))] + adapters.root
            digests = pool.digests(tokens, root=root)
            known = pool.find(digests)
            for page in known:
                pool.hold(page)  # not to be taken for what follows them
            pages = list(known)
            for index in range(len(known), min(len(data), len(known) + pool.num_free)):
                pages.append(pool.take())
                cache.write_page(pages[-1], data[index])
                part = tokens[index * pool.page_size : (index + 1) * pool.page_size]
                pool.remember(pages[-1], digests, index, part, root)
            pool.release(pages)

        try:
            check_vocabulary(tokens, self._driver.engine.vocab_size)
        except UsageError as error:
            raise FormatError("the saved state is damaged", where=path) from error
        self._driver.call(write)
        return tokens
