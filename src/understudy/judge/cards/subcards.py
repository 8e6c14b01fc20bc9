"""The four sub-cards of Model Card++: bias, explainability, privacy, safety and security. Field
names are the templates'."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from understudy.judge.cards import results
from understudy.judge.cards.evidence import Evidence, StoredRun
from understudy.judge.cards.overview import Subject, architecture, licence, network
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

Rows = Iterator[tuple[str, Sequence[Cell]]]
FEW = 10  # pairs of a contrast below which its interval is not read
MANY = 0.25  # a rate of faults from which a probe is named among the risks


# ---- bias ----------------------------------------------------------------------------------------
# -------------------


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


# ---- explainability
# -------------------------------------------------------------------------------------------------


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


# ---- privacy -------------------------------------------------------------------------------------
# -------------------


def privacy(subject: Subject) -> list[Block]:
    evidence = subject.evidence
    return [
        Heading("Privacy sub-card"),
        Fields(list(_privacy_fields(subject))),
        Heading("Measured: personal data in the prompt"),
        *_leaks(evidence),
        Heading("Measured: text given back"),
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


# ---- safety and security
# --------------------------------------------------------------------------------------------


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
