"""The tasks by name. A new one is an entry of `TASKS` and a file of rows, `data/<name>.jsonl`.

A task scores one row with a `Judge` and returns metrics by name; `metrics` says what kind each is: a share of items
(0 or 1 each), a mean, or a perplexity (mean negative log-likelihood in nats, items weighted by `weight`).
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from understudy.errors import InputError, MissingError, UsageError
from understudy.measure.evaluate import applications, bias, instructions, memorisation, questions
from understudy.measure.evaluate.judge import Judge
from understudy.measure.evaluate.likelihood import Question, score_choices, score_last_word

Kind = Literal["share", "mean", "perplexity"]
Row = Mapping[str, Any]
SAMPLES = Path(__file__).parent / "data"


@dataclass(frozen=True, slots=True)
class Task:
    """`score` gives a row's metrics; `about` is for the report."""

    about: str
    score: Callable[[Judge, Row], dict[str, Any]]
    metrics: Mapping[str, Kind]


_MEAN: Kind = "mean"


def _choices(about: str, question: Callable[[Row], Question], *metrics: str) -> Task:
    kinds: dict[str, Kind] = dict.fromkeys(metrics, "share")
    return Task(about, lambda judge, row: score_choices(judge.scorer, question(row)), kinds)


def _text(judge: Judge, row: Row) -> dict[str, Any]:
    result = judge.perplexity(str(row["text"]))
    return {"perplexity": result.nll, "weight": result.num_scored}


TASKS: dict[str, Task] = {
    "perplexity": Task("texts in windows of 512 tokens", _text, {"perplexity": "perplexity"}),
    "hellaswag": _choices("how a scene goes on", questions.hellaswag, "acc", "acc_norm"),
    "arc_easy": _choices("school science, easy", questions.arc, "acc", "acc_norm"),
    "arc_challenge": _choices("school science, harder", questions.arc, "acc", "acc_norm"),
    "piqa": _choices("everyday physics", questions.piqa, "acc", "acc_norm"),
    "winogrande": _choices("whom a pronoun's gap means", questions.winogrande, "acc"),
    "mmlu": _choices("knowledge, choices by letter", questions.mmlu, "acc"),
    "lambada": Task("the last word of a passage", lambda judge, row: score_last_word(judge.scorer, row),
                    {"acc": "share", "perplexity": "perplexity"}),
    "ifeval": Task("instructions that a program can check", instructions.score,
                   {"prompt_strict": "share", "prompt_loose": "share", "instruction_strict": "mean", "instruction_loose": "mean"}),
    "calls": Task("function calling, checked as BFCL does", applications.score_calls, {"acc": "share"}),
    "rag": Task("answers from passages: noise, silence, several sources, false sources", applications.score_answer,
                {"exact": "share", "f1": "mean", "ability": "share", "citation_precision": "mean"}),
    "roleplay": Task("persona, lore, world and card rules", applications.score_role, {"kept": "share"}),
    "bias": Task("counterfactual pairs: what another group of people changes, in nats", bias.score,
                 {"size": "mean", "control_size": "mean", "flips": "share", **dict.fromkeys(bias.CONTRASTS, _MEAN)}),
    "memorisation": Task("training text given back word for word after its beginning", memorisation.score,
                         {"extracted": "share", "matched": "mean"}),
}  # fmt: skip

_LIKELIHOOD = ("perplexity", "hellaswag", "arc_easy", "arc_challenge", "piqa", "winogrande", "mmlu", "lambada")
_WITH_SAMPLES = tuple(name for name in TASKS if name != "memorisation")  # that one needs the text that the model was trained on
SUITES: dict[str, tuple[str, ...]] = {
    "quick": _WITH_SAMPLES,
    "full": _WITH_SAMPLES,
    "likelihood": _LIKELIHOOD,
    "applications": ("ifeval", "calls", "rag", "roleplay"),
}


def chosen_tasks(suites: list[str], names: list[str]) -> list[str]:
    """Task names of suites and single names, each once, in the order of `TASKS`."""
    wanted: set[str] = set(names)
    for suite in suites:
        wanted |= {suite} if suite in TASKS else set(SUITES.get(suite, (suite,)))
    unknown = sorted(wanted - set(TASKS))
    if unknown:
        raise UsageError("no such task", expected=", ".join([*SUITES, *TASKS]), found=", ".join(unknown))
    return [name for name in TASKS if name in wanted]


def load_rows(name: str, folder: Path | None = None) -> list[dict[str, Any]]:
    """A task's rows: `<name>.jsonl` or `.jsonl.gz` in `folder`, else the sample in the package.

    Raises MissingError where a folder was given and has no such file, InputError for a line that is no JSON object.
    """
    base = SAMPLES if folder is None else folder
    path = next((p for p in (base / f"{name}.jsonl", base / f"{name}.jsonl.gz") if p.is_file()), None)
    if path is None:
        raise MissingError("no data for this task", where=base, expected=f"{name}.jsonl")
    content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    rows = []
    for number, line in enumerate(content.splitlines(), 1):
        try:
            row = json.loads(line) if line.strip() else None
        except ValueError as error:
            raise InputError("not a line of JSON", where=f"{path}:{number}", found=str(error)) from error
        if row is not None and not isinstance(row, dict):
            raise InputError("not a JSON object", where=f"{path}:{number}")
        if row is not None:
            rows.append(row)
    return rows
