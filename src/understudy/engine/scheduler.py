"""Who computes what in the next step. Policy only: integers and lists, no arrays, no model.

Running answers decode first, one token each; what is left of the step's tokens goes to prompts, in the order of arrival, in
chunks. When pages run out, the answer that came last gives its pages back and is computed again later.
"""

from __future__ import annotations

from understudy.engine.pages import PagePool
from understudy.engine.sequence import Sequence

PROMPT_LOGPROB_CHUNK = 64  # rows of logits at a time: at 256,000 tokens a row has a megabyte


class Scheduler:
    """Keeps the waiting and the running sequences and picks a step's work."""

    def __init__(self, pool: PagePool, max_batch_tokens: int, max_sequences: int) -> None:
        self.pool = pool
        self.max_batch_tokens, self.max_sequences = max_batch_tokens, max_sequences
        self.waiting: list[Sequence] = []
        self.running: list[Sequence] = []

    @property
    def has_work(self) -> bool:
        return bool(self.waiting or self.running)

    def add(self, sequence: Sequence) -> None:
        self.waiting.append(sequence)
        self.waiting.sort(key=Sequence.order)

    def schedule(self) -> list[Sequence]:
        """The sequences of the next step, with `num_scheduled` set."""
        budget = self.max_batch_tokens
        step: list[Sequence] = []
        decoding = [s for s in self.running if not s.is_prefilling]
        prefilling = [s for s in self.running if s.is_prefilling]
        for sequence in sorted(decoding, key=Sequence.order) + sorted(prefilling, key=Sequence.order):
            if sequence in self.running and budget > 0:
                budget -= self._place(sequence, budget, step)
        while self.waiting and budget > 0 and len(self.running) < self.max_sequences:
            sequence = self.waiting[0]
            if self._must_wait(sequence) or not self._admit(sequence):
                break
            self.waiting.pop(0)
            self.running.append(sequence)
            budget -= self._place(sequence, budget, step)
        return [s for s in step if s in self.running]

    def _must_wait(self, sequence: Sequence) -> bool:
        """A further answer to the same prompt waits until the first has computed it, then shares its pages."""
        leader = sequence.leader
        return leader is not None and not leader.is_finished and leader.num_computed < leader.num_prompt

    def _admit(self, sequence: Sequence) -> bool:
        """Takes over pages that already hold the beginning; False when there is no room to start."""
        pool = self.pool
        sequence.digests = pool.digests(sequence.tokens, sequence.digests)
        reusable = (len(sequence.tokens) - 1) // pool.page_size  # the last token is computed in any case
        shared = [] if sequence.wants_prompt_logprobs else pool.find(sequence.digests[:reusable])
        for page in shared:
            pool.hold(page)
        if pool.num_free < 1 and len(shared) * pool.page_size <= len(sequence.tokens):
            pool.release(shared)
            return False
        sequence.pages = shared
        sequence.num_computed = len(shared) * pool.page_size
        if sequence.num_generated == 0:
            sequence.num_cached = sequence.num_computed
        return True

    def _place(self, sequence: Sequence, budget: int, step: list[Sequence]) -> int:
        """Puts a sequence into the step with as many tokens as fit; returns how many."""
        wanted = len(sequence.tokens) - sequence.num_computed
        if sequence.wants_prompt_logprobs:
            wanted = min(wanted, PROMPT_LOGPROB_CHUNK)
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
        step.append(sequence)
        return count + len(sequence.drafts)

    def _make_room(self, sequence: Sequence, step: list[Sequence]) -> bool:
        """Lets the last comer give its pages back; False when that is `sequence` itself."""
        victim = max(self.running, key=Sequence.order)
        if victim is sequence:
            return False
        self.running.remove(victim)
        if victim in step:
            step.remove(victim)
        self.pool.release(victim.pages)
        victim.pages, victim.num_computed, victim.num_scheduled = [], 0, 0
        self.add(victim)
        return True

    def computed(self, sequence: Sequence, count: int) -> None:
        """Notes that `count` more tokens are in the cache, and makes its full pages known."""
        sequence.num_computed += count
        sequence.num_scheduled = 0
        sequence.digests = self.pool.digests(sequence.tokens[: sequence.num_computed], sequence.digests)
        full = sequence.num_computed // self.pool.page_size
        for page, digest in zip(sequence.pages[:full], sequence.digests[:full], strict=False):
            self.pool.remember(page, digest)
        extra = sequence.pages[self.pool.pages_for(sequence.num_computed + 1) :]
        if extra:  # pages that only rejected guesses had needed
            sequence.pages = sequence.pages[: -len(extra)]
            self.pool.release(extra)

    def remove(self, sequence: Sequence) -> None:
        """Takes a sequence out and gives its pages back; what they hold stays known."""
        sequence.is_finished = True
        if sequence in self.running:
            self.running.remove(sequence)
        if sequence in self.waiting:
            self.waiting.remove(sequence)
        self.pool.release(sequence.pages)
        sequence.pages = []
