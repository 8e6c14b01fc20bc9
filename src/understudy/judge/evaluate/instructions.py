"""IFEval: instructions that a program can check, in the layout of the public
`ifeval_input_data.jsonl`.

A prompt is followed if all its instructions are; loose checks forgive a first or last line of talk
and asterisks.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

from understudy.errors import UsageError
from understudy.judge.evaluate.judge import Judge
from understudy.judge.evaluate.verifiers import VERIFIERS

MAX_TOKENS = 512


def follows(instruction: str, arguments: Mapping[str, Any], text: str) -> bool:
    """Whether a text that is not blank follows one instruction. Raises UsageError for an unknown
    one."""
    if instruction not in VERIFIERS:
        raise UsageError("no such instruction", expected=", ".join(VERIFIERS), found=instruction)
    given = {name: value for name, value in arguments.items() if value is not None}
    return bool(text.strip()) and bool(VERIFIERS[instruction](text, **given))


def forgiven(text: str) -> list[str]:
    """The text as it is and without its first line, its last or both, each also without
    asterisks."""
    lines = text.split("\n")
    cuts = [
        "\n".join(lines[begin:end]).strip()
        for begin, end in itertools.product((0, 1), (len(lines), len(lines) - 1))
    ]
    texts = [text, *cuts[1:]]
    return texts + [cut.replace("*", "") for cut in texts]


def check(row: Mapping[str, Any], text: str) -> dict[str, Any]:
    """Metrics of an answer; the instruction-level ones are means weighted by the number of
    instructions."""
    asked = list(zip(row["instruction_id_list"], row["kwargs"], strict=True))
    strict = [follows(name, arguments, text) for name, arguments in asked]
    loose = [
        any(follows(name, arguments, cut) for cut in forgiven(text)) for name, arguments in asked
    ]
    return {
        "prompt_strict": int(all(strict)),
        "prompt_loose": int(all(loose)),
        "instruction_strict": sum(strict) / len(strict),
        "instruction_loose": sum(loose) / len(loose),
        "weight": len(asked),
    }


def score(judge: Judge, row: Mapping[str, Any]) -> dict[str, Any]:
    text = judge.answer(
        [{"role": "user", "content": row["prompt"]}], int(row.get("max_tokens", MAX_TOKENS))
    )
    return {**check(row, text), "text": text}
