"""How good answers from documents are: whether the answer and its quotes hold the gold answer of
SQuAD, and at what price.

    python bench/rag_answers.py --squad requests.jsonl.gz [--model M] [--questions 200] [--first 0]
    [--draw SEED] [--write FILE]

(`--squad` as in `rag_retrieval.py`.) Each question is asked of all passages of the file at once.
Side by side, on the same questions: `ask` as it is; and quotes that the model picks itself, under
the grammar that was the rule before (`quoting`). `quote`: share of answers with a quote that holds
a gold answer; `answer`: that hold it themselves; `exists`: quotes that stand in the passage they
name; `found`: the passages given to the model hold it. 95 % bootstrap intervals over questions.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import re
import string
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
from rag_retrieval import document

import understudy
from understudy.rag.answering import ask, prompt_of
from understudy.rag.cite import answer_grammar, parse_answer
from understudy.rag.ground import contexts_of
from understudy.rag.index import Index
from understudy.rag.operating_point import OperatingPoint
from understudy.text.grammar import Grammar

ALWAYS = OperatingPoint(0.0, 1.0, 0.0, "everything is answered")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--squad", type=Path, required=True)
    parser.add_argument("--model", default="smollm2-135m-instruct")
    parser.add_argument("--questions", type=int, default=200)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--draw", type=int, metavar="SEED", help="questions in this random order")
    parser.add_argument("--without-quoting", action="store_true", help="leave out the old way")
    parser.add_argument("--write", type=Path)
    arguments = parser.parse_args()
    passages, questions = read(arguments.squad)
    if arguments.draw is not None:
        random.Random(arguments.draw).shuffle(questions)
    model = understudy.load(arguments.model)
    ways = {"ask": by_ask} if arguments.without_quoting else {"ask": by_ask, "quoting": by_quoting}
    rows: dict[str, list[dict[str, float]]] = {way: [] for way in ways}
    with (
        tempfile.TemporaryDirectory() as folder,
        Index(Path(folder) / "x.index", embedder="wordllama") as index,
    ):
        for i, text in enumerate(passages):
            index.add_document(f"passage {i}", document(text))
        first = arguments.first
        for question, golds in questions[first : first + arguments.questions]:
            for way, run in ways.items():
                rows[way].append(run(model, index, question, golds))
            if len(rows["ask"]) % 20 == 0:
                print(json.dumps(summary(rows)), flush=True)
    result = {"model": arguments.model, "questions": len(rows["ask"]), "ways": summary(rows)}
    print(json.dumps(result, indent=1))
    if arguments.write:
        arguments.write.write_text(json.dumps(result, indent=1) + "\n")


def summary(rows: dict[str, list[dict[str, float]]]) -> dict[str, dict[str, list[float]]]:
    return {
        way: {name: interval([row[name] for row in found]) for name in found[0]}
        for way, found in rows.items()
    }


def read(path: Path) -> tuple[list[str], list[tuple[str, list[str]]]]:
    passages: dict[str, None] = {}
    questions = []
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            doc = json.loads(line)["doc"]
            passage, _, rest = (
                doc["query"].partition("\nBackground: ")[2].rpartition("\nQuestion: ")
            )
            passages[passage] = None
            questions.append((rest.removesuffix("\nAnswer:"), doc["answers_text"]))
    return list(passages), questions


def by_ask(
    model: understudy.Model, index: Index, question: str, golds: list[str]
) -> dict[str, float]:
    started = time.perf_counter()
    answer = ask(model, index, question, point=ALWAYS, max_tokens=96)
    seconds = time.perf_counter() - started
    quotes = [citation.quote for citation in answer.citations]
    found = " ".join(passage.text for passage in answer.passages)
    return score(answer.text or "", quotes, found, golds, 1.0, seconds)


def by_quoting(
    model: understudy.Model, index: Index, question: str, golds: list[str]
) -> dict[str, float]:
    found = index.search(question, 4)
    started = time.perf_counter()
    grammar = Grammar(model.tokenizer).lark(answer_grammar(found, may_abstain=False))
    prompt = prompt_of(model, question, contexts_of(found))
    parsed = parse_answer(model.generate(prompt, make_mask=grammar, max_tokens=256).raw_text, found)
    seconds = time.perf_counter() - started
    quotes = [citation.quote for citation in parsed.citations]
    exists = len(quotes) / max(1, len(quotes) + len(parsed.faults))
    text = " ".join(passage.text for passage in found)
    return score(parsed.text or "", quotes, text, golds, exists, seconds)


def score(
    text: str, quotes: list[str], found: str, golds: list[str], exists: float, seconds: float
) -> dict[str, float]:
    return {
        "quote": float(any(normal(gold) in normal(quote) for gold in golds for quote in quotes)),
        "answer": float(any(normal(gold) in normal(text) for gold in golds)),
        "f1": max(f1(text, gold) for gold in golds),
        "exists": exists,
        "found": float(any(normal(gold) in normal(found) for gold in golds)),
        "seconds": seconds,
    }


def normal(text: str) -> str:
    """SQuAD's normalisation: lower case, without punctuation and articles."""
    kept = "".join(c for c in text.lower() if c not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", kept).split())


def f1(text: str, gold: str) -> float:
    ours, theirs = normal(text).split(), normal(gold).split()
    common = sum((Counter(ours) & Counter(theirs)).values())
    return 2 * common / (len(ours) + len(theirs)) if common else 0.0


def interval(values: list[float]) -> list[float]:
    chance = np.random.default_rng(0)
    means = [float(np.mean(chance.choice(values, len(values)))) for _ in range(1000)]
    return [round(float(v), 4) for v in (np.mean(values), *np.percentile(means, (2.5, 97.5)))]


if __name__ == "__main__":
    main()
