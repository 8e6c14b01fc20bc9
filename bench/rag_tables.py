"""How good answers out of tables are: questions whose answer is one cell of a row that they name.

    python bench/rag_tables.py --tables WikiTableQuestions/ [--model M] [--questions 100]
    [--write FILE]

`--tables` is a copy of ppasupat/WikiTableQuestions (CC BY-SA 4.0), read as data. Of its first
development split those questions are taken whose answer is a cell of just one row, and that hold
another cell of that row which stands in no other. Each is asked of its own table, as Word, HTML and
Markdown readers give it. `quote`: share of answers with a quote that holds the cell; `answer`: that
hold it themselves. 95 % bootstrap intervals over questions. `--without-model`: only whether the
best row is the right one.
"""

from __future__ import annotations

import argparse
import csv
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

from rag_answers import ALWAYS, interval, normal

import understudy
from understudy.rag.answering import ask
from understudy.rag.document import Builder, table_text
from understudy.rag.index import Index

MIN_KEY = 4  # letters of a cell that a question names its row by


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tables", type=Path, required=True)
    parser.add_argument("--model", default="smollm2-135m-instruct")
    parser.add_argument("--questions", type=int, default=100)
    parser.add_argument("--without-model", action="store_true")
    parser.add_argument("--write", type=Path)
    arguments = parser.parse_args()
    model = None if arguments.without_model else understudy.load(arguments.model)
    rows: list[dict[str, float]] = []
    for question, table, gold in lookups(arguments.tables):
        if len(rows) == arguments.questions:
            break
        rows.append(judged(model, question, table, gold))
    result = {
        "model": None if model is None else arguments.model,
        "questions": len(rows),
        **{name: interval([row[name] for row in rows]) for name in rows[0]},
    }
    print(json.dumps(result, indent=1))
    if arguments.write:
        arguments.write.write_text(json.dumps(result, indent=1) + "\n")


def lookups(folder: Path) -> Iterator[tuple[str, list[list[str]], str]]:
    """(question, table with its head, answer)"""
    with (folder / "data" / "random-split-1-dev.tsv").open(encoding="utf-8") as lines:
        next(lines)
        for line in lines:
            _, question, path, gold = line.rstrip("\n").split("\t")
            with (folder / path).open(encoding="utf-8", newline="") as file:
                table = list(csv.reader(file, escapechar="\\", doublequote=False))
            if is_lookup(question, table, gold):
                yield question, table, gold


def is_lookup(question: str, table: list[list[str]], gold: str) -> bool:
    rows = [[normal(cell) for cell in row] for row in table[1:]]
    holding = [row for row in rows if normal(gold) in row]
    if len(holding) != 1 or not normal(gold) or normal(gold) in normal(question):
        return False
    keys = (cell for cell in holding[0] if len(cell) >= MIN_KEY and cell in normal(question))
    return any(sum(key in row for row in rows) == 1 for key in keys)


def judged(
    model: understudy.Model | None, question: str, table: list[list[str]], gold: str
) -> dict[str, float]:
    builder = Builder("table")
    builder.add(table_text(table), "table")
    with (
        tempfile.TemporaryDirectory() as folder,
        Index(Path(folder) / "x.index", embedder="wordllama") as index,
    ):
        index.add_document("table", builder.build())
        if model is None:
            best = index.ground(question).sentences[:1]
            return {"best row": float(any(holds(sentence.text, gold) for sentence in best))}
        answer = ask(model, index, question, point=ALWAYS, max_tokens=96)
        quotes = [citation.quote for citation in answer.citations]
        return {
            "quote": float(any(holds(quote, gold) for quote in quotes)),
            "answer": float(holds(answer.text or "", gold)),
        }


def holds(text: str, gold: str) -> bool:
    return f" {normal(gold)} " in f" {normal(text)} "


if __name__ == "__main__":
    main()
