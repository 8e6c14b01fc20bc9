"""The pool of cache pages: who holds them, and which already hold the keys and values of which
tokens.

A full page is known by a digest of all tokens up to its end, so equal beginnings of different
requests share pages. A page that is filled in part is known by the digest of what comes before it
and by its own tokens; who wants to go on from it takes a copy, or the page itself when nobody holds
it. Pages that nobody holds stay known until they are needed for something else, the longest unused
first.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from understudy.engine.windows import WindowKeeper
from understudy.errors import MemoryBudgetError

Digest = bytes
ROOT: Digest = b""  # of the empty text, which comes before every first page
# By the frequencies that a text turns by: keys of one set are of no use to texts of the other.
ROOTS: tuple[Digest, ...] = (ROOT, b"long")


@dataclass(frozen=True, slots=True)
class Content:
    """`tokens` stand at the beginning of a page and follow the text whose digest is `parent`;
    `digest` when it is full.
    """

    parent: Digest
    tokens: tuple[int, ...]
    digest: Digest | None = None


class PagePool:
    """`num_pages` pages of `page_size` tokens each."""

    def __init__(self, num_pages: int, page_size: int) -> None:
        self.num_pages, self.page_size = num_pages, page_size
        self.windows: WindowKeeper | None = None  # of a model with layers that have one
        self._holders = [0] * num_pages
        self._contents: list[Content | None] = [None] * num_pages
        self._page_of: dict[Digest, int] = {}
        self._after: dict[Digest, dict[int, None]] = {}  # digest -> known pages that follow it
        self._free: OrderedDict[int, None] = OrderedDict.fromkeys(
            range(num_pages)
        )  # the front is taken first

    # ---- who holds what ----

    @property
    def num_free(self) -> int:
        return len(self._free)

    def pages_for(self, num_tokens: int) -> int:
        return -(-num_tokens // self.page_size)

    def take(self) -> int:
        """A page whose content is not needed any more, held once. MemoryBudgetError when there is
        none.
        """
        if not self._free:
            raise MemoryBudgetError("all cache pages are in use", found=self.num_pages)
        page, _ = self._free.popitem(last=False)
        self._forget(page)
        self._holders[page] = 1
        if self.windows is not None:
            self.windows.take(page)
        return page

    def hold(self, page: int) -> None:
        if self._holders[page] == 0:
            del self._free[page]
        self._holders[page] += 1
        if self.windows is not None:
            self.windows.hold(page)

    def release(self, pages: Sequence[int], num_left: int = 0) -> None:
        """Gives pages back; of known ones the later pages of a sequence are used up before the
        earlier ones. The first `num_left` were left behind the window before.
        """
        for index, page in reversed(list(enumerate(pages))):
            self._holders[page] -= 1
            if self.windows is not None and index >= num_left:
                self.windows.leave(page, is_end=self._contents[page] is not None)
            if self._holders[page] == 0:
                self._free[page] = None
                if self._contents[page] is None:
                    self._free.move_to_end(page, last=False)
                    self._lose(page)

    # ---- what they hold ----

    def digests(
        self,
        tokens: Sequence[int],
        known: Sequence[Digest] = (),
        end: int | None = None,
        root: Digest = ROOT,
    ) -> list[Digest]:
        """Digest of each full page of `tokens[:end]`; `known` are those of the first pages."""
        found = list(known)
        for page in range(len(found), (len(tokens) if end is None else end) // self.page_size):
            part = np.asarray(
                tokens[page * self.page_size : (page + 1) * self.page_size], np.int32
            ).tobytes()
            found.append(
                hashlib.blake2b((found[-1] if found else root) + part, digest_size=16).digest()
            )
        return found

    def find(self, digests: Sequence[Digest]) -> list[int]:
        """The pages that hold the longest beginning of these digests that can be gone on from; not
        held yet."""
        pages = []
        for digest in digests:
            page = self._page_of.get(digest)
            if page is None:
                break
            pages.append(page)
        return pages if self.windows is None else pages[: self.windows.reachable(pages)]

    def can_go_on(self, pages: Sequence[int], num_tokens: int) -> bool:
        """Whether what follows the `num_tokens` of a text finds all that it sees in its pages."""
        return self.windows is None or self.windows.can_go_on(pages, num_tokens)

    def find_part(self, parent: Digest, tokens: Sequence[int]) -> tuple[int, int]:
        """Of the pages after `parent` the one with the longest beginning of `tokens`, and its
        length: 0 when there is none.
        """
        best, longest = -1, 0
        for page in self._after.get(parent, ()):
            content = self._contents[page]
            assert content is not None
            length = _common_beginning(content.tokens, tokens)
            if length > longest and self._has_all(page):
                best, longest = page, length
        return best, longest

    def can_continue(self, page: int) -> bool:
        """Whether to write on from the middle of a page: nobody holds it, and it is not full or no
        other can be taken.
        """
        content = self._contents[page]
        return (
            self._holders[page] == 0
            and content is not None
            and (content.digest is None or self.num_free == 1)
        )

    def keep_beginning(self, page: int, count: int) -> None:
        """Notes that what a page holds after its first `count` tokens is about to be
        overwritten.
        """
        content = self._contents[page]
        assert content is not None
        self._know(page, Content(content.parent, content.tokens[:count]))

    def remember(
        self,
        page: int,
        digests: Sequence[Digest],
        index: int,
        tokens: Sequence[int],
        root: Digest = ROOT,
    ) -> None:
        """Notes that `page`, number `index` of a text with these digests, holds `tokens`; of equal
        full pages one is known.
        """
        known = self._contents[page]
        digest = digests[index] if len(tokens) == self.page_size else None
        if not tokens or (known is not None and known.digest is not None):
            return
        other = None if digest is None else self._page_of.get(digest)
        if other is not None and self._has_all(other):
            self._forget(page)
        else:
            if other is not None:  # it is behind the window, and this one is not
                self._forget(other)
            self._know(page, Content(digests[index - 1] if index else root, tuple(tokens), digest))

    def forget_all(self) -> None:
        """Drops what is known about pages that nobody holds."""
        for page in list(self._free):
            self._forget(page)

    def _know(self, page: int, content: Content) -> None:
        self._forget(page)
        self._contents[page] = content
        self._after.setdefault(content.parent, {})[page] = None
        if content.digest is not None:
            self._page_of[content.digest] = page

    def _forget(self, page: int) -> None:
        content = self._contents[page]
        if content is None:
            return
        self._contents[page] = None
        self._lose(page)
        followers = self._after[content.parent]
        del followers[page]
        if not followers:
            del self._after[content.parent]
        if content.digest is not None:
            del self._page_of[content.digest]

    def _has_all(self, page: int) -> bool:
        return self.windows is None or self.windows.has(page)

    def _lose(self, page: int) -> None:
        if self.windows is not None:
            self.windows.forget(page)


def _common_beginning(first: Sequence[int], second: Sequence[int]) -> int:
    length = 0
    for a, b in zip(first, second, strict=False):
        if a != b:
            break
        length += 1
    return length
