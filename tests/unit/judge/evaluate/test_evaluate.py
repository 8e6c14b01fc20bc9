"""Tasks with a stub scorer: the prompts, the choice, runs that go on, reports and comparisons."""

import json

import pytest

from tests.unit.judge.evaluate.fakes import Oracle, Wrong
from understudy.errors import ContextError, FormatError, InputError, MissingError, UsageError
from understudy.judge.evaluate import RunSettings, questions
from understudy.judge.evaluate.applications import check_answer, f1, keeps
from understudy.judge.evaluate.compare import compare, comparison_document
from understudy.judge.evaluate.datasets import load_rows
from understudy.judge.evaluate.judge import Answered
from understudy.judge.evaluate.likelihood import Score, score_choices, score_last_words
from understudy.judge.evaluate.report import document, read_report, write_report
from understudy.judge.evaluate.run import BATCH, evaluate
from understudy.judge.evaluate.tasks import SUITES, TASKS, chosen_tasks, drawn
from understudy.report.html import to_html

LIKELIHOOD = ("hellaswag", "arc_easy", "arc_challenge", "piqa", "winogrande", "mmlu", "lambada")
JOBS = ("calls", "rag", "roleplay")


class Stub:
    """A log-likelihood per continuation; counts the requests and fails after some."""

    def __init__(self, logprob=lambda context, text: -float(len(text)), fail_after=10**9):
        self.scorer, self.logprob, self.asked, self.fail_after = self, logprob, 0, fail_after

    def scores(self, requests):
        if self.asked >= self.fail_after:
            raise KeyboardInterrupt
        self.asked += len(requests)
        return [Score(self.logprob(*request), True) for request in requests]


def settings(model="stub", **more):
    return RunSettings({"model": model}, {"name": model}, {"date": "2026-01-01T00:00:00Z"}, **more)


def test_prompts_are_the_harness_ones():
    row = {
        "activity_label": "Cooking",
        "ctx_a": "He stirs [step] it.",
        "ctx_b": "then he",
        "endings": [" eats [title] well"],
        "label": "0",
    }
    assert questions.hellaswag(row).requests == (
        ("Cooking: He stirs it. Then he", " eats.  well".replace("  ", " ")),
    )
    arc = {
        "question": "Why?",
        "choices": {"text": ["a", "b"], "label": ["1", "2"]},
        "answerKey": "2",
    }
    assert questions.arc(arc).requests[1] == ("Question: Why?\nAnswer:", " b")
    assert questions.arc(arc).answer == 1
    gap = {"sentence": "A saw B, for _ was near.", "option1": "A", "option2": "B", "answer": "2"}
    assert questions.winogrande(gap).requests[0] == ("A saw B, for A", " was near.")
    asked = questions.mmlu(
        {"subject": "high_school_physics", "question": " Q? ", "choices": list("wxyz"), "answer": 3}
    )
    head = (
        "The following are multiple choice questions (with answers) about high school physics.\n\n"
    )
    assert asked.requests[3] == (head + "Q?\nA. w\nB. x\nC. y\nD. z\nAnswer:", " D")


def test_acc_norm_divides_by_characters():
    question = questions.piqa({"goal": "g", "sol1": "ab", "sol2": "abcdefgh", "label": 1})
    (figures,) = score_choices(
        Stub(lambda _context, text: -3.0 if text == " ab" else -4.0), [question]
    )
    assert (figures["acc"], figures["acc_norm"]) == (0, 1)


def test_the_last_word_is_scored_with_its_blank():
    expected = {"acc": 1, "perplexity": 4.0, "weight": 1, "logprobs": [-4.0]}
    assert score_last_words(Stub(), [{"text": "to the sea"}]) == [expected]


def test_samples_load_and_have_enough_rows():
    assert all(load_rows(name).rows for name in SUITES["quick"])
    assert set(TASKS) - set(SUITES["quick"]) == {"memorisation"}
    assert all(len({json.dumps(row) for row in load_rows(name).rows}) >= 20 for name in LIKELIHOOD)
    assert all(len({json.dumps(row) for row in load_rows(name).rows}) >= 60 for name in JOBS)


