"""The three jobs as checkable cases: function calls, answers from passages, characters."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from understudy.measure.bfcl import BfclCase, tools_of
from understudy.measure.bfcl_check import check
from understudy.measure.evaluate.judge import Judge

Row = Mapping[str, Any]
SILENT = ("not in the passages", "cannot answer", "can't answer", "do not know", "don't know", "no information",
          "not mentioned", "does not say", "not enough information", "insufficient information")  # fmt: skip
DOUBT = ("incorrect", "wrong", "error", "mistake", "contradict", "not true", "false")
_ASK = (
    "Answer in a few words from the passages alone, and name the passage you used as [1]. If none has the answer, say "
    '"not in the passages". If a passage states something wrong, say that it is wrong and give the right answer.'
)


def score_calls(judge: Judge, row: Row) -> dict[str, Any]:
    """A BFCL case: `id`, `category`, `question` (turns of messages), `function`, `ground_truth`."""
    messages = [message for turn in row["question"] for message in turn]
    case = BfclCase(str(row["id"]), row["category"], tuple(messages), tuple(row["function"]), tuple(row["ground_truth"]))
    reply = judge.reply(messages, 96, tools=tools_of(case))
    return {"acc": int(check(case, list(reply.tool_calls)).is_right), "category": case.category, "text": reply.raw_text}


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
    """A question with passages. `ability` is noise, rejection, integration or counterfactual, RGB's four."""
    listed = "\n".join(f"[{i}] {passage}" for i, passage in enumerate(row["passages"], 1))
    text = judge.answer([{"role": "user", "content": f"{listed}\n\n{_ASK}\n\nQuestion: {row['question']}"}], 48)
    return {**check_answer(row, text), "text": text}


def check_answer(row: Row, text: str) -> dict[str, Any]:
    """Metrics of an answer. Rejection asks for silence; integration for every part; counterfactual for doubt and truth."""
    is_silent = any(phrase in text.lower() for phrase in SILENT)
    answers: Sequence[str] = row["answers"]
    said = [f" {normalized(answer)} " in f" {normalized(text)} " for answer in answers]
    cited = [int(number) for number in re.findall(r"\[(\d+)\]", text)]
    figures: dict[str, Any] = {"kind": row["ability"], "silent": int(is_silent)}
    if cited:
        figures["citation_precision"] = sum(number in row["support"] for number in cited) / len(cited)
    if row["ability"] == "rejection":
        return {**figures, "ability": int(is_silent)}
    bare = re.sub(r"\[\d+\]", "", text)
    is_whole = all(said) and not is_silent
    if row["ability"] == "counterfactual":
        is_whole = is_whole and any(word in text.lower() for word in DOUBT)
    whole = " ".join(answers)
    exact = int(normalized(bare) == normalized(whole))
    return {**figures, "ability": int(is_whole), "exact": exact, "f1": f1(bare, whole)}


def score_role(judge: Judge, row: Row) -> dict[str, Any]:
    """A character's turn: `system`, `messages`, and what the answer must (`any`, `all`) and must not (`none`) hold."""
    messages = [{"role": "system", "content": row["system"]}, *row["messages"]]
    text = judge.answer(messages, 64)
    return {"kept": int(keeps(row, text)), "kind": row["kind"], "text": text}


def keeps(row: Row, text: str) -> bool:
    """Whether an answer keeps the case's rules; words are compared whole and without case. An empty answer keeps none."""

    def has(phrase: str) -> bool:
        return re.search(rf"(?<!\w){re.escape(phrase)}(?!\w)", text, re.IGNORECASE) is not None

    is_short = len(text.split()) <= row.get("max_words", 10_000)
    one_of = not row.get("any") or any(map(has, row["any"]))
    return (
        bool(text.strip())
        and is_short
        and one_of
        and all(map(has, row.get("all", ())))
        and not any(map(has, row.get("none", ())))
    )
