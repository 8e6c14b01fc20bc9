"""The three jobs as checkable cases: function calls, answers from documents, characters."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from understudy.judge.benchmark.bfcl import RELEVANCE_CATEGORIES, BfclCase
from understudy.judge.benchmark.bfcl_check import check
from understudy.judge.evaluate.judge import Answered, Judge

Row = Mapping[str, Any]
RECALL_AT = (1, 3, 5)
SILENT = (
    "documents do not say",
    "do not say",
    "does not say",
    "doesn't say",
    "not in the passages",
    "not in the documents",
    "cannot answer",
    "can't answer",
    "do not know",
    "don't know",
    "no information",
    "not mentioned",
    "not stated",
    "not enough information",
    "insufficient information",
)
DOUBT = (
    "incorrect",
    "wrong",
    "error",
    "mistake",
    "contradict",
    "not true",
    "false",
    "not correct",
    "inaccurate",
)
_COUNTERFACTUAL = (
    " (If a passage states something false, say that it is wrong and give the right answer.)"
)


def case_of(row: Row) -> BfclCase:
    """A row in BFCL's layout: `id`, `category`, `question` (turns of messages), `function`,
    `ground_truth`."""
    messages = [message for turn in row["question"] for message in turn]
    answers = tuple(row.get("ground_truth") or ())
    return BfclCase(
        str(row["id"]), row["category"], tuple(messages), tuple(row["function"]), answers
    )


def score_calls(judge: Judge, row: Row) -> dict[str, Any]:
    """`acc`: the model may call or not; `acc_required`: it must, where a call is right; `valid`:
    what it calls satisfies the schema."""
    case = case_of(row)
    called = judge.calls(case, "auto")
    line: dict[str, Any] = {
        "category": case.category,
        "acc": int(check(case, called.calls).is_right),
        "text": called.text,
    }
    forced = None
    if case.category not in RELEVANCE_CATEGORIES:
        forced = judge.calls(case, "required")
        line |= {
            "acc_required": int(check(case, forced.calls).is_right),
            "text_required": forced.text,
        }
    valid = [int(one.are_valid) for one in (called, forced) if one is not None and one.calls]
    return {**line, "valid": min(valid) if valid else None}


def normalized(text: str) -> str:
    """As SQuAD compares: lower case, no punctuation, no articles, single blanks."""
    bare = "".join(character for character in text.lower() if character not in string.punctuation)
    return " ".join(re.sub(r"\b(?:a|an|the)\b", " ", bare).split())


def f1(text: str, answer: str) -> float:
    """Harmonic mean of the shares of words that both have."""
    words, wanted = normalized(text).split(), normalized(answer).split()
    common = sum((Counter(words) & Counter(wanted)).values())
    return 2 * common / (len(words) + len(wanted)) if common else 0.0


def score_answer(judge: Judge, row: Row) -> dict[str, Any]:
    """A question to `documents` (`name`, `text`). `kind` is noise, rejection, integration or
    counterfactual, RGB's four abilities.

    `answers` are the parts that must all be said, each a text or a list of equal ones; `support`
    names the documents that hold them.
    """
    question = row["question"] + (_COUNTERFACTUAL if row["kind"] == "counterfactual" else "")
    answered = judge.ask(row["documents"], question)
    return {
        **check_answer(row, answered),
        "text": answered.text,
        "quotes": [list(quote) for quote in answered.quotes],
    }


def check_answer(row: Row, answered: Answered) -> dict[str, Any]:
    """Metrics of an answer. Rejection asks for silence; integration for every part; counterfactual
    for doubt and truth."""
    text = answered.text or ""
    is_silent = not text.strip() or any(phrase in text.lower() for phrase in SILENT)
    kind, is_unanswerable = row["kind"], row["kind"] == "rejection"
    line: dict[str, Any] = {
        "kind": kind,
        **_retrieval(row, answered.found),
        **_citations(row, answered.quotes),
    }
    line["abstain_precision"] = int(is_unanswerable) if is_silent else None
    line["abstain_recall"] = int(is_silent) if is_unanswerable else None
    if is_unanswerable:
        return {**line, "ability": int(is_silent)}
    parts = [[part] if isinstance(part, str) else list(part) for part in row["answers"]]
    said = f" {normalized(text)} "
    is_whole = not is_silent and all(
        any(f" {normalized(form)} " in said for form in part) for part in parts
    )
    if kind == "counterfactual":  # to say what is wrong takes more words than the answer
        return {**line, "ability": int(is_whole and any(word in text.lower() for word in DOUBT))}
    whole = " ".join(part[0] for part in parts)
    exact = int(
        any(
            normalized(text) == normalized(form)
            for form in (parts[0] if len(parts) == 1 else [whole])
        )
    )
    best = (
        max((f1(text, form) for form in parts[0]), default=0.0)
        if len(parts) == 1
        else f1(text, whole)
    )
    return {**line, "ability": int(is_whole), "exact": exact, "f1": best}


def _retrieval(row: Row, found: Sequence[str]) -> dict[str, float]:
    """Recall at k: the share of the supporting documents among the first k."""
    support = set(row["support"])
    return (
        {f"recall_{k}": len(support & set(found[:k])) / len(support) for k in RECALL_AT}
        if support
        else {}
    )


def _citations(row: Row, quotes: Sequence[tuple[str, str]]) -> dict[str, float]:
    """Do quotes stand word for word in the document they name, and does that document support the
    answer?"""
    if not quotes:
        return {}
    texts = {document["name"]: " ".join(document["text"].split()) for document in row["documents"]}
    exist = [" ".join(quote.split()) in texts.get(name, "") for name, quote in quotes]
    right = [
        is_there and name in row["support"]
        for is_there, (name, _) in zip(exist, quotes, strict=True)
    ]
    return {
        "citation_exists": sum(exist) / len(quotes),
        "citation_precision": sum(right) / len(quotes),
    }


def score_role(judge: Judge, row: Row) -> dict[str, Any]:
    """A character's turn: `card`, `messages`, and what the answer must (`any`, `all`) and must not
    (`none`) hold.

    `kind` is persona, lore (from the card's lorebook), world (nothing from outside it) or card (a
    rule that the card sets).
    """
    text = judge.play(row["card"], row["messages"])
    return {"kept": int(keeps(row, text)), "kind": row["kind"], "text": text}


def keeps(row: Row, text: str) -> bool:
    """Whether an answer keeps the case's rules; words are compared whole and without case. An empty
    answer keeps none."""

    def has(phrase: str) -> bool:
        before, after = (
            (r"(?<!\w)" if phrase[0].isalnum() else ""),
            (r"(?!\w)" if phrase[-1].isalnum() else ""),
        )
        return re.search(f"{before}{re.escape(phrase)}{after}", text, re.IGNORECASE) is not None

    is_short = len(text.split()) <= row.get("max_words", 10_000)
    one_of = not row.get("any") or any(map(has, row["any"]))
    starts, ends = row.get("starts", ""), row.get("ends", "")
    return (
        bool(text.strip())
        and is_short
        and one_of
        and text.strip().lower().startswith(starts.lower())
        and text.strip().rstrip("\"'*").lower().endswith(ends.lower())
        and all(map(has, row.get("all", ())))
        and not any(map(has, row.get("none", ())))
    )
