"""The sub-card of explainability: what the model is for, how it is judged, and what fails."""

from __future__ import annotations

from understudy.judge.cards import results
from understudy.judge.cards.evidence import Evidence
from understudy.judge.cards.overview import Subject, architecture, licence, network
from understudy.judge.cards.subcards import Rows
from understudy.judge.evaluate.bias import CONTRASTS
from understudy.report.document import (
    NOT_STATED,
    Block,
    Cell,
    Fields,
    Heading,
    Text,
    missing,
)

MANY = 0.25  # a rate of faults from which a probe is named among the risks


def explainability(subject: Subject) -> list[Block]:
    return [
        Heading("Explainability sub-card"),
        Fields(list(_explainability_fields(subject))),
        Heading("Performance metrics", "metrics"),
        *results.quality(subject.evidence, is_whole=True),
        Heading("How it is built"),
        *architecture(subject.facts),
    ]


def _explainability_fields(subject: Subject) -> Rows:
    stated, evidence = subject.statements.of, subject.evidence
    yield "Intended task/domain", [stated("use", "task")]
    yield "Model type", ["Transformer, decoder only: text to text"]
    yield "Intended users", [stated("use", "users")]
    yield "Output", ["Text; function calls as JSON"]
    yield (
        "Tools used to evaluate datasets to identify synthetic data and ensure data authenticity",
        [stated("data", "synthetic")],
    )
    yield (
        "Describe how the model works",
        [f"Predicts the next token from those before it. {network(subject.facts)}."],
    )
    groups: list[Cell] = [stated("explainability", "groups")]
    if (found := evidence.tasks().get("bias")) is not None:
        tested = ", ".join(name for name in CONTRASTS if name in found[1]["figures"])
        groups = [
            Text(
                f"by counterfactual pairs: {tested} (result on the page on bias)",
                runs=(found[0].number,),
            ),
            *(g for g in groups if g is not NOT_STATED),
        ]
    yield (
        "Name the adversely impacted groups this has been tested to deliver comparable outcomes "
        "regardless of",
        groups,
    )
    limits: list[Cell] = [
        f"Prompt and answer together hold at most {subject.facts.spec.max_positions:,} tokens.",
        *_not_measured(evidence),
    ]
    yield "Technical limitations", [stated("explainability", "limitations"), *limits]
    yield "Verified to have met prescribed quality standards", [stated("explainability", "quality")]
    yield "Performance metrics", [_metrics(evidence)]
    yield (
        "Potential known risks and mitigation",
        [stated("explainability", "risks"), *_risks(evidence)],
    )
    yield "Terms of use/licensing", licence(subject)


def _metrics(evidence: Evidence) -> Text:
    tasks = results.quality_tasks(evidence)
    runs = tuple(sorted({run.number for run, _ in tasks.values()}))
    return (
        Text(f"{', '.join(tasks)}: see the table below", runs=runs)
        if tasks
        else missing(results.EVALUATE)
    )


def _not_measured(evidence: Evidence) -> list[Cell]:
    absent = [
        name
        for name, is_there in (
            ("quality", bool(results.quality_tasks(evidence))),
            ("bias", "bias" in evidence.tasks()),
            ("memorised text", "memorisation" in evidence.tasks()),
            ("safety", bool(evidence.of("safety"))),
            ("a red team by people", bool(evidence.of("red team"))),
            ("speed", bool(evidence.of("speed"))),
        )
        if not is_there
    ]
    return [Text(f"Not measured: {', '.join(absent)}.", kind="missing")] if absent else []


def _risks(evidence: Evidence) -> list[Cell]:
    """The probes that found a fault in a quarter of their cases or more."""
    return [
        Text(
            f"{row['fault']}: {row['faults']} of {row['cases']} cases of {row['probe']}",
            runs=(run.number,),
        )
        for run, row in results.probe_rows(evidence)
        if row["rate"] is not None and row["rate"] >= MANY
    ]
