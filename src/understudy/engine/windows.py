"""What layers with a window keep of pages: no more than tokens to come can see.

Keys and values of a page stand in two parts. The part of layers that see everything lives as long
as the page is known. That of layers with a window has a place of its own, which the page loses
behind the window: at once where nobody can look back, later where an edit or another answer might.
`num_kept` places are left with pages that no running text needs; the longest unused are given to
others first, those where a text ended or a new one went on last. A beginning can be gone on from
only where the window before it has its places.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence

from understudy.spec import ModelSpec

NOWHERE = -1


class WindowKeeper:
    """Which pages have a place in the layers with a window. Policy only: numbers, no memory.

    Args:
        num_pages, page_size: of the pool.
        window: tokens that the widest window sees, its own included.
        num_kept: places that pages without a reader may have.
        set_place: called with (page, place) where a page gets or loses (`NOWHERE`) its place.
    """

    def __init__(
        self,
        num_pages: int,
        page_size: int,
        window: int,
        num_kept: int,
        set_place: Callable[[int, int], None],
    ) -> None:
        self._size, self._window, self._num_kept = page_size, window, num_kept
        self._set_place = set_place
        self._places = [NOWHERE] * num_pages
        self._readers = [0] * num_pages
        self._idle: OrderedDict[int, None] = OrderedDict()  # the front loses its place first
        self._ends: OrderedDict[int, None] = OrderedDict()  # then the front of these
        self._is_end = [False] * num_pages
        self._free: list[int] = []
        self.num_places = 0  # that were ever given at the same time
        for page in range(num_pages):
            set_place(page, NOWHERE)

    def has(self, page: int) -> bool:
        """Whether a page holds something for the layers with a window."""
        return self._places[page] != NOWHERE

    def first_page(self, num_tokens: int) -> int:
        """The first page of a text that what follows its `num_tokens` can see, or what follows the
        last border of a page before."""
        border = num_tokens // self._size * self._size
        return max(0, border - self._window + 1) // self._size

    def can_go_on(self, pages: Sequence[int], num_tokens: int) -> bool:
        """Whether what follows the `num_tokens` of a text finds all that it sees in its pages."""
        return all(self.has(page) for page in pages[self.first_page(num_tokens) :])

    def reachable(self, pages: Sequence[int]) -> int:
        """How many of a text's first pages it can go on behind, at most."""
        in_a_row, longest = 0, 0
        for count, page in enumerate(pages, 1):
            in_a_row = in_a_row + 1 if self.has(page) else 0
            if in_a_row >= count - self.first_page(count * self._size):
                longest = count
        return longest

    # ---- who reads what ----

    def take(self, page: int) -> None:
        """A page that is about to be written has a place, whatever it held."""
        self._is_end[page] = False
        self._add_reader(page)
        if self._places[page] == NOWHERE:
            if not self._free:
                self._free.append(self.num_places)
                self.num_places += 1
            self._put(page, self._free.pop())

    def hold(self, page: int) -> None:
        self._add_reader(page)

    def leave(self, page: int, *, is_end: bool = False) -> None:
        """A reader needs the page no more; `is_end`: its text ended near by, or another went on
        there."""
        self._is_end[page] = self._is_end[page] or is_end
        self._readers[page] -= 1
        if self._readers[page] or not self.has(page):
            return
        (self._ends if self._is_end[page] else self._idle)[page] = None
        while len(self._idle) + len(self._ends) > self._num_kept:
            self.lose(next(iter(self._idle or self._ends)))

    def mark(self, pages: Iterable[int]) -> None:
        """A text goes on here: others may as well."""
        for page in pages:
            self._is_end[page] = True

    def lose(self, page: int) -> None:
        """Takes a page its place."""
        self._idle.pop(page, None)
        self._ends.pop(page, None)
        if self.has(page):
            self._free.append(self._places[page])
            self._put(page, NOWHERE)

    def forget(self, page: int) -> None:
        """What a page held is of no use any more."""
        self._is_end[page] = False
        if not self._readers[page]:
            self.lose(page)

    def _add_reader(self, page: int) -> None:
        self._idle.pop(page, None)
        self._ends.pop(page, None)
        self._readers[page] += 1

    def _put(self, page: int, place: int) -> None:
        self._places[page] = place
        self._set_place(page, place)


def widest_window(spec: ModelSpec) -> int:
    """Tokens that the widest window sees; 0 where all layers see everything."""
    return max((block.window for block in spec.blocks if block.mixer == "attention"), default=0)


def num_kept_places(spec: ModelSpec, num_pages: int, page_size: int) -> int:
    """`WindowKeeper.num_kept` of a model: four windows or a quarter of the pages, whichever is
    more; 0 where no page is ever behind a window."""
    window = -(-widest_window(spec) // page_size)
    kept = max(4 * window, num_pages // 4)
    return kept if window > 0 and kept < num_pages else 0


def window_keeper(
    spec: ModelSpec, num_pages: int, page_size: int, set_place: Callable[[int, int], None]
) -> WindowKeeper | None:
    """The keeper of a model's pages; None where each of them lives in all layers alike."""
    num_kept = num_kept_places(spec, num_pages, page_size)
    if not num_kept:
        return None
    return WindowKeeper(num_pages, page_size, widest_window(spec), num_kept, set_place)
