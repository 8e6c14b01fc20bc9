"""SentencePiece Unigram: the segmentation of a text whose pieces have the highest sum of scores.

Algorithm (sentencepiece `unigram_model.cc`, EncodeOptimized): a Viterbi search from the left over
the characters. A character that is no piece counts as unknown, 10 below the lowest score; of equal
sums the path whose last piece begins first stays. Sums are formed in single precision, as there.
"""

from __future__ import annotations

import numpy as np

from understudy.text.spm import NORMAL, SpmModel, SpmSegmenter

_UNKNOWN_PENALTY = np.float32(10)


class UnigramSegmenter(SpmSegmenter):
    """Shares with BPE what stands round the search: blanks, markers, bytes of the unknown."""

    def __init__(self, model: SpmModel) -> None:
        super().__init__(model)
        self._scores = {
            piece: np.float32(score)
            for piece, score, kind in zip(model.pieces, model.scores, model.types, strict=True)
            if kind == NORMAL and piece
        }
        lowest = min(self._scores.values(), default=np.float32(0))
        self._unknown_score = lowest - _UNKNOWN_PENALTY
        self._beginnings = {piece[:end] for piece in self._scores for end in range(1, len(piece))}

    def _segment(self, word: str) -> list[int]:
        best: list[np.float32 | None] = [np.float32(0), *[None] * len(word)]
        begins = [0] * (len(word) + 1)
        for start in range(len(word)):
            so_far = best[start]
            if so_far is None:
                continue
            has_single = False
            for end in range(start + 1, len(word) + 1):
                piece = word[start:end]
                score = self._scores.get(piece)
                if score is not None:
                    has_single = has_single or end == start + 1
                    self._reach(best, begins, start, end, so_far + score)
                if piece not in self._beginnings:
                    break
            if not has_single:
                self._reach(best, begins, start, start + 1, so_far + self._unknown_score)
        pieces = []
        end = len(word)
        while end:
            pieces.append(word[begins[end] : end])
            end = begins[end]
        return [token for piece in reversed(pieces) for token in self._tokens(piece, {})]

    @staticmethod
    def _reach(
        best: list[np.float32 | None],
        begins: list[int],
        start: int,
        end: int,
        score: np.float32,
    ) -> None:
        known = best[end]
        if known is None or score > known:
            best[end], begins[end] = score, start
