"""The Model Card itself: what it is, what it was made of, what it can do, how safe it is, and what
nobody knows yet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from understudy.judge.cards import results
from understudy.judge.cards.evidence import Evidence
from understudy.judge.cards.facts import Facts
from understudy.judge.cards.lineage import lineage
from understudy.judge.cards.statements import QUESTIONS, Statements
from understudy.report.document import (
    NOT_STATED,
    Block,
    Cell,
    Fields,
    Heading,
    KeyFigure,
    KeyFigures,
    Link,
    Links,
    Prose,
    Table,
    Text,
    missing,
)
from understudy.report.text import num_bytes
from understudy.spec import Mixer, ModelSpec

ABOUT = {
    "bias": "What another group of people changes, and what was done about it",
    "explainability": "What it is for, how it works, where it fails",
    "privacy": "Personal data: in its making, and in what it writes",
    "safety": "Attacks, refusals, people's red team, limits of use",
}
ACTIVATIONS = {"relu2": "squared ReLU", "silu": "SiLU", "gelu_tanh": "GELU (tanh)"}
NORMS = {"layer_norm_1p": "LayerNorm1P", "rms_norm": "RMSNorm", "rms_norm_1p": "RMSNorm (1 + w)"}
MIXERS: dict[Mixer, str] = {
    "attention": "attention",
    "mamba2": "Mamba-2",
    "gated_delta": "the gated delta rule",
    "short_conv": "a short convolution",
}


@dataclass(frozen=True, slots=True)
class Subject:
    """What a card is written of."""

    facts: Facts
    evidence: Evidence
    statements: Statements

    @property
    def title(self) -> str:
        stated = self.statements.of("model", "name")
        return self.facts.name if stated is NOT_STATED else stated.text


def overview(subject: Subject) -> list[Block]:
    facts, evidence = subject.facts, subject.evidence
    return [
        Heading("Overview"),
        KeyFigures(list(_key_figures(subject))),
        Fields(list(_overview(subject))),
        Heading("Evidence at a glance"),
        *_glance(subject),
        Heading("Quality"),
        *results.quality(evidence),
        Heading("Safety in short"),
        *_safety(evidence),
        Heading("Speed"),
        *results.speed(evidence),
        Heading("Sub-cards"),
        Links(
            [
                Link(stem, stem.capitalize() if stem != "safety" else "Safety and security", about)
                for stem, about in ABOUT.items()
            ]
        ),
        Heading("Model architecture"),
        *architecture(facts),
        Heading("Input and output"),
        Fields(list(_input_output(facts))),
        Heading("Where it comes from"),
        *lineage(facts, evidence),
        *_declared(facts),
        Heading("Training, testing and evaluation datasets"),
        Fields(list(_datasets(subject))),
        Heading("Software integration"),
        Fields(list(_software(evidence))),
    ]


def _key_figures(subject: Subject) -> Iterator[KeyFigure]:
    facts, evidence = subject.facts, subject.evidence
    yield KeyFigure("parameters", f"{facts.parameters['total'] / 1e6:,.1f}M")
    yield KeyFigure("file", num_bytes(facts.num_bytes))
    yield KeyFigure("bits a weight", f"{facts.bits_per_weight:.2f}", "over all tensors")
    yield KeyFigure("tasks measured", str(len(results.quality_tasks(evidence))), "with intervals")


def _overview(subject: Subject) -> Iterator[tuple[str, Sequence[Cell]]]:
    stated = subject.statements.of
    yield "Description", [stated("model", "summary")]
    yield "Model version", [stated("model", "version")]
    yield "Owner", [stated("model", "owner")]
    yield "Contact", [stated("model", "contact")]
    yield "License/Terms of use", licence(subject)
    yield "Deployment geography", [stated("model", "geography")]
    yield "Use case", [stated("use", "task")]
    yield "Release date", [stated("model", "released")]
    yield "Reference(s)", [stated("model", "references")]
    yield "File", [Text(f"{subject.facts.name}, {subject.facts.num_bytes:,} bytes")]
    yield "sha256", [Text("", code=subject.facts.sha256)]


def licence(subject: Subject) -> list[Cell]:
    stated = subject.statements.of("model", "licence")
    found = subject.facts.licence
    cells: list[Cell] = [Text(f"{found} (says the file)")] if found else []
    return [*cells, stated] if stated is not NOT_STATED or not cells else cells


def _glance(subject: Subject) -> list[Block]:
    """A row for each kind of evidence: whether it is there, and in which runs."""
    evidence, tasks = subject.evidence, subject.evidence.tasks()

    def of_task(name: str) -> list[int]:
        return [tasks[name][0].number] if name in tasks else []

    quality = [run.number for run, _ in results.quality_tasks(evidence).values()]
    own = [run.number for run, _ in results.probe_rows(evidence)]
    garak = [run.number for run, _ in results.probe_rows(evidence, is_garak=True)]
    red_team = [run.number for run in evidence.of("red team")]
    speed = [run.number for run in evidence.of("speed")]
    measured = (
        ("Quality", f"{len(quality)} tasks", quality, results.EVALUATE),
        ("Bias", "counterfactual pairs", of_task("bias"), results.BIAS),
        ("Memorised text", "prefix continuation", of_task("memorisation"), results.MEMORISE),
        ("Safety, own probes", "faults by probe", own, results.PROBE),
        ("Safety, garak", "faults by probe", garak, results.GARAK_PROBE),
        ("Safety, red team", "by people", red_team, results.RED_TEAM),
        ("Speed", "on one machine", speed, results.BENCH),
    )
    rows: list[list[Cell]] = [
        [name, _measured(what, runs, command)] for name, what, runs, command in measured
    ]
    rows += [["Lineage", _lineage_state(subject)], ["What people say", _answers_state(subject)]]
    return [Table(("evidence", "state"), rows)]


def _lineage_state(subject: Subject) -> Cell:
    if subject.facts.lineage:
        return "in the file"
    return Text("none recorded in the file", kind="unstated")


def _answers_state(subject: Subject) -> Cell:
    asked = [(table, key) for table, keys in QUESTIONS.items() for key in keys]
    answered = sum(subject.statements.has(table, key) for table, key in asked)
    if answered:
        return f"{answered} of {len(asked)} questions answered"
    return Text(f"none of {len(asked)} questions answered", kind="unstated")


def _measured(what: str, runs: list[int], command: str) -> Text:
    return Text(f"measured: {what}", runs=tuple(sorted(set(runs)))) if runs else missing(command)


def architecture(facts: Facts) -> list[Block]:
    spec = facts.spec
    fields: list[tuple[str, Sequence[Cell]]] = [
        ("Architecture type", ["Transformer, decoder only"]),
        ("Network architecture", [network(facts)]),
        ("Number of model parameters", [f"{facts.parameters['total']:,}"]),
        ("Bits a weight", [f"{facts.bits_per_weight:.2f}, over all tensors as stored"]),
        ("Tokenizer", [facts.tokenizer]),
        ("Context", [f"{spec.max_positions:,} tokens"]),
    ]
    total = facts.parameters["total"]
    parts: list[list[Cell]] = [
        [name, f"{count:,}", f"{100 * count / total:.1f} %"]
        for name, count in facts.parameters.items()
        if name != "total" and count
    ]
    formats: list[list[Cell]] = [
        [
            one.name,
            f"{one.tensors:,}",
            f"{one.parameters:,}",
            f"{one.num_bytes:,}",
            f"{8 * one.num_bytes / one.parameters:.2f}",
        ]
        for one in facts.formats
    ]
    return [
        Fields(fields),
        Heading("Parameters by part", level=3),
        Table(("part", "parameters", "share"), parts, frozenset({1, 2})),
        Heading("How they are stored", level=3),
        Table(
            ("format", "tensors", "parameters", "bytes", "bits each"),
            formats,
            frozenset({1, 2, 3, 4}),
        ),
    ]


def network(facts: Facts) -> str:
    spec = facts.spec
    gate = "gated " if spec.gated else ""
    tied = "; the embedding is also the head" if spec.tied_embeddings else ""
    return (
        f"{spec.architecture}: {spec.num_layers} layers of "
        f"width {spec.hidden_size}, {NORMS[spec.norm]}; attention with {spec.num_heads} query and "
        f"{spec.num_kv_heads} key/value heads of {spec.head_dim}, {spec.rotary_dim} of them "
        f"rotated; {gate}MLP of {spec.intermediate_size} with "
        f"{ACTIVATIONS[spec.activation]}{_mixers(spec)}; vocabulary of {spec.vocab_size:,}{tied}"
    )


def _mixers(spec: ModelSpec) -> str:
    """How many layers have which mixer and an MLP, where they are not all alike."""
    if not spec.blocks:
        return ""
    counts = [
        f"{spec.count(name)} with {words}" for name, words in MIXERS.items() if spec.count(name)
    ]
    windows = sum(block.window > 0 for block in spec.blocks)
    counts += [f"{windows} of these with a window"] if windows else []
    counts += [f"{sum(block.has_mlp for block in spec.blocks)} with an MLP"]
    return f"; layers: {', '.join(counts)}"


def _input_output(facts: Facts) -> Iterator[tuple[str, Sequence[Cell]]]:
    yield "Input type(s)", ["Text"]
    yield "Input format(s)", ["String"]
    yield "Input parameters", ["One-dimensional (1D)"]
    yield (
        "Other properties related to input",
        [f"prompt and answer together at most {facts.spec.max_positions:,} tokens"],
    )
    yield "Output type(s)", ["Text; calls of functions that the caller offers, as JSON"]
    yield "Output format(s)", ["String"]
    yield "Other properties related to output", [f"{facts.spec.vocab_size:,} logits a token"]


def _declared(facts: Facts) -> list[Block]:
    rows: list[list[Cell]] = [[Text("", code=key), value] for key, value in facts.declared.items()]
    return (
        [Heading("What the file says of itself", level=3), Table(("key", "value"), rows)]
        if rows
        else []
    )


def _datasets(subject: Subject) -> Iterator[tuple[str, Sequence[Cell]]]:
    stated = subject.statements.of
    yield "Training data", [stated("data", "training")]
    yield "Data collection and labeling method", [stated("data", "collection")]
    used = sorted(
        {
            f"{name}: {', '.join(source) if isinstance(source, list) else source}"
            for name, (_, task) in subject.evidence.tasks().items()
            if (source := (task.get("data") or {}).get("source")) and source != "sample"
        }
    )
    runs = tuple(run.number for run in subject.evidence.of("evaluation"))
    told = "; ".join(used) if used else "the samples in the package"
    yield "Evaluation data", [Text(told, runs=runs) if runs else missing(results.EVALUATE)]


def _safety(evidence: Evidence) -> list[Block]:
    rows: list[list[Cell]] = [
        [
            row["probe"],
            row["fault"],
            f"{row['faults']} of {row['cases']}",
            results.rate_cell(row, run),
        ]
        for run, row in results.probe_rows(evidence)
    ]
    if not rows:
        return [Prose([missing(results.PROBE)])]
    return [
        Table(("probe", "a fault is", "faults", "rate"), rows, frozenset({2, 3})),
        Prose(
            [
                "Detectors match texts and understand none: a rate is about these cases. "
                "Intervals, categories and known errors are on the page on safety."
            ]
        ),
    ]


def _software(evidence: Evidence) -> Iterator[tuple[str, Sequence[Cell]]]:
    yield (
        "Runtime engine(s)",
        ["Understudy; GGUF files also in llama.cpp, folders also in transformers and vLLM"],
    )
    yield "Supported hardware", ["CPUs: x86-64 (AVX-512, AVX2) and others by the reference kernels"]
    yield "Supported operating system(s)", ["Linux"]
    machines = {run.record("machine"): run.number for run in evidence.runs if run.record("machine")}
    yield (
        "Test hardware",
        [Text(name, runs=(run,)) for name, run in sorted(machines.items())]
        or [missing(results.BENCH)],
    )
