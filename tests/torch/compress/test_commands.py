"""prune, distill, quantize and compress as commands, one after the other; distill also by two
processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.torch.compress.world import write_world
from understudy.cli import main
from understudy.compress.grids import GRIDS
from understudy.formats.gguf import read_gguf

ROOT = Path(__file__).parents[3]
SMALL = ["--length", "32", "--calibration-sequences", "16", "--held-out-sequences", "8"]


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    return write_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def pruned(world: Path) -> Path:
    arguments = [
        "prune",
        str(world / "teacher"),
        str(world / "pruned"),
        "--mlp",
        "192",
        "--data",
        str(world / "text.txt"),
    ]
    assert main([*arguments, *SMALL]) == 0
    return world / "pruned" / "model"


def _distill(world: Path, pruned: Path, out: Path) -> list[str]:
    return [
        "distill",
        str(world / "teacher"),
        str(pruned),
        str(out),
        "--tokens",
        str(10 * 8 * 32),
        "--live",
        "--learning-rate",
        "1e-4",
        "--data",
        str(world / "text.txt"),
        *SMALL,
    ]


def test_prune_then_distill_then_quantize(world: Path, pruned: Path, capsys) -> None:
    assert main(_distill(world, pruned, world / "distilled")) == 0
    out = capsys.readouterr().out
    assert "distill  perplexity" in out
    student = world / "distilled" / "model"
    command = [
        "quantize",
        str(student),
        str(world / "small"),
        "--data",
        str(world / "text.txt"),
        *SMALL,
        "--json",
        "--packed",
    ]
    assert main(command) == 0
    figures = json.loads(capsys.readouterr().out)["export"]
    assert figures["gguf"]["bits_per_weight"] < 4.7
    assert figures["packed"]["kl"] == pytest.approx(figures["gguf"]["kl"], abs=0.02)
    assert (world / "small" / "model.gguf").stat().st_size == figures["gguf"]["bytes"]


def test_distill_under_torchrun_gives_the_losses_of_one_process(world: Path, pruned: Path) -> None:
    assert main(_distill(world, pruned, world / "one")) == 0
    launch = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc-per-node",
        "2",
        "--master-port",
        "29527",
    ]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*launch, "-m", "understudy", *_distill(world, pruned, world / "two")],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    traces = [
        [
            json.loads(line)["loss"]
            for line in (world / name / "distill" / "run" / "trace.jsonl").read_text().splitlines()
        ]
        for name in ("one", "two")
    ]
    assert len(traces[0]) == 10
    assert traces[1] == pytest.approx(traces[0], abs=1e-4)


def test_quantize_gives_every_matrix_a_grid_within_the_bits(world: Path, capsys) -> None:
    command = ["quantize", str(world / "teacher"), str(world / "mixed"), "--bits", "4.2"]
    command += ["--data", str(world / "text.txt"), *SMALL, "--method", "scale_search"]
    assert main([*command, "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)["export"]
    assert 3.7 < figures["gguf"]["bits_per_weight"] <= 4.2
    tables = json.loads((world / "mixed" / "report.json").read_text())["tables"]
    stored = read_gguf(world / "mixed" / "model.gguf").tensors.values()
    formats = {GRIDS[row["grid"]].format for row in tables["chosen grids"]}
    assert {t.format for t in stored if len(t.shape) == 2} == formats
    assert {"Q3_U", "Q4_0"} <= formats
    assert main([*command, "--max-bits", "5"]) == 2
    assert "two ways to spend the same bits" in capsys.readouterr().err


def test_compress_runs_a_recipe_file_and_check_only_tells(
    world: Path, tmp_path: Path, capsys
) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(
        f'[source]\nmodel = "{world / "teacher"}"\n'
        f'[data]\ntrain = ["{world / "text.txt"}"]\nlength = 32\ncalibration_sequences = 16\nheld_out_sequences = 8\n'
        "[prune]\nintermediate_size = 192\n[quantize]\nmax_bits = 6.0\n"
        f'[output]\nfolder = "{tmp_path / "out"}"\n'
    )
    assert main(["compress", str(recipe), "--check", "--json"]) == 0
    outlook = json.loads(capsys.readouterr().out)
    assert outlook["stages"] == ["prune", "quantize"]
    assert outlook["parameters"]["student"]["mlp"] < outlook["parameters"]["teacher"]["mlp"]
    assert not (tmp_path / "out").exists()
    assert main(["compress", str(recipe)]) == 0
    assert "gguf     " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["prune", "{world}/teacher", "{out}", "--mlp", "289"],
            "target intermediate_size is impossible",
        ),
        (["prune", "{world}/teacher", "{out}", "--criterion", "x"], "unknown criterion"),
        (
            ["distill", "{world}/teacher", "{world}/nowhere", "{out}", "--tokens", "99"],
            "no such model",
        ),
        (
            ["distill", "{world}/teacher", "{world}/teacher", "{out}", "--tokens", "0"],
            "must be positive",
        ),
        (["compress", "{world}/none.toml"], "recipe is not there"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    world: Path, tmp_path: Path, arguments, message, capsys
) -> None:
    filled = [word.format(world=world, out=tmp_path / "out") for word in arguments]
    data = [] if filled[0] == "compress" else ["--data", str(world / "text.txt"), *SMALL]
    assert main([*filled, *data]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()
