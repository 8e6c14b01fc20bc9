"""Every probe on a model that echoes, one that refuses and one that leaks; runs that stop and go
on; reports and hostile answers."""

from __future__ import annotations

import json

import pytest

from tests.support.random_model import babbler
from tests.unit.judge.safety.fakes import HOSTILE, Fake, echo, leak, refuse
from understudy.cli import main
from understudy.errors import InputError
from understudy.judge.safety.ask import ask, hits_of
from understudy.judge.safety.detectors import DETECTORS
from understudy.judge.safety.page import to_page
from understudy.judge.safety.probes import PROBES
from understudy.judge.safety.report import SafetyReport
from understudy.judge.safety.run import read_store, run_probes
from understudy.judge.safety.taxonomy import AEGIS_2
from understudy.report.text import visible

SOME = [PROBES["system-leak"], PROBES["over-refusal"]]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    with babbler(tmp_path_factory.mktemp("model"), context=2048) as loaded:
        yield loaded


def faults(model, name: str) -> int:
    return sum(bool(hits_of(case, ask(model, case, 0))) for case in PROBES[name].cases)


@pytest.mark.parametrize("name", PROBES)
def test_cases_are_named_once_and_labelled(name):
    cases = PROBES[name].cases
    assert (
        len({case.name for case in cases})
        == len({case.digest for case in cases})
        == len(cases)
        >= 5
    )
    assert all(case.category in AEGIS_2 and case.checks for case in cases)
    assert all(check.detector in DETECTORS for case in cases for check in case.checks)


@pytest.mark.parametrize("name", PROBES)
def test_a_model_that_refuses_fails_only_where_an_answer_was_due(model, name):
    wanted = len(PROBES[name].cases) if name == "over-refusal" else 0
    assert faults(Fake(model, refuse), name) == wanted


@pytest.mark.parametrize("name", PROBES)
def test_a_model_that_echoes_fails_only_where_it_should_decline(model, name):
    wanted = len(PROBES[name].cases) if name == "refusal" else 0
    assert faults(Fake(model, echo), name) == wanted


@pytest.mark.parametrize("name", PROBES)
def test_a_model_that_leaks_is_caught(model, name):
    total = len(PROBES[name].cases)
    assert faults(Fake(model, leak), name) == (0 if name == "over-refusal" else total)


def test_babble_is_no_error(model, tmp_path):
    report = run_probes(model, PROBES.values(), tmp_path / "run.jsonl", limit=1)
    assert [row["not_asked"] for row in report.probes] == [0] * len(PROBES)


def test_an_interrupted_run_goes_on_and_counts_nothing_twice(model, tmp_path):
    whole = run_probes(Fake(model, refuse), SOME, tmp_path / "whole.jsonl")

    class Stop(Exception):
        pass

    def stop(done, total, left_s):
        if done == 7:
            raise Stop

    store = tmp_path / "run.jsonl"
    with pytest.raises(Stop):
        run_probes(Fake(model, refuse), SOME, store, progress=stop)
    store.write_bytes(store.read_bytes() + b'{"format": 1, "key": "torn')
    again = Fake(model, refuse)
    report = run_probes(again, SOME, store)
    assert again.num_asked == 24 - 7
    assert report.to_document() | {"runs": []} == whole.to_document() | {"runs": []}
    assert len(report.runs) in (1, 2)  # both runs may have begun in the same second
    assert len(read_store(store)) == 24
    last = Fake(model, refuse)
    run_probes(last, SOME, store)
    assert last.num_asked == 0


def test_models_and_seeds_have_their_own_lines(model, tmp_path):
    store = tmp_path / "run.jsonl"
    first = run_probes(Fake(model, refuse, "a"), SOME, store)
    second = run_probes(Fake(model, leak, "b"), SOME, store)
    third = run_probes(Fake(model, leak, "b"), SOME, store, seed=1)
    assert [sum(row["faults"] for row in report.probes) for report in (first, second, third)] == [
        12,
        12,
        12,
    ]
    assert len(read_store(store)) == 72


def test_the_report_comes_back_bit_for_bit(model, tmp_path, capsys):
    store = tmp_path / "run.jsonl"
    report = run_probes(Fake(model, leak), SOME, store)
    lines = read_store(store)
    assert (
        SafetyReport(reversed(lines)).to_json() == SafetyReport(lines).to_json() == report.to_json()
    )
    written = [tmp_path / "a.json", tmp_path / "a.html"]
    assert (
        main(["safety", "report", str(store), "--json", str(written[0]), "--html", str(written[1])])
        == 0
    )
    assert [path.read_text() for path in written] == [report.to_json(), to_page(report)]
    assert capsys.readouterr().out == report.table()
    assert (
        main(["safety", "report", str(store), "--json", str(written[0]), "--without-answers"]) == 0
    )
    assert "secret word is quartzlantern" in report.to_json()
    assert "secret word is quartzlantern" not in written[0].read_text()


def test_findings_carry_their_categories(model, tmp_path):
    document = run_probes(
        Fake(model, leak), PROBES.values(), tmp_path / "run.jsonl", limit=2
    ).to_document()
    assert document["findings"]
    for row in document["findings"]:
        assert row["aegis_2"] in AEGIS_2
        assert row["hits"]
    pii = next(row for row in document["findings"] if row["probe"] == "personal-data")
    assert (pii["aegis_2"], pii["aegis_1"]) == ("PII/Privacy", "PII")


def test_hostile_answers_break_nothing(model, tmp_path):
    store = tmp_path / "run.jsonl"
    report = run_probes(Fake(model, lambda prompt: HOSTILE), [PROBES["refusal"]], store, limit=2)
    page, text = to_page(report), report.to_json()
    assert "<script" not in page
    assert page.count("</pre>") == page.count("<pre>")
    assert len(page) < 100_000
    for written in (page, text, report.table(), store.read_text()):
        assert all(c == "\n" or c.isprintable() for c in written)
        assert written.isascii()
    assert json.loads(text)["findings"][0]["answer"].startswith("\x1b[2J")


def test_a_case_that_does_not_fit_is_told_apart(model, tmp_path, tmp_path_factory):
    with babbler(tmp_path_factory.mktemp("small"), context=128) as small:
        row = run_probes(small, [PROBES["personal-data"]], tmp_path / "run.jsonl", limit=3).probes[
            0
        ]
    assert (row["cases"], row["not_asked"], row["rate"], row["interval"]) == (
        0,
        3,
        None,
        [0.0, 1.0],
    )


def test_faulty_stores_are_refused(tmp_path, capsys):
    for data, message in (
        (b"{\n", "not JSON"),
        (b"[1]\n", "not a line"),
        (b'{"format": 1, "key": "x"}\n', "not a line"),
    ):
        (tmp_path / "run.jsonl").write_bytes(data)
        with pytest.raises(InputError, match=message):
            read_store(tmp_path / "run.jsonl")
    assert main(["safety", "report", str(tmp_path / "none.jsonl")]) == 2
    assert "does not hold one run" in capsys.readouterr().err
    assert main(["safety", "run", "--probe", "nothing"]) == 2


def test_what_cannot_be_seen_is_written_out():
    assert visible("a\x1b\u202e\n\ud800") == "a\\u{1b}\\u{202e}\\n\\u{d800}"
    assert visible("x" * 9, 3) == "xxx … (9 characters)"
