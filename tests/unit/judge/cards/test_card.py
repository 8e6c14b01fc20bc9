"""Model cards from stored runs: every number leads to its run, what is missing is shown, other
models' runs are refused."""

from __future__ import annotations

import json
import shutil

import pytest

from tests.unit.judge.cards import made
from tests.unit.judge.redteam.made import rated
from understudy.cli import main
from understudy.errors import FormatError, MissingError, UsageError
from understudy.judge.cards.evidence import find_runs, read_evidence
from understudy.judge.cards.facts import read_facts
from understudy.judge.cards.statements import QUESTIONS, Statements, read_statements, template
from understudy.judge.cards.write import PAGES, write_card
from understudy.judge.redteam.export import write_export
from understudy.judge.redteam.store import RedTeamStore
from understudy.judge.safety.report import SafetyReport
from understudy.judge.safety.run import read_store
from understudy.report.provenance import model_sha256


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A model with its runs, and another with one run."""
    root = tmp_path_factory.mktemp("cards")
    model = made.write_model(
        root / "small.gguf", 1, {"understudy": made.LINEAGE, "general.license": "apache-2.0"}
    )
    other = made.write_model(root / "other.gguf", 2)
    made.write_evaluation(root / "runs" / "eval", model, [1, 0, 1, 1])
    made.write_safety(
        root / "runs" / "safety.jsonl",
        model,
        {"personal-data": [True, True, False, False], "refusal": [False] * 4},
    )
    made.write_speed(root / "runs" / "bench.json", model, 100.0)
    made.write_evaluation(root / "others", other, [1, 1])
    return root


def card(world, folder, *runs, statements=None):
    write_card(
        world / "small.gguf", [world / name for name in runs], folder, statements or Statements()
    )
    return {path.name: path.read_text("utf-8") for path in folder.glob("*.*")}


def test_all_pages_are_written_in_both_forms_and_say_the_same(world, tmp_path):
    texts = card(world, tmp_path, "runs")
    assert texts.keys() == {f"{stem}.{end}" for stem in PAGES for end in ("md", "html")}
    for stem in PAGES:
        for said in (
            "small.gguf",
            "run-1",
            "Runs",
            "understudy safety run m",
            "2026-01-02T03:04:05Z",
        ):
            assert said in texts[f"{stem}.md"]
            assert said in texts[f"{stem}.html"]
    assert "| License/Terms of use | apache-2.0 (says the file) |" in texts["model-card.md"]
    assert "700,000" in texts["model-card.md"]  # the stage's parameters, from the lineage
    assert {"quality.svg", "safety.svg", "bias.svg"} == {
        path.name for path in (tmp_path / "figures").iterdir()
    }


def test_every_number_leads_to_its_run(world, tmp_path):
    texts = card(world, tmp_path, "runs")
    assert "| piqa | acc\\_norm | 4 | 0.75 [[1]](#run-1) |" in texts["model-card.md"].replace(
        " everyday physics | package's sample |", ""
    )
    assert "2 of 4 | 0.50 [[2]](#run-2)" in texts["safety.md"]
    assert "100 [[3]](#run-3)" in texts["model-card.md"]
    for text in texts.values():
        for number in (1, 2, 3):
            assert f'id="run-{number}"' in text
    digest = find_runs([world / "runs" / "bench.json"])[0].sha256
    assert digest[:16] in texts["model-card.md"]


def test_what_is_missing_is_shown_with_the_command_that_makes_it(world, tmp_path):
    texts = card(world, tmp_path)
    assert (
        "**⚠ not measured**: run `understudy eval MODEL --output runs/eval`"
        in texts["model-card.md"]
    )
    assert "understudy bench MODEL" in texts["model-card.md"]
    assert "**○ not stated**" in texts["privacy.md"]
    assert "understudy safety run MODEL" in texts["safety.md"]
    assert "**⚠ not measured**: run `understudy eval MODEL --tasks bias" in texts["bias.md"]
    assert 'class="missing"' in texts["bias.html"]
    assert "No run was given." in texts["bias.md"]
    assert "not measured" not in card(world, tmp_path / "with", "runs")["bias.md"]


def test_what_people_said_stands_where_it_belongs(world, tmp_path):
    (tmp_path / "card.toml").write_text(
        '[use]\ntask = "games"\n[privacy]\npolicy = ["one", "two"]\n'
    )
    texts = card(world, tmp_path / "out", statements=read_statements(tmp_path / "card.toml"))
    assert "| Use case | games |" in texts["model-card.md"]
    assert "| Applicable privacy policy | one; two |" in texts["privacy.md"]
    assert "2 of 42 questions answered" in texts["model-card.md"]


def test_bias_names_the_widest_gap_and_its_worse_side_and_leaves_few_pairs_alone(world, tmp_path):
    text = card(world, tmp_path, "runs")["bias.md"]
    assert (
        "origin (from Norway or Switzerland, from Nigeria or Syria): -0.26 nats (-0.47 to" in text
    )
    assert "performance overall? | from Norway or Switzerland (origin) [[1]]" in text
    assert (tmp_path / "figures" / "bias.svg").read_text().count('class="point bad"') == 1


def test_privacy_and_explainability_rest_on_the_probes(world, tmp_path):
    texts = card(world, tmp_path, "runs")
    assert "from its prompt: gave it away in 2 of 4 cases [[2]](#run-2)" in texts["privacy.md"]
    assert "gave it away: 2 of 4 cases of personal-data [[2]](#run-2)" in texts["explainability.md"]
    assert "Not measured: memorised text, a red team by people." in texts["explainability.md"]


def test_the_card_comes_back_bit_for_bit(world, tmp_path):
    first = card(world, tmp_path / "a", "runs")
    shutil.copytree(world / "runs", tmp_path / "elsewhere" / "runs")
    places = [tmp_path / "elsewhere" / "runs" / name for name in ("bench.json", "safety.jsonl")]
    write_card(
        world / "small.gguf",
        [tmp_path / "elsewhere" / "runs", *places],
        tmp_path / "b",
        Statements(),
    )
    for name, text in first.items():
        assert (tmp_path / "b" / name).read_text("utf-8") == text
    assert sorted(p.read_bytes() for p in (tmp_path / "a" / "figures").iterdir()) == sorted(
        p.read_bytes() for p in (tmp_path / "b" / "figures").iterdir()
    )


def test_a_run_of_another_model_is_refused_in_one_line(world, tmp_path, capsys):
    with pytest.raises(UsageError, match="a run of another model"):
        card(world, tmp_path, "runs", "others")
    arguments = [
        "card",
        "model",
        str(world / "small.gguf"),
        "--runs",
        str(world / "others"),
        "--output",
        str(tmp_path / "x"),
    ]
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "other.gguf" in said
    assert not (tmp_path / "x").exists()


def test_a_run_without_a_record_counts_by_the_fingerprint_of_the_file_where_it_lies(
    world, tmp_path
):
    facts = read_facts(world / "small.gguf")
    old = made.write_safety(
        tmp_path / "old.jsonl",
        world / "small.gguf",
        {"refusal": [True]},
        fingerprint=f"{facts.fingerprint}-f16",
        run=None,
    )
    assert len(read_evidence([old], facts).runs) == 1
    strange = made.write_safety(
        tmp_path / "strange.jsonl", world / "small.gguf", {"refusal": [True]}, run=None
    )
    with pytest.raises(UsageError, match="another model"):
        read_evidence([strange], facts)


def test_a_report_counts_only_where_its_store_is_not_there(world, tmp_path):
    facts, store = read_facts(world / "small.gguf"), world / "runs" / "safety.jsonl"
    (tmp_path / "safety.json").write_text(
        SafetyReport(read_store(store)).to_json(with_answers=False)
    )
    both = read_evidence([store, tmp_path / "safety.json"], facts).runs
    assert [run.path for run in both] == [store]
    alone = read_evidence([tmp_path / "safety.json"], facts).runs
    assert alone[0].data["probes"] == both[0].data["probes"]


def test_a_red_team_is_counted_from_its_store_and_from_its_export(world, tmp_path):
    facts = read_facts(world / "small.gguf")
    mine = (facts.name, f"{facts.fingerprint}-f16")
    with RedTeamStore(tmp_path / "team.sqlite") as store:
        rated(store, ("rater-a", "high", "PII/Privacy", "2"), ("rater-b", "none"), model=mine)
        rated(store, ("rater-a", "none"), model=("another", "e" * 8))
        write_export(store.records(), tmp_path / "team.jsonl")
    found = [
        read_evidence([tmp_path / f"team.{end}"], facts).runs[0] for end in ("sqlite", "jsonl")
    ]
    assert found[0].data["summaries"] == found[1].data["summaries"]
    assert found[0].data["summaries"][0]["conversations"] == 1
    write_card(world / "small.gguf", [tmp_path / "team.sqlite"], tmp_path / "card", Statements())
    text = (tmp_path / "card" / "safety.md").read_text("utf-8")
    assert "high 1" in text
    assert "| PII/Privacy | 0 | 1 |" in text
    again = read_evidence([tmp_path / "team.sqlite"], facts).runs[0]
    assert again.sha256 == found[0].sha256
    with pytest.raises(UsageError, match="no conversation with this model"):
        read_evidence([tmp_path / "team.sqlite"], read_facts(world / "other.gguf"))


def test_of_compression_the_report_that_names_the_file_counts(world, tmp_path):
    figures = {
        "gguf": {
            "bytes": 9,
            "bits_per_weight": 4.75,
            "perplexity": 21.5,
            "teacher_perplexity": 20.5,
            "kl": 0.0625,
            "agreement": 0.9,
        }
    }
    (tmp_path / "prune").mkdir()
    (tmp_path / "prune" / "report.json").write_text(
        json.dumps({"stage": "prune", "figures": {}, "run": None})
    )
    document = {"stage": "export", "figures": figures, "run": made.record(world / "small.gguf")}
    (tmp_path / "report.json").write_text(json.dumps(document))
    assert [
        run.data["stage"]
        for run in read_evidence([tmp_path], read_facts(world / "small.gguf")).runs
    ] == ["export"]
    write_card(world / "small.gguf", [tmp_path], tmp_path / "card", Statements())
    text = (tmp_path / "card" / "model-card.md").read_text("utf-8")
    assert (
        "| GGUF, against the student [[1]](#run-1) | 4.75 | 21.50 | 20.50 | 0.0625 | 90.0 % |"
        in text
    )
    with pytest.raises(UsageError, match="another model"):
        read_evidence([tmp_path], read_facts(world / "other.gguf"))


def test_files_that_are_no_runs(world, tmp_path):
    facts = read_facts(world / "small.gguf")
    (tmp_path / "notes.json").write_text("[1]")
    assert read_evidence([tmp_path], facts).runs == ()
    with pytest.raises(UsageError, match="not a run"):
        read_evidence([tmp_path / "notes.json"], facts)
    (tmp_path / "notes.json").write_text("{")
    with pytest.raises(FormatError, match="not JSON"):
        read_evidence([tmp_path], facts)
    with pytest.raises(MissingError, match="no such file"):
        read_evidence([tmp_path / "none"], facts)
    broken = json.loads((world / "runs" / "eval" / "report.json").read_text())
    broken["tasks"]["piqa"]["figures"] = {"acc_norm": {"value": "much"}}
    (tmp_path / "notes.json").write_text(json.dumps(broken))
    with pytest.raises(FormatError, match="not of its layout"):
        write_card(world / "small.gguf", [tmp_path / "notes.json"], tmp_path / "out", Statements())


def test_measuring_makes_the_runs_that_are_missing_and_no_others(
    world, tmp_path, monkeypatch, capsys
):
    asked = []

    def command(words):
        asked.append([word for word in words if not word.startswith("/")])
        if words[0] == "eval" and not (tmp_path / "runs" / "eval").exists():
            made.write_evaluation(tmp_path / "runs" / "eval", world / "small.gguf", [1])
        if words[0] == "safety":
            made.write_safety(
                tmp_path / "runs" / "safety.jsonl", world / "small.gguf", {"refusal": [False]}
            )
        if words[0] == "bench":
            made.write_speed(tmp_path / "bench.json", world / "small.gguf", 50.0)
            print((tmp_path / "bench.json").read_text())
        return 0

    monkeypatch.setattr("understudy.cli.main", command)
    arguments = [
        "card",
        "model",
        str(world / "small.gguf"),
        "--measure",
        str(tmp_path / "runs"),
        "--output",
        str(tmp_path / "card"),
    ]
    assert main(arguments) == 0
    assert asked == [["eval", "--output"], ["safety", "run", "--store"], ["bench", "--json"]]
    assert "50" in (tmp_path / "card" / "model-card.md").read_text()
    assert "rates" not in capsys.readouterr().out
    assert main(arguments) == 0
    assert [words[0] for words in asked[3:]] == [
        "eval",
        "safety",
    ]  # these two go on where they were
    monkeypatch.setattr("understudy.cli.main", lambda words: 1)
    assert main([*arguments[:4], str(tmp_path / "other"), "--output", str(tmp_path / "none")]) == 1
    assert not (tmp_path / "none").exists()


def test_the_template_asks_everything_and_answers_nothing(tmp_path, capsys):
    path = tmp_path / "card.toml"
    assert main(["card", "model", "--init", str(path)]) == 0
    assert path.read_text() == template()
    said = read_statements(path)
    assert not any(said.has(table, key) for table, keys in QUESTIONS.items() for key in keys)
    assert main(["card", "model", "--init", str(path)]) == 2
    assert "there already" in capsys.readouterr().err
    assert main(["card", "model"]) == 2


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        ("[use]\ntask = 3\n", UsageError, "not a text"),
        ("[use]\nmood = 'x'\n", UsageError, "no such key"),
        ("[mood]\n", UsageError, "no such table"),
        ("use = 'x'\n", UsageError, "no such table"),
        ("[use\n", FormatError, "not TOML"),
    ],
)
def test_faulty_statements_are_refused(tmp_path, content, error, message):
    (tmp_path / "card.toml").write_text(content)
    with pytest.raises(error, match=message):
        read_statements(tmp_path / "card.toml")


def test_the_fields_are_those_of_the_templates_and_the_file_is_read_not_loaded(world, tmp_path):
    texts = card(world, tmp_path)
    for stem, field in {
        "bias": "Participation considerations from adversely impacted groups",
        "explainability": "Verified to have met prescribed quality standards",
        "privacy": "Generatable or reverse engineerable personal data?",
        "safety": "Describe the life critical impact",
        "model-card": "Deployment geography",
    }.items():
        assert field in texts[f"{stem}.md"]
    facts = read_facts(world / "small.gguf")
    assert facts.sha256 == model_sha256(world / "small.gguf")
    assert facts.sha256 in texts["model-card.md"]
    assert facts.bits_per_weight == pytest.approx(16, abs=1)
