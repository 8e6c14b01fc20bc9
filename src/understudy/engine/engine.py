"""The engine: takes requests, runs steps, hands out what each step added. See the package's docstring for its use."""

from __future__ import annotations

import itertools
import secrets
import time
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from understudy.engine.breakers import Breakers
from understudy.engine.limits import as_ids, check_prompt
from understudy.engine.output import FinishReason, Output, Timing, TokenLogprob, Usage
from understudy.engine.pages import PagePool
from understudy.engine.request import Request
from understudy.engine.sampler import sample_next, score_prompt, settings_of
from understudy.engine.scheduler import Scheduler
from understudy.engine.sequence import Sequence
from understudy.engine.stops import StopFilter
from understudy.errors import UsageError
from understudy.text import StreamDecoder, Tokenizer


class StepRunner(Protocol):
    """What the engine needs of a model: `Runner`, or a fake in tests."""

    page_size: int
    num_pages: int

    def step(self, sequences: list[Sequence], logit_counts: list[int]) -> NDArray[np.float32]: ...

    def copy_page(self, source: int, target: int) -> None: ...


@dataclass(slots=True)
class _Added:
    """What a step adds to one answer, and how it ends, if it does."""

    text: str = ""
    new: list[TokenLogprob] = field(default_factory=list)
    reason: FinishReason | None = None
    stop: str | int | None = None
    error: str | None = None


