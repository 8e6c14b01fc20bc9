"""`understudy jobs`: what its figures say, which items it reads, and that a stopped run goes on."""

from __future__ import annotations

import csv
import gzip
import json
from dataclasses import replace
from types import SimpleNamespace

import pytest

from understudy.cli import main
from understudy.errors import InputError, MissingError, UsageError
from understudy.generation.intent import CallSettings
from understudy.judge.evaluate.datasets import RowSet
from understudy.judge.evaluate.run import RunSettings
from understudy.judge.jobs import run as runs
from understudy.judge.jobs.characters import CHARACTERS
from understudy.judge.jobs.items import load_items
from understudy.judge.jobs.job import AS_SET, Job, Switch
from understudy.judge.jobs.report import write_report
from understudy.judge.jobs.run import JOBS, measure
from understudy.judge.jobs.tables import compared
from understudy.rag.settings import AnswerSettings
from understudy.roleplay.npc import NpcSettings
from understudy.roleplay.said_before import SaidBefore

SWITCH = Switch("gate", "asked first", {"gate": True}, {"gate": False})
JOB = Job(
    "calls", "Calls", {"right": "share", "words": "mean"}, [SWITCH], {"gate": True}, lambda *_: {}
)


def lines(values, words=None):
    return [{"right": v, "words": w} for v, w in zip(values, words or values, strict=True)]


@pytest.mark.parametrize(
    ("on", "off", "is_on", "suggested"),
    [
        ([1] * 30, [0] * 30, True, "on"),
        ([0] * 30, [1] * 30, True, "off"),
        ([1] * 30, [0] * 30, False, "on"),
        ([1, 0] * 15, [0, 1] * 15, True, "on"),  # nothing is proven: it stays
        ([1, 0] * 15, [0, 1] * 15, False, "off"),
        ([0, 0, 1], [1, 1, 1], True, "on"),  # too few
    ],
)
def test_a_switch_is_turned_only_where_the_difference_holds(on, off, is_on, suggested):
    as_set, flipped = (on, off) if is_on else (off, on)
    found = compared(JOB, {"gate": is_on}, {AS_SET: lines(as_set), "gate": lines(flipped)})
    (switch,) = found["switches"]
    figure = switch["metrics"]["right"]
    assert (switch["is_on"], switch["suggested"]) == (is_on, suggested)
    assert figure["on"][0] == pytest.approx(sum(on) / len(on))
    assert figure["difference"][0] == pytest.approx((sum(on) - sum(off)) / len(on))
    assert figure["difference"][1] <= figure["difference"][0] <= figure["difference"][2]
    state = "on" if is_on else "off"
    assert found["suggested"] == ({} if suggested == state else {"gate": not is_on})


def test_items_count_only_where_both_have_the_metric():
    here = [{"right": 1}, {"right": 1, "words": 4.0}, {"right": None}]
    there = [{"right": 0}, {"right": 1, "words": 2.0}, {"right": 1}]
    found = compared(JOB, {"gate": True}, {AS_SET: here, "gate": there})["switches"][0]["metrics"]
    assert (found["right"]["items"], found["words"]["items"]) == (2, 1)
    assert found["words"]["difference"][0] == 2.0


def test_every_switch_is_a_setting_of_its_job():
    """Both ways can be made, and differ; the preset says where it stands."""
    kinds = {"calls": CallSettings, "documents": AnswerSettings, "characters": NpcSettings}
    for name, job in JOBS.items():
        variants = job.variants({})
        assert len(variants) == len(job.switches) + 1
        for settings in variants.values():
            kinds[name](**{k: v for k, v in settings.items() if k != "declines"})
        for switch in job.switches:
            assert variants[switch.name] != variants[AS_SET]
            assert switch.is_on(variants[switch.name]) != switch.is_on(variants[AS_SET])


def test_our_own_items_are_of_three_jobs():
    counts = {name: len(load_items(name).rows) for name in JOBS}
    assert all(count >= 40 for count in counts.values()), counts
    documents = load_items("documents").rows
    assert {bool(row["answers"]) for row in documents} == {True, False}
    for row in documents:
        text = " ".join(document["text"] for document in row["documents"])
        assert not row["answers"] or any(form in text for form in row["answers"])


def test_files_of_others_are_read(tmp_path):
    tool = {"api_name": "weather", "api_description": "The weather", "required": ["city"]}
    tools = [
        {**tool, "api_name": f"tool{i}", "parameters": {"city": {"type": "str"}}} for i in range(12)
    ]
    tools.append({**tool, "parameters": {"city": {"type": "str", "description": "where"}}})
    (tmp_path / "sealtools_tool.jsonl").write_text("\n".join(map(json.dumps, tools)))
    call = {"api": "weather", "parameters": {"city": "Paris"}}
    rows = [{"id": f"{i}", "query": "Weather in Paris?", "calling": [call]} for i in range(4)]
    (tmp_path / "sealtools_dev.jsonl").write_text("\n".join(map(json.dumps, rows)))
    found = load_items("calls", tmp_path).rows
    assert [row["category"] for row in found] == ["multiple"] * 3 + ["irrelevance"]
    assert found[0]["ground_truth"] == [{"weather": {"city": ["Paris"]}}]
    assert "weather" in [function["name"] for function in found[0]["function"]]
    assert "weather" not in [function["name"] for function in found[3]["function"]]

    qas = [{"question": "Who?", "answers": [{"text": "Ada"}]}, {"question": "Why?", "answers": []}]
    paragraphs = [{"context": f"Passage {i}: Ada.", "qas": qas} for i in range(5)]
    squad = tmp_path / "dev.json"
    squad.write_text(json.dumps({"data": [{"title": "A", "paragraphs": paragraphs}]}))
    found = load_items("documents", squad).rows
    held = [[d["name"] for d in row["documents"]] for row in found]
    assert [bool(row["answers"]) for row in found] == [
        False,
        False,
        *[True, False] * 3,
        False,
        False,
    ]
    assert all(names == ["passage 1", "passage 2", "passage 3"] for names in held)

    doc = {"query": "\nBackground: Ada kept it.\nQuestion: Who?\nAnswer:", "answers_text": ["Ada"]}
    wheel = tmp_path / "requests.jsonl.gz"
    wheel.write_bytes(gzip.compress((json.dumps({"doc": doc}) + "\n").encode()))
    assert load_items("documents", wheel).rows[0]["question"] == "Who?"

    chat = tmp_path / "chat.csv"
    said = "\n".join(f"User {1 + i % 2}: message {i}" for i in range(9))
    with chat.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["user 1 personas", "user 2 personas", "Best Generated Conversation"])
        writer.writerow(["I bake.", "I sail.", said])
    found = load_items("characters", chat).rows
    assert [row["messages"][-1]["content"] for row in found] == ["message 2", "message 6"]
    assert all(row["messages"][-1]["role"] == "user" for row in found)
    assert "I sail." in found[0]["card"]["data"]["description"]


