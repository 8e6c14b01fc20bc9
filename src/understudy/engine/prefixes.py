"""Beginnings of texts that the cache holds already: found for a new sequence, and made known for
those to come.
"""

from __future__ import annotations

from collections.abc import Callable

from understudy.engine.pages import PagePool
from understudy.engine.sequence import Sequence


class PrefixCache:
    """Which pages of the pool hold which beginnings.

    Args:
        copy_page: called with (source, target) when a sequence goes on from the middle of a page
            that is not its own.
    """

    def __init__(self, pool: PagePool, copy_page: Callable[[int, int], None]) -> None:
        self._pool, self._copy_page = pool, copy_page

    def reuse(self, sequence: Sequence) -> tuple[list[int], int]:
        """Holds the pages of its longest known beginning: pages and how many tokens they hold."""
        pool, size = self._pool, self._pool.page_size
        sequence.digests = pool.digests(sequence.tokens, sequence.digests, root=sequence.root)
        if sequence.wants_prompt_logprobs:
            return [], 0
        last = len(sequence.tokens) - 1  # is computed in any case, for its logits
        pages = pool.find(sequence.digests[: last // size])
        for page in pages:
            pool.hold(page)
        count = len(pages) * size
        parent = sequence.digests[len(pages) - 1] if pages else sequence.root
        source, more = pool.find_part(parent, sequence.tokens[count : min(count + size, last)])
        if more and not pool.can_go_on([*pages, source], count + more):
            more = 0
        if more and pool.can_continue(source):
            pool.hold(source)
            pool.keep_beginning(source, more)
            return [*pages, source], count + more
        if more:
            pool.hold(source)  # not to be taken as the target
            target = pool.take() if pool.num_free else None
            if target is not None:
                self._copy_page(source, target)
                pages, count = [*pages, target], count + more
            pool.release([source])
        return pages, count

    def note(self, sequence: Sequence, before: int) -> None:
        """Makes known what was computed since the cache held `before` tokens of the sequence."""
        pool, size, count = self._pool, self._pool.page_size, sequence.num_computed
        sequence.digests = pool.digests(sequence.tokens, sequence.digests, count, sequence.root)
        for index in range(before // size, count // size):
            tokens = sequence.tokens[index * size : (index + 1) * size]
            pool.remember(sequence.pages[index], sequence.digests, index, tokens, sequence.root)
        if count - before > 1:
            self.note_last_page(sequence)

    def note_last_page(self, sequence: Sequence) -> None:
        """Makes the page known that is filled in part; full pages are known as soon as they are
        full.
        """
        pool, size = self._pool, self._pool.page_size
        index = sequence.num_computed // size
        if tokens := sequence.tokens[index * size : sequence.num_computed]:
            pool.remember(sequence.pages[index], sequence.digests, index, tokens, sequence.root)