class Engine:
    """Many requests over one model. Not for several threads at a time: `Driver` owns it.

    Args:
        runner: the model and its cache.
        tokenizer: for the text of answers and the tokens that end them.
        context: longest prompt plus answer, in tokens.
        vocab_size: of the model, which may have more rows than the tokenizer has entries; default the tokenizer's.
        max_batch_tokens: most tokens of one step: longer prompts are cut into chunks of at most this.
        max_sequences: most answers under way at once; others wait.
        speculate: tokens to guess from the text so far and check in one step; 0 switches it off. It never changes a text.

    Raises:
        UsageError: a setting is out of range.
    """

    def __init__(
        self,
        runner: StepRunner,
        tokenizer: Tokenizer,
        *,
        context: int,
        vocab_size: int | None = None,
        max_batch_tokens: int = 512,
        max_sequences: int = 64,
        speculate: int = 0,
    ) -> None:
        _check("context", context, 1, 1 << 30)
        _check("max_batch_tokens", max_batch_tokens, 1, 1 << 20)
        _check("max_sequences", max_sequences, 1, 1 << 20)
        _check("speculate", speculate, 0, 64)
        self.runner, self.tokenizer = runner, tokenizer
        self.vocab_size = vocab_size or tokenizer.vocab_size
        self.context = min(context, runner.num_pages * runner.page_size)
        self.speculate = speculate
        self.pool = PagePool(runner.num_pages, runner.page_size)
        self.scheduler = Scheduler(self.pool, max_batch_tokens, max_sequences, runner.copy_page)
        self._ids, self._breakers = itertools.count(), Breakers(tokenizer)
        self._pending: list[Output] = []

    @property
    def has_work(self) -> bool:
        return self.scheduler.has_work or bool(self._pending)

    # ---- requests ----

    def add(self, request: Request) -> int:
        """Queues a request and returns its id.

        Raises:
            UsageError: an empty prompt, or a token outside the vocabulary.
            ContextError: prompt and answer do not fit the context, and `overflow` is "refuse".
        """
        prompt, dropped = self._fit(request)
        id = next(self._ids)
        seed = request.params.seed if request.params.seed is not None else secrets.randbits(63)
        leader: Sequence | None = None
        for index in range(request.params.n):
            sequence = self._sequence(request, id, index, list(prompt), seed + index)
            sequence.num_dropped, sequence.leader = dropped, leader
            leader = leader or sequence
            added = _Added()
            self._take_forced(sequence, added)
            if added.reason is None:
                self.scheduler.add(sequence)
            if added.new or added.reason is not None:
                self._pending.append(self._output(sequence, added))
        return id

    def _sequence(
        self, request: Request, id: int, index: int, prompt: list[int], seed: int
    ) -> Sequence:
        params = request.params
        eos = () if params.ignore_eos else self.tokenizer.eos_ids
        return Sequence(
            id,
            index,
            prompt,
            len(prompt),
            params,
            settings_of(params, seed, self._breakers.of(params)),
            StreamDecoder(self.tokenizer, continues=request.continues),
            StopFilter(params.stop),
            frozenset((*eos, *params.stop_token_ids)),
            self.context
            if params.max_tokens is None
            else min(self.context, len(prompt) + params.max_tokens),
            mask=request.make_mask() if request.make_mask is not None else None,
            priority=request.priority,
            timing=Timing(added=time.perf_counter()),
        )

    def _fit(self, request: Request) -> tuple[list[int], int]:
        """The prompt as it will be used, and how many tokens of it were dropped as the caller allowed."""
        prompt = as_ids(request.prompt)
        room = check_prompt(
            prompt,
            request.params,
            request.overflow,
            context=self.context,
            vocab_size=self.vocab_size,
        )
        kept = prompt[:room] if request.overflow == "keep_start" else prompt[-room:]
        return kept, len(prompt) - room

    def cancel(self, id: int) -> None:
        """Ends a request; its last outputs, with reason "cancelled", come with the next step."""
        for sequence in [
            s for s in (*self.scheduler.running, *self.scheduler.waiting) if s.id == id
        ]:
            self._pending.append(self._output(sequence, _Added(reason="cancelled")))

    # ---- steps ----

    def step(self) -> list[Output]:
        """Computes one step and returns what it added; an empty list when only prompts went on."""
        outputs, self._pending = self._pending, []
        if self.speculate:
            for sequence in self.scheduler.running:
                self._guess(sequence)
        step = self.scheduler.schedule()
        if not step:
            return outputs
        counts = [self._logit_count(sequence) for sequence in step]
        rows = self.runner.step(step, counts)
        at = 0
        for sequence, count in zip(step, counts, strict=True):
            output = self._advance(sequence, rows[at : at + count])
            at += count
            if output is not None:
                outputs.append(output)
        return outputs

    def _guess(self, sequence: Sequence) -> None:
        room = sequence.max_total - len(sequence.tokens) - 1
        is_ready = not sequence.is_prefilling and sequence.num_generated > 0 and room > 0
        sequence.drafts = (
            sequence.drafter.draft(sequence.tokens, min(self.speculate, room)) if is_ready else []
        )

    @staticmethod
    def _logit_count(sequence: Sequence) -> int:
        reaches_end = sequence.num_computed + sequence.num_scheduled == len(sequence.tokens)
        if sequence.wants_prompt_logprobs:
            return sequence.num_scheduled
        return 1 + len(sequence.drafts) if reaches_end else 0

    def _advance(self, sequence: Sequence, rows: NDArray[np.float32]) -> Output | None:
        """Takes the step's result over: tokens in the cache, prompt scores, sampled tokens."""
        first, count, drafts = sequence.num_computed, sequence.num_scheduled, sequence.drafts
        sequence.drafts = []
        if sequence.wants_prompt_logprobs:
            self._score_prompt(sequence, rows, first)
        if first + count < len(sequence.tokens):
            self.scheduler.computed(sequence, count)
            return None
        added = _Added()
        self._sample(sequence, rows[len(rows) - 1 - len(drafts) :], drafts, added)
        self.scheduler.computed(sequence, count + max(0, len(added.new) - 1))
        if added.reason is None:
            self._take_forced(sequence, added)
        return self._output(sequence, added)

    def _sample(
        self, sequence: Sequence, rows: NDArray[np.float32], drafts: list[int], added: _Added
    ) -> None:
        """Samples from the first row, and from each further one as long as the guess before it was right."""
        sequence.num_drafted += len(drafts)
        for i, row in enumerate(rows):
            try:
                chosen = sample_next(row, sequence)
            except (
                Exception
            ) as error:  # a mask is foreign code, and one broken request must not end the others
                added.reason, added.error = "error", str(error) or type(error).__name__
                return
            self._append(sequence, chosen, added)
            is_guessed = i < len(drafts) and drafts[i] == chosen.token
            sequence.num_accepted += is_guessed
            if added.reason is not None or not is_guessed:
                return

    def _score_prompt(self, sequence: Sequence, rows: NDArray[np.float32], first: int) -> None:
        if not sequence.prompt_logprobs:
            sequence.prompt_logprobs.append(None)  # nothing comes before the first token
        del sequence.prompt_logprobs[
            first + 1 :
        ]  # computed a second time after its pages were taken
        sequence.prompt_logprobs += score_prompt(rows, sequence, first)
        del sequence.prompt_logprobs[sequence.num_prompt :]

    def _append(
        self, sequence: Sequence, chosen: TokenLogprob, added: _Added, *, is_forced: bool = False
    ) -> None:
        """Adds a token to an answer: what text it makes certain and whether it ends the answer."""
        now, token = time.perf_counter(), chosen.token
        if (
            not is_forced
        ):  # what a grammar forces is there at once and says nothing about the prompt
            sequence.timing.first_token = sequence.timing.first_token or now
        sequence.timing.last_token = now
        sequence.tokens.append(token)
        added.new.append(chosen)
        if token in sequence.stop_token_ids:
            added.reason, added.stop = "stop", token
            return
        is_text = (
            token < self.tokenizer.vocab_size
        )  # else one of the rows that only pad the model's matrix
        text, stop = sequence.stops.push(sequence.decoder.push(token) if is_text else "")
        added.text += text
        if stop is not None:
            added.reason, added.stop = "stop", stop
        elif len(sequence.tokens) >= sequence.max_total:
            added.reason = "length"

    def _take_forced(self, sequence: Sequence, added: _Added) -> None:
        """Appends the tokens that the grammar leaves no choice about; the next step computes them like a prompt."""
        mask = sequence.mask
        if mask is None:
            return
        try:
            for token in mask.forced(sequence.generated):
                if not 0 <= token < self.vocab_size:
                    raise ValueError(
                        f"the mask forces token {token}, which is outside the vocabulary"
                    )
                self._append(sequence, TokenLogprob(token, 0.0), added, is_forced=True)
                if added.reason is not None:
                    return
            if mask.is_finished:
                added.reason = "stop"
        except Exception as error:  # as in _sample
            added.reason, added.error = "error", str(error) or type(error).__name__

    # ---- outputs ----

    def _output(self, sequence: Sequence, added: _Added) -> Output:
        """The output of one step; the last one also takes the sequence out and lets go of held back text."""
        usage = None
        if added.reason is not None:
            self.scheduler.remove(sequence)
            if not isinstance(added.stop, str):
                tail, stop = sequence.stops.push(sequence.decoder.finish())
                added.text += tail + ("" if stop is not None else sequence.stops.finish())
            usage = self._usage(sequence)
        prompt = None
        wants_prompt = (
            sequence.params.prompt_logprobs is not None and not sequence.has_posted_prompt
        )
        if wants_prompt and (usage is not None or not sequence.wants_prompt_logprobs):
            prompt, sequence.has_posted_prompt = tuple(sequence.prompt_logprobs), True
        return Output(
            sequence.id,
            sequence.index,
            added.text,
            tuple(entry.token for entry in added.new),
            tuple(added.new) if sequence.params.logprobs is not None else (),
            prompt,
            added.reason,
            added.stop,
            added.error,
            usage,
        )

    @staticmethod
    def _usage(sequence: Sequence) -> Usage:
        timing = sequence.timing
        has_token = timing.first_token > 0
        return Usage(
            sequence.num_prompt,
            sequence.num_cached or 0,
            sequence.num_generated,
            sequence.num_dropped,
            sequence.num_drafted,
            sequence.num_accepted,
            timing.first_token - timing.added if has_token else 0.0,
            timing.last_token - timing.first_token if has_token else 0.0,
        )


def _check(name: str, value: int, low: int, high: int) -> None:
    if type(value) is not int or not low <= value <= high:
        raise UsageError(
            "setting is out of range",
            where=name,
            expected=f"a whole number from {low} to {high}",
            found=value,
        )
