"""What a step adds to an answer: the tokens that are sampled or that a grammar forces, the text
that they make certain, and whether the answer ends with them.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from understudy.engine.output import FinishReason, Output, TokenLogprob, Usage
from understudy.engine.sampler import sample_next, score_prompt
from understudy.engine.sequence import Sequence
from understudy.text import Tokenizer


@dataclass(slots=True)
class StepResult:
    """What a step adds to one answer, and how it ends, if it does."""

    text: str = ""
    new: list[TokenLogprob] = field(default_factory=list)
    reason: FinishReason | None = None
    stop: str | int | None = None
    error: str | None = None

    def fail(self, error: Exception) -> None:
        """A mask is foreign code, and one broken request must not end the others."""
        self.reason, self.error = "error", str(error) or type(error).__name__


class AnswerBuilder:
    """Appends tokens to sequences. `vocab_size`: of the model; the tokenizer may know fewer."""

    def __init__(self, tokenizer: Tokenizer, vocab_size: int) -> None:
        self._num_texts, self._vocab_size = tokenizer.vocab_size, vocab_size

    def sampled(
        self, sequence: Sequence, rows: NDArray[np.float32], drafts: list[int]
    ) -> StepResult:
        """Samples from the first row, and from each further one as long as the guess before it was
        right.

        Args:
            rows: logits, float32 (1 + len(drafts), vocab_size).
        """
        added = StepResult()
        sequence.num_drafted += len(drafts)
        for i, row in enumerate(rows):
            try:
                chosen = sample_next(row, sequence)
            except Exception as error:
                added.fail(error)
                break
            self._append(sequence, chosen, added)
            is_guessed = i < len(drafts) and drafts[i] == chosen.token
            sequence.num_accepted += is_guessed
            if added.reason is not None or not is_guessed:
                break
        return added

    def forced(self, sequence: Sequence) -> StepResult:
        """What its grammar forces a new answer to begin with."""
        added = StepResult()
        self.force(sequence, added)
        return added

    def force(self, sequence: Sequence, added: StepResult) -> None:
        """Appends the tokens that the grammar leaves no choice about; the next step computes them
        like a prompt.
        """
        mask = sequence.mask
        if mask is None:
            return
        try:
            for token in mask.forced(sequence.generated):
                if not 0 <= token < self._vocab_size:
                    raise ValueError(
                        f"the mask forces token {token}, which is outside the vocabulary"
                    )
                self._append(sequence, TokenLogprob(token, 0.0), added, is_forced=True)
                if added.reason is not None:
                    return
            if mask.is_finished:
                added.reason = "stop"
        except Exception as error:
            added.fail(error)

    def _append(
        self,
        sequence: Sequence,
        chosen: TokenLogprob,
        added: StepResult,
        *,
        is_forced: bool = False,
    ) -> None:
        """Adds a token: what text it makes certain and whether it ends the answer."""
        now, token = time.perf_counter(), chosen.token
        if not is_forced:  # what a grammar forces is there at once, whatever the prompt took
            sequence.timing.first_token = sequence.timing.first_token or now
        sequence.timing.last_token = now
        sequence.tokens.append(token)
        added.new.append(chosen)
        if token in sequence.stop_token_ids:
            added.reason, added.stop = "stop", token
            return
        is_text = token < self._num_texts  # else a row that only pads the model's matrix
        text, stop = sequence.stops.push(sequence.decoder.push(token) if is_text else "")
        added.text += text
        if stop is not None:
            added.reason, added.stop = "stop", stop
        elif len(sequence.tokens) >= sequence.max_total:
            added.reason = "length"


def add_prompt_scores(sequence: Sequence, rows: NDArray[np.float32], first: int) -> None:
    """Log-probabilities of the prompt's tokens behind number `first`.

    Args:
        rows: logits of the step, float32 (tokens of the step, vocab_size).
    """
    if not sequence.prompt_logprobs:
        sequence.prompt_logprobs.append(None)  # nothing comes before the first token
    del sequence.prompt_logprobs[first + 1 :]  # computed anew after its pages were taken
    sequence.prompt_logprobs += score_prompt(rows, sequence, first)
    del sequence.prompt_logprobs[sequence.num_prompt :]


def output_of(sequence: Sequence, added: StepResult) -> Output:
    """The output of one step; the last one also lets go of text that was held back."""
    usage = None
    if added.reason is not None:
        if not isinstance(added.stop, str):
            tail, stop = sequence.stops.push(sequence.decoder.finish())
            added.text += tail + ("" if stop is not None else sequence.stops.finish())
        usage = _usage(sequence)
    prompt = None
    wants_prompt = sequence.params.prompt_logprobs is not None and not sequence.has_posted_prompt
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
