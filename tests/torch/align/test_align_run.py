"""The whole way from records to files, on a model of random weights."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.support.checkpoints import SPECS, random_weights, write_folder
from tests.support.nemotron_tokenizer import PATH, VOCAB_SIZE
from understudy.adapters import peft, read_adapter
from understudy.align.recipe import recipe_of_files
from understudy.align.run import AlignRun
from understudy.data.make_tools import ToolCases
from understudy.data.records import write_data

TOOL = {
    "name": "light",
    "description": "Switch a light",
    "parameters": {
        "type": "object",
        "properties": {"room": {"type": "string"}},
        "required": ["room"],
    },
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("align")
    spec = SPECS["nemotron"].replace(vocab_size=VOCAB_SIZE, max_positions=4096)
    write_folder(spec, random_weights(spec, seed=3), place / "model")
    shutil.copy(PATH, place / "model" / "tokenizer.model")
    write_data(ToolCases([TOOL], 6, seed=1).make(), place / "data.jsonl")
    return place


def job(folder: Path, out: str) -> AlignRun:
    recipe = recipe_of_files(
        [folder / "data.jsonl"],
        str(folder / "model"),
        adapter={"rank": 2},
        training={"epochs": 1.0, "precision": "float32"},
    )
    said: list[str] = []
    run = AlignRun(recipe, folder / out, folder, say=said.append)
    run.__dict__["said"] = said
    return run


def test_a_run_leaves_adapter_card_and_report(folder: Path) -> None:
    run = job(folder, "out")
    findings = run.train()
    out = folder / "out"
    adapter = read_adapter(out / "adapter", run.bench.spec)
    assert adapter.sha256 == findings.adapter.sha256
    assert read_adapter(out / "adapter.gguf", run.bench.spec).sha256 == adapter.sha256
    assert adapter.sha256 in (out / "card.md").read_text("utf-8")
    assert json.loads((out / "adapter" / peft.OWN).read_text())["lineage"]["recipe"]
    page = (out / "report.html").read_text("utf-8")
    assert "What it learnt from" in page
    assert "<svg" in page
    told = "\n".join(run.__dict__["said"])
    assert "memory    about" in told
    assert "time      about" in told


def test_a_finished_run_is_not_trained_again(folder: Path) -> None:
    first = job(folder, "again").train().adapter
    second = job(folder, "again")
    assert second.train().adapter.sha256 == first.sha256
    assert any("going on from step" in line for line in second.__dict__["said"])
