"""GSM8K: sums told in words. The last number of the answer counts, as lm-evaluation-harness's
flexible extraction takes it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from understudy.judge.evaluate.judge import Judge

MAX_TOKENS = 256
_NUMBER = re.compile(r"-?\$?\d[\d,]*(?:\.\d+)?")


def last_number(text: str) -> float | None:
    """The last number of a text, without dollar signs and thousands' commas."""
    found = _NUMBER.findall(text)
    return float(found[-1].replace("$", "").replace(",", "")) if found else None


def check(row: Mapping[str, Any], text: str) -> dict[str, Any]:
    """A row's `answer` ends in `#### NUMBER`."""
    wanted = last_number(str(row["answer"]).rpartition("####")[2])
    if wanted is None:
        raise ValueError("the answer holds no number")
    return {"exact": int(last_number(text) == wanted)}


def score(judge: Judge, row: Mapping[str, Any]) -> dict[str, Any]:
    asked = (
        f"{row['question']}\nThink step by step, then give the answer as a number on the last line."
    )
    text = judge.answer([{"role": "user", "content": asked}], MAX_TOKENS)
    return {**check(row, text), "text": text}
