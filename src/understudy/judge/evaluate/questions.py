"""Rows of the public sets as questions, with the prompts and cleaning that lm-evaluation-harness
0.4.13 gives each."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from understudy.judge.evaluate.likelihood import Question

Row = Mapping[str, Any]


def _ask(context: str, choices: list[str], answer: int) -> Question:
    return Question(tuple((context, " " + choice) for choice in choices), tuple(choices), answer)


def hellaswag(row: Row) -> Question:
    if "query" in row:  # already cleaned
        return _ask(row["query"], list(row["choices"]), int(row["gold"]))
    context = f"{row['activity_label']}: {row['ctx_a']} {row['ctx_b'].capitalize()}"
    return _ask(
        _without_marks(context),
        [_without_marks(ending) for ending in row["endings"]],
        int(row["label"]),
    )


def _without_marks(text: str) -> str:
    """Takes out what is left of WikiHow's markup."""
    return re.sub(r"\[.*?\]", "", text.strip().replace(" [title]", ". ")).replace("  ", " ")


def arc(row: Row) -> Question:
    """ARC as the hub gives it (`choices` of texts and labels), as its authors do (`question.stem`),
    or with its prompt (`query`)."""
    if "query" in row:
        return _ask(row["query"], list(row["choices"]), int(row["gold"]))
    if isinstance(row["question"], Mapping):
        stem, listed = row["question"]["stem"], row["question"]["choices"]
        texts, labels = (
            [choice["text"] for choice in listed],
            [choice["label"] for choice in listed],
        )
    else:
        stem, texts, labels = (
            row["question"],
            list(row["choices"]["text"]),
            list(row["choices"]["label"]),
        )
    return _ask(f"Question: {stem}\nAnswer:", texts, labels.index(row["answerKey"]))


def piqa(row: Row) -> Question:
    return _ask(f"Question: {row['goal']}\nAnswer:", [row["sol1"], row["sol2"]], int(row["label"]))


def winogrande(row: Row) -> Question:
    """The choices stand in the contexts; what follows the gap is scored after each."""
    before, _, after = row["sentence"].partition("_")
    options = [row["option1"], row["option2"]]
    rest = after.strip()
    return Question(
        tuple((before + option, " " + rest) for option in options),
        (rest, rest),
        int(row["answer"]) - 1,
    )


def mmlu(row: Row) -> Question:
    subject = str(row["subject"]).replace("_", " ")
    lines = [f"{letter}. {choice}" for letter, choice in zip("ABCD", row["choices"], strict=True)]
    head = f"The following are multiple choice questions (with answers) about {subject}.\n\n"
    answer = row["answer"] if isinstance(row["answer"], int) else "ABCD".index(row["answer"])
    return _ask(
        head + "\n".join([row["question"].strip(), *lines, "Answer:"]), list("ABCD"), answer
    )
