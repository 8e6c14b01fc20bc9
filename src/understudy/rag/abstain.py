"""When the documents do not say: a confidence out of the retrieval alone, and the threshold below
which nothing is answered.

The confidence is logistic in `FEATURES`. `bench/rag_fit.py` fitted their weights on 1,200 questions
about 44 articles of SQuAD, against indexes that hold the passage (to be answered), hold only the
rest of its article, or nothing of the article (not to be): all passages, 26 of them, and one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from understudy.rag.sentences import Sentence, stems_held
from understudy.rag.store import Passage
from understudy.rag.words import query_words, stem

FEATURES = (  # name, weight
    ("bias", -4.940),
    ("cosine", 1.744),  # of the best passages' vectors and the question's
    ("rare_coverage", 3.081),  # share of the question's rare words that one passage holds
    ("num_words", 1.351),  # that the question asks for, in tens
    ("lead", 0.655),  # of the best sentence's score over the mean of the best six
)
NUM_BEST = 3
NUM_LEAD = 6  # sentences; those that are missing score 0, as one that shares nothing does


def features(
    question: str,
    passages: Sequence[Passage],
    sentences: Sequence[Sentence] = (),
    rarity: Mapping[str, float] | None = None,
) -> tuple[float, ...]:
    """What `FEATURES` names after the bias; zeros where nothing was found.

    Args:
        sentences: of the passages, ranked for the question.
        rarity: how much each word of the question tells; 1 for those that are missing.
    """
    words = query_words(question)
    best = passages[:NUM_BEST]
    if not words or not best:
        return (0.0,) * (len(FEATURES) - 1)
    held = [stems_held(passage.with_heading) for passage in best]
    weight = {word: (rarity or {}).get(word, 1.0) for word in words}
    total = sum(weight.values()) or 1.0
    scores = [sentence.score for sentence in sentences[:NUM_LEAD]]
    return (
        max(0.0, max(passage.similarity for passage in best)),
        max(sum(weight[word] for word in words if stem(word) in there) for there in held) / total,
        len(words) / 10,
        max(scores, default=0.0) - sum(scores) / NUM_LEAD,
    )


def confidence_of(values: Sequence[float]) -> float:
    """How sure the retrieval is that the passages hold the answer, 0 to 1."""
    bias, *weights = (weight for _, weight in FEATURES)
    score = bias + sum(w * value for w, value in zip(weights, values, strict=True))
    return 1 / (1 + math.exp(-score))
