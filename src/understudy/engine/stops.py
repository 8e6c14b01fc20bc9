"""Stop strings, also where they lie across tokens: text that may yet become one is held back."""

from __future__ import annotations

from collections.abc import Sequence


class StopFilter:
    """`push` gives the text that is certain to be part of the answer, and the stop that was met, if
    any.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stops)
        self._held = ""

    def push(self, text: str) -> tuple[str, str | None]:
        if not self._stops:
            return text, None
        self._held += text
        hits = [(at, stop) for stop in self._stops if (at := self._held.find(stop)) >= 0]
        if hits:
            at, stop = min(
                hits, key=lambda hit: (hit[0] + len(hit[1]), hit[0])
            )  # as if the text came letter by letter
            before, self._held = self._held[:at], ""
            return before, stop
        keep = self._may_become_stop()
        ready, self._held = (
            self._held[: len(self._held) - keep],
            self._held[len(self._held) - keep :],
        )
        return ready, None

    def finish(self) -> str:
        rest, self._held = self._held, ""
        return rest

    def _may_become_stop(self) -> int:
        """Length of the longest end of the held text that begins a stop."""
        longest = min(len(self._held), max(map(len, self._stops)) - 1)
        for length in range(longest, 0, -1):
            if any(stop.startswith(self._held[-length:]) for stop in self._stops):
                return length
        return 0
