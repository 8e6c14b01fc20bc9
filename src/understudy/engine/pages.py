"""The pool of cache pages: who holds them, and which already hold the keys and values of which tokens.

A full page is known by a digest of all tokens up to its end, so equal beginnings of different requests share pages. Pages
that nobody holds stay known until they are needed for something else, the longest unused first.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np

from understudy.errors import MemoryBudgetError

Digest = bytes


class PagePool:
    """`num_pages` pages of `page_size` tokens each."""

    def __init__(self, num_pages: int, page_size: int) -> None:
        self.num_pages, self.page_size = num_pages, page_size
        self._holders = [0] * num_pages
        self._digest_of: list[Digest | None] = [None] * num_pages
        self._page_of: dict[Digest, int] = {}
        self._free: OrderedDict[int, None] = OrderedDict.fromkeys(range(num_pages))  # the front is taken first

    @property
    def num_free(self) -> int:
        return len(self._free)

    def pages_for(self, num_tokens: int) -> int:
        return -(-num_tokens // self.page_size)

    def take(self) -> int:
        """A page whose content is not needed any more, held once. MemoryBudgetError when there is none."""
        if not self._free:
            raise MemoryBudgetError("all cache pages are in use", found=self.num_pages)
        page, _ = self._free.popitem(last=False)
        self._forget(page)
        self._holders[page] = 1
        return page

    def hold(self, page: int) -> None:
        if self._holders[page] == 0:
            del self._free[page]
        self._holders[page] += 1

    def release(self, pages: Sequence[int]) -> None:
        """Gives pages back; of known ones the later pages of a sequence are used up before the earlier ones."""
        for page in reversed(pages):
            self._holders[page] -= 1
            if self._holders[page] == 0:
                self._free[page] = None
                if self._digest_of[page] is None:
                    self._free.move_to_end(page, last=False)

    def digests(self, tokens: Sequence[int], known: Sequence[Digest] = ()) -> list[Digest]:
        """Digest of each full page of `tokens`; `known` are those of the first pages."""
        found = list(known)
        for page in range(len(found), len(tokens) // self.page_size):
            part = np.asarray(tokens[page * self.page_size : (page + 1) * self.page_size], np.int32).tobytes()
            found.append(hashlib.blake2b((found[-1] if found else b"") + part, digest_size=16).digest())
        return found

    def find(self, digests: Sequence[Digest]) -> list[int]:
        """The pages that hold the longest beginning of these digests; not held yet."""
        pages = []
        for digest in digests:
            page = self._page_of.get(digest)
            if page is None:
                break
            pages.append(page)
        return pages

    def remember(self, page: int, digest: Digest) -> None:
        """Notes that a page now holds the tokens behind a digest; the first page with that content is kept."""
        if digest not in self._page_of and self._digest_of[page] is None:
            self._page_of[digest] = page
            self._digest_of[page] = digest

    def forget_all(self) -> None:
        """Drops what is known about pages that nobody holds."""
        for page in list(self._free):
            self._forget(page)

    def _forget(self, page: int) -> None:
        digest = self._digest_of[page]
        if digest is not None:
            del self._page_of[digest]
            self._digest_of[page] = None
