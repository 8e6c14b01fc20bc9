"""The mask of an answer that is calls, one after the other: each is held to a grammar that is
chosen when the one before it is complete.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from understudy.engine.request import Mask, MaskFactory

NextCall = Callable[[str], MaskFactory | None]


class CallsMask:
    """Segments of an answer, each under a mask of its own (the engine's `Mask` protocol). Goes back
    where guessed tokens were not taken.

    Args:
        decode: the text of tokens.
        next_call: gives the mask of what follows the text so far, up to the end of a call; None
            where the answer is at its end.
    """

    def __init__(self, decode: Callable[[Sequence[int]], str], next_call: NextCall) -> None:
        self._decode, self._next_call = decode, next_call
        self._segments: list[tuple[int, Mask]] = []  # where each begins
        self._end: int | None = None
        self._begin([])

    def allowed(self, generated: Sequence[int]) -> NDArray[np.uint32] | None:
        self._go_back(generated)
        start, mask = self._segments[-1]
        return mask.allowed(generated[start:])

    def forced(self, generated: Sequence[int]) -> list[int]:
        self._go_back(generated)
        tokens: list[int] = []
        while True:
            written = [*generated, *tokens]
            start, mask = self._segments[-1]
            more = mask.forced(written[start:])
            tokens += more
            if not more and (not mask.is_finished or not self._begin(written)):
                return tokens

    @property
    def is_finished(self) -> bool:
        return self._end is not None

    def _begin(self, written: Sequence[int]) -> bool:
        """Begins the next segment, where there is one."""
        make_mask = self._next_call(self._decode(written))
        if make_mask is None:
            self._end = len(written)
        else:
            self._segments.append((len(written), make_mask()))
        return make_mask is not None

    def _go_back(self, generated: Sequence[int]) -> None:
        """Leaves what lies beyond this text."""
        if self._end is not None and len(generated) < self._end:
            self._end = None
        while len(self._segments) > 1 and self._segments[-1][0] > len(generated):
            self._segments.pop()
