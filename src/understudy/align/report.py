"""What a tuning run leaves for people: a page with curves, and a card of the adapter."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from understudy.adapters import Adapter
from understudy.align.compare import Paired
from understudy.align.recipe import AlignRecipe
from understudy.align.sft import SftReport
from understudy.align.workbench import Outlook, Workbench
from understudy.data.mixture import Mixture, shares_of
from understudy.report.document import (
    Block,
    Heading,
    KeyFigure,
    KeyFigures,
    Lines,
    Prose,
    Quote,
    ReportDocument,
    Series,
    Table,
)
from understudy.report.provenance import file_sha256
from understudy.report.text import duration, number

if TYPE_CHECKING:
    from collections.abc import Sequence

SMOOTHED = 10  # steps
NUM_SAMPLES = 6


@dataclass(frozen=True)
class Findings:
    """All that a run found. `measured` is {part: (loss of the base, tuned)}; `made` the adapter, or
    the folder of the model where all weights were tuned.
    """

    recipe: AlignRecipe
    bench: Workbench
    mixture: Mixture
    report: SftReport
    outlook: Outlook
    measured: Mapping[str, tuple[float, float]]
    made: Adapter | Path
    compared: dict[str, Paired] = field(default_factory=dict)


def document(findings: Findings) -> ReportDocument:
    """The page."""
    blocks: list[Block] = [
        KeyFigures(_figures(findings)),
        Heading("Loss"),
        Lines("loss", "Loss of a step, mean of ten", [Series("training", _smoothed(findings))]),
        *_comparison(findings),
        Heading("Kept apart"),
        Prose(["Mean loss per learnt token of conversations that were not trained on, in nats."]),
        Table(
            ["part", "base", "tuned"],
            [[part, number(a), number(b)] for part, (a, b) in sorted(findings.measured.items())],
            frozenset((1, 2)),
        ),
        Heading("What it learnt from"),
        mixture_table(findings.mixture),
        Heading("Samples"),
        *_samples(findings),
    ]
    title = f"Tuning of {findings.bench.name}"
    return ReportDocument("report", title, _name(findings), blocks)


def _name(findings: Findings) -> str:
    made = findings.made
    return f"adapter {made.name}" if isinstance(made, Adapter) else f"model {made.name}"


def _comparison(findings: Findings) -> list[Block]:
    """Base and adapter on the records that the run was given to compare them on."""
    if not findings.compared:
        return []
    rows = []
    for kind, paired in sorted(findings.compared.items()):
        low, high = paired.interval.low, paired.interval.high
        rows.append(
            [
                kind,
                str(paired.count),
                f"{paired.base:.1%}",
                f"{paired.adapter:.1%}",
                f"{100 * low:+.1f} to {100 * high:+.1f} points",
                f"{paired.p_value:.3g}",
            ]
        )
    heads = ["kind", "records", "base right", "tuned right", "difference, 95 %", "p (McNemar)"]
    quotes = [
        Quote(f"{message}\n\nbase: {base}\ntuned: {tuned}", label=kind)
        for kind, paired in sorted(findings.compared.items())
        for message, base, tuned in paired.samples[:NUM_SAMPLES]
    ]
    told = "The same prompts, greedy, answered by the base and after tuning."
    return [
        Heading("Base and tuned"),
        Prose([told]),
        Table(heads, rows, frozenset(range(1, 6))),
        *quotes,
    ]


def _figures(findings: Findings) -> list[KeyFigure]:
    report = findings.report
    speed = report.num_tokens / max(report.seconds, 1e-9)
    return [
        KeyFigure("tokens", f"{report.num_tokens:,}", f"{report.num_steps} steps"),
        KeyFigure("time", duration(report.seconds), f"{speed:.0f} tokens/s"),
        KeyFigure("trained", f"{findings.outlook.trained_parameters / 1e6:.2f}M", "parameters"),
    ]


def _smoothed(findings: Findings) -> Sequence[tuple[float, float]]:
    losses = findings.report.losses
    means = []
    for end in range(1, len(losses) + 1):
        window = losses[max(0, end - SMOOTHED) : end]
        means.append((float(end), sum(window) / len(window)))
    return means


def mixture_table(mixture: Mixture) -> Table:
    """What each part gave."""
    shares = shares_of(mixture)
    overlaps = Counter[str]()
    for (part, _), count in mixture.overlapping.items():
        overlaps[part] += count
    rows = [
        [
            part,
            f"{shares[part]:.1%}",
            f"{mixture.tokens[part]:,}",
            f"{mixture.learnt[part]:,}",
            f"{mixture.decisions[part]:,}",
            f"{mixture.too_long[part]:,}",
            f"{overlaps[part]:,}",
        ]
        for part in mixture.tokens
    ]
    heads = ["part", "share", "tokens", "learnt", "conversations", "too long", "overlapping"]
    return Table(heads, rows, frozenset(range(1, 7)))


def _samples(findings: Findings) -> Iterable[Block]:
    tokenizer = findings.bench.tokenizer
    for tree in findings.mixture.held_out[:NUM_SAMPLES]:
        text = tokenizer.decode(tree.tokens[tree.owners <= 1].tolist())
        yield Quote(text[-1500:], label=f"{tree.kind}: as it was learnt from")


def card_text(findings: Findings) -> str:
    """The card in Markdown: base, data with shares, how it was trained, its identity."""
    recipe, report = findings.recipe, findings.report
    shares = shares_of(findings.mixture)
    data = "\n".join(
        f"| {table['name']} | {shares.get(str(table['name']), 0):.1%} | "
        f"{', '.join(map(str, table.get('files', ()) or table.get('tool_lists', ())))} |"
        for table in recipe.parts
    )
    losses = "\n".join(
        f"| {part} | {before:.3f} | {after:.3f} |"
        for part, (before, after) in sorted(findings.measured.items())
    )
    return f"""{_identity(findings)}
- recipe: `{recipe.where.name}`, seed {recipe.seed}
- {report.num_tokens:,} tokens in {report.num_steps} steps
- learning rate {recipe.training.learning_rate:g}

| part | share of tokens | files |
| --- | --- | --- |
{data}

Loss of conversations that were kept apart, nats per learnt token:

| part | base | tuned |
| --- | --- | --- |
{losses}
"""


def _identity(findings: Findings) -> str:
    made, bench = findings.made, findings.bench
    if isinstance(made, Adapter):
        return f"""# {made.name}

An adapter (LoRA, rank {made.rank}, alpha {made.alpha:g}) for {bench.name}.

- sha256 of its content: `{made.sha256}`
- base: `{bench.path.name}`, sha256 `{made.metadata["lineage"]["base_sha256"]}`"""
    files = sorted(made.glob("*.safetensors"))
    hashes = "\n".join(f"- sha256 of `{file.name}`: `{file_sha256(file)}`" for file in files)
    return f"""# {findings.recipe.where.stem}

All weights of {bench.name}, tuned.

{hashes}
- base: `{bench.path.name}`{f", sha256 `{bench.sha256}`" if bench.sha256 else ""}"""
