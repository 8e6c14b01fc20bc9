"""Guessing the next tokens from what was already said: the continuation of an earlier place where
the text ended alike.
"""

from __future__ import annotations

from collections.abc import Sequence

LONGEST = 8  # tokens that are compared
MAX_PLACES = 64  # earlier places that are looked at, the latest first


class Drafter:
    """Guesses for one text, which grows only at its end. Two tokens must agree; of several places
    the most alike is taken.
    """

    def __init__(self) -> None:
        self._ends: dict[
            tuple[int, int], list[int]
        ] = {}  # pair of tokens -> positions of its second token
        self._seen = 1

    def draft(self, tokens: Sequence[int], most: int) -> list[int]:
        """Up to `most` tokens that followed the place most like the end of `tokens`."""
        for position in range(self._seen, len(tokens)):
            self._ends.setdefault((tokens[position - 1], tokens[position]), []).append(position)
        self._seen = max(1, len(tokens))
        if len(tokens) < 2:
            return []
        best, longest = -1, 0
        for end in reversed(self._ends[tokens[-2], tokens[-1]][:-1][-MAX_PLACES:]):
            length = 2
            while (
                length < LONGEST and length <= end and tokens[end - length] == tokens[-1 - length]
            ):
                length += 1
            if length > longest:
                best, longest = end, length
            if length == LONGEST:
                break
        if not longest:
            return []
        guess = list(tokens[best + 1 : best + 1 + most])
        while len(guess) < most:  # the place reaches the end: what was said over and over goes on
            guess.append(guess[len(guess) - (len(tokens) - best - 1)])
        return guess
