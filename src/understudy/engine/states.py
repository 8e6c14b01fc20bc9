"""The states of recurrent layers: one for each running sequence, and copies behind beginnings that
are known.

Keys and values of a beginning serve every text that begins alike; a state serves only a text that
begins with exactly what it has read. So states are kept at page borders, every `INTERVAL` tokens
and at the last border of a prompt: a second turn, an edit or another answer goes on from the last
of them that it still agrees with. Where room ends, the longest unused one is given up.
"""

from __future__ import annotations

from collections import OrderedDict

from understudy.engine.pages import Digest, PagePool
from understudy.engine.sequence import Sequence

INTERVAL = 256  # tokens: what a turn reads again at most


class StateKeeper:
    """Whose the states of a pool of `num_states` are. Policy only: numbers, no memory."""

    def __init__(self, num_states: int, pool: PagePool) -> None:
        self._pool = pool
        self._free = list(range(num_states))
        self._known: OrderedDict[Digest, int] = OrderedDict()  # the front is given up first
        self._pinned: dict[int, int] = {}  # about to be read: how many sequences wait for it

    def take(self) -> int | None:
        """A state for a sequence; None where all are in use."""
        if self._free:
            return self._free.pop()
        for digest, state in self._known.items():
            if state not in self._pinned:
                del self._known[digest]
                return state
        return None

    def release(self, state: int) -> None:
        self._free.append(state)

    def knows(self, digest: Digest) -> int | None:
        """The state behind the text of a digest."""
        return self._known.get(digest)

    def remember(self, digest: Digest, state: int) -> None:
        """Notes what a taken state has read; of equal ones one is kept."""
        if digest in self._known:
            self._free.append(state)
        else:
            self._known[digest] = state

    # ---- what a sequence goes on from ----

    def reuse(self, sequence: Sequence) -> tuple[list[int], int] | None:
        """Holds the pages of its longest beginning whose state is known, and takes a state for it:
        pages and how many tokens they hold; None where no state is left."""
        pool, size = self._pool, self._pool.page_size
        sequence.digests = pool.digests(sequence.tokens, sequence.digests, root=sequence.root)
        last = len(sequence.tokens) - 1  # is computed in any case, for its logits
        pages: list[int] = []
        source = -1
        if not sequence.wants_prompt_logprobs:
            pages = pool.find(sequence.digests[: last // size])
            while pages and (
                (found := self.knows(sequence.digests[len(pages) - 1])) is None
                or not pool.can_go_on(pages, len(pages) * size)
            ):
                pages.pop()
            if pages and found is not None:
                source = found
                self._known.move_to_end(sequence.digests[len(pages) - 1])
        self._pin(source)
        state = self.take()
        if state is None:
            self._unpin(source)
            return None
        for page in pages:
            pool.hold(page)
        sequence.state, sequence.state_source = state, source
        return pages, len(pages) * size

    def plan(self, sequence: Sequence) -> None:
        """Takes states for the borders that the step under way passes."""
        size, begin = self._pool.page_size, sequence.num_computed
        end = begin + sequence.num_scheduled
        borders = set(range(begin // INTERVAL * INTERVAL + INTERVAL, end + 1, INTERVAL))
        prompt_border = (sequence.num_prompt - 1) // size * size
        if begin < prompt_border <= end:
            borders.add(prompt_border)
        for border in sorted(borders):
            if (state := self.take()) is not None:
                sequence.state_saves[border] = state

    def computed(self, sequence: Sequence) -> None:
        """Makes known what the step has kept; the sequence goes on from its own state."""
        self._unpin(sequence.state_source)
        sequence.state_source = sequence.state
        size = self._pool.page_size
        for border, state in sequence.state_saves.items():
            self.remember(sequence.digests[border // size - 1], state)
        sequence.state_saves = {}

    def give_back(self, sequence: Sequence) -> None:
        if sequence.state < 0:
            return
        if sequence.state_source != sequence.state:
            self._unpin(sequence.state_source)
        self._free += [sequence.state, *sequence.state_saves.values()]
        sequence.state, sequence.state_source, sequence.state_saves = -1, -1, {}

    def _pin(self, state: int) -> None:
        if state >= 0:
            self._pinned[state] = self._pinned.get(state, 0) + 1

    def _unpin(self, state: int) -> None:
        if state not in self._pinned:
            return
        self._pinned[state] -= 1
        if not self._pinned[state]:
            del self._pinned[state]
