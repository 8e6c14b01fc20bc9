"""The page pool on its own: what is known is what was written, and holding is counted."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from understudy.engine.pages import ROOT, PagePool

SIZE, NUM_PAGES = 3, 6


class PoolAgainstModel(RuleBasedStateMachine):
    """Texts over two letters write, share, go on and let go; `cells` is the truth about what each
    page holds.
    """

    def __init__(self) -> None:
        super().__init__()
        self.pool = PagePool(NUM_PAGES, SIZE)
        self.cells: list[list[int]] = [
            [] for _ in range(NUM_PAGES)
        ]  # whole text up to and with the page
        self.texts: list[tuple[list[int], list[int]]] = []  # tokens, pages held

    @rule(tokens=st.lists(st.integers(0, 1), min_size=1, max_size=3 * SIZE))
    def begin(self, tokens: list[int]) -> None:
        pool = self.pool
        digests = pool.digests(tokens)
        pages = pool.find(digests)
        for index, page in enumerate(pages):
            assert self.cells[page] == tokens[: (index + 1) * SIZE]
            pool.hold(page)
        count = len(pages) * SIZE
        part, more = pool.find_part(
            digests[len(pages) - 1] if pages else ROOT, tokens[count : count + SIZE]
        )
        if more:
            assert self.cells[part][: count + more] == tokens[: count + more]
        if more and pool.can_continue(part):
            pool.hold(part)
            pool.keep_beginning(part, more)
            self.cells[part] = tokens[: count + more]
            pages.append(part)
        while len(pages) * SIZE < len(tokens) and pool.num_free:
            pages.append(pool.take())
        tokens = tokens[: len(pages) * SIZE]
        for index, page in enumerate(pages):
            held = tokens[: (index + 1) * SIZE]
            if index * SIZE >= count:
                self.cells[page] = held
                pool.remember(page, digests, index, held[index * SIZE :])
        self.texts.append((tokens, pages))

    @precondition(lambda self: self.texts)
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        _, pages = self.texts.pop(data.draw(st.integers(0, len(self.texts) - 1)))
        self.pool.release(pages)

    @rule()
    def forget(self) -> None:
        self.pool.forget_all()

    @invariant()
    def nothing_is_lost(self) -> None:
        held = {page for _, pages in self.texts for page in pages}
        assert self.pool.num_free == NUM_PAGES - len(held)


PoolAgainstModel.TestCase.settings = settings(
    max_examples=150, stateful_step_count=25, deadline=None
)
TestPoolAgainstModel = PoolAgainstModel.TestCase


def test_the_longest_unused_is_taken_first_and_ends_before_beginnings():
    pool = PagePool(4, 2)
    digests = pool.digests([1, 2, 3, 4])
    pages = [pool.take(), pool.take()]
    for index, page in enumerate(pages):
        pool.remember(page, digests, index, [1, 2, 3, 4][2 * index : 2 * index + 2])
    pool.release(pages)
    assert {pool.take(), pool.take()} == {2, 3}
    assert pool.find(digests) == pages
    assert pool.take() == pages[1]
    assert pool.find(digests) == pages[:1]
