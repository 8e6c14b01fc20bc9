"""Log-likelihoods of many continuations at once: beginnings that texts share are computed once, the
rest together.

Texts that follow each other and begin alike (the choices of a question) form a group. A step takes
the beginnings of several groups, a later one what is left of their texts, each behind pages of its
group's beginning; of the logits only the rows that predict a continuation are computed. Since
results do not depend on what else is in a step, the numbers are those of one text at a time.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from understudy import core
from understudy.engine.pages import PagePool
from understudy.errors import UsageError


class Score(NamedTuple):
    """Natural log-likelihood of a continuation, and whether greedy decoding would have written
    it.
    """

    logprob: float
    is_greedy: bool


class Piece(NamedTuple):
    """Consecutive tokens of one text from position `first` on, whose earlier ones are in `pages`
    and, of recurrent layers, in `state`; rows wanted by position.
    """

    tokens: Sequence[int]
    first: int
    pages: Sequence[int]
    wanted: Sequence[int]
    state: int = -1


class PieceRunner(Protocol):
    """What scoring needs of a model: `Runner`."""

    def rows(self, pieces: list[Piece], frequency_set: int = 0) -> NDArray[np.float32]: ...

    def copy_page(self, source: int, target: int) -> None: ...


@dataclass(slots=True)
class _Text:
    """`tokens` are what is computed: all but the last. Row `first_row + i` predicts target i."""

    tokens: list[int]
    targets: list[int]
    logprobs: list[float] = field(default_factory=list)
    is_greedy: bool = True

    @property
    def first_row(self) -> int:
        return len(self.tokens) - len(self.targets)


@dataclass(slots=True)
class _Group:
    """Texts whose first `shared` tokens are the same."""

    texts: list[_Text]
    shared: int
    pages: list[int] = field(default_factory=list)

    def num_pages(self, size: int) -> int:
        own = sum(
            -(-len(text.tokens) // size) - self.shared // size
            for text in self.texts
            if len(text.tokens) > self.shared
        )
        return -(-self.shared // size) + own


@dataclass(slots=True)
class _Work:
    """A stretch of one text to compute, and the texts that its rows are for."""

    tokens: list[int]
    first: int
    pages: list[int]
    texts: list[_Text]

    def wanted(self) -> list[int]:
        end = self.first + len(self.tokens)
        rows = {
            row
            for text in self.texts
            for row in range(max(self.first, text.first_row), min(end, len(text.tokens)))
        }
        return sorted(rows)


@dataclass(frozen=True, slots=True)
class Limits:
    """Most tokens and most rows of logits of one step (at 256,000 tokens a row has a megabyte)."""

    tokens: int
    rows: int


def score_continuations(
    runner: PieceRunner,
    pool: PagePool,
    pairs: Sequence[tuple[Sequence[int], Sequence[int]]],
    limits: Limits,
    short_context: int | None = None,
    state: int | None = None,
) -> list[Score]:
    """Scores (context, continuation) pairs of token ids, each of at least one token.

    Args:
        short_context: texts up to this length turn by other rotary frequencies than longer ones.
        state: of a model with recurrent layers, which then reads one text after the other.

    Raises:
        UsageError: not even one text finds room in the cache.
    """
    texts = [
        _Text([*context, *continuation][:-1], list(continuation)) for context, continuation in pairs
    ]
    if state is not None:
        for text in texts:
            _score([text], _OneState(runner, state), pool, limits)
        return [Score(math.fsum(text.logprobs), text.is_greedy) for text in texts]
    longest = max((len(text.tokens) for text in texts), default=0)
    last = longest if short_context is None else short_context
    _score([text for text in texts if len(text.tokens) <= last], runner, pool, limits)
    _score([text for text in texts if len(text.tokens) > last], _Long(runner), pool, limits)
    return [Score(math.fsum(text.logprobs), text.is_greedy) for text in texts]


class _Long:
    """A runner under the frequencies of long texts."""

    def __init__(self, runner: PieceRunner) -> None:
        self._runner, self.copy_page = runner, runner.copy_page

    def rows(self, pieces: list[Piece], frequency_set: int = 1) -> NDArray[np.float32]:
        return self._runner.rows(pieces, frequency_set)


class _OneState:
    """A runner whose pieces, one a step, go on from one state."""

    def __init__(self, runner: PieceRunner, state: int) -> None:
        self._runner, self._state, self.copy_page = runner, state, runner.copy_page

    def rows(self, pieces: list[Piece], frequency_set: int = 0) -> NDArray[np.float32]:
        return self._runner.rows([p._replace(state=self._state) for p in pieces], frequency_set)


def _score(texts: list[_Text], runner: PieceRunner, pool: PagePool, limits: Limits) -> None:
    for wave in _waves(_groups(texts), pool):
        taken = _take(wave, pool)
        try:
            _compute(
                [_Work(g.texts[0].tokens[: g.shared], 0, g.pages, g.texts) for g in wave],
                runner,
                limits,
            )
            _compute(
                [work for group in wave for work in _rests(group, pool, runner, taken)],
                runner,
                limits,
            )
        finally:
            pool.release(taken)


def _groups(texts: Sequence[_Text]) -> list[_Group]:
    """A text joins the group before it if that leaves at least half of it shared."""
    groups: list[_Group] = []
    for text in texts:
        if groups:
            group = groups[-1]
            common = _common(group.texts[0].tokens[: group.shared], text.tokens)
            if common * 2 >= max(len(text.tokens), group.shared):
                group.texts.append(text)
                group.shared = common
                continue
        groups.append(_Group([text], len(text.tokens)))
    return groups


def _common(first: Sequence[int], second: Sequence[int]) -> int:
    for i, (a, b) in enumerate(zip(first, second, strict=False)):
        if a != b:
            return i
    return min(len(first), len(second))


def _waves(groups: Sequence[_Group], pool: PagePool) -> Iterator[list[_Group]]:
    """Groups that find room in the cache together; one that is too large falls apart into its
    texts.
    """
    wave: list[_Group] = []
    room = pool.num_free
    for group in _fitting(groups, pool):
        need = group.num_pages(pool.page_size)
        if need > room:
            yield wave
            wave, room = [], pool.num_free
        wave.append(group)
        room -= need
    if wave:
        yield wave


def _fitting(groups: Sequence[_Group], pool: PagePool) -> Iterator[_Group]:
    for group in groups:
        if group.num_pages(pool.page_size) <= pool.num_free:
            yield group
            continue
        for text in group.texts:
            alone = _Group([text], len(text.tokens))
            if alone.num_pages(pool.page_size) > pool.num_free:
                raise UsageError(
                    "requests under way hold the cache",
                    do="wait for them, or give the model more cache_tokens",
                )
            yield alone


def _take(wave: Sequence[_Group], pool: PagePool) -> list[int]:
    for group in wave:
        group.pages = [pool.take() for _ in range(pool.pages_for(group.shared))]
    return [page for group in wave for page in group.pages]


def _rests(group: _Group, pool: PagePool, runner: PieceRunner, taken: list[int]) -> Iterator[_Work]:
    """What follows the shared beginning: full pages of it are read where they are, the last, begun
    one is copied.
    """
    full, size = group.shared // pool.page_size, pool.page_size
    for text in group.texts:
        if len(text.tokens) == group.shared:
            continue
        own = [pool.take() for _ in range(pool.pages_for(len(text.tokens)) - full)]
        taken += own
        if group.shared % size:
            runner.copy_page(group.pages[full], own[0])
        yield _Work(text.tokens[group.shared :], group.shared, [*group.pages[:full], *own], [text])


def _compute(works: Sequence[_Work], runner: PieceRunner, limits: Limits) -> None:
    """Computes stretches in as few steps as the limits allow, cutting those that do not fit the
    rest of a step.
    """
    step: list[_Work] = []
    tokens = rows = 0
    for whole in works:
        work: _Work | None = whole
        while work is not None:
            head, work = _cut(work, limits.tokens - tokens, limits.rows - rows)
            if head is not None:
                step.append(head)
                tokens, rows = tokens + len(head.tokens), rows + len(head.wanted())
            if work is not None:
                _run(step, runner)
                step, tokens, rows = [], 0, 0
    if step:
        _run(step, runner)


def _cut(work: _Work, max_tokens: int, max_rows: int) -> tuple[_Work | None, _Work | None]:
    count = min(len(work.tokens), max_tokens)
    wanted = work.wanted()
    if len(wanted) > max_rows:
        count = min(count, wanted[max_rows] - work.first)
    head = _Work(work.tokens[:count], work.first, work.pages, work.texts) if count else None
    is_whole = count == len(work.tokens)
    return head, None if is_whole else _Work(
        work.tokens[count:], work.first + count, work.pages, work.texts
    )


def _run(step: Sequence[_Work], runner: PieceRunner) -> None:
    pieces = [Piece(work.tokens, work.first, work.pages, work.wanted()) for work in step]
    rows = runner.rows(pieces)
    targets: list[int] = []
    sources: list[int] = []
    texts: list[_Text] = []
    at = 0
    for work, piece in zip(step, pieces, strict=True):
        for i, position in enumerate(piece.wanted, at):
            for text in work.texts:
                if text.first_row <= position < len(text.tokens):
                    texts.append(text)
                    sources.append(i)
                    targets.append(text.targets[position - text.first_row])
        at += len(piece.wanted)
    if not texts:
        return
    likeliest = rows.argmax(1)
    for begin in range(0, len(texts), max(1, len(rows))):  # as many rows again are copied at a time
        end = begin + max(1, len(rows))
        scored = core.logprobs(
            rows[sources[begin:end]], np.asarray(targets[begin:end], np.int32), 0
        )
        for text, source, target, score in zip(
            texts[begin:end], sources[begin:end], targets[begin:end], scored, strict=True
        ):
            text.logprobs.append(score[0])
            text.is_greedy = text.is_greedy and int(likeliest[source]) == target
