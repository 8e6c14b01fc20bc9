"""Guessing the next tokens from what was already said: the continuation of the last place where the text ended alike."""

from __future__ import annotations

from collections.abc import Sequence

LONGEST, SHORTEST = 8, 2  # tokens that must agree


def draft(tokens: Sequence[int], most: int, window: int = 4096) -> list[int]:
    """Up to `most` tokens that followed the latest earlier occurrence of the longest suffix of `tokens`."""
    recent = list(tokens[-window:])
    for length in range(min(LONGEST, len(recent) - 1), SHORTEST - 1, -1):
        suffix = recent[-length:]
        for start in range(len(recent) - length - 1, -1, -1):
            if recent[start] == suffix[0] and recent[start : start + length] == suffix:
                return recent[start + length : start + length + most]
    return []
