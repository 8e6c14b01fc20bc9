"""When should a search say that the documents do not hold an answer? Calibrates the confidence of `rag/abstain.py` on SQuAD.

    python bench/rag_abstain.py --squad requests.jsonl.gz [--write bench/results/rag_abstain.json]

(`--squad` as in `rag_retrieval.py`.) The articles of SQuAD are dealt into two halves, and an index is made of each. A question is answerable
in the index that holds its passage and not in the other. Weights are fitted and the threshold chosen on questions of even number,
and the operating point is measured on those of odd number.
"""

from __future__ import annotations

import argparse
import gzip
import json
import tempfile
from pathlib import Path

import numpy as np
from rag_retrieval import document

from understudy.rag.abstain import features
from understudy.rag.index import Index


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--squad", type=Path, required=True)
    parser.add_argument("--write", type=Path)
    arguments = parser.parse_args()
    x, y = collect(arguments.squad)
    weights = fit_logistic(x[::2], y[::2])
    fit, held = predict(x[::2], weights), predict(x[1::2], weights)
    thresholds = np.linspace(0.05, 0.95, 91)
    balance = [np.mean(fit[y[::2] == 1] >= t) + np.mean(fit[y[::2] == 0] < t) for t in thresholds]
    threshold = float(thresholds[int(np.argmax(balance))])
    rows = [
        operating_point(held, y[1::2], float(t))
        for t in (0.2, 0.3, 0.4, threshold, 0.5, 0.6, 0.7, 0.8)
    ]
    result = {
        "weights": [round(float(w), 3) for w in weights],
        "threshold": round(threshold, 2),
        "chosen": operating_point(held, y[1::2], threshold),
        "curve": rows,
        "auc": round(auc(held, y[1::2]), 4),
        "num_measured": len(held),
    }
    print(json.dumps(result, indent=1))
    if arguments.write:
        arguments.write.write_text(json.dumps(result, indent=1) + "\n")


def collect(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """(features, answerable) of every question in both indexes, the two of a question beside each other."""
    passages: dict[str, str] = {}
    questions: list[tuple[str, str]] = []
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            doc = json.loads(line)["doc"]
            passage, _, rest = (
                doc["query"].partition("\nBackground: ")[2].rpartition("\nQuestion: ")
            )
            passages[passage] = doc["title"]
            questions.append((rest.removesuffix("\nAnswer:"), doc["title"]))
    titles = sorted(set(passages.values()))
    half = {title: i % 2 for i, title in enumerate(titles)}
    rows, answers = [[] for _ in questions], [[] for _ in questions]
    for side in (0, 1):
        with (
            tempfile.TemporaryDirectory() as folder,
            Index(Path(folder) / "x.index", embedder="wordllama") as index,
        ):
            for i, (text, title) in enumerate(passages.items()):
                if half[title] == side:
                    index.add_document(f"passage {i}", document(text))
            for i, (question, title) in enumerate(questions):
                rows[i].append(features(question, index.search(question, 8)))
                answers[i].append(half[title] == side)
    order = [
        (r, a) for i in range(len(questions)) for r, a in zip(rows[i], answers[i], strict=True)
    ]
    keep = [
        j for i in range(0, len(order), 4) for j in (i, i + 2, i + 1, i + 3) if j < len(order)
    ]  # both kinds in both halves
    return np.array([order[j][0] for j in keep]), np.array([order[j][1] for j in keep]).astype(int)


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


def operating_point(sure: np.ndarray, y: np.ndarray, threshold: float) -> dict[str, float]:
    return {
        "threshold": round(threshold, 2),
        "answered": round(float(np.mean(sure[y == 1] >= threshold)), 4),
        "declined": round(float(np.mean(sure[y == 0] < threshold)), 4),
    }


def auc(sure: np.ndarray, y: np.ndarray) -> float:
    good, bad = sure[y == 1], sure[y == 0]
    return float(np.mean((good[:, None] > bad[None]) + 0.5 * (good[:, None] == bad[None])))


if __name__ == "__main__":
    main()
