"""When should a search say that the documents do not hold an answer? Fits the confidence of
`rag/abstain.py` on SQuAD.

    python bench/rag_abstain.py --squad requests.jsonl.gz [--write bench/results/rag_abstain.json]

(`--squad` as in `rag_retrieval.py`.) Every question meets six indexes: all passages; all but its
own; all but those of its article; and the same three among 25 others, since most people's folders
are small. Two halves by question: each is judged by the weights fitted on the other.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from rag_retrieval import document

from understudy.rag.abstain import FEATURES, features
from understudy.rag.index import Index
from understudy.rag.sentences import rank_sentences, rarity_of, stems_of
from understudy.rag.store import Passage
from understudy.rag.words import query_words, stem

NUM_SMALL = 25
DEPTH = 300


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--squad", type=Path, required=True)
    parser.add_argument("--write", type=Path)
    arguments = parser.parse_args()
    x, case, number = collect(arguments.squad)
    y = np.array([name.endswith("there") for name in case], float)
    sure = np.zeros(len(y))
    for part in (0, 1):
        fitted = number % 2 != part
        sure[~fitted] = predict(x[~fitted], fit_logistic(x[fitted], y[fitted]))
    weights = fit_logistic(x, y)
    names = [name for name, _ in FEATURES]
    result = {
        "weights": {n: round(float(w), 3) for n, w in zip(names, weights, strict=True)},
        "thresholds": {
            str(t): shares(sure, case, t) for t in (0.12, 0.15, 0.18, 0.21, 0.25, 0.3, 0.4)
        },
        "num_questions": int(number.max()) + 1,
    }
    print(json.dumps(result, indent=1))
    if arguments.write:
        arguments.write.write_text(json.dumps(result, indent=1) + "\n")


def shares(sure: np.ndarray, case: np.ndarray, threshold: float) -> dict[str, float]:
    """Of questions whose passage is there the share answered, of the others the share declined."""
    return {
        name: round(
            float(
                np.mean(
                    sure[case == name] >= threshold
                    if name.endswith("there")
                    else sure[case == name] < threshold
                )
            ),
            3,
        )
        for name in dict.fromkeys(case.tolist())
    }


def collect(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(features, case, number of the question) of every question in every index."""
    passages: dict[str, str] = {}
    questions: list[tuple[str, str, str]] = []
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            doc = json.loads(line)["doc"]
            text, _, rest = doc["query"].partition("\nBackground: ")[2].rpartition("\nQuestion: ")
            passages[text] = doc["title"]
            questions.append((rest.removesuffix("\nAnswer:"), text, doc["title"]))
    names = {text: f"passage {i}" for i, text in enumerate(passages)}
    titles = {names[text]: title for text, title in passages.items()}
    stems = {name: stems_of(text) for text, name in names.items()}
    chance, rows, cases, numbers = random.Random(0), [], [], []
    with (
        tempfile.TemporaryDirectory() as folder,
        Index(Path(folder) / "x.index", embedder="wordllama") as index,
    ):
        for text, name in names.items():
            index.add_document(name, document(text))
        for i, (question, text, title) in enumerate(questions):
            own, found = names[text], index.search(question, DEPTH)
            few = set(chance.sample([name for name in stems if name != own], NUM_SMALL))
            same = {name for name in stems if titles[name] == title}
            whole = set(stems)
            for case, held in {
                "there": whole,
                "passage away": whole - {own},
                "article away": whole - same,
                "small there": few | {own},
                "small passage away": (few | same) - {own},
                "small article away": few - same,
            }.items():
                kept = [passage for passage in found if passage.chunk.path in held][:8]
                counts = {
                    word: sum(stem(word) in stems[name] for name in held)
                    for word in query_words(question)
                }
                rows.append(row(question, kept, counts, len(held), index.embedder.embed))
                cases.append(case)
                numbers.append(i)
    return np.array(rows), np.array(cases), np.array(numbers)


def row(
    question: str,
    passages: list[Passage],
    counts: dict[str, int],
    total: int,
    embed: Callable[..., np.ndarray],
) -> tuple[float, ...]:
    rarity = rarity_of(counts, total)
    sentences = rank_sentences(question, passages, embed, rarity)
    unknown = sum(not count for count in counts.values()) / max(1, len(counts))
    return features(question, passages, sentences, rarity, unknown)


def fit_logistic(x: np.ndarray, y: np.ndarray, steps: int = 200) -> np.ndarray:
    """Newton's method on the log-loss; (bias, weights)."""
    design = np.c_[np.ones(len(x)), x]
    weights = np.zeros(design.shape[1])
    for _ in range(steps):
        p = 1 / (1 + np.exp(-design @ weights))
        curvature = design.T @ (design * (p * (1 - p))[:, None]) + 1e-6 * np.eye(len(weights))
        step = np.linalg.solve(curvature, design.T @ (y - p))
        weights += step
        if np.abs(step).max() < 1e-9:
            break
    return weights


def predict(x: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-(weights[0] + x @ weights[1:])))


if __name__ == "__main__":
    main()
