"""The only caller of `core.step`: turns a step's sequences into five integer arrays and crosses the
border once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from understudy import core
from understudy.engine.adapters import NO_ADAPTERS, ActiveAdapters
from understudy.engine.scoring import Piece
from understudy.engine.sequence import Sequence
from understudy.spec import KvFormat


class Runner:
    """A core model with its cache.

    Args:
        model: packed weights ready to run.
        num_pages: pages of the cache; a page holds `core.PAGE_SIZE` positions.
        num_states: states of recurrent layers; 0 for a model without them.
    """

    def __init__(
        self,
        model: core.CoreModel,
        num_pages: int,
        kv_format: KvFormat = "f16",
        num_states: int = 0,
    ) -> None:
        self.model, self.num_states = model, num_states
        self.cache = core.new_cache(model, num_pages, kv_format, num_states)
        self.page_size, self.num_pages = core.PAGE_SIZE, num_pages

    def step(self, sequences: list[Sequence], logit_counts: list[int]) -> NDArray[np.float32]:
        """Computes `num_scheduled` tokens and the drafts of each sequence.

        Args:
            logit_counts: for each sequence how many of its last rows are wanted.

        Returns:
            The wanted rows of logits, sequence by sequence: (rows, vocab) float32.
        """
        tokens: list[int] = []
        positions: list[int] = []
        slots: list[int] = []
        rows: list[int] = []
        for slot, (sequence, wanted) in enumerate(zip(sequences, logit_counts, strict=True)):
            first = sequence.num_computed
            chunk = sequence.tokens[first : first + sequence.num_scheduled] + sequence.drafts
            tokens += chunk
            positions += range(first, first + len(chunk))
            slots += [slot] * len(chunk)
            rows += range(len(tokens) - wanted, len(tokens))
        tables = np.full((len(sequences), max(len(s.pages) for s in sequences)), -1, np.int32)
        for slot, sequence in enumerate(sequences):
            tables[slot, : len(sequence.pages)] = sequence.pages
        return core.step(
            self.model,
            self.cache,
            np.asarray(tokens, np.int32),
            np.asarray(positions, np.int32),
            np.asarray(slots, np.int32),
            tables,
            np.asarray(rows, np.int32),
            _sets([sequence.frequency_set for sequence in sequences]),
            _packed([sequence.adapters for sequence in sequences]),
            states=self._states([(s.state_source, s.state) for s in sequences]),
            state_saves=self._saves(sequences, slots, positions),
        )

    def _states(self, pairs: list[tuple[int, int]]) -> NDArray[np.int32] | None:
        return np.asarray(pairs, np.int32) if self.num_states else None

    def _saves(
        self, sequences: list[Sequence], slots: list[int], positions: list[int]
    ) -> NDArray[np.int32] | None:
        """By token of the step, which state is kept behind it as well."""
        if not any(sequence.state_saves for sequence in sequences):
            return None
        wanted = [sequence.state_saves for sequence in sequences]
        pairs = zip(slots, positions, strict=True)
        return np.asarray([wanted[slot].get(at + 1, -1) for slot, at in pairs], np.int32)

    def copy_page(self, source: int, target: int) -> None:
        """Copies the keys and values of one page over those of another."""
        core.copy_pages(self.cache, np.asarray([source], np.int32), np.asarray([target], np.int32))

    def rows(
        self,
        pieces: list[Piece],
        frequency_set: int = 0,
        adapters: ActiveAdapters = NO_ADAPTERS,
    ) -> NDArray[np.float32]:
        """Computes stretches of texts, all under the same frequencies and adapters, and returns the
        rows of logits they want, piece by piece: (rows, vocab) float32.
        """
        tokens: list[int] = []
        positions: list[int] = []
        slots: list[int] = []
        rows: list[int] = []
        for slot, piece in enumerate(pieces):
            rows += [len(tokens) + position - piece.first for position in piece.wanted]
            tokens += piece.tokens
            positions += range(piece.first, piece.first + len(piece.tokens))
            slots += [slot] * len(piece.tokens)
        tables = np.full((len(pieces), max(len(piece.pages) for piece in pieces)), -1, np.int32)
        for slot, piece in enumerate(pieces):
            tables[slot, : len(piece.pages)] = piece.pages
        return core.step(
            self.model,
            self.cache,
            np.asarray(tokens, np.int32),
            np.asarray(positions, np.int32),
            np.asarray(slots, np.int32),
            tables,
            np.asarray(rows, np.int32),
            _sets([frequency_set] * len(pieces)),
            _packed([adapters] * len(pieces)),
            states=self._states([(p.state if p.first else -1, p.state) for p in pieces]),
        )


class AdaptedRunner:
    """A runner of texts that are scored, all under the same adapters."""

    def __init__(self, runner: Runner, adapters: ActiveAdapters) -> None:
        self._runner, self._adapters = runner, adapters
        self.copy_page = runner.copy_page

    def rows(self, pieces: list[Piece], frequency_set: int = 0) -> NDArray[np.float32]:
        """See `Runner.rows`."""
        return self._runner.rows(pieces, frequency_set, self._adapters)

    def logits(
        self,
        tokens: list[int],
        pages: list[int],
        first: int,
        count: int,
        frequency_set: int = 0,
        state: int = -1,
    ) -> NDArray[np.float32]:
        """Computes tokens first … first + count - 1 of one text whose earlier tokens are in `pages`
        and `state`: (count, vocab).
        """
        wanted = range(first, first + count)
        piece = Piece(tokens[first : first + count], first, pages, wanted, state)
        return self.rows([piece], frequency_set)


def _packed(by_sequence: list[ActiveAdapters]) -> list[core.AdapterMix | None] | None:
    """What the core is told of adapters: nothing where no sequence has any."""
    if not any(active.parts for active in by_sequence):
        return None
    return [active.packed for active in by_sequence]


def _sets(by_sequence: list[int]) -> list[int] | None:
    """What the core is told of frequencies: nothing where all sequences turn by the first."""
    return by_sequence if any(by_sequence) else None
