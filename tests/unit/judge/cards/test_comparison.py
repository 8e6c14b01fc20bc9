"""Two models from their stored runs: paired by case and item, with intervals; what was not measured
for both is shown."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.unit.judge.cards import made
from tests.unit.judge.cards.test_hostile import check_page
from understudy.cli import main
from understudy.errors import UsageError
from understudy.judge.cards.comparison_page import write_comparison
from understudy.report.provenance import model_sha256
from understudy.report.statistics import mcnemar, paired_shares


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    root = tmp_path_factory.mktemp("pair")
    big = made.write_model(root / "big.gguf", 1)
    small = made.write_model(
        root / "small.gguf",
        2,
        {"understudy": made.LINEAGE | {"teacher": "big.gguf", "teacher_sha256": model_sha256(big)}},
        "q8",
    )
    runs = root / "runs"
    for model, right, faults, median in (
        (big, [1] * 10 + [0] * 2, [False] * 9 + [True], 100.0),
        (small, [0] * 10 + [1] * 2, [True] * 9 + [False], 150.0),
    ):
        made.write_evaluation(runs / f"{model.stem}-eval", model, right)
        made.write_safety(
            runs / f"{model.stem}-safety.jsonl", model, {"leak": faults, "same": [True, False]}
        )
        made.write_speed(runs / f"{model.stem}-bench.json", model, median)
    made.write_safety(runs / "big-more.jsonl", big, {"only-a": [True]}, seed=1)
    return root


def written(world, folder, *names):
    write_comparison(
        world / "big.gguf", world / "small.gguf", [world / name for name in names], folder
    )
    return {path.name: path.read_text("utf-8") for path in folder.glob("*.*")}


def test_differences_are_paired_by_item_and_case(world, tmp_path):
    found = json.loads(written(world, tmp_path, "runs")["comparison.json"])
    piqa = found["quality"]["piqa"]["figures"]["acc_norm"]
    assert piqa["value"] == pytest.approx(-8 / 12)
    assert piqa["p"] == mcnemar(10, 2)
    leak = found["safety"]["probes"]["leak"]
    assert (leak["cases"], leak["a"], leak["b"], leak["only_a"], leak["only_b"]) == (10, 1, 9, 1, 9)
    assert (leak["value"], leak["p"], leak["verdict"]) == (
        pytest.approx(0.8),
        mcnemar(1, 9),
        "worse",
    )
    assert leak["p_holm"] == pytest.approx(min(1, 2 * leak["p"]))
    same = found["safety"]["probes"]["same"]
    assert (same["value"], same["p"], same["verdict"]) == (0.0, 1.0, "unclear")
    assert same["low"] < 0 < same["high"]
    assert "only-a" not in found["safety"]["probes"]
    assert found["speed"]["decode at depth 0"]["b"] == 150.0


def test_the_page_says_size_lineage_and_verdicts_and_links_each_number(world, tmp_path):
    texts = written(world, tmp_path, "runs")
    page = texts["comparison.md"]
    assert "B was made from A" in page
    assert "bits a weight instead of" in page
    assert "worse in leak; no difference shown in same" in page
    assert page.count("worse in leak") == 1
    assert "| decode at depth 0 | 100 | 150 [[4]](#run-4) [[7]](#run-7) | 1.50 |" in page
    for number in range(1, 8):
        assert f'id="run-{number}"' in texts["comparison.html"]
    check_page(texts["comparison.html"])
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {
        "quality-differences.svg",
        "safety-differences.svg",
    }


def test_a_bootstrap_of_a_few_items_gives_no_verdict(world, tmp_path):
    for name, loss in (("big", 3.0), ("small", 3.5)):
        model = world / f"{name}.gguf"
        made.write_evaluation(tmp_path / name, model, [1])
        report = json.loads((tmp_path / name / "report.json").read_text())
        report["tasks"] = {
            "perplexity": report["tasks"]["piqa"]
            | {
                "primary": "perplexity",
                "figures": {"perplexity": made.figure(20.0, 19.0, 21.0, 3, "perplexity")},
            }
        }
        (tmp_path / name / "report.json").write_text(json.dumps(report))
        lines = [
            json.dumps(
                {
                    "id": f"t{i}",
                    "perplexity": loss + i / 10,
                    "weight": 100,
                    "seconds": 1.0,
                    "text": f"t{i}",
                    "source": "x",
                }
            )
            for i in range(3)
        ]
        (tmp_path / name / "items" / "perplexity.jsonl").write_text("\n".join(lines) + "\n")
    write_comparison(
        world / "big.gguf",
        world / "small.gguf",
        [tmp_path / "big", tmp_path / "small"],
        tmp_path / "out",
    )
    found = json.loads((tmp_path / "out" / "comparison.json").read_text())["quality"]["perplexity"][
        "figures"
    ]["perplexity"]
    assert (found["verdict"], found["items"]) == ("too few items", 3)
    assert "too few items to tell in perplexity" in (tmp_path / "out" / "comparison.md").read_text(
        "utf-8"
    )


def test_it_comes_back_bit_for_bit(world, tmp_path):
    assert written(world, tmp_path / "a", "runs") == written(world, tmp_path / "b", "runs")


def test_what_was_not_measured_for_both_is_shown(world, tmp_path):
    page = written(world, tmp_path, "runs/big-eval", "runs/small-safety.jsonl")["comparison.md"]
    assert "not measured for both over the same items" in page
    assert "not measured for both over the same cases" in page
    assert "not measured for both in the same situation" in page


def test_a_model_against_itself_and_runs_of_a_third_are_refused(world, tmp_path, capsys):
    with pytest.raises(UsageError, match="the same model twice"):
        write_comparison(world / "big.gguf", world / "big.gguf", [], tmp_path)
    third = made.write_model(tmp_path / "third.gguf", 3)
    made.write_speed(tmp_path / "third.json", third, 1.0)
    arguments = [
        "card",
        "compare",
        str(world / "big.gguf"),
        str(world / "small.gguf"),
        "--output",
        str(tmp_path / "out"),
        "--runs",
    ]
    assert main([*arguments, str(tmp_path / "third.json")]) == 2
    assert "a run of another model" in capsys.readouterr().err
    assert main([*arguments, str(world / "runs")]) == 0
    assert "comparison.html" in capsys.readouterr().out


def test_newcombes_interval_covers_holds_its_value_and_is_wide_where_nothing_differs():
    for counts in (
        (3, 2, 1, 4),
        (0, 0, 0, 5),
        (5, 0, 0, 0),
        (0, 5, 0, 0),
        (0, 0, 5, 0),
        (20, 1, 0, 0),
    ):
        both, only_a, only_b, neither = counts
        found, mirrored = paired_shares(*counts), paired_shares(both, only_b, only_a, neither)
        assert -1 <= found.low <= found.value <= found.high <= 1
        assert (found.value, found.low, found.high) == pytest.approx(
            (-mirrored.value, -mirrored.high, -mirrored.low)
        )
        assert found.high > found.low
    random = np.random.default_rng(1)
    shares = np.array(
        [0.45, 0.2, 0.1, 0.25]
    )  # both, only A, only B, neither: a true difference of -0.1
    held = sum(
        low <= -0.1 <= high
        for low, high in (
            paired_shares(*map(int, row))[1:] for row in random.multinomial(40, shares, 3000)
        )
    )
    assert 0.935 <= held / 3000 <= 0.985
    large = paired_shares(45_000, 20_000, 10_000, 25_000)  # the Wald interval of a large sample
    half = 1.96 * np.sqrt((0.3 - 0.01) / 100_000)
    assert (large.low, large.high) == pytest.approx((-0.1 - half, -0.1 + half), abs=2e-4)
