"""Answers from documents: does the quote hold the answer, does the answer, and is what the
documents do not hold declined? Items have `question`, `answers` (none: to be declined) and
`documents`.
"""

from __future__ import annotations

import functools
import json
import tempfile
from pathlib import Path
from typing import Any

from understudy.judge.evaluate.applications import normalized
from understudy.judge.evaluate.judge import available_embedder
from understudy.judge.jobs.job import Item, Job, Settings, Switch
from understudy.model import Model
from understudy.rag.answering import ask
from understudy.rag.document import Builder
from understudy.rag.index import Index
from understudy.rag.operating_point import DEFAULT_POINT, OperatingPoint
from understudy.rag.settings import AnswerSettings

MAX_TOKENS = 96
ALWAYS = OperatingPoint(0.0, 1.0, 0.0, "everything is answered")


def score(model: Model, item: Item, settings: Settings) -> dict[str, Any]:
    """Answers are compared as SQuAD does, without case, articles and punctuation."""
    options = {name: value for name, value in settings.items() if name != "declines"}
    with_index = _index(json.dumps(item["documents"], sort_keys=True))
    answer = ask(
        model,
        with_index,
        item["question"],
        point=DEFAULT_POINT if settings["declines"] else ALWAYS,
        settings=AnswerSettings(**options),
        max_tokens=MAX_TOKENS,
    )
    if not item["answers"]:
        return {"right": int(answer.text is None), "declined": int(answer.text is None)}
    quotes = [f" {normalized(citation.quote)} " for citation in answer.citations]
    said = f" {normalized(answer.text or '')} "
    forms = [f" {normalized(form)} " for form in item["answers"]]
    return {
        "right": int(any(form in said for form in forms)),
        "quote": int(any(form in quote for form in forms for quote in quotes)),
        "answered": int(answer.text is not None),
        "words": len(said.split()),
    }


@functools.lru_cache(maxsize=16)
def _index(documents: str) -> Index:
    """An index of documents, kept for the next question to them."""
    folder = tempfile.TemporaryDirectory()
    index = _Index(Path(folder.name) / "x.index", embedder=available_embedder())
    index.folder = folder  # goes when the index does
    for document in json.loads(documents):
        builder = Builder()
        for paragraph in document["text"].split("\n\n"):
            builder.add(paragraph)
        index.add_document(document["name"], builder.build())
    return index


class _Index(Index):
    folder: tempfile.TemporaryDirectory[str]


DOCUMENTS = Job(
    "documents",
    "Answers from documents",
    {
        "right": "share",
        "quote": "share",
        "answered": "share",
        "declined": "share",
        "words": "mean",
    },
    (
        Switch(
            "answer first",
            "the model answers in its own words and the quotes are chosen afterwards; off: a "
            "grammar makes it quote first",
            {"form": "answer"},
            {"form": "quotes"},
        ),
        Switch(
            "excerpts",
            "the model sees the best sentences; off: whole passages",
            {"excerpts": True},
            {"excerpts": False},
        ),
        Switch(
            "check",
            "an answer that says more than its quotes hold gives way to the best sentence",
            {"is_checked": True},
            {"is_checked": False},
        ),
        Switch(
            "second try",
            "before that, the model is asked once more",
            {"asks_again": True},
            {"asks_again": False},
        ),
        Switch(
            "declining",
            "without a passage near enough the documents do not say",
            {"declines": True},
            {"declines": False},
        ),
        Switch(
            "model declines",
            "the model too may say that the documents do not say",
            {"may_abstain": True},
            {"may_abstain": False},
        ),
    ),
    {"form": "answer", "is_checked": True, "asks_again": True, "declines": True},
    score,
)
