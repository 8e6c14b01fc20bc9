"""How good answers from documents are: exact match and F1 as SQuAD scores them, and whether what is quoted holds the answer.

    python bench/rag_answers.py --squad requests.jsonl.gz [--model M] [--questions 150] [--write bench/results/rag_answers.json]

(`--squad` as in `rag_retrieval.py`.) Each question is asked of all passages of the file at once. Three kinds of quotes side by
side: whole sentences, any run of a passage's words, and free text, which shows what the grammar is worth. `exists`: share of quotes that stand in
the passage they name; `supports`: share of answers with a quote that holds a gold answer; `found`: share of questions whose passages
given to the model hold one. Intervals are 95 % bootstrap intervals over questions.
"""

from __future__ import annotations

import argparse
import gzip
import json
import re
import string
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
from rag_retrieval import document

import understudy
from understudy.rag.ask import prompt_of
from understudy.rag.cite import Spans, answer_grammar, parse_answer
from understudy.rag.index import Index
from understudy.text.grammar import Grammar

KINDS: tuple[Spans, ...] = ("sentences", "words", "free")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--squad", type=Path, required=True)
    parser.add_argument("--model", default="smollm2-135m-instruct")
    parser.add_argument("--questions", type=int, default=150)
    parser.add_argument("--passages", type=int, default=4)
    parser.add_argument("--write", type=Path)
    arguments = parser.parse_args()
    passages, questions = read(arguments.squad)
    model = understudy.load(arguments.model)
    rows: dict[str, list[dict[str, float]]] = {kind: [] for kind in KINDS}
    with (
        tempfile.TemporaryDirectory() as folder,
        Index(Path(folder) / "x.index", embedder="wordllama") as index,
    ):
        for i, text in enumerate(passages):
            index.add_document(f"passage {i}", document(text))
        for question, golds in questions[: arguments.questions]:
            found = index.search(question, arguments.passages)
            prompt = prompt_of(model, question, found)
            for kind in KINDS:
                rows[kind].append(score(model, prompt, found, golds, kind))
    table = {
        kind: {name: interval([row[name] for row in found]) for name in found[0]}
        for kind, found in rows.items()
    }
    print(
        json.dumps(
            {"model": arguments.model, "questions": len(rows["words"]), "kinds": table}, indent=1
        )
    )
    if arguments.write:
        arguments.write.write_text(
            json.dumps(
                {"model": arguments.model, "questions": len(rows["words"]), "kinds": table},
                indent=1,
            )
            + "\n"
        )


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


def score(
    model: understudy.Model, prompt: object, found: list, golds: list[str], kind: Spans
) -> dict[str, float]:
    grammar = Grammar(model.tokenizer).lark(answer_grammar(found, may_abstain=False, spans=kind))
    started = time.perf_counter()
    reply = model.generate(prompt, make_mask=grammar, max_tokens=256)
    parsed = parse_answer(reply.raw_text, found)
    text, quotes = parsed.text or "", [citation.quote for citation in parsed.citations]
    return {
        "exact": max(float(normal(text) == normal(gold)) for gold in golds),
        "f1": max(f1(text, gold) for gold in golds),
        "holds": float(any(normal(gold) in normal(text) for gold in golds)),
        "exists": len(quotes) / max(1, len(quotes) + len(parsed.faults)),
        "supports": float(any(normal(gold) in normal(quote) for gold in golds for quote in quotes)),
        "found": float(
            any(normal(gold) in normal(passage.text) for gold in golds for passage in found)
        ),
        "seconds": time.perf_counter() - started,
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
