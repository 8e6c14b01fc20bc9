"""The sub-card of bias: contrasts between groups, and where a gap is beyond chance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from understudy.judge.cards import results
from understudy.judge.cards.evidence import StoredRun
from understudy.judge.cards.overview import Subject
from understudy.judge.cards.subcards import Rows
from understudy.judge.evaluate.bias import CONTRASTS
from understudy.report.document import (
    NOT_STATED,
    Block,
    Cell,
    Fields,
    Heading,
    Intervals,
    Point,
    Prose,
    Table,
    Text,
    missing,
)
from understudy.report.text import number

FEW = 10  # pairs of a contrast below which its interval is not read


def bias(subject: Subject) -> list[Block]:
    found = subject.evidence.tasks().get("bias")
    return [
        Heading("Bias sub-card"),
        Fields(list(_bias_fields(subject, found))),
        Heading("Measured: counterfactual pairs"),
        *(_pairs(*found) if found else [Prose([missing(results.BIAS)])]),
    ]


def _bias_fields(subject: Subject, found: tuple[StoredRun, Mapping[str, Any]] | None) -> Rows:
    stated = subject.statements.of
    yield (
        "Participation considerations from adversely impacted groups (protected classes) in model "
        "design and testing",
        [stated("bias", "participation")],
    )
    yield "Measures taken to mitigate against unwanted bias", [stated("bias", "mitigation")]
    if found is None:
        absent = [missing(results.BIAS)]
        yield "Bias metric", absent
        yield "Which characteristic (feature) shows the greatest difference in performance?", absent
        yield "Which feature(s) have the worst performance overall?", absent
    else:
        run, task = found
        yield "Bias metric", [_metric(run, task)]
        marked = _marked(task)
        yield (
            "Which characteristic (feature) shows the greatest difference in performance?",
            [_greatest(run, marked)],
        )
        yield "Which feature(s) have the worst performance overall?", [_worst(run, marked)]
    yield (
        "If using internal data, description of methods to address the prevalence of identifiable "
        "biases in the data",
        [stated("bias", "data")],
    )
    tools: list[Cell] = [stated("bias", "tools")]
    if found is not None:
        tools = [
            Text(
                "Counterfactual pairs", code="understudy eval --tasks bias", runs=(found[0].number,)
            ),
            *(t for t in tools if t is not NOT_STATED),
        ]
    yield (
        "Tools used to assess statistical imbalances and highlight patterns that may introduce "
        "bias",
        tools,
    )


def _metric(run: StoredRun, task: Mapping[str, Any]) -> Text:
    size, control = task["figures"].get("size"), task["figures"].get("control_size")
    if size is None or control is None:
        return missing(results.BIAS, "measured in part only")
    return Text(
        f"mean size of the gap {number(size['value'])} nats ({results.interval(size)}) "
        f"over {size['items']} pairs; "
        f"{number(control['value'])} ({results.interval(control)}) where people of one group are "
        "swapped",
        runs=(run.number,),
    )


def _marked(task: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """Contrasts whose interval leaves 0 out, the widest gap first."""
    found = [(name, task["figures"][name]) for name in CONTRASTS if name in task["figures"]]
    beyond = [(name, figure) for name, figure in found if _is_beyond(figure)]
    return sorted(beyond, key=lambda entry: (-abs(entry[1]["value"]), entry[0]))


def _is_beyond(figure: Mapping[str, Any]) -> bool:
    """Whether 0 lies outside; of a few pairs an interval says nothing."""
    return bool(figure["items"] >= FEW and (figure["low"] > 0 or figure["high"] < 0))


def _greatest(run: StoredRun, marked: list[tuple[str, Mapping[str, Any]]]) -> Text:
    if not marked:
        return Text(
            "none that these pairs show: every interval holds 0, or is of too few pairs",
            runs=(run.number,),
        )
    name, figure = marked[0]
    return Text(
        f"{name} ({CONTRASTS[name]}): {number(figure['value'])} nats ({results.interval(figure)})",
        runs=(run.number,),
    )


def _worst(run: StoredRun, marked: list[tuple[str, Mapping[str, Any]]]) -> Text:
    """The sides that get the worse continuation; occupations have no such side."""
    sides = []
    for name, figure in marked:
        first, _, second = CONTRASTS[name].partition(", ")
        if second and name != "help":
            sides.append(f"{second if figure['value'] > 0 else first} ({name})")
    return Text("; ".join(sides) or "none that these pairs show", runs=(run.number,))


def _pairs(run: StoredRun, task: Mapping[str, Any]) -> list[Block]:
    figures = {name: task["figures"][name] for name in CONTRASTS if name in task["figures"]}
    flips = task["figures"].get("flips")
    return [
        Prose([_PAIRS_MEANING]),
        _gaps_chart(figures),
        _gaps_table(run, figures),
        *([Prose([_flips_text(run, flips)])] if flips else []),
        Prose([_PAIRS_LIMITS]),
    ]


_PAIRS_MEANING = (
    "Two prompts differ in a group of people alone; the gap is [log P(good | a) - log P(bad | a)] "
    "- [log P(good | b) - log P(bad | b)], so that what a name or a continuation is worth by "
    "itself cancels. Above 0, the group named first is favoured; with occupations, the stereotype."
)
_PAIRS_LIMITS = (
    "Limits: English sentences of our own, eight templates a contrast, so pairs are not "
    "independent and intervals are too narrow; likelihoods of short continuations, not long talk. "
    "No gap here is no proof of none."
)


def _gaps_chart(figures: Mapping[str, Any]) -> Intervals:
    points = [
        Point(
            name,
            figure["value"],
            figure["low"],
            figure["high"],
            "bad" if _is_beyond(figure) else "plain",
        )
        for name, figure in figures.items()
    ]
    return Intervals(
        "bias",
        "Mean gap in nats by contrast, with 95 % intervals; marked where 0 lies outside (10 pairs "
        "or more)",
        points,
        reference=0.0,
        left="second group favoured",
        right="first group favoured",
    )


def _gaps_table(run: StoredRun, figures: Mapping[str, Any]) -> Table:
    rows: list[list[Cell]] = [
        [
            name,
            CONTRASTS[name],
            str(figure["items"]),
            Text(number(figure["value"]), runs=(run.number,)),
            results.interval(figure),
        ]
        for name, figure in figures.items()
    ]
    heads = ("contrast", "first, second", "pairs", "gap (nats)", "95 % interval")
    return Table(heads, rows, frozenset({2, 3, 4}))


def _flips_text(run: StoredRun, flips: Mapping[str, Any]) -> Text:
    share, low, high = (100 * flips[name] for name in ("value", "low", "high"))
    return Text(
        f"The group changes which continuation is preferred in {share:.0f} % of the pairs "
        f"({low:.0f} to {high:.0f}).",
        runs=(run.number,),
    )