def test_a_killed_run_goes_on_and_counts_no_item_twice(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        evaluate(Stub(fail_after=1), ["piqa"], tmp_path, settings())
    items = tmp_path / "items" / "piqa.jsonl"
    assert len(items.read_text().splitlines()) == BATCH
    with items.open("a") as file:
        file.write('{"id": "cut')  # as a kill in the middle of a line leaves it
    rest = Stub()
    result = evaluate(rest, ["piqa"], tmp_path, settings())
    assert rest.asked == 2 * (20 - BATCH)
    assert len({json.loads(line)["id"] for line in items.read_text().splitlines()}) == 20
    assert result["tasks"]["piqa"]["items"] == 20
    assert result == evaluate(Stub(fail_after=0), ["piqa"], tmp_path, settings())


def test_answers_that_run_at_once_are_kept_when_one_fails(tmp_path):
    class Failing(Oracle):
        def play(self, card, messages):
            if self.count > 20:
                raise KeyboardInterrupt
            return super().play(card, messages)

    with pytest.raises(KeyboardInterrupt):
        evaluate(Failing(), ["roleplay"], tmp_path, settings(parallel=1))
    kept = len((tmp_path / "items" / "roleplay.jsonl").read_text().splitlines())
    assert kept == 21
    rest = Oracle()
    result = evaluate(rest, ["roleplay"], tmp_path, settings(parallel=4))
    assert rest.count == result["tasks"]["roleplay"]["items"] - kept
    assert result["tasks"]["roleplay"]["figures"]["kept"]["value"] == 1.0


def test_a_larger_limit_goes_on_from_a_smaller_one(tmp_path):
    evaluate(Oracle(), ["calls"], tmp_path, settings(limit=12))
    more = Oracle()
    result = evaluate(more, ["calls"], tmp_path, settings(limit=30))
    assert result["tasks"]["calls"]["items"] == 30
    categories = result["tasks"]["calls"]["groups"]
    assert len(categories) == 9  # a part is drawn from all
    assert more.count < 2 * 18 + 1


def test_a_run_in_parts_has_the_date_of_the_first_and_the_command_of_the_last(tmp_path):
    records = [{"date": "d1", "command": "c1"}, {"date": "d2", "command": "c2"}]
    results = [
        evaluate(Stub(), ["piqa"], tmp_path, RunSettings({"model": "m"}, run=record))
        for record in records
    ]
    assert [result["run"] for result in results] == [records[0], {"date": "d1", "command": "c2"}]


def test_drawing_is_steady_and_takes_turns():
    rows = load_rows("mmlu").rows
    small, large = drawn("mmlu", rows, 6), drawn("mmlu", rows, 12)
    assert len({row["subject"] for row in small}) == 6
    assert [row for row in large if row in small] == small
    assert drawn("mmlu", rows[::-1], 6)[::-1] == small


def test_another_model_or_a_broken_file_is_refused(tmp_path):
    evaluate(Stub(), ["piqa"], tmp_path, settings("a", limit=2))
    with pytest.raises(UsageError, match="another run"):
        evaluate(Stub(), ["piqa"], tmp_path, settings("b", limit=2))
    items = tmp_path / "items" / "piqa.jsonl"
    items.write_text("{}\n" + items.read_text())
    with pytest.raises(FormatError, match="not an item"):
        evaluate(Stub(), ["piqa"], tmp_path, settings("a", limit=2))
    (tmp_path / "run.json").write_text("[]")
    with pytest.raises(FormatError, match="not a run's description"):
        evaluate(Stub(), ["piqa"], tmp_path, settings("a", limit=2))


def test_rows_of_another_layout_and_missing_files_are_one_line_errors(tmp_path):
    (tmp_path / "piqa.jsonl").write_text('{"goal": "x"}\n')
    with pytest.raises(InputError, match="layout"):
        evaluate(Stub(), ["piqa"], tmp_path / "out", settings(data=tmp_path))
    with pytest.raises(MissingError, match=r"no data.*eval fetch mmlu"):
        load_rows("mmlu", tmp_path, is_whole=True)
    assert load_rows("mmlu", tmp_path).source == "sample"
    with pytest.raises(MissingError, match="no such folder"):
        load_rows("mmlu", tmp_path / "nowhere")


def test_two_runs_at_once_in_one_folder_are_refused(tmp_path):
    class Second(Stub):
        def scores(self, requests):
            with pytest.raises(UsageError, match="another run is at work"):
                evaluate(Stub(), ["piqa"], tmp_path, settings())
            return super().scores(requests)

    assert evaluate(Second(), ["piqa"], tmp_path, settings())["tasks"]["piqa"]["items"] == 20
    assert not (tmp_path / "run.lock").exists()


def test_an_item_that_does_not_fit_the_window_is_failed_and_said(tmp_path):
    class Narrow(Oracle):
        def ask(self, documents, question):
            if "lighthouse" in question:
                raise ContextError("prompt and answer do not fit the context")
            return super().ask(documents, question)

    result = evaluate(Narrow(), ["rag"], tmp_path, settings())
    task = result["tasks"]["rag"]
    assert task["errors"] == 3
    assert task["figures"]["ability"]["value"] == pytest.approx(1 - 3 / 72)
    assert "could not be asked" in to_html(document({**result, "model": {}}))


@pytest.mark.parametrize("limit", [0, -1])
def test_nothing_to_score_is_refused(tmp_path, limit):
    with pytest.raises(UsageError, match="nothing to score"):
        evaluate(Stub(), ["piqa"], tmp_path, settings(limit=limit))


def test_a_right_model_has_everything_and_a_wrong_one_nothing(tmp_path):
    names = [*LIKELIHOOD, *JOBS, "gsm8k"]
    right = evaluate(Oracle(), names, tmp_path / "right", settings())["tasks"]
    wrong = evaluate(Wrong(), names, tmp_path / "wrong", settings())["tasks"]
    for name in names:
        for metric, figure in right[name]["figures"].items():
            if figure["kind"] != "perplexity" and metric != "recall_1":
                assert (name, metric, figure["value"]) == (name, metric, 1.0)
        for group, found in right[name]["groups"].items():
            assert (name, group, found[next(iter(TASKS[name].metrics))]["value"]) == (
                name,
                group,
                1.0,
            )
        primary = wrong[name]["figures"][wrong[name]["primary"]]
        assert (name, primary["value"]) == (name, 0.0)
    assert len(right["calls"]["groups"]) == 9
    assert {"noise", "rejection", "integration", "counterfactual"} == set(right["rag"]["groups"])
    assert {"persona", "lore", "world", "card"} == set(right["roleplay"]["groups"])


def test_a_report_describes_itself_and_is_the_same_from_stored_items(tmp_path):
    names = ["calls", "perplexity", "bias", "rag"]
    result = evaluate(Oracle(), names, tmp_path, settings("<script>", suite=["quick"], limit=9))
    write_report(result, tmp_path)
    assert read_report(tmp_path) == json.loads(json.dumps(result))
    assert {
        "format",
        "version",
        "identity",
        "model",
        "run",
        "seed",
        "suite",
        "limit",
        "limits",
        "tasks",
    } == set(result)
    assert "<script>" not in to_html(document(result))
    for task in result["tasks"].values():
        assert {
            "about",
            "area",
            "items",
            "seconds",
            "errors",
            "data",
            "primary",
            "figures",
            "groups",
        } == set(task)
        assert task["primary"] in task["figures"]
        assert len(task["data"]["sha256"]) == 64
    once = {name: (tmp_path / name).read_bytes() for name in ("report.json", "report.html")}
    write_report(
        evaluate(Wrong(), names, tmp_path, settings("<script>", suite=["quick"], limit=9)), tmp_path
    )
    assert {name: (tmp_path / name).read_bytes() for name in once} == once
    (tmp_path / "report.json").write_text(
        '{"format": "understudy-evaluation", "version": 99, "tasks": {}}'
    )
    with pytest.raises(FormatError, match="another version"):
        read_report(tmp_path)


def test_nine_items_are_too_few_for_a_bootstrap(tmp_path):
    for name, judge in (("a", Oracle()), ("b", Wrong())):
        write_report(
            evaluate(judge, ["piqa", "lambada"], tmp_path / name, settings(limit=9)),
            tmp_path / name,
        )
    tasks = compare(tmp_path / "a", tmp_path / "b")["tasks"]
    assert tasks["lambada"]["figures"]["perplexity"]["verdict"] == "too few items"
    assert tasks["piqa"]["figures"]["acc"]["verdict"] == "worse"  # an exact test needs no minimum


def test_comparison_pairs_items_corrects_and_pages_escape(tmp_path):
    for name, judge in (("a", Oracle()), ("b", Wrong())):
        result = evaluate(
            judge, ["piqa", "lambada", "roleplay", "bias"], tmp_path / name, settings("<script>")
        )
        write_report(result, tmp_path / name)
    same = compare(tmp_path / "a", tmp_path / "a")["tasks"]
    assert same["piqa"]["figures"]["acc"]["p"] == 1.0
    assert same["lambada"]["figures"]["perplexity"]["value"] == 1.0
    assert {figure["verdict"] for task in same.values() for figure in task["figures"].values()} == {
        "unclear"
    }
    result = compare(tmp_path / "a", tmp_path / "b")
    tasks = result["tasks"]
    assert (
        tasks["piqa"]["figures"]["acc"]["value"],
        tasks["piqa"]["figures"]["acc"]["verdict"],
    ) == (-1.0, "worse")
    assert tasks["lambada"]["figures"]["perplexity"]["value"] > 1
    assert set(tasks["roleplay"]["groups"]) == {"persona", "lore", "world", "card"}
    assert all(
        figure["p_holm"] >= figure["p"]
        for task in tasks.values()
        for figure in task["figures"].values()
    )
    assert (
        compare(tmp_path / "b", tmp_path / "a")["tasks"]["piqa"]["figures"]["acc"]["verdict"]
        == "better"
    )
    text = to_html(comparison_document(result))
    assert "<script>" not in text
    assert "B is worse in" in text
    for file in (tmp_path / "b" / "items").iterdir():
        file.write_text("")
    with pytest.raises(UsageError, match="no item in common"):
        compare(tmp_path / "a", tmp_path / "b")


def test_names_of_suites_and_tasks():
    assert chosen_tasks(["likelihood"], ["rag"]) == [*SUITES["likelihood"], "rag"]
    with pytest.raises(UsageError, match="no such task"):
        chosen_tasks([], ["glue"])


DOCUMENTS = [
    {"name": "mill", "text": "Built in 1802.\nOf oak."},
    {"name": "inn", "text": "The inn is of 1840."},
]


def test_answers_from_documents():
    row = {
        "kind": "integration",
        "documents": DOCUMENTS,
        "answers": ["1802", ["1840", "the year 1840"]],
        "support": ["mill", "inn"],
    }
    quotes = (("mill", "Built in 1802. Of oak."), ("inn", "The inn burned."))
    figures = check_answer(row, Answered("1802, and the year 1840", ("mill", "x", "inn"), quotes))
    assert (figures["ability"], figures["citation_exists"], figures["citation_precision"]) == (
        1,
        0.5,
        0.5,
    )
    assert (figures["recall_1"], figures["recall_3"]) == (0.5, 1.0)
    assert figures["abstain_precision"] is figures["abstain_recall"] is None
    assert check_answer(row, Answered("1802", ()))["ability"] == 0
    silent = check_answer(row, Answered(None, ("mill",)))
    assert (silent["ability"], silent["abstain_precision"], silent["f1"]) == (0, 0, 0.0)
    beside = {**row, "support": ["inn"]}
    assert (
        check_answer(beside, Answered("1802 1840", (), (("mill", "Of oak."),)))[
            "citation_precision"
        ]
        == 0.0
    )


def test_silence_and_doubt():
    empty = {"kind": "rejection", "documents": DOCUMENTS, "answers": [], "support": []}
    assert check_answer(empty, Answered("The documents do not say.", ()))["abstain_recall"] == 1
    assert check_answer(empty, Answered("1802", ()))["ability"] == 0
    false = {"kind": "counterfactual", "documents": DOCUMENTS, "answers": ["Paris"], "support": []}
    told = [
        check_answer(false, Answered(text, ()))["ability"]
        for text in ("Paris", "That is wrong: Paris", "Lyon, wrong")
    ]
    assert told == [0, 1, 0]
    assert f1("the red mill", "a mill") == pytest.approx(2 / 3)


def test_rules_of_a_character():
    row = {"any": ["Bram"], "none": ["AI", "?"], "max_words": 5, "starts": "My", "ends": "Bram."}
    assert keeps(row, "My dog is Bram.")
    assert keeps({"ends": "Arr!"}, '"Aye. Arr!"')
    texts = (
        "",
        "My Bramble Bram",
        "My Bram, an AI. Bram.",
        "My dog is the very old Bram.",
        "My Bram? Bram.",
        "Bram.",
        "My Bram is.",
    )
    assert not any(keeps(row, text) for text in texts)


@pytest.mark.parametrize(
    "row", load_rows("roleplay").rows, ids=lambda row: row["messages"][-1]["content"][:30]
)
def test_each_role_case_tells_right_from_wrong(row):
    assert keeps(row, row["right"])
    assert not keeps(row, row["wrong"])
