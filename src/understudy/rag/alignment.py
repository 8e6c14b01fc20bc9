"""How the words of a question lie against the words of each sentence: which stand there, how near
in meaning the nearest other word is, and which stand side by side.

A word of the question counts for more the fewer of the candidate sentences hold it: what all of
them hold cannot tell them apart, however rare it is in the index.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from understudy.rag.words import STOPWORDS, query_words, search_words, stem

Embed = Callable[[Sequence[str]], NDArray[np.float32]]
LONG = 40  # words, from which on a sentence counts as no longer


def alignment_of(question: str, sentences: Sequence[str], embed: Embed) -> NDArray[np.float32]:
    """Four values of each sentence, 0 to 1: (sentences, 4).

    1. how near the nearest word of it is to each word of the question, squared, the same being 1;
    2. the share of the question's words that stand in it;
    3. the share of the question's neighbouring words that stand side by side in it;
    4. its length in words, 40 and more being 1.

    In the first two each word weighs the logarithm of how few of the sentences hold it.
    """
    words = [search_words(sentence).split() or [""] for sentence in sentences]
    same, near = _nearness(query_words(question), words, embed)
    weights = np.log((len(words) + 1) / (same.sum(0) + 0.5))
    weights /= weights.sum()
    columns = (
        near**2 @ weights,
        same @ weights,
        _pairs_held(question, words),
        [min(len(of_one), LONG) / LONG for of_one in words],
    )
    return np.stack([np.asarray(column, np.float32) for column in columns], axis=1)


def _nearness(
    asked: Sequence[str], words: Sequence[Sequence[str]], embed: Embed
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Whether a sentence holds a word that is asked for, and the cosine of its nearest word, 1 for
    the same one: two of (sentences, words asked). A number is near to no other.
    """
    place = {word: i for i, word in enumerate(dict.fromkeys(itertools.chain(*words)))}
    vectors = embed([*asked, *place])
    near = np.clip(vectors[: len(asked)] @ vectors[len(asked) :].T, 0, 1)
    near[[any(map(str.isdigit, word)) for word in asked]] = 0
    number = {root: i for i, root in enumerate(dict.fromkeys(map(stem, asked)))}
    roots = np.array([number[stem(word)] for word in asked])
    same = roots[:, None] == np.array([number.get(stem(word), -1) for word in place])
    near = np.where(same, 1, near)
    at = [place[word] for of_one in words for word in of_one]
    firsts = np.cumsum([0, *map(len, words[:-1])])
    return (
        np.maximum.reduceat(same[:, at].astype(np.float32), firsts, axis=1).T,
        np.maximum.reduceat(near[:, at].astype(np.float32), firsts, axis=1).T,
    )


def _pairs_held(question: str, words: Sequence[Sequence[str]]) -> list[float]:
    """The share of the question's neighbours, unless both are stopwords, that each holds."""
    asked = {
        (stem(first), stem(second))
        for first, second in itertools.pairwise(search_words(question).split())
        if not {first, second} <= STOPWORDS
    }
    held = (asked.intersection(itertools.pairwise(map(stem, of_one))) for of_one in words)
    return [len(pairs) / max(1, len(asked)) for pairs in held]
