"""Tasks with a stub scorer: the prompts, the choice, runs that go on, reports and comparisons."""

import json

import pytest

from understudy.errors import FormatError, InputError, MissingError, UsageError
from understudy.measure.evaluate import questions
from understudy.measure.evaluate.applications import check_answer, f1, keeps
from understudy.measure.evaluate.likelihood import Score, score_choices, score_last_word
from understudy.measure.evaluate.report import compare, comparison_page, page, write_report
from understudy.measure.evaluate.run import evaluate
from understudy.measure.evaluate.tasks import SUITES, TASKS, chosen_tasks, load_rows

LIKELIHOOD = ("hellaswag", "arc_easy", "arc_challenge", "piqa", "winogrande", "mmlu", "lambada")


class Stub:
    """A log-likelihood per continuation; counts what it was asked."""

    def __init__(self, logprob=lambda context, text: -float(len(text)), fail_at=10**9):
        self.scorer, self.logprob, self.asked, self.fail_at = self, logprob, 0, fail_at

    def scores(self, requests):
        self.asked += 1
        if self.asked >= self.fail_at:
            raise KeyboardInterrupt
        return [Score(self.logprob(*request), True) for request in requests]


def test_prompts_are_the_harness_ones():
    row = {
        "activity_label": "Cooking",
        "ctx_a": "He stirs [step] it.",
        "ctx_b": "then he",
        "endings": [" eats [title] well"],
        "label": "0",
    }
    assert questions.hellaswag(row).requests == (("Cooking: He stirs it. Then he", " eats.  well".replace("  ", " ")),)
    arc = {"question": "Why?", "choices": {"text": ["a", "b"], "label": ["1", "2"]}, "answerKey": "2"}
    assert questions.arc(arc).requests[1] == ("Question: Why?\nAnswer:", " b")
    assert questions.arc(arc).answer == 1
    gap = {"sentence": "A saw B, for _ was near.", "option1": "A", "option2": "B", "answer": "2"}
    assert questions.winogrande(gap).requests[0] == ("A saw B, for A", " was near.")
    asked = questions.mmlu({"subject": "high_school_physics", "question": " Q? ", "choices": list("wxyz"), "answer": 3})
    head = "The following are multiple choice questions (with answers) about high school physics.\n\n"
    assert asked.requests[3] == (head + "Q?\nA. w\nB. x\nC. y\nD. z\nAnswer:", " D")


def test_acc_norm_divides_by_characters():
    question = questions.piqa({"goal": "g", "sol1": "ab", "sol2": "abcdefgh", "label": 1})
    figures = score_choices(Stub(lambda _context, text: -3.0 if text == " ab" else -4.0), question)
    assert (figures["acc"], figures["acc_norm"]) == (0, 1)


def test_the_last_word_is_scored_with_its_blank():
    assert score_last_word(Stub(), {"text": "to the sea"}) == {"acc": 1, "perplexity": 4.0, "weight": 1, "logprobs": [-4.0]}


def test_samples_load_and_have_enough_rows():
    assert all(load_rows(name) for name in SUITES["quick"])
    assert set(TASKS) - set(SUITES["quick"]) == {"memorisation"}
    assert all(len({json.dumps(row) for row in load_rows(name)}) >= 20 for name in LIKELIHOOD)


def test_a_killed_run_goes_on_and_counts_no_item_twice(tmp_path):
    identity = {"model": "stub"}
    with pytest.raises(KeyboardInterrupt):
        evaluate(Stub(fail_at=8), ["piqa"], tmp_path, identity=identity)
    items = tmp_path / "items" / "piqa.jsonl"
    assert len(items.read_text().splitlines()) == 7
    with items.open("a") as file:
        file.write('{"id": "cut')  # as a kill in the middle of a line leaves it
    rest = Stub()
    result = evaluate(rest, ["piqa"], tmp_path, identity=identity)
    assert rest.asked == 13
    assert len({json.loads(line)["id"] for line in items.read_text().splitlines()}) == 20
    assert result["tasks"]["piqa"]["items"] == 20
    assert result == evaluate(Stub(fail_at=1), ["piqa"], tmp_path, identity=identity)


def test_another_model_or_a_broken_file_is_refused(tmp_path):
    evaluate(Stub(), ["piqa"], tmp_path, identity={"model": "a"}, limit=2)
    with pytest.raises(UsageError, match="another run"):
        evaluate(Stub(), ["piqa"], tmp_path, identity={"model": "b"}, limit=2)
    items = tmp_path / "items" / "piqa.jsonl"
    items.write_text("{}\n" + items.read_text())
    with pytest.raises(FormatError, match="not an item"):
        evaluate(Stub(), ["piqa"], tmp_path, identity={"model": "a"}, limit=2)


def test_rows_of_another_layout_and_missing_files_are_one_line_errors(tmp_path):
    (tmp_path / "piqa.jsonl").write_text('{"goal": "x"}\n')
    with pytest.raises(InputError, match="layout"):
        evaluate(Stub(), ["piqa"], tmp_path / "out", identity={}, data=tmp_path)
    with pytest.raises(MissingError, match="no data"):
        load_rows("mmlu", tmp_path)


def test_comparison_pairs_items_and_pages_escape(tmp_path):
    for name, logprob in (("a", lambda _c, text: -float(len(text))), ("b", lambda _c, text: float(len(text)))):
        result = evaluate(Stub(logprob), ["piqa", "lambada"], tmp_path / name, identity={"model": "<script>"})
        write_report(result, tmp_path / name)
        assert "<script>" not in page(result)
    same = compare(tmp_path / "a", tmp_path / "a")["tasks"]
    assert same["piqa"]["figures"]["acc"]["p"] == 1.0
    assert same["lambada"]["figures"]["perplexity"]["value"] == 1.0
    result = compare(tmp_path / "a", tmp_path / "b")
    assert result["tasks"]["lambada"]["figures"]["perplexity"]["value"] < 1
    assert "<script>" not in comparison_page(result)


def test_names_of_suites_and_tasks():
    assert chosen_tasks(["likelihood"], ["rag"]) == [*SUITES["likelihood"], "rag"]
    with pytest.raises(UsageError, match="no such task"):
        chosen_tasks([], ["glue"])


def test_answers_from_passages():
    row = {"ability": "integration", "answers": ["1802", "1840"], "support": [1, 3]}
    figures = check_answer(row, "1802 [1] and 1840 [2]")
    assert (figures["ability"], figures["citation_precision"]) == (1, 0.5)
    assert check_answer({"ability": "rejection", "answers": [], "support": []}, "It is not in the passages.")["ability"] == 1
    false = {"ability": "counterfactual", "answers": ["Paris"], "support": []}
    assert [check_answer(false, text)["ability"] for text in ("Paris", "That is wrong: Paris", "Lyon, wrong")] == [0, 1, 0]
    assert f1("the red mill", "a mill") == pytest.approx(2 / 3)


def test_rules_of_a_character():
    row = {"any": ["Bram"], "none": ["AI"], "max_words": 5}
    assert keeps(row, "My dog is Bram.")
    assert not any(keeps(row, text) for text in ("", "Bramble", "Bram, an AI", "Bram is my very old dog"))