def test_files_that_cannot_be_read_are_refused_in_one_line(tmp_path, capsys):
    with pytest.raises(MissingError, match="no such file"):
        load_items("calls", tmp_path / "none.jsonl")
    (tmp_path / "x.json").write_text('{"data": 3}')
    with pytest.raises(InputError, match="not a file of items for documents"):
        load_items("documents", tmp_path / "x.json")
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(InputError, match="without items"):
        load_items("characters", tmp_path / "empty.jsonl")
    assert main(["jobs", "--limit", "-1"]) == 2
    assert "--limit" in capsys.readouterr().err
    assert main(["eval", "--suite", "jobs", "--tasks", "calls"]) == 2
    assert "measured alone" in capsys.readouterr().err


@pytest.fixture
def model(monkeypatch):
    """None that is asked: only its shape is looked at."""
    from understudy.generation.presets import preset_of_size

    monkeypatch.setattr(runs, "preset_of", lambda spec: preset_of_size(1e8))
    return SimpleNamespace(spec=None)


def test_a_run_that_was_stopped_goes_on(tmp_path, monkeypatch, model):
    scored = []

    def score(_model, item, settings):
        if len(scored) == 5 and item["n"] != -1:
            raise KeyboardInterrupt
        scored.append((item["n"], settings["gate"]))
        return {"right": int(item["n"] % 2 == 0 or settings["gate"])}

    job = replace(JOB, score=score)
    monkeypatch.setitem(runs.JOBS, "calls", job)
    data = {"calls": RowSet([{"n": n} for n in range(6)], "sample", "")}
    settings = RunSettings(identity={"model": "m"}, model={"name": "m"}, run={"date": "today"})
    with pytest.raises(KeyboardInterrupt):
        measure(model, data, tmp_path, settings)
    first = list(scored)
    scored.append(("again", None))
    told = []
    result = measure(model, data, tmp_path, settings, lambda *progress: told.append(progress))
    again = scored[len(first) + 1 :]
    assert len(first) == 5
    assert len(again) == 7
    assert not set(first) & set(again)
    assert told[-1] == ("calls", 12, 12)
    assert result["jobs"]["calls"]["as_set"]["right"]["interval"][0] == 1.0
    assert result["jobs"]["calls"]["switches"][0]["metrics"]["right"]["off"][0] == 0.5

    before = len(scored)
    assert measure(model, data, tmp_path, settings)["jobs"] == result["jobs"]
    assert len(scored) == before
    with pytest.raises(UsageError, match="another run"):
        measure(model, data, tmp_path, RunSettings(identity={"model": "other"}))

    write_report(result, tmp_path)
    page, text = (tmp_path / "jobs.html").read_text(), (tmp_path / "jobs.md").read_text()
    assert json.loads((tmp_path / "jobs.json").read_text())["jobs"] == result["jobs"]
    for shown in (page, text):
        assert "gate: stays on" in shown
        assert "preset stays as it is" in shown
    assert "100 %" in text


class _Speaks:
    """An `Npc` that says one thing."""

    def __init__(self, text):
        self.memory, self._text = SimpleNamespace(history=[]), text

    def turn(self, _):
        return SimpleNamespace(say=self._text)

    def said_before(self, player_text):
        return SaidBefore.of([[player_text]], [])


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("Good day to you, stranger.", None),
        ("Yes.", "words"),
        ("I mill the rye. Traveller: Why? Hilde: For bread.", "one_speaker"),
        ("As an AI, I do not mill.", "in_character"),
        ("I mill the rye every day and", "whole"),
    ],
)
def test_what_a_good_turn_is(monkeypatch, text, fault):
    from understudy.judge.jobs import characters

    monkeypatch.setattr(characters, "Npc", lambda *_, **__: _Speaks(text))
    row = load_items("characters").rows[0]
    line = CHARACTERS.score(None, row, {})
    assert line["right"] == int(fault is None)
    if fault not in (None, "words"):
        assert line[fault] == 0
    assert line["anew"] == 1
    asked = "I have come a long way today."
    monkeypatch.setattr(characters, "Npc", lambda *_, **__: _Speaks(f"Well. {asked}"))
    row = {**row, "messages": [{"role": "user", "content": asked}]}
    assert CHARACTERS.score(None, row, {})["anew"] == 0
