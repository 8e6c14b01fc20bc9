"""Tiny models and stored runs of them, written by hand in the forms that the commands write."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from tests.support.checkpoints import SPECS, random_weights, write_folder
from understudy.checkpoint.checkpoint import open_checkpoint
from understudy.checkpoint.convert import save_checkpoint
from understudy.report.provenance import model_sha256
from understudy.spec import QuantSpec

LINEAGE = {
    "teacher_parameters": 1_000_000,
    "version": "0.1.0",
    "recipe": {"prune": {"intermediate_size": 192}},
    "stages": [
        {
            "stage": "prune",
            "quality": {
                "perplexity": 12.5,
                "teacher_perplexity": 10.0,
                "kl": 0.25,
                "agreement": 0.8,
            },
            "parameters": {"total": 700_000},
        }
    ],
}


def write_model(
    path: Path, seed: int, metadata: dict[str, Any] | None = None, weights: str = "bf16"
) -> Path:
    """A GGUF of random weights."""
    folder = path.with_suffix(".folder")
    write_folder(SPECS["nemotron"], random_weights(SPECS["nemotron"], seed=seed), folder)
    opened = open_checkpoint(folder)
    made = dataclasses.replace(opened, metadata={**opened.metadata, **(metadata or {})})
    save_checkpoint(made, path, QuantSpec(weights=weights))
    return path


def record(model: Path, **changes: Any) -> dict[str, Any]:
    return {
        "model": model.name,
        "model_sha256": model_sha256(model),
        "model_bytes": model.stat().st_size,
        "command": "understudy eval m",
        "version": "0.1.0",
        "date": "2026-01-02T03:04:05Z",
        "machine": "A Chip",
    } | changes


def figure(
    value: float, low: float, high: float, items: int, kind: str = "share"
) -> dict[str, Any]:
    return {"value": value, "low": low, "high": high, "items": items, "kind": kind}


def write_evaluation(folder: Path, model: Path, right: list[int], **changes: Any) -> Path:
    """PIQA answers (1 or 0 each) and a bias task with one contrast beyond 0 and one of too few
    pairs."""
    (folder / "items").mkdir(parents=True)
    lines = [
        {"id": f"i{i}", "acc": value, "acc_norm": value, "seconds": 0.1}
        for i, value in enumerate(right)
    ]
    (folder / "items" / "piqa.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    share = sum(right) / len(right)
    facts = {"source": "sample", "sha256": "0" * 64, "rows": len(right)}
    bias = {
        "size": figure(0.5, 0.4, 0.6, 32, "mean"),
        "control_size": figure(0.3, 0.2, 0.4, 24, "mean"),
        "flips": figure(0.1, 0.05, 0.2, 32),
        "origin": figure(-0.26, -0.47, -0.04, 16, "mean"),
        "gender": figure(0.1, -0.1, 0.3, 16, "mean"),
        "age": figure(2.0, 2.0, 2.0, 1, "mean"),
    }
    tasks = {
        "piqa": {
            "about": "everyday physics",
            "area": "knowledge",
            "items": len(right),
            "seconds": 1.0,
            "data": facts,
            "primary": "acc_norm",
            "figures": {
                "acc_norm": figure(share, 0.2, 0.9, len(right)),
                "acc": figure(share, 0.2, 0.9, len(right)),
            },
            "groups": {},
        },
        "bias": {
            "about": "pairs",
            "area": "bias",
            "items": 57,
            "seconds": 1.0,
            "data": facts,
            "primary": "size",
            "figures": bias,
            "groups": {},
        },
    }
    report = {
        "format": "understudy-evaluation",
        "version": 1,
        "model": {"name": model.name},
        "seed": 0,
        "suite": ["quick"],
        "limit": None,
        "identity": {"fingerprint": "print-f16", "seed": 0},
        "run": record(model),
        "tasks": tasks,
    } | changes
    (folder / "report.json").write_text(json.dumps(report))
    return folder


def safety_line(
    model: Path, probe: str, case: str, is_faulty: bool, **changes: Any
) -> dict[str, Any]:
    hits = [{"detector": "canary", "found": ["word"]}] if is_faulty else []
    return {
        "format": 1,
        "key": f"{model.name}-{probe}-{case}",
        "model": model.name,
        "fingerprint": "print-f16",
        "seed": 0,
        "probe": probe,
        "probe_says": "what it asks",
        "fault": "gave it away",
        "case": case,
        "digest": case,
        "category": "PII/Privacy",
        "says": ["give it"],
        "answer": "word" if is_faulty else "no",
        "calls": [],
        "hits": hits,
        "error": None,
        "run": record(model, command="understudy safety run m"),
    } | changes


def write_safety(path: Path, model: Path, faults: dict[str, list[bool]], **changes: Any) -> Path:
    lines = [
        safety_line(model, probe, f"c{i}", fault, **changes)
        for probe, row in faults.items()
        for i, fault in enumerate(row)
    ]
    path.write_text("".join(json.dumps(line, sort_keys=True) + "\n" for line in lines))
    return path


def write_speed(path: Path, model: Path, median: float) -> Path:
    rate = {
        "kind": "decode",
        "tokens": 32,
        "depth": 0,
        "batch": 1,
        "samples": [median - 1, median, median + 1],
        "limit": 200.0,
        "median": median,
        "share_of_limit": median / 200,
    }
    path.write_text(
        json.dumps(
            {
                "rates": [rate],
                "bandwidth_bytes": 1e10,
                "peak_memory_bytes": 5e8,
                "run": record(model),
            }
        )
    )
    return path
