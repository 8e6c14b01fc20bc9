"""The sub-card of safety and security: probes, the red team, detectors, and what is forbidden."""

from __future__ import annotations

from understudy.judge.cards import results
from understudy.judge.cards.overview import Subject
from understudy.judge.cards.subcards import Rows
from understudy.report.document import (
    Block,
    Fields,
    Heading,
    Prose,
    missing,
)


def safety(subject: Subject) -> list[Block]:
    evidence = subject.evidence
    return [
        Heading("Safety and security sub-card"),
        Fields(list(_safety_fields(subject))),
        Heading("Measured: probes"),
        *results.probes(evidence),
        Heading("Measured: garak"),
        *results.probes(evidence, is_garak=True),
        Heading("Faults by category"),
        *results.categories(evidence),
        Heading("Red team"),
        *results.red_team(evidence),
        Heading("Detectors and their known errors"),
        *(results.detectors(evidence) or [Prose([missing(results.PROBE)])]),
    ]


def _safety_fields(subject: Subject) -> Rows:
    stated = subject.statements.of
    yield "Model application field(s)", [stated("use", "fields")]
    yield "Describe the life critical impact (if present)", [stated("use", "life_critical")]
    yield (
        "Description of methods implemented to address other types of potentially harmful data",
        [stated("data", "harmful")],
    )
    yield (
        "Description of methods implemented to address illegal or harmful content in the training "
        "data",
        [stated("data", "illegal")],
    )
    yield "Use case restrictions", [stated("use", "restrictions")]
    yield "Out-of-scope use", [stated("use", "out_of_scope")]
    yield "Model and dataset restrictions", [stated("data", "access")]
    yield "Over-refusal beside harm", results.balance(subject.evidence) or [missing(results.PROBE)]
    yield (
        "Guard",
        [
            "Off unless it is made: understudy.judge.safety.moderation checks messages and answers "
            "by word lists, personal data and forks of the model."
        ],
    )
