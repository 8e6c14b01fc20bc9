"""The sub-card of privacy: what training text and personal data the model can be made to say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from understudy.judge.cards import results
from understudy.judge.cards.evidence import Evidence, StoredRun
from understudy.judge.cards.overview import Subject
from understudy.judge.cards.subcards import Rows
from understudy.report.document import (
    Block,
    Cell,
    Fields,
    Heading,
    Prose,
    Table,
    Text,
    missing,
)
from understudy.report.text import number


def privacy(subject: Subject) -> list[Block]:
    evidence = subject.evidence
    return [
        Heading("Privacy sub-card"),
        Fields(list(_privacy_fields(subject))),
        Heading("Measured: personal data in the prompt"),
        *_leaks(evidence),
        Heading("Measured: memorised training text"),
        *_memorised(evidence),
    ]


def _privacy_fields(subject: Subject) -> Rows:
    stated, evidence = subject.statements.of, subject.evidence
    yield "Generatable or reverse engineerable personal data?", [*_generatable(evidence)]
    for question, key in (
        ("Personal data used to create this model?", "personal_data"),
        ("Was consent obtained for any personal data used?", "consent"),
        (
            "Description of methods implemented to address the prevalence of personal data in the "
            "training data",
            "methods",
        ),
        ("How often is dataset reviewed?", "review"),
        (
            "Is a mechanism in place to honor data subject right of access or deletion of "
            "personal data?",
            "access_deletion",
        ),
        (
            "If personal data was collected for the development of the model, was it collected "
            "directly?",
            "collected_directly",
        ),
        ("Do you maintain or have access to disclosures made to data subjects?", "disclosures"),
        ("Was personal data minimized to only what was required?", "minimised"),
        (
            "Was data from user interactions with the AI model used to train the model?",
            "interactions",
        ),
    ):
        yield question, [stated("privacy", key)]
    yield "Is there provenance for all datasets used in training?", [stated("data", "provenance")]
    yield (
        "Does data labeling (annotation, metadata) comply with privacy laws?",
        [stated("privacy", "labelling")],
    )
    yield (
        "Is data compliant with data subject requests for data correction or removal, if such a "
        "request was made?",
        [stated("privacy", "correction")],
    )
    yield "Applicable privacy policy", [stated("privacy", "policy")]


def _leak_rows(evidence: Evidence) -> list[tuple[StoredRun, Mapping[str, Any]]]:
    return [
        (run, row)
        for run, row in results.probe_rows(evidence)
        if row["probe"] in ("personal-data", "system-leak")
    ]


def _generatable(evidence: Evidence) -> list[Cell]:
    cells: list[Cell] = [
        Text(
            f"from its prompt: {row['fault']} in {row['faults']} of {row['cases']} cases",
            runs=(run.number,),
        )
        for run, row in _leak_rows(evidence)
    ] or [missing(results.PROBE)]
    found = evidence.tasks().get("memorisation")
    if found is None:
        return [*cells, missing(results.MEMORISE, "from its training: not measured")]
    share = found[1]["figures"]["extracted"]
    text = (
        f"from its training: {100 * share['value']:.1f} % ({100 * share['low']:.1f} "
        f"to {100 * share['high']:.1f}) of {share['items']} given texts went on word for word"
    )
    return [*cells, Text(text, runs=(found[0].number,))]


def _leaks(evidence: Evidence) -> list[Block]:
    rows: list[list[Cell]] = [
        [
            row["probe"],
            row["says"],
            row["fault"],
            f"{row['faults']} of {row['cases']}",
            results.rate_cell(row, run),
            results.interval({"low": row["interval"][0], "high": row["interval"][1]}),
        ]
        for run, row in _leak_rows(evidence)
    ]
    if not rows:
        return [Prose([missing(results.PROBE)])]
    return [
        Table(
            ("probe", "what", "a fault is", "faults", "rate", "95 % interval"),
            rows,
            frozenset({3, 4, 5}),
        ),
        Prose(
            [
                "Made-up people's data stand in the prompt with the rule not to give them away; "
                "numbers are checked by their checksums."
            ]
        ),
    ]


def _memorised(evidence: Evidence) -> list[Block]:
    found = evidence.tasks().get("memorisation")
    if found is None:
        return [
            Prose(
                [
                    missing(results.MEMORISE),
                    "It needs texts that the model was trained on, which only its makers have.",
                ]
            )
        ]
    run, task = found
    rows: list[list[Cell]] = [
        [
            name,
            str(figure["items"]),
            Text(number(figure["value"]), runs=(run.number,)),
            results.interval(figure),
        ]
        for name, figure in task["figures"].items()
    ]
    return [
        Table(("metric", "texts", "value", "95 % interval"), rows, frozenset({1, 2, 3})),
        Prose(
            [
                "The first 50 tokens of a text are the prompt; extracted: the next 50 are equal to "
                "what greedy decoding writes; matched: the "
                "share of them before the first that differs. It means something beside text that "
                "the model cannot have seen."
            ]
        ),
    ]
