"""`understudy rag add|search|ask --index FILE`: answers from documents, with quotes that can be
checked.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from understudy.cli.options import add_loading, load_model
from understudy.cli.terminal import write
from understudy.hub import DEFAULT_MODEL, resolve
from understudy.rag.operating_point import DEFAULT_POINT, OperatingPoint

if TYPE_CHECKING:
    from understudy.rag.index import Added

SHOWN_NAMES = 3


def configure(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    add = actions.add_parser("add", help="bring an index up to date with files and folders")
    add.add_argument("paths", nargs="+", metavar="PATH")
    add.add_argument(
        "--embedder",
        help="wordllama or hashing (default what the index was made with, or wordllama)",
    )
    search = actions.add_parser("search", help="passages for a question")
    ask = actions.add_parser("ask", help="an answer with quotes, or that the documents do not say")
    for action in (add, search, ask):
        action.add_argument("--index", type=Path, required=True, metavar="FILE")
        action.add_argument("--json", action="store_true")
    for action in (search, ask):
        action.add_argument("question")
        action.add_argument("-k", type=int, default=8, help="most passages (default 8)")
    search.add_argument("--mode", choices=["fused", "words", "vectors"], default="fused")
    for action in (add, ask):
        action.add_argument(
            "--model",
            default=DEFAULT_MODEL,
            help="model that reads the passages; its tokenizer counts their tokens",
        )
    ask.add_argument(
        "--threshold",
        type=float,
        help="confidence below which nothing is answered "
        f"(default {DEFAULT_POINT.threshold}, measured: docs/rag.md)",
    )
    add_loading(ask)


def run(arguments: argparse.Namespace) -> int:
    return {"add": _add, "search": _search, "ask": _ask}[arguments.action](arguments)


def _add(arguments: argparse.Namespace) -> int:
    from understudy.checkpoint.checkpoint import open_checkpoint
    from understudy.rag.index import Index
    from understudy.text import open_tokenizer

    checkpoint = open_checkpoint(resolve(arguments.model))
    assert checkpoint.tokenizer_source is not None
    tokenizer = open_tokenizer(checkpoint.tokenizer_source)
    counter = f"{checkpoint.spec.architecture}/{tokenizer.vocab_size}"
    with Index(
        arguments.index,
        embedder=arguments.embedder,
        count_tokens=lambda text: len(tokenizer.encode(text)),
        counter=counter,
    ) as index:
        added = index.add(arguments.paths, progress=_Progress() if sys.stderr.isatty() else None)
        documents, chunks = index.store.counts()
    if arguments.json:
        write(
            json.dumps(
                {**_as_document(added), "documents": documents, "chunks": chunks},
                ensure_ascii=False,
            )
            + "\n"
        )
    else:
        counts = ", ".join(
            f"{len(getattr(added, name))} {name}"
            for name in ("new", "changed", "unchanged", "removed")
        )
        write(f"{counts}; {documents} documents in {chunks} chunks\n")
        if added.skipped:
            write(f"{_skipped(added.skipped)}\n", sys.stderr)
    for line in [*added.failed.values(), *added.warnings]:
        write(f"understudy: {line}\n", sys.stderr)
    return 1 if added.failed else 0


def _skipped(names: list[str]) -> str:
    """What a folder has that nobody can read, by kind, with the first names of each."""
    kinds: dict[str, list[str]] = {}
    for name in names:
        kinds.setdefault(Path(name).suffix.lower() or "no ending", []).append(Path(name).name)
    parts = [
        f"{len(found)} {kind} ({', '.join(found[:SHOWN_NAMES])}{', …' * (len(found) > SHOWN_NAMES)}"
        ")"
        for kind, found in sorted(kinds.items())
    ]
    return f"{len(names)} skipped, there is no reader for them: {'; '.join(parts)}"


def _as_document(added: Added) -> dict[str, Any]:
    return {
        name: getattr(added, name)
        for name in ("new", "changed", "unchanged", "removed", "failed", "skipped", "warnings")
    }


def _search(arguments: argparse.Namespace) -> int:
    from understudy.rag.index import Index

    with Index(arguments.index) as index:
        passages = index.search(arguments.question, arguments.k, mode=arguments.mode)
    for i, passage in enumerate(passages, 1):
        chunk = passage.chunk
        row = {
            "path": chunk.path,
            "page": chunk.page,
            "start": chunk.start,
            "end": chunk.end,
            "heading": chunk.heading,
            "score": round(passage.score, 5),
            "text": chunk.text,
        }
        write(
            json.dumps(row, ensure_ascii=False) + "\n"
            if arguments.json
            else f"[{i}] {_place(row)}\n{chunk.text}\n\n"
        )
    return 0 if passages else 1


def _ask(arguments: argparse.Namespace) -> int:
    from understudy.rag.answering import ask
    from understudy.rag.index import Index

    point = DEFAULT_POINT
    if arguments.threshold is not None:
        point = OperatingPoint(arguments.threshold, float("nan"), float("nan"), "not measured")
    with Index(arguments.index) as index:
        index.search(
            arguments.question, 1
        )  # what is wrong with the index is said before a model is loaded
        answer = ask(load_model(arguments), index, arguments.question, k=arguments.k, point=point)
    citations = [
        {"quote": c.quote, "path": c.path, "page": c.page, "start": c.start, "end": c.end}
        for c in answer.citations
    ]
    if arguments.json:
        write(
            json.dumps(
                {
                    "answer": answer.text,
                    "why": answer.why,
                    "confidence": round(answer.confidence, 4),
                    "citations": citations,
                },
                ensure_ascii=False,
            )
            + "\n"
        )
        return 0
    write(f"{answer.text or f'The documents do not say ({answer.why}).'}\n\n")
    for citation in citations:
        write(f'  "{citation["quote"]}"\n      {_place(citation)}\n')
    write(f"\nconfidence {answer.confidence:.2f} of {point.threshold:.2f} needed\n", sys.stderr)
    return 0


def _place(row: dict[str, Any]) -> str:
    page = f", page {row['page']}" if row["page"] is not None else ""
    return f"{row['path']}{page}, characters {row['start']} to {row['end']}"


class _Progress:
    """One line on the terminal, rewritten: files done, time left."""

    def __init__(self) -> None:
        self.started = time.monotonic()

    def __call__(self, done: int, total: int, name: str) -> None:
        left = (time.monotonic() - self.started) / done * (total - done) if done else 0
        sys.stderr.write(
            f"\r\x1b[K{done}/{total} files, {left:.0f} s left  {Path(name).name[:40]!a}"
            if name
            else "\r\x1b[K"
        )
        sys.stderr.flush()
