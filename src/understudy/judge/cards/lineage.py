"""Where a model comes from, as blocks: its teacher, the stages of its compression, its adapters."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from understudy.judge.cards.evidence import Evidence, StoredRun
from understudy.judge.cards.facts import Facts
from understudy.report.document import (
    Block,
    Cell,
    Fields,
    Heading,
    Prose,
    Table,
    Text,
)
from understudy.report.text import number


def lineage(facts: Facts, evidence: Evidence) -> list[Block]:
    """What the file carries of where it comes from, and what its compression measured."""
    blocks = [*_lineage_blocks(facts.lineage, facts), *_adapter_blocks(facts.adapters)]
    for run in evidence.of("compression"):
        blocks.append(Heading("What compression measured on its own text", level=3))
        blocks.append(_exported(run))
    return blocks


def _adapter_blocks(adapters: Sequence[Mapping[str, Any]]) -> Iterator[Block]:
    """What acts beside the file's weights, by content and origin."""
    for adapter in adapters:
        yield Heading(f"Adapter {adapter['name']}", level=3)
        fields: list[tuple[str, Sequence[Cell]]] = [
            ("Its sha256", [Text("", code=str(adapter["sha256"]))]),
            ("Scale, rank", [f"{adapter['scale']:g}, {adapter.get('rank', 'not recorded')}"]),
        ]
        known = ("name", "sha256", "scale", "rank")
        fields += [(key, [str(adapter[key])]) for key in sorted(adapter) if key not in known]
        yield Fields(fields)


def _lineage_blocks(found: Mapping[str, Any], facts: Facts) -> Iterator[Block]:
    if not found:
        yield Prose(
            [
                Text("The file carries no lineage.", kind="unstated"),
                Text("A model has it that was made by", code="understudy compress"),
            ]
        )
        return
    if "note" in found:
        yield Prose([str(found["note"])])
    yield Fields(_origin_fields(found, facts.parameters["total"]))
    if rows := list(_stage_rows(found.get("stages"))):
        heads = (
            "stage",
            "parameters",
            "perplexity",
            "teacher's",
            "KL to teacher (nats)",
            "same top token",
        )
        yield Table(heads, rows, frozenset({1, 2, 3, 4, 5}))
    if found.get("recipe"):
        yield Heading("Recipe", level=3)
        settings = flattened(found["recipe"])
        recipe = [[Text("", code=name), Text("", code=value)] for name, value in settings]
        yield Table(("setting", "value"), recipe)
    if isinstance(found.get("teacher_lineage"), Mapping):
        yield Heading("Where its teacher comes from", level=3)
        yield from _lineage_blocks(found["teacher_lineage"], facts)


def _origin_fields(found: Mapping[str, Any], total: int) -> list[tuple[str, Sequence[Cell]]]:
    """What a model was made from and with; `total` are its own parameters."""
    teacher = found.get("teacher")
    fields: list[tuple[str, Sequence[Cell]]] = [
        ("Made from", [Text(str(teacher) if teacher else "not recorded")])
    ]
    if found.get("teacher_sha256"):
        fields.append(("Its sha256", [Text("", code=str(found["teacher_sha256"]))]))
    if isinstance(size := found.get("teacher_parameters"), int) and size:
        fields.append(("Parameters", [f"{total:,} of {size:,} ({100 * total / size:.1f} %)"]))
    if found.get("version"):
        fields.append(("Made with", [f"understudy {found['version']}"]))
    return fields


def _stage_rows(stages: Any) -> Iterator[list[Cell]]:
    for stage in stages if isinstance(stages, list) else ():
        if isinstance(stage, str):
            yield [stage, "", "", "", "", ""]
        elif isinstance(stage, Mapping):
            quality, counts = stage.get("quality") or {}, stage.get("parameters") or {}
            total = counts.get("total") if isinstance(counts, Mapping) else None
            yield [
                str(stage.get("stage", "")),
                f"{total:,}" if isinstance(total, int) else "",
                *_measures(quality),
            ]


def _measures(quality: Any) -> list[Cell]:
    values = quality if isinstance(quality, Mapping) else {}
    shown: list[Cell] = []
    for name in ("perplexity", "teacher_perplexity", "kl", "agreement"):
        value = values.get(name)
        shown.append(
            (f"{100 * value:.1f} %" if name == "agreement" else number(value))
            if isinstance(value, (int, float))
            else ""
        )
    return shown


def _exported(run: StoredRun) -> Block:
    rows: list[list[Cell]] = []
    for name, said in (
        ("folder", "folder, against the student"),
        ("gguf", "GGUF, against the student"),
        ("final", "student, against the teacher"),
        ("second text", "the same on another text"),
    ):
        values = run.data["figures"].get(name)
        if isinstance(values, Mapping):
            bits = values.get("bits_per_weight")
            rows.append(
                [
                    Text(said, runs=(run.number,)),
                    f"{bits:.2f}" if isinstance(bits, float) else "",
                    *_measures(values),
                ]
            )
    heads = ("what", "bits a weight", "perplexity", "reference's", "KL (nats)", "same top token")
    return Table(heads, rows, frozenset({1, 2, 3, 4, 5}))


def flattened(value: Any, name: str = "") -> Iterable[tuple[str, str]]:
    """A nested mapping as dotted names and JSON values, by name."""
    if isinstance(value, Mapping) and value:
        for key in sorted(value, key=str):
            yield from flattened(value[key], f"{name}.{key}" if name else str(key))
    else:
        yield name, json.dumps(value, ensure_ascii=False, sort_keys=True)
