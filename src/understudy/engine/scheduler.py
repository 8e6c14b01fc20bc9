"""Who computes what in the next step. Policy only: integers and lists, no arrays, no model.

Running answers decode first, one token each; what is left of the step's tokens goes to prompts, in
the order of arrival, in chunks. When pages run out, the answer that came last gives its pages back
and is computed again later.
"""

from __future__ import annotations

from collections.abc import Callable

from understudy.engine.pages import PagePool
from understudy.engine.prefixes import PrefixCache
from understudy.engine.sequence import Sequence
from understudy.engine.states import StateKeeper

PROMPT_LOGPROB_ROWS = (
    64  # of all prompts of a step together: at 256,000 tokens a row of logits has a megabyte
)


class Scheduler:
    """Keeps the waiting and the running sequences and picks a step's work.

    Args:
        max_batch_tokens, max_sequences: most tokens of a step, most sequences that hold pages.
        copy_page: called with (source, target) when a sequence goes on from the middle of a page
        that is not its own.
    """

    def __init__(
        self,
        pool: PagePool,
        max_batch_tokens: int,
        max_sequences: int,
        copy_page: Callable[[int, int], None],
    ) -> None:
        self.pool = pool
        self.max_batch_tokens, self.max_sequences = max_batch_tokens, max_sequences
        self.waiting: list[Sequence] = []
        self.running: list[Sequence] = []
        self._prefixes = PrefixCache(pool, copy_page)
        self.short_context: int | None = None  # longer texts turn otherwise
        self.states: StateKeeper | None = None  # of a model with recurrent layers
        self._rows_left = 0

    @property
    def has_work(self) -> bool:
        return bool(self.waiting or self.running)

    def frequency_set(self, num_tokens: int) -> int:  # see `core.step`
        return int(self.short_context is not None and num_tokens > self.short_context)

    def add(self, sequence: Sequence) -> None:
        sequence.turn_by(self.frequency_set(len(sequence.tokens)))
        self.waiting.append(sequence)
        self.waiting.sort(key=Sequence.order)

    def schedule(self) -> list[Sequence]:
        """The sequences of the next step, with `num_scheduled` set."""
        budget, self._rows_left = self.max_batch_tokens, PROMPT_LOGPROB_ROWS
        step: list[Sequence] = []
        for sequence in list(self.running):
            if sequence.frequency_set != self.frequency_set(len(sequence.tokens)):
                self._put_back(sequence)  # it has outgrown its keys, and is computed anew
        for sequence in sorted(self.running, key=lambda s: (s.is_prefilling, s.order())):
            if sequence in self.running and budget > 0:
                budget -= self._place(sequence, budget, step)
        for sequence in list(self.waiting):
            if budget <= 0 or len(self.running) >= self.max_sequences:
                break
            if self._must_wait(sequence):
                continue
            if not self._admit(sequence, step):
                break
            self.waiting.remove(sequence)
            self.running.append(sequence)
            budget -= self._place(sequence, budget, step)
        if self.states is not None:
            for sequence in step:
                self.states.plan(sequence)
        return step

    def _must_wait(self, sequence: Sequence) -> bool:
        """A further answer to the same prompt waits until the first has computed it, then shares
        its pages.
        """
        leader = sequence.leader
        return (
            leader is not None
            and not leader.is_finished
            and leader.num_computed < leader.num_prompt
        )

    def _admit(self, sequence: Sequence, step: list[Sequence]) -> bool:
        """Takes over what the cache already holds of a sequence; False when there is no room to
        start.
        """
        pool, leader = self.pool, sequence.leader
        if pool.num_free == 0 and not self._make_room(sequence, step):
            return False
        if (
            sequence.wants_prompt_logprobs
            and leader is not None
            and not leader.wants_prompt_logprobs
        ):
            sequence.prompt_logprobs = list(leader.prompt_logprobs)
        found = (self.states or self._prefixes).reuse(sequence)
        if found is None:
            return False
        pages, count = found
        if pool.num_free == 0 and len(pages) * pool.page_size == count:
            pool.release(pages)
            self._release_state(sequence)
            return False
        sequence.pages, sequence.num_computed = pages, count
        if pool.windows is not None:
            pool.windows.mark(pages[pool.windows.first_page(count) :])
        self._leave_behind(sequence)
        if sequence.num_cached is None:  # not when it comes back after its pages were taken
            sequence.num_cached = min(count, sequence.num_prompt)
        return True

    # ---- pages for what is to be computed ----

    def _place(self, sequence: Sequence, budget: int, step: list[Sequence]) -> int:
        """Puts a sequence into the step with as many tokens as fit; returns how many."""
        wanted = len(sequence.tokens) - sequence.num_computed
        if sequence.frequency_set == 0 and self.short_context is not None:
            sequence.drafts = sequence.drafts[: self.short_context - len(sequence.tokens)]
        if sequence.wants_prompt_logprobs:
            wanted = min(wanted, self._rows_left)
        sequence.drafts = sequence.drafts[: max(0, budget - wanted)]
        count = min(wanted, budget)
        last = sequence.num_computed + count + (len(sequence.drafts) if count == wanted else 0)
        while len(sequence.pages) < self.pool.pages_for(last):
            if self.pool.num_free == 0 and not self._make_room(sequence, step):
                break
            sequence.pages.append(self.pool.take())
        room = len(sequence.pages) * self.pool.page_size - sequence.num_computed
        count, sequence.drafts = min(count, room), sequence.drafts[: max(0, room - count)]
        if count <= 0:
            return 0
        sequence.num_scheduled = count
        if sequence.wants_prompt_logprobs:
            self._rows_left -= count
        step.append(sequence)
        return count + len(sequence.drafts)

    def _make_room(self, sequence: Sequence, step: list[Sequence]) -> bool:
        """Lets the last comer give its pages back; False when nobody comes after `sequence`."""
        victim = max(self.running, key=Sequence.order, default=sequence)
        if victim.order() <= sequence.order():
            return False
        if victim in step:
            step.remove(victim)
        self._put_back(victim)
        return True

    def _put_back(self, sequence: Sequence) -> None:
        """From the running to the waiting, without pages; what they hold stays known."""
        self.running.remove(sequence)
        self._give_back(sequence)
        sequence.num_computed, sequence.num_scheduled, sequence.drafts = 0, 0, []
        self.add(sequence)

    def computed(self, sequence: Sequence, count: int) -> None:
        """Notes that `count` more tokens are in the cache, and makes its full pages known."""
        before = sequence.num_computed
        sequence.num_computed += count
        sequence.num_scheduled = 0
        self._prefixes.note(sequence, before)
        if self.states is not None:
            self.states.computed(sequence)
        self._leave_behind(sequence)
        extra = sequence.pages[self.pool.pages_for(sequence.num_computed + 1) :]
        if extra:  # pages that only rejected guesses had needed
            sequence.pages = sequence.pages[: -len(extra)]
            self.pool.release(extra)

    def _leave_behind(self, sequence: Sequence) -> None:
        """Layers with a window give back what no token to come can see."""
        windows = self.pool.windows
        if windows is None:
            return
        first = windows.first_page(sequence.num_computed)
        for page in sequence.pages[sequence.num_left : first]:
            windows.leave(page)
        sequence.num_left = max(sequence.num_left, first)

    def remove(self, sequence: Sequence) -> None:
        """Takes a sequence out and gives its pages back; what they hold stays known."""
        sequence.is_finished = True
        if sequence in self.running:
            self.running.remove(sequence)
        if sequence in self.waiting:
            self.waiting.remove(sequence)
        self._give_back(sequence)

    def _give_back(self, sequence: Sequence) -> None:
        self._prefixes.note_last_page(sequence)
        self.pool.release(sequence.pages, sequence.num_left)
        sequence.pages, sequence.num_left = [], 0
        self._release_state(sequence)

    def _release_state(self, sequence: Sequence) -> None:
        if self.states is not None:
            self.states.give_back(sequence)
