"""The engine: takes requests, runs steps, hands out what each step added. See the package's docstring for its use."""

from __future__ import annotations

import itertools
import secrets
import time
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from understudy.engine import speculation
from understudy.engine.output import FinishReason, Output, Timing, TokenLogprob, Usage
from understudy.engine.pages import PagePool
from understudy.engine.request import Request
from understudy.engine.sampler import sample_next, score_prompt
from understudy.engine.scheduler import Scheduler
from understudy.engine.sequence import Sequence
from understudy.engine.stops import StopFilter
from understudy.errors import ContextError, UsageError
from understudy.text import StreamDecoder, Tokenizer


class StepRunner(Protocol):
    """What the engine needs of a model: `Runner`, or a fake in tests."""

    page_size: int
    num_pages: int

    def step(self, sequences: list[Sequence], logit_counts: list[int]) -> NDArray[np.float32]: ...


class Engine:
    """Many requests over one model.

    Args:
        runner: the model and its cache.
        tokenizer: for the text of answers and the tokens that end them.
        context: longest prompt plus answer, in tokens.
        max_batch_tokens: most tokens of one step: longer prompts are cut into chunks of at most this.
        max_sequences: most answers under way at once; others wait.
        speculate: tokens to guess from the text so far and check in one step; 0 switches it off. It never changes a text.
    """

    def __init__(
        self,
        runner: StepRunner,
        tokenizer: Tokenizer,
        *,
        context: int,
        max_batch_tokens: int = 512,
        max_sequences: int = 64,
        speculate: int = 0,
    ) -> None:
        self.runner, self.tokenizer = runner, tokenizer
        self.context = min(context, runner.num_pages * runner.page_size)
        self.speculate = speculate
        self.pool = PagePool(runner.num_pages, runner.page_size)
        self.scheduler = Scheduler(self.pool, max_batch_tokens, max_sequences)
        self._ids = itertools.count()
        self._early: list[Output] = []

    @property
    def has_work(self) -> bool:
        return self.scheduler.has_work or bool(self._early)

    # ---- requests ----

    def add(self, request: Request) -> int:
        """Queues a request and returns its id.

        Raises:
            UsageError: an empty prompt, or a token outside the vocabulary.
            ContextError: prompt and answer do not fit the context, and `overflow` is "refuse".
        """
        prompt, dropped = self._fit(request)
        id = next(self._ids)
        params = request.params
        seed = params.seed if params.seed is not None else secrets.randbits(63)
        eos = () if params.ignore_eos else self.tokenizer.eos_ids
        most = self.context if params.max_tokens is None else min(self.context, len(prompt) + params.max_tokens)
        leader: Sequence | None = None
        for index in range(params.n):
            sequence = Sequence(
                id,
                index,
                list(prompt),
                len(prompt),
                params,
                seed + index,
                StreamDecoder(self.tokenizer),
                StopFilter(params.stop),
                frozenset((*eos, *params.stop_token_ids)),
                most,
                mask=request.make_mask() if request.make_mask is not None else None,
                priority=request.priority,
                num_dropped=dropped,
                leader=leader,
                timing=Timing(added=time.perf_counter()),
            )
            leader = leader or sequence
            self._take_forced(sequence)
            self.scheduler.add(sequence)
        return id

    def _fit(self, request: Request) -> tuple[list[int], int]:
        prompt = [int(token) for token in request.prompt]
        if not prompt:
            raise UsageError("the prompt is empty", do="give at least one token")
        bad = next((token for token in prompt if not 0 <= token < self.tokenizer.vocab_size), None)
        if bad is not None:
            raise UsageError("token is outside the vocabulary", expected=f"0 to {self.tokenizer.vocab_size - 1}", found=bad)
        reserve = request.params.max_tokens or 1
        room = self.context - reserve
        if len(prompt) <= room:
            return prompt, 0
        if request.overflow == "refuse" or room < 1:
            raise ContextError(
                "prompt and answer do not fit the context",
                expected=f"at most {self.context} tokens",
                found=f"{len(prompt)} of the prompt and {reserve} for the answer",
                do="shorten the prompt, ask for fewer tokens, or choose an overflow policy",
            )
        kept = prompt[:room] if request.overflow == "keep_start" else prompt[-room:]
        return kept, len(prompt) - room

    def cancel(self, id: int) -> None:
        """Ends a request; its last outputs, with reason "cancelled", come with the next step."""
        for sequence in [s for s in (*self.scheduler.running, *self.scheduler.waiting) if s.id == id]:
            self._early.append(self._finished(sequence, "cancelled"))

    # ---- steps ----

    def step(self) -> list[Output]:
        """Computes one step and returns what it added; an empty list when only prompts went on."""
        outputs, self._early = self._early, []
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
        is_ready = not sequence.is_prefilling and sequence.num_generated > 0
        sequence.drafts = speculation.draft(sequence.tokens, min(self.speculate, room)) if is_ready and room > 0 else []

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
        reaches_end = first + count == len(sequence.tokens)
        if not reaches_end:
            self.scheduler.computed(sequence, count)
            return None
        new: list[TokenLogprob] = []
        reason: FinishReason | None = None
        stop: str | int | None = None
        text = ""
        sequence.num_drafted += len(drafts)
        for i, row in enumerate(rows[len(rows) - 1 - len(drafts) :]):
            try:
                chosen = sample_next(row, sequence)
            except ValueError as error:
                self.scheduler.computed(sequence, count)
                return self._finished(sequence, "error", error=str(error))
            piece, reason, stop = self._append(sequence, chosen)
            text += piece
            new.append(chosen)
            is_guessed = i < len(drafts) and drafts[i] == chosen.token
            sequence.num_accepted += is_guessed
            if reason is not None or not is_guessed:
                break
        self.scheduler.computed(sequence, count + len(new) - 1)
        if reason is not None:
            return self._finished(sequence, reason, text, new, stop)
        text += self._take_forced(sequence)
        if sequence.mask is not None and sequence.mask.is_finished:
            return self._finished(sequence, "stop", text, new)
        return self._output(sequence, text, new)

    def _score_prompt(self, sequence: Sequence, rows: NDArray[np.float32], first: int) -> None:
        if not sequence.prompt_logprobs:
            sequence.prompt_logprobs.append(None)  # nothing comes before the first token
        del sequence.prompt_logprobs[first + 1 :]  # computed a second time after its pages were taken
        sequence.prompt_logprobs += score_prompt(rows, sequence, first)
        del sequence.prompt_logprobs[sequence.num_prompt :]

    def _append(self, sequence: Sequence, chosen: TokenLogprob) -> tuple[str, FinishReason | None, str | int | None]:
        """Adds a token; says what text it made certain and whether it ends the answer."""
        now = time.perf_counter()
        if sequence.num_generated == 0:
            sequence.timing.first_token = now
        sequence.timing.last_token = now
        sequence.tokens.append(chosen.token)
        if chosen.token in sequence.stop_token_ids:
            return "", "stop", chosen.token
        text, stop = sequence.stops.push(sequence.decoder.push(chosen.token))
        if stop is not None:
            return text, "stop", stop
        return text, "length" if len(sequence.tokens) >= sequence.max_total else None, None

    def _take_forced(self, sequence: Sequence) -> str:
        """Appends the tokens that the grammar leaves no choice about; the next step computes them like a prompt."""
        if sequence.mask is None:
            return ""
        text = ""
        for token in sequence.mask.forced(sequence.generated):
            if len(sequence.tokens) + 1 >= sequence.max_total:
                break
            sequence.tokens.append(token)
            piece, _ = sequence.stops.push(sequence.decoder.push(token))
            text += piece
        return text

    # ---- outputs ----

    def _output(self, sequence: Sequence, text: str, new: list[TokenLogprob]) -> Output:
        prompt = None
        if sequence.params.prompt_logprobs is not None and sequence.num_generated <= max(1, len(new)):
            prompt = tuple(sequence.prompt_logprobs)
        logprobs = tuple(new) if sequence.params.logprobs is not None else ()
        return Output(sequence.id, sequence.index, text, tuple(t.token for t in new), logprobs, prompt)

    def _finished(
        self,
        sequence: Sequence,
        reason: FinishReason,
        text: str = "",
        new: list[TokenLogprob] | None = None,
        stop: str | int | None = None,
        error: str | None = None,
    ) -> Output:
        self.scheduler.remove(sequence)
        if reason != "stop" or not isinstance(stop, str):
            tail, met = sequence.stops.push(sequence.decoder.finish())
            text += tail + ("" if met else sequence.stops.finish())
        partial = self._output(sequence, text, new or [])
        return Output(
            partial.id, partial.index, text, partial.new_tokens, partial.logprobs, partial.prompt_logprobs,
            reason, stop, error, self._usage(sequence),
        )  # fmt: skip

    @staticmethod
    def _usage(sequence: Sequence) -> Usage:
        timing = sequence.timing
        has_token = sequence.num_generated > 0 and timing.first_token > 0
        return Usage(
            sequence.num_prompt,
            sequence.num_cached,
            sequence.num_generated,
            sequence.num_dropped,
            sequence.num_drafted,
            sequence.num_accepted,
            timing.first_token - timing.added if has_token else 0.0,
            timing.last_token - timing.first_token if has_token else 0.0,
        )
