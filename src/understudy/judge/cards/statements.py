"""What only a person can say of a model, from a small TOML file. What is absent is shown as not
stated, and never invented.

The questions follow the fields of NVIDIA's Model Card++ templates
(github.com/NVIDIA/Trustworthy-AI, CC0).
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path

from understudy.errors import FormatError, MissingError, UsageError
from understudy.report.document import NOT_STATED, Text

QUESTIONS: dict[str, dict[str, str]] = {
    "model": {
        "name": "The model's name, if not its file's.",
        "summary": "One sentence: what it does, and for whom.",
        "version": "Its version.",
        "owner": "Who made it and answers for it.",
        "contact": "Where to report faults and dangers.",
        "licence": "Licence or terms of use, if its file does not say.",
        "released": "When and where it was or will be released.",
        "geography": "Where in the world it may be used.",
        "references": "Papers, sources, the model it was made of.",
    },
    "use": {
        "task": "Intended task and domain.",
        "users": "Intended users.",
        "fields": "Fields of application (games, customer service …).",
        "out_of_scope": "What it must not be used for.",
        "restrictions": "Restrictions of use by licence or law.",
        "life_critical": "What happens to life and limb if it is wrong, if anything.",
    },
    "data": {
        "training": "Data that it was trained on: names, sizes, time.",
        "collection": "How the data were collected and labelled.",
        "provenance": "Whether the source of all of it is known.",
        "synthetic": "How synthetic data were told apart.",
        "harmful": "What was done about harmful content in the data.",
        "illegal": "What was done about illegal content in the data.",
        "access": "Who could reach data and model (least privilege).",
    },
    "explainability": {
        "limitations": "Where it is known to work badly.",
        "risks": "Known risks, and what lessens them.",
        "quality": "Quality standards that it was verified to meet.",
        "groups": "Groups it was tested on, beyond the probe below.",
    },
    "bias": {
        "participation": "How groups that may be harmed took part in design and testing.",
        "mitigation": "Measures taken against unwanted bias.",
        "data": "What was done about bias in the data.",
        "tools": "Other tools used to find imbalances.",
    },
    "privacy": {
        "personal_data": "Whether personal data were used to make it.",
        "consent": "Whether those concerned consented.",
        "methods": "What was done to keep personal data out.",
        "review": "How often the data are reviewed.",
        "access_deletion": "How someone gets at or deletes their data.",
        "collected_directly": "Whether they were collected directly.",
        "disclosures": "What those concerned were told.",
        "minimised": "Whether they were kept to what was needed.",
        "interactions": "Whether talks with users were trained on.",
        "labelling": "Whether labelling keeps to privacy law.",
        "correction": "Whether requests for correction were met.",
        "policy": "The privacy policy that applies.",
    },
}


class Statements:
    """`statements.of("use", "task")` is the answer, or `not stated`."""

    def __init__(self, answers: Mapping[str, Mapping[str, str]] | None = None) -> None:
        self._answers = answers or {}

    def of(self, table: str, key: str) -> Text:
        if key not in QUESTIONS[table]:
            raise KeyError((table, key))
        answer = self._answers.get(table, {}).get(key, "")
        return Text(answer) if answer else NOT_STATED

    def has(self, table: str, key: str) -> bool:
        return self.of(table, key) is not NOT_STATED


def read_statements(path: Path) -> Statements:
    """Reads a `card.toml`.

    Raises:
        MissingError, FormatError: the file is not there, or no TOML.
        UsageError: a table, key or kind of value that a card does not have.
    """
    try:
        content = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise MissingError(
            f"cannot open: {error.strerror}", where=path, do="`--init` writes a template"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise FormatError("not TOML", where=path, found=str(error)) from error
    answers: dict[str, dict[str, str]] = {}
    for table, entries in content.items():
        if table not in QUESTIONS or not isinstance(entries, dict):
            raise UsageError(
                "no such table of a card", where=f"{path}: {table}", expected=", ".join(QUESTIONS)
            )
        for key, value in entries.items():
            if key not in QUESTIONS[table]:
                raise UsageError(
                    "no such key",
                    where=f"{path}: [{table}] {key}",
                    expected=", ".join(QUESTIONS[table]),
                )
            answers.setdefault(table, {})[key] = _answer(value, f"{path}: [{table}] {key}")
    return Statements(answers)


def _answer(value: object, where: str) -> str:
    if isinstance(value, list) and all(isinstance(entry, str) for entry in value):
        return "; ".join(value)
    if not isinstance(value, str):
        raise UsageError(
            "not a text",
            where=where,
            expected="a text or a list of texts",
            found=type(value).__name__,
        )
    return value.strip()


def template() -> str:
    """A `card.toml` with every question and no answer."""
    lines = [
        "# What only a person can say of this model. An empty answer is shown as `not stated`."
    ]
    for table, questions in QUESTIONS.items():
        lines += ["", f"[{table}]"]
        for key, question in questions.items():
            lines += [f"# {question}", f'{key} = ""']
    return "\n".join(lines) + "\n"
