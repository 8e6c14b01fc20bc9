"""A GPU gives what the CPU gives, stage by stage; where there is none, asking for one ends in a
line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from tests.torch.compress.support import logits_of, random_rows, tiny_teacher
from tests.torch.compress.world import write_world
from understudy.cli import main
from understudy.compress.calibrate import Statistics, calibrate
from understudy.compress.depth import DEPTH_METHODS, choose_layers
from understudy.compress.distill import DistillSettings, distill
from understudy.compress.evaluate import compare
from understudy.compress.importance import CRITERIA
from understudy.compress.network import Network, network_from_weights
from understudy.compress.parallel import choose_device
from understudy.compress.pipeline import Pipeline
from understudy.compress.prune import Shape, select, trim
from understudy.compress.qad import LEARNING_RATE, LEARNS, tune
from understudy.compress.quantize import METHODS, QuantizeSettings, quantize
from understudy.compress.recipe import parse_recipe
from understudy.compress.reconstruct import reconstruct
from understudy.compress.sparsity import thresholds
from understudy.compress.teacher import LiveTeacher, capture
from understudy.errors import UsageError

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
SHAPE = Shape(num_layers=2, hidden_size=64, intermediate_size=128, num_heads=4)
Pair = tuple[Network, Network]


def test_the_cpu_is_always_there() -> None:
    assert choose_device("cpu") == "cpu"
    assert choose_device("auto") == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize(
    ("name", "message"),
    [("gpu", "unknown device"), ("cuda:99", "no such device"), ("meta", "no such device")],
)
def test_a_device_that_is_not_there_is_refused(name: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        choose_device(name)


def test_processes_of_one_machine_do_not_meet_on_one_gpu(monkeypatch) -> None:
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(UsageError, match="cannot share one GPU; found cuda:0"):
        choose_device("cuda:0")
    assert choose_device("auto") == "cpu", "one GPU is not enough for both"


def test_the_command_says_it_in_a_line_before_any_work(tmp_path: Path, capsys) -> None:
    world = write_world(tmp_path)
    command = [
        "prune",
        str(world / "teacher"),
        str(world / "out"),
        "--mlp",
        "192",
        "--data",
        str(world / "text.txt"),
    ]
    assert main([*command, "--device", "cuda:99"]) != 0
    assert "torch finds no such device" in capsys.readouterr().err
    assert not (world / "out").exists()


@pytest.fixture
def pair() -> Pair:
    """The same network on the CPU and on the GPU."""
    return tiny_teacher(hidden_size=96, intermediate_size=288), tiny_teacher(
        hidden_size=96, intermediate_size=288
    ).to("cuda")


def _statistics(network: Network, folder: Path) -> Statistics:
    return calibrate(network, random_rows(network.spec), folder)


def _both(pair: Pair, folder: Path) -> list[tuple[Network, Statistics]]:
    return [(network, _statistics(network, folder / network.device.type)) for network in pair]


@needs_gpu
def test_logits_and_statistics(pair: Pair, tmp_path: Path) -> None:
    torch.testing.assert_close(
        logits_of(pair[0], random_rows(pair[0].spec)),
        pair[1](torch.from_numpy(random_rows(pair[0].spec).tokens[:, :-1]).long().cuda()).cpu(),
        atol=1e-4,
        rtol=1e-4,
    )
    (_, ours), (_, theirs) = _both(pair, tmp_path)
    for index in range(pair[0].spec.num_layers):
        for name, value in ours.layer(index).items():
            torch.testing.assert_close(theirs.layer(index)[name], value, atol=1e-3, rtol=1e-3)


@needs_gpu
@pytest.mark.parametrize("criterion", CRITERIA)
@pytest.mark.parametrize("depth", DEPTH_METHODS)
def test_pruning_and_refitting(criterion: str, depth: str, pair: Pair, tmp_path: Path) -> None:
    rows, found = random_rows(pair[0].spec), []
    for network, statistics in _both(pair, tmp_path):
        scores = CRITERIA[criterion](network, statistics, 0)
        kept = choose_layers(depth, network, statistics, 2, rows)
        selection = select(network, SHAPE, scores, kept)
        student = trim(network, selection, scores).requires_grad_(False)
        trimmed = compare(student, network, rows)
        reconstruct(network, student, selection, rows)
        found.append((trimmed, compare(student, network, rows)))
    for ours, theirs in zip(*found, strict=True):
        assert theirs.kl == pytest.approx(ours.kl, rel=0.02)


@needs_gpu
@pytest.mark.parametrize("source", ["live", "cache", "states"])
def test_losses_of_a_distillation(source: str, pair: Pair, tmp_path: Path) -> None:
    rows, found = random_rows(pair[0].spec), []
    for network in pair:
        device = network.device.type
        student = network_from_weights(
            network.spec, {n: 0.9 * w for n, w in network.state_dict().items()}
        )
        teacher = (
            capture(network, rows, tmp_path / f"cache-{device}")
            if source == "cache"
            else LiveTeacher(network)
        )
        settings = DistillSettings(
            tokens=8 * 8 * 24,
            batch_size=8,
            learning_rate=1e-4,
            state_loss="mse" if source == "states" else None,
        )
        found.append(distill(student, teacher, rows, settings, tmp_path / device).losses)
        assert student.device.type == device
    assert found[1] == pytest.approx(found[0], rel=0.02)


@needs_gpu
def test_a_killed_run_goes_on_on_the_gpu(pair: Pair, tmp_path: Path) -> None:
    rows, network = random_rows(pair[0].spec), pair[1]
    settings = DistillSettings(
        tokens=8 * 8 * 24, batch_size=8, learning_rate=1e-4, checkpoint_steps=3
    )

    def run(folder: Path, stops_after: int) -> list[float]:
        def stop(done: int, total: int, what: str) -> None:
            if done == stops_after:
                raise KeyboardInterrupt

        student = network_from_weights(
            network.spec, {n: 0.9 * w for n, w in network.state_dict().items()}
        )
        return distill(student, LiveTeacher(network), rows, settings, folder, progress=stop).losses

    whole = run(tmp_path / "whole", 99)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", 5)
    assert run(tmp_path / "cut", 99) == pytest.approx(whole, rel=1e-4)


@needs_gpu
@pytest.mark.parametrize("method", METHODS)
def test_quantization(method: str, pair: Pair, tmp_path: Path) -> None:
    rows, found = random_rows(pair[0].spec), []
    for network, statistics in _both(pair, tmp_path):
        result = quantize(network, statistics, QuantizeSettings(method=method), rows=rows)
        found.append(compare(result.network, network, rows).kl)
    assert found[1] == pytest.approx(found[0], rel=0.1)


@needs_gpu
@pytest.mark.parametrize("learns", LEARNS)
def test_tuning(learns: str, pair: Pair, tmp_path: Path) -> None:
    rows, network = random_rows(pair[0].spec), pair[1]
    result = quantize(
        network,
        _statistics(network, tmp_path / "statistics"),
        QuantizeSettings(method="round_to_nearest"),
    )
    settings = DistillSettings(tokens=16 * 8 * 24, batch_size=8, learning_rate=LEARNING_RATE)
    after, _ = tune(result, LiveTeacher(network), rows, settings, tmp_path / "run", learns=learns)
    assert compare(after.network, network, rows).kl < compare(result.network, network, rows).kl


@needs_gpu
def test_thresholds(pair: Pair) -> None:
    ours, theirs = (thresholds(network, random_rows(network.spec), 0.05) for network in pair)
    assert theirs.values == pytest.approx(ours.values, rel=0.01)


@needs_gpu
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_whole_recipe_with_every_stage(precision: str, tmp_path: Path) -> None:
    world = write_world(tmp_path)
    raw = {
        "source": {"model": str(world / "teacher")},
        "data": {
            "train": [str(world / "text.txt")],
            "length": 32,
            "calibration_sequences": 16,
            "held_out_sequences": 8,
        },
        "search": {
            "target": 240_000,
            "tolerance": 0.12,
            "max_candidates": 2,
            "rungs": [512],
            "learning_rate": 1e-4,
            "steps": {"hidden_size": 32, "intermediate_size": 96, "num_layers": 1},
        },
        "correct": {"tokens": 2 * 8 * 32, "learning_rate": 1e-4},
        "distill": {
            "tokens": 8 * 8 * 32,
            "learning_rate": 1e-4,
            "precision": precision,
            "zero_pressure": 0.01,
        },
        "quantize": {"max_bits": 7.0, "tune_tokens": 4 * 8 * 32},
    }
    finals = []
    for device in ("cpu", "cuda"):
        out = tmp_path / device
        recipe = parse_recipe(raw | {"output": {"folder": str(out), "threshold_kl": 0.05}})
        result = Pipeline(recipe, device=device).run()
        figures = json.loads((out / "report.json").read_text())["figures"]
        assert figures["gguf against its own network"]["kl"] < 1e-6
        assert ("peak_device_bytes" in figures) == (device == "cuda")
        finals.append(figures["final"]["perplexity"])
        assert result.gguf is not None
    assert finals[1] == pytest.approx(finals[0], rel=0.05)
