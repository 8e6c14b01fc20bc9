"""In how many chunks words stand: which words a search can afford, and how much each tells."""

from __future__ import annotations

from collections.abc import Sequence

from understudy.rag.store import Store

MAX_POSTINGS = 12_000  # entries of word lists that one search reads


class WordCounts:
    """Counts of words in one index file, kept as long as it stays as it is."""

    def __init__(self) -> None:
        self._counter: tuple[int, int] | None = None
        self._counts: dict[str, int] = {}

    def of(self, store: Store, words: Sequence[str]) -> dict[str, int]:
        """In how many chunks each word stands, in any of its forms."""
        counter = store.change_counter()
        if self._counter != counter:
            self._counter, self._counts = counter, {}
        for word in words:
            if word not in self._counts:
                self._counts[word] = store.count_word(word)
        return {word: self._counts[word] for word in words}

    def affordable(self, store: Store, words: Sequence[str]) -> list[str]:
        """The rarest words whose lists together have at most `MAX_POSTINGS` entries.

        Common words cost the most and tell the least.
        """
        counts = self.of(store, words)
        kept: list[str] = []
        total = 0
        for word in sorted(words, key=lambda word: counts[word]):
            total += counts[word]
            if kept and total > MAX_POSTINGS:
                break
            kept.append(word)
        return kept
