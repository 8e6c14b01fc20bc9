"""The engine: takes requests, runs steps, hands out what each step added. See the package's
docstring for its use.
"""

from __future__ import annotations

import itertools
import secrets
import time
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from understudy.checkpoint.token_bias import NO_BIAS, TokenBias
from understudy.engine.adapters import NO_ADAPTERS, ActiveAdapters, AdapterTable
from understudy.engine.answers import AnswerBuilder, StepResult, add_prompt_scores, output_of
from understudy.engine.breakers import Breakers
from understudy.engine.limits import as_ids, check_prompt
from understudy.engine.output import Output, Timing
from understudy.engine.pages import PagePool
from understudy.engine.params import AdapterAsked, adapter_choice
from understudy.engine.request import Request
from understudy.engine.sampler import settings_of
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


class Engine:
    """Many requests over one model. Not for several threads at a time: `Driver` owns it.

    Args:
        runner: the model and its cache.
        tokenizer: for the text of answers and the tokens that end them.
        context: longest prompt plus answer, in tokens.
        vocab_size: of the model, which may have more rows than the tokenizer has entries; default
            the tokenizer's.
        max_batch_tokens: most tokens of one step: longer prompts are cut into chunks of at most
            this.
        max_sequences: most answers under way at once; others wait.
        speculate: tokens to guess from the text so far and check in one step; 0 switches it off. It
            never changes a text.
        adapters: what requests may choose; None: nothing.
        token_bias: what the checkpoint's files add to the logits of every answer.

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
        adapters: AdapterTable | None = None,
        token_bias: TokenBias = NO_BIAS,
    ) -> None:
        _check("context", context, 1, 1 << 30)
        _check("max_batch_tokens", max_batch_tokens, 1, 1 << 20)
        _check("max_sequences", max_sequences, 1, 1 << 20)
        _check("speculate", speculate, 0, 64)
        self.runner, self.tokenizer = runner, tokenizer
        self.vocab_size = vocab_size or tokenizer.vocab_size
        self.context = min(context, runner.num_pages * runner.page_size)
        self.speculate, self.adapters, self.token_bias = speculate, adapters, token_bias
        self.pool = PagePool(runner.num_pages, runner.page_size)
        self.scheduler = Scheduler(self.pool, max_batch_tokens, max_sequences, runner.copy_page)
        self.answers = AnswerBuilder(tokenizer, self.vocab_size)
        self._ids, self._breakers = itertools.count(), Breakers(tokenizer)
        self._pending: list[Output] = []

    @property
    def default_adapters(self) -> ActiveAdapters:
        """What acts on requests that choose no adapters."""
        return self.adapters.default if self.adapters else NO_ADAPTERS

    def find_adapters(self, identity: str) -> ActiveAdapters:
        """The loaded adapters of an identity. MissingError where one is not loaded."""
        return self.adapters.of_identity(identity) if self.adapters else NO_ADAPTERS

    def choose_adapters(self, asked: AdapterAsked | None) -> ActiveAdapters:
        """What acts on a request that asks for these. UsageError where one is not loaded."""
        choice = None if asked is None else adapter_choice(asked)
        return self.adapters.choose(choice) if self.adapters else NO_ADAPTERS

    @property
    def adapter_table(self) -> AdapterTable:
        """The adapters of an engine that can have some."""
        assert self.adapters is not None
        return self.adapters

    @property
    def has_work(self) -> bool:
        return self.scheduler.has_work or bool(self._pending)

    # ---- requests ----

    def add(self, request: Request) -> int:
        """Queues a request and returns its id.

        Raises:
            UsageError: an empty prompt, a token outside the vocabulary, an adapter that is not
                loaded.
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
            added = self.answers.forced(sequence)
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
            settings_of(params, seed, self._breakers.of(params), self.token_bias.steady),
            StreamDecoder(self.tokenizer, continues=request.continues, shown=request.shown),
            StopFilter(params.stop),
            frozenset((*eos, *params.stop_token_ids)),
            self.context
            if params.max_tokens is None
            else min(self.context, len(prompt) + params.max_tokens),
            mask=request.make_mask() if request.make_mask is not None else None,
            priority=request.priority,
            timing=Timing(added=time.perf_counter()),
            adapters=self.choose_adapters(params.adapter),
            token_bias=self.token_bias,
        )

    def _fit(self, request: Request) -> tuple[list[int], int]:
        """The prompt as it will be used, and how many tokens of it were dropped as the caller
        allowed.
        """
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
            self._pending.append(self._output(sequence, StepResult(reason="cancelled")))

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
            add_prompt_scores(sequence, rows, first)
        if first + count < len(sequence.tokens):
            self.scheduler.computed(sequence, count)
            return None
        added = self.answers.sampled(sequence, rows[len(rows) - 1 - len(drafts) :], drafts)
        self.scheduler.computed(sequence, count + max(0, len(added.new) - 1))
        if added.reason is None:
            self.answers.force(sequence, added)
        return self._output(sequence, added)

    def _output(self, sequence: Sequence, added: StepResult) -> Output:
        """What a step gave; the last output of a sequence takes it out."""
        if added.reason is not None:
            self.scheduler.remove(sequence)
        return output_of(sequence, added)


def _check(name: str, value: int, low: int, high: int) -> None:
    if type(value) is not int or not low <= value <= high:
        raise UsageError(
            "setting is out of range",
            where=name,
            expected=f"a whole number from {low} to {high}",
            found=value,
        )
