"""When the documents do not say: a confidence out of the retrieval alone, and the threshold below
which nothing is answered.

The confidence is logistic in what the best passages and sentences share with the question. Weights
and the default threshold come from `bench/rag_abstain.py`: SQuAD questions against indexes that
hold their passage (to be answered), hold only the rest of its article, or nothing of the article
(not to be), in an index of 803 passages and in small ones.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from understudy.rag.sentences import Sentence, stems_held
from understudy.rag.store import Passage
from understudy.rag.words import query_words, stem

FEATURES = (  # name, weight
    ("bias", -8.581),
    ("coverage", -7.684),
    ("cosine", -1.616),
    ("rare_coverage", 14.322),
    ("sentence_coverage", 3.500),
    ("sentence_cosine", 5.169),
    ("has_rarest", -0.703),
    ("num_words", 1.561),
    ("unknown_words", 3.978),
)
NUM_BEST = 3


def features(
    question: str,
    passages: Sequence[Passage],
    sentences: Sequence[Sentence] = (),
    rarity: Mapping[str, float] | None = None,
    unknown: float = 0.0,
) -> tuple[float, ...]:
    """What `FEATURES` names after the bias; zeros where nothing was found.

    Args:
        sentences: of the passages, ranked for the question.
        rarity: how much each word of the question tells; 1 for those that are missing.
        unknown: share of the question's words that no document holds.
    """
    words = query_words(question)
    best = passages[:NUM_BEST]
    if not words or not best:
        return (0.0,) * (len(FEATURES) - 1)
    held = [stems_held(passage.with_heading) for passage in best]
    asked = {stem(word) for word in words}
    weight = {word: (rarity or {}).get(word, 1.0) for word in words}
    total = sum(weight.values()) or 1.0
    rarest = stem(max(words, key=lambda word: weight[word]))
    return (
        max(len(asked & there) for there in held) / len(asked),
        max(0.0, max(passage.similarity for passage in best)),
        max(sum(weight[word] for word in words if stem(word) in there) for there in held) / total,
        max((sentence.shared for sentence in sentences), default=0.0),
        max((sentence.cosine for sentence in sentences), default=0.0),
        float(any(rarest in there for there in held)),
        len(words) / 10,
        unknown,
    )


def confidence_of(values: Sequence[float]) -> float:
    """How sure the retrieval is that the passages hold the answer, 0 to 1."""
    bias, *weights = (weight for _, weight in FEATURES)
    score = bias + sum(w * value for w, value in zip(weights, values, strict=True))
    return 1 / (1 + math.exp(-score))
