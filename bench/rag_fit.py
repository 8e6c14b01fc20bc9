"""Which sentence answers, and do the documents say at all? Fits the weights of `rag/sentences.py`
and `rag/abstain.py` on one set of questions and judges them on another.

    python bench/rag_fit.py --fit nqg/ --judge requests.jsonl.gz [--write
    bench/results/rag_fit.json]

`--fit` is the folder `data/processed` of github.com/xinyadu/nqg (sentences of SQuAD's training
articles and the question that each answers): every fifth of its first 6,000 questions, the passages
made of neighbouring sentences. `--judge` is as `--squad` in `rag_retrieval.py`; no weight and no
threshold sees it. Every question meets nine indexes: all passages; all but its own; all but those
of its article; the same three among 25 others, since most people's folders are small; and one
passage alone. Intervals are 95 % bootstrap intervals over questions.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rag_answers import normal
from rag_retrieval import document

from understudy.rag.abstain import FEATURES, NUM_LEAD, features
from understudy.rag.index import Index
from understudy.rag.operating_point import DEFAULT_POINT
from understudy.rag.sentences import VALUES, WEIGHTS, Sentence, rank_sentences, rarity_of, stems_of
from understudy.rag.store import Passage
from understudy.rag.words import query_words, stem

NUM_SMALL = 25
DEPTH = 300
ANSWERED = 0.92  # share of what is there, of all passages, that the threshold is to answer
SHARE = {"": 2.0, "small ": 0.6, "alone ": 0.6}  # of the fit, by size of the index
CASES = {"there": 0.5, "passage away": 0.25, "article away": 0.25}


@dataclass
class Question:
    text: str
    passage: str
    article: int | str
    golds: list[str]


@dataclass
class Row:
    """A question in one index: its case, the features, and its sentences in their order."""

    number: int
    case: str
    article: int | str
    features: tuple[float, ...]
    values: np.ndarray  # (sentences, values)
    is_right: np.ndarray  # (sentences,)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--fit", type=Path)
    parser.add_argument("--judge", type=Path, required=True)
    parser.add_argument("--write", type=Path)
    arguments = parser.parse_args()
    result = {}
    if arguments.fit:
        rows = list(collect(*read_nqg(arguments.fit), lambda a, b: abs(int(a) - int(b)) <= 28))
        result["fitted"] = fit(rows)
    rows = list(collect(*read_squad(arguments.judge), lambda a, b: a == b))
    result["judged"] = judge(rows)
    print(json.dumps(result, indent=1))
    if arguments.write:
        arguments.write.write_text(json.dumps(result, indent=1) + "\n")


def read_squad(path: Path) -> tuple[dict[str, str], list[Question]]:
    """(articles by passage, questions)"""
    passages: dict[str, str] = {}
    questions = []
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            doc = json.loads(line)["doc"]
            text, _, rest = doc["query"].partition("\nBackground: ")[2].rpartition("\nQuestion: ")
            passages[text] = doc["title"]
            asked = rest.removesuffix("\nAnswer:")
            questions.append(Question(asked, text, doc["title"], doc["answers_text"]))
    return passages, questions


def read_nqg(folder: Path) -> tuple[dict[str, int], list[Question]]:
    """(place by passage, questions); passages within 28 places count as of one article."""
    sources = (folder / "src-test.txt").read_text(encoding="utf-8").split("\n")[:-1]
    asked = (folder / "tgt-test.txt").read_text(encoding="utf-8").split("\n")[:-1]
    chance, sentences = random.Random(1), list(dict.fromkeys(sources))
    passages, passage_of = {}, {}
    while len(passage_of) < len(sentences):
        first = len(passage_of)
        of_one = sentences[first : first + chance.choice((3, 4, 4, 5, 5, 6))]
        text = "\n".join(map(as_written, of_one))
        passages[text] = len(passages)
        passage_of |= dict.fromkeys(of_one, text)
    return passages, [
        Question(as_written(question), passage_of[s], passages[passage_of[s]], [as_written(s)])
        for s, question in list(zip(sources, asked, strict=True))[:6000:5]
    ]


def as_written(tokens: str) -> str:
    """Tokens of the Penn Treebank as a person would write them."""
    text = tokens.strip().replace("``", '"').replace("''", '"')
    text = text.replace("-lrb-", "(").replace("-rrb-", ")")
    text = re.sub(r" (['’](?:s|re|ve|ll|d|m)\b|n't\b)", r"\1", text)
    return re.sub(r"([($]) ", r"\1", re.sub(r" ([.,;:?!%)])", r"\1", text))


def collect(
    passages: dict[str, int] | dict[str, str],
    questions: Sequence[Question],
    is_same: Callable[[int | str, int | str], bool],
) -> Iterator[Row]:
    """Every question in every index that holds anything for it."""
    names = {text: f"passage {i}" for i, text in enumerate(passages)}
    stems = {name: stems_of(text) for text, name in names.items()}
    with (
        tempfile.TemporaryDirectory() as folder,
        Index(Path(folder) / "x.index", embedder="wordllama") as index,
    ):
        for text, name in names.items():
            index.add_document(name, document(text))
        for number, question in enumerate(questions):
            found, own = index.search(question.text, DEPTH), names[question.passage]
            same = {names[t] for t, at in passages.items() if is_same(at, question.article)}
            order = [passage.chunk.path for passage in found]
            for case, held in indexes(random.Random(number), own, same, list(stems), order).items():
                kept = [passage for passage in found if passage.chunk.path in held][:8]
                counts = {
                    word: sum(stem(word) in stems[name] for name in held)
                    for word in query_words(question.text)
                }
                rarity = rarity_of(counts, len(held))
                ranked = rank_sentences(question.text, kept, index.embedder.embed, rarity)
                if ranked:
                    yield row(number, case, question, kept, ranked, rarity, own)


def indexes(
    chance: random.Random, own: str, same: set[str], every: list[str], order: list[str]
) -> dict[str, set[str]]:
    whole = set(every)
    few = set(chance.sample([name for name in every if name != own], NUM_SMALL))
    near = next(({name} for name in order if name in same - {own}), set())
    far = next(({name} for name in order if name in few - same), set())
    return {
        "there": whole,
        "passage away": whole - {own},
        "article away": whole - same,
        "small there": few | {own},
        "small passage away": (few | same) - {own},
        "small article away": few - same,
        "alone there": {own},
        "alone passage away": near,
        "alone article away": far,
    }


def row(
    number: int,
    case: str,
    question: Question,
    passages: list[Passage],
    ranked: Sequence[Sentence],
    rarity: dict[str, float],
    own: str,
) -> Row:
    golds = [normal(gold) for gold in question.golds]
    right = [
        passages[s.passage - 1].chunk.path == own
        and any(gold and f" {gold} " in f" {normal(s.text)} " for gold in golds)
        for s in ranked
    ]
    found = features(question.text, passages, ranked, rarity)
    values = np.array([sentence.values for sentence in ranked])
    return Row(number, case, question.article, found, values, np.array(right))


def fit(rows: Sequence[Row]) -> dict[str, object]:
    """Weights of sentences, then of the features under them, and the threshold."""
    there = [row for row in rows if row.case in ("there", "small there") and row.is_right.any()]
    weights = fit_ranking(there)
    x = np.array([with_lead(row, weights) for row in rows])
    case = np.array([row.case for row in rows])
    share = np.zeros(len(rows))
    for size, part in SHARE.items():
        for name, of_size in CASES.items():
            share[case == size + name] = part * of_size / max(1, np.sum(case == size + name))
    y = np.array([name.endswith("there") for name in case], float)
    of_features = fit_logistic(x, y, share * 2400)
    sure = 1 / (1 + np.exp(-(of_features[0] + x @ of_features[1:])))
    return {
        "values": dict(zip([n for n, _ in VALUES], weights.round(3).tolist(), strict=True)),
        "features": dict(zip([n for n, _ in FEATURES], of_features.round(3).tolist(), strict=True)),
        "threshold": round(float(np.quantile(sure[case == "there"], 1 - ANSWERED)), 3),
        "num_questions": len({row.number for row in rows}),
    }


def with_lead(row: Row, weights: np.ndarray) -> list[float]:
    best = np.sort(row.values @ weights)[::-1][:NUM_LEAD]
    return [*row.features[:-1], float(best[0] - best.sum() / NUM_LEAD)]


def fit_ranking(rows: Sequence[Row], penalty: float = 1e-3, steps: int = 100) -> np.ndarray:
    """The weights under which right sentences are likeliest, a softmax over those of a question.

    Newton's method with the curvature of the softmax alone, which is never negative; a step that
    makes them less likely is halved.
    """
    scale = np.concatenate([row.values for row in rows]).std(0)
    scaled = [(row.values / scale, row.is_right) for row in rows]
    weights = np.zeros(len(scale))
    for _ in range(steps):
        slope, curvature = -2 * penalty * weights, 2 * penalty * np.eye(len(scale))
        for values, is_right in scaled:
            p = np.exp(log_softmax(values @ weights))
            q = p * is_right / (p * is_right).sum()
            centred = values - p @ values
            slope += q @ centred / len(rows)
            curvature += centred.T @ (centred * p[:, None]) / len(rows)
        step, before = np.linalg.solve(curvature, slope), likelihood(scaled, weights, penalty)
        while np.abs(step).max() > 1e-6 and likelihood(scaled, weights + step, penalty) < before:
            step /= 2
        weights += step
        if np.abs(step).max() <= 1e-6:
            break
    return weights / scale


def likelihood(
    rows: Sequence[tuple[np.ndarray, np.ndarray]], weights: np.ndarray, penalty: float
) -> float:
    right = [
        np.logaddexp.reduce(log_softmax(values @ weights)[is_right]) for values, is_right in rows
    ]
    return float(np.mean(right) - penalty * weights @ weights)


def log_softmax(scores: np.ndarray) -> np.ndarray:
    return scores - np.logaddexp.reduce(scores)


def fit_logistic(x: np.ndarray, y: np.ndarray, share: np.ndarray, steps: int = 50) -> np.ndarray:
    """Newton's method on the log-loss; (bias, weights)."""
    design = np.c_[np.ones(len(x)), x]
    weights = np.zeros(design.shape[1])
    for _ in range(steps):
        p = 1 / (1 + np.exp(-design @ weights))
        curvature = design.T @ (design * (share * p * (1 - p))[:, None])
        step = np.linalg.solve(
            curvature + 1e-6 * np.eye(len(weights)), design.T @ (share * (y - p))
        )
        weights += step
        if np.abs(step).max() < 1e-9:
            break
    return weights


