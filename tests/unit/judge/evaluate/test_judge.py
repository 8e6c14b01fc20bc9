"""The judge with a model that babbles: whatever holds of it holds of any model."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.random_model import babbler
from understudy.judge.evaluate import RunSettings, evaluate
from understudy.judge.evaluate.applications import case_of
from understudy.judge.evaluate.datasets import load_rows
from understudy.judge.evaluate.judge import Judge
from understudy.judge.evaluate.tasks import drawn


@pytest.fixture(scope="module")
def judge(tmp_path_factory):
    with babbler(tmp_path_factory.mktemp("babbler")) as model, Judge(model) as judge:
        judge.embedder = "hashing"
        yield judge


def test_required_calls_satisfy_their_schemas(judge):
    cases = [case_of(row) for row in drawn("calls", load_rows("calls").rows, 9)]
    called = [judge.calls(case, "required") for case in cases[:4]]
    assert all(one.text for one in called)
    assert all(one.are_valid for one in called if one.calls)


def test_quotes_stand_in_their_documents(judge):
    rows = [row for row in load_rows("rag").rows if row["kind"] == "noise"][:2]
    for row in rows:
        answered = judge.ask(row["documents"], row["question"])
        texts = {document["name"]: document["text"] for document in row["documents"]}
        assert set(answered.found) <= set(texts)
        assert all(quote in " ".join(texts[name].split()) for name, quote in answered.quotes)


def test_the_index_finds_what_supports_an_answer(judge):
    rows = [row for row in load_rows("rag").rows if row["kind"] == "noise"]
    index = judge._index(rows[0]["documents"])
    first = [row for row in rows if row["documents"] == rows[0]["documents"]]
    found = [{passage.chunk.path for passage in index.search(row["question"], 5)} for row in first]
    assert (
        sum(set(row["support"]) <= names for row, names in zip(first, found, strict=True))
        >= len(first) - 1
    )
    assert judge._index(rows[0]["documents"]) is index


def test_what_runs_at_once_says_the_same_as_alone(judge):
    rows = [row for row in load_rows("roleplay").rows if len(row["messages"]) > 1]
    rows += load_rows("roleplay").rows[:3]
    alone = [judge.play(row["card"], row["messages"]) for row in rows]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda row: judge.play(row["card"], row["messages"]), rows)) == alone


def test_history_and_lore_reach_the_prompt(judge, monkeypatch):
    row = next(row for row in load_rows("roleplay").rows if len(row["messages"]) == 5)
    seen = []
    inner = judge.model.stream_outputs
    monkeypatch.setattr(
        judge.model,
        "stream_outputs",
        lambda prompt, **options: seen.append(prompt.text) or inner(prompt, **options),
    )
    judge.play(row["card"], row["messages"])
    assert all(message["content"] in seen[-1] for message in row["messages"])
    lore = next(
        row for row in load_rows("roleplay").rows if "millwheel" in row["messages"][-1]["content"]
    )
    judge.play(lore["card"], lore["messages"])
    assert "Edda Marsh" in seen[-1]
    assert "seven arches" not in seen[-1]


def test_a_whole_small_run_with_every_task(judge, tmp_path: Path):
    names = [
        "perplexity",
        "hellaswag",
        "lambada",
        "gsm8k",
        "ifeval",
        "calls",
        "rag",
        "roleplay",
        "bias",
    ]
    limits = {"gsm8k": 1, "ifeval": 1, "calls": 1, "rag": 1, "roleplay": 1}
    result = evaluate(
        judge,
        names,
        tmp_path,
        RunSettings({"model": "babbler"}, limit=2, limits=limits, parallel=2),
    )
    assert [task["items"] for task in result["tasks"].values()] == [2, 2, 2, 1, 1, 1, 1, 1, 2]
    assert all(task["figures"] for task in result["tasks"].values())
