"""The whole way from records to files, on a model of random weights."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.support.checkpoints import SPECS, random_weights, write_folder
from tests.support.nemotron_tokenizer import PATH, VOCAB_SIZE
from understudy.adapters import peft, read_adapter
from understudy.align.recipe import recipe_of_files
from understudy.align.run import AlignRun
from understudy.cli import main
from understudy.data.make_tools import ToolCases
from understudy.data.records import write_data
from understudy.errors import UsageError
from understudy.model import load

ROOT = Path(__file__).parents[3]
TOOL = {
    "name": "light",
    "description": "Switch a light",
    "parameters": {
        "type": "object",
        "properties": {"room": {"type": "string"}},
        "required": ["room"],
    },
}


@pytest.fixture
def unused_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("align")
    spec = SPECS["nemotron"].replace(vocab_size=VOCAB_SIZE, max_positions=4096)
    write_folder(spec, random_weights(spec, seed=3), place / "model")
    shutil.copy(PATH, place / "model" / "tokenizer.model")
    write_data(ToolCases([TOOL], 6, seed=1).make(), place / "data.jsonl")
    return place


def job(folder: Path, out: str, **training: object) -> AlignRun:
    recipe = recipe_of_files(
        [folder / "data.jsonl"],
        str(folder / "model"),
        adapter={"rank": 2},
        training={"epochs": 1.0, "precision": "float32", **training},
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
    assert adapter.sha256 == findings.made.sha256
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
    first = job(folder, "again").train().made
    second = job(folder, "again")
    assert second.train().made.sha256 == first.sha256
    assert any("going on from step" in line for line in second.__dict__["said"])


def test_all_weights_are_tuned_into_a_model_folder(folder: Path) -> None:
    run = job(folder, "whole", whole=True, learning_rate=1e-3, epochs=4.0)
    run.tests = [folder / "data.jsonl"]
    findings = run.train()
    tuned = findings.made
    assert tuned == folder / "whole" / "model"
    before, after = findings.measured.get("calls", (1.0, 0.0))
    assert after < before
    with load(tuned, adapter=None) as model, load(folder / "model", adapter=None) as base:
        assert model.generate("light", max_tokens=4).raw_text is not None
        assert not np.array_equal(model.logits([1, 2, 3]), base.logits([1, 2, 3]))
    assert findings.compared["calls"].count > 0
    assert "All weights of" in (folder / "whole" / "card.md").read_text("utf-8")
    assert not (folder / "whole" / "adapter").exists()
    again = job(folder, "whole", whole=True, learning_rate=1e-3, epochs=4.0)
    again.train()
    assert any("going on from step" in line for line in again.__dict__["said"])


def test_all_weights_do_not_begin_with_an_adapter(folder: Path) -> None:
    run = job(folder, "refused", whole=True)
    run.start = folder / "out" / "adapter"
    with pytest.raises(UsageError, match="begins with a model"):
        run.train()


def test_rows_of_a_token_are_learnt_and_a_file_for_llama_cpp_is_left_out_with_a_word(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = SPECS["nemotron"].replace(
        vocab_size=VOCAB_SIZE, max_positions=4096, tied_embeddings=True
    )
    write_folder(spec, random_weights(spec, seed=3), tmp_path / "model")
    shutil.copy(PATH, tmp_path / "model" / "tokenizer.model")
    write_data(ToolCases([TOOL], 6, seed=1).make(), tmp_path / "data.jsonl")
    command = [str(tmp_path / "data.jsonl"), str(tmp_path / "out"), "--model"]
    command += [str(tmp_path / "model"), "--epochs", "1", "--rank", "2", "--targets", "q_proj"]
    assert main(["align", *command, "--token-row", "<extra_id_0>"]) == 0
    assert "no adapter.gguf" in capsys.readouterr().err
    adapter = read_adapter(tmp_path / "out" / "adapter", spec)
    assert np.abs(adapter.delta("lm_head")).any(axis=1).sum() == 1
    assert not (tmp_path / "out" / "adapter.gguf").exists()
    assert main(["align", *command, "--token-row", "two words here"]) == 2


@pytest.mark.parametrize("shard", [[], ["--shard", "--kl", "0.1"]])
def test_two_processes_learn_what_one_does(
    folder: Path, tmp_path: Path, shard: list[str], unused_port: int
) -> None:
    def command(out: str) -> list[str]:
        data, model = str(folder / "data.jsonl"), str(folder / "model")
        options = ["--epochs", "1", "--rank", "2", "--tokens", "3000", *shard]
        return ["align", data, str(tmp_path / out), "--model", model, *options]

    launch = ["-m", "torch.distributed.run", "--nproc-per-node", "2"]
    launch += ["--master-port", str(unused_port), "-m", "understudy", *command("two")]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *launch], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert main(command("one")) == 0
    one, two = (
        [json.loads(line)["loss"] for line in (path / "trace.jsonl").read_text().splitlines()]
        for path in (tmp_path / "one" / "training", tmp_path / "two" / "training")
    )
    assert two == pytest.approx(one, rel=1e-3)
    for half, other in zip(
        peft.read(tmp_path / "one" / "adapter").tensors.values(),
        peft.read(tmp_path / "two" / "adapter").tensors.values(),
        strict=True,
    ):
        np.testing.assert_allclose(half[0], other[0], atol=5e-3)