def judge(rows: Sequence[Row]) -> dict[str, object]:
    """The weights of the library: shares with intervals, in percent."""
    of_features = [weight for _, weight in FEATURES]
    case = np.array([row.case for row in rows])
    x = np.array([with_lead(row, WEIGHTS) for row in rows])
    sure = 1 / (1 + np.exp(-(of_features[0] + x @ of_features[1:])))
    there = [row.is_right for row in rows if row.case == "there"]
    level = float(np.quantile(sure[case == "there"], 1 - ANSWERED))
    return {
        "first_sentence_right": interval([right[0] for right in there]),
        "one_of_two_right": interval([right[:2].any() for right in there]),
        "thresholds": {
            f"{threshold:.3f}": {
                name: interval(
                    sure[case == name] >= threshold
                    if name.endswith("there")
                    else sure[case == name] < threshold
                )
                for name in dict.fromkeys(case.tolist())
            }
            for threshold in (0.2, DEFAULT_POINT.threshold, level, 0.35)
        },
    }


def interval(hits: Sequence[bool] | np.ndarray) -> list[float]:
    """(share, low, high) in percent."""
    chance, hits = np.random.default_rng(0), np.asarray(hits, float)
    shares = [chance.choice(hits, len(hits)).mean() for _ in range(1000)]
    return [round(100 * float(v), 1) for v in (hits.mean(), *np.quantile(shares, (0.025, 0.975)))]


if __name__ == "__main__":
    main()
