"""The tasks by name. A new one is an entry of `TASKS` and a file of rows, `data/<name>.jsonl`.

A task scores rows with a `Judge` and returns metrics by name for each; `metrics` says what kind
each is: a share of items (0 or 1 each), a mean, or a perplexity (mean negative log-likelihood in
nats, items weighted by `weight`). The first metric is the one to look at. A line that has no value
of a metric (None, or no entry) does not count in it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from understudy.errors import UsageError
from understudy.judge.evaluate import (
    applications,
    arithmetic,
    bias,
    instructions,
    memorisation,
    questions,
)
from understudy.judge.evaluate.judge import Judge
from understudy.judge.evaluate.likelihood import Question, score_choices, score_last_words

Kind = Literal["share", "mean", "perplexity"]
Area = Literal[
    "language", "knowledge", "instructions", "calls", "documents", "characters", "bias", "privacy"
]
Row = Mapping[str, Any]
Scores = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Task:
    """One benchmark.

    Attributes:
        about: for the report.
        area: which part of a model card its figures belong to.
        score: metrics of rows, in their order. Where `is_batched`, a call takes many rows; else
        one, and several calls run at once.
        metrics: kind of each, the one to look at first.
        by: the entry of a line by which the report also has a row each (a category, an ability).
        macro: whether the report also has the plain mean of the first metric over those rows.
    """

    about: str
    area: Area
    score: Callable[[Judge, Sequence[Row]], Scores]
    metrics: Mapping[str, Kind]
    by: str = ""
    macro: bool = False
    is_batched: bool = False


def _choices(
    about: str, area: Area, question: Callable[[Row], Question], *metrics: str, by: str = ""
) -> Task:
    kinds: dict[str, Kind] = dict.fromkeys(metrics, "share")

    def score(judge: Judge, rows: Sequence[Row]) -> Scores:
        found = score_choices(judge.scorer, [question(row) for row in rows])
        return [
            {**line, by: row[by]} if by else line for line, row in zip(found, rows, strict=True)
        ]

    return Task(about, area, score, kinds, by=by, is_batched=True)


def _single(
    about: str,
    area: Area,
    score: Callable[[Judge, Row], dict[str, Any]],
    metrics: Mapping[str, Kind],
    by: str = "",
    *,
    macro: bool = False,
) -> Task:
    return Task(
        about, area, lambda judge, rows: [score(judge, row) for row in rows], metrics, by, macro
    )


def _text(judge: Judge, row: Row) -> dict[str, Any]:
    result = judge.perplexity(str(row["text"]))
    return {
        "perplexity": result.nll,
        "weight": result.num_scored,
        "source": row.get("source", "own"),
    }


_CALLS: dict[str, Kind] = {"acc": "share", "acc_required": "share", "valid": "share"}
_DOCUMENTS: dict[str, Kind] = {
    "ability": "share",
    "exact": "share",
    "f1": "mean",
    "recall_1": "mean",
    "recall_3": "mean",
    "recall_5": "mean",
    "citation_exists": "mean",
    "citation_precision": "mean",
    "abstain_precision": "share",
    "abstain_recall": "share",
}
_INSTRUCTIONS: dict[str, Kind] = {
    "prompt_strict": "share",
    "prompt_loose": "share",
    "instruction_strict": "mean",
    "instruction_loose": "mean",
}

_MEAN: Kind = "mean"
_BIAS: dict[str, Kind] = {
    "size": "mean",
    "control_size": "mean",
    "flips": "share",
    **dict.fromkeys(bias.CONTRASTS, _MEAN),
}

TASKS: dict[str, Task] = {
    "perplexity": _single(
        "texts in windows of 512 tokens",
        "language",
        _text,
        {"perplexity": "perplexity"},
        by="source",
    ),
    "hellaswag": _choices(
        "how a scene goes on", "knowledge", questions.hellaswag, "acc_norm", "acc"
    ),
    "arc_easy": _choices("school science, easy", "knowledge", questions.arc, "acc_norm", "acc"),
    "arc_challenge": _choices(
        "school science, harder", "knowledge", questions.arc, "acc_norm", "acc"
    ),
    "piqa": _choices("everyday physics", "knowledge", questions.piqa, "acc_norm", "acc"),
    "winogrande": _choices("whom a pronoun's gap means", "knowledge", questions.winogrande, "acc"),
    "mmlu": _choices(
        "knowledge, choices by letter", "knowledge", questions.mmlu, "acc", by="subject"
    ),
    "lambada": Task(
        "the last word of a passage",
        "language",
        lambda judge, rows: score_last_words(judge.scorer, rows),
        {"acc": "share", "perplexity": "perplexity"},
        is_batched=True,
    ),
    "gsm8k": _single(
        "sums in words, the last number of the answer",
        "knowledge",
        arithmetic.score,
        {"exact": "share"},
    ),
    "ifeval": _single(
        "instructions that a program can check", "instructions", instructions.score, _INSTRUCTIONS
    ),
    "calls": _single(
        "function calling, checked as BFCL does",
        "calls",
        applications.score_calls,
        _CALLS,
        "category",
        macro=True,
    ),
    "rag": _single(
        "answers from documents: retrieval, quotes, silence, RGB's four abilities",
        "documents",
        applications.score_answer,
        _DOCUMENTS,
        "kind",
    ),
    "roleplay": _single(
        "persona, lore, world and card rules",
        "characters",
        applications.score_role,
        {"kept": "share"},
        "kind",
        macro=True,
    ),
    "bias": _single(
        "counterfactual pairs: what another group of people changes, in nats",
        "bias",
        bias.score,
        _BIAS,
    ),
    "memorisation": _single(
        "training text repeated word for word after its beginning",
        "privacy",
        memorisation.score,
        {"extracted": "share", "matched": "mean"},
    ),
}

_LIKELIHOOD = (
    "perplexity",
    "hellaswag",
    "arc_easy",
    "arc_challenge",
    "piqa",
    "winogrande",
    "mmlu",
    "lambada",
)
_WITH_SAMPLES = tuple(
    name for name in TASKS if name != "memorisation"
)  # that one needs the text that the model was trained on
SUITES: dict[str, tuple[str, ...]] = {
    "quick": _WITH_SAMPLES,
    "full": _WITH_SAMPLES,
    "likelihood": _LIKELIHOOD,
    "applications": ("ifeval", "calls", "rag", "roleplay"),
}


def chosen_tasks(suites: Sequence[str], names: Sequence[str]) -> list[str]:
    """Task names of suites and single names, each once, in the order of `TASKS`."""
    wanted: set[str] = set(names)
    for suite in suites:
        wanted |= {suite} if suite in TASKS else set(SUITES.get(suite, (suite,)))
    unknown = sorted(wanted - set(TASKS))
    if unknown:
        raise UsageError(
            "no such task", expected=", ".join([*SUITES, *TASKS]), found=", ".join(unknown)
        )
    return [name for name in TASKS if name in wanted]


def key_of(name: str, row: Row) -> str:
    """A row by its content, so that a changed row is another item."""
    text = json.dumps([name, row], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def drawn(name: str, rows: Sequence[dict[str, Any]], limit: int | None) -> list[dict[str, Any]]:
    """At most `limit` rows, drawn by the hash of their content, categories taking turns, so that a
    part is a sample of the whole.

    A smaller limit draws a subset of what a larger one does.
    """
    if limit is None or limit >= len(rows):
        return list(rows)
    groups: dict[str, list[tuple[str, int]]] = {}
    for i, row in enumerate(rows):
        group = next(
            (
                str(row[by])
                for by in ("category", "subject", "ability", "kind", "contrast", "source")
                if by in row
            ),
            "",
        )
        groups.setdefault(group, []).append((key_of(name, row), i))
    turns = [
        (turn, key, i) for group in groups.values() for turn, (key, i) in enumerate(sorted(group))
    ]
    return [rows[i] for i in sorted(i for _, _, i in sorted(turns)[:limit])]
