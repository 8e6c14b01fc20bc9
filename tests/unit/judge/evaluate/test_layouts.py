"""The layouts of the public sets, written small by hand: each gives rows that its task scores."""

import gzip
import json

import pytest

from tests.unit.judge.evaluate.fakes import Oracle
from understudy.errors import InputError
from understudy.judge.evaluate import questions
from understudy.judge.evaluate.applications import case_of
from understudy.judge.evaluate.datasets import load_rows
from understudy.judge.evaluate.instructions import check


def put(path, *rows, pack=False):
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(row if isinstance(row, str) else json.dumps(row) + "\n" for row in rows).encode()
    path.write_bytes(gzip.compress(text) if pack else text)


def test_piqa_with_its_labels_beside(tmp_path):
    put(
        tmp_path / "piqa" / "valid.jsonl",
        {"goal": "g", "sol1": "a", "sol2": "b"},
        {"goal": "h", "sol1": "c", "sol2": "d"},
    )
    (tmp_path / "piqa" / "valid-labels.lst").write_text("1\n0\n")
    rows = load_rows("piqa", tmp_path).rows
    assert [questions.piqa(row).answer for row in rows] == [1, 0]
    (tmp_path / "piqa" / "valid-labels.lst").write_text("1\n")
    with pytest.raises(InputError, match="not of the layout"):
        load_rows("piqa", tmp_path)


def test_hellaswag_arc_and_winogrande_of_their_authors(tmp_path):
    put(
        tmp_path / "hellaswag_val.jsonl",
        {"activity_label": "A", "ctx_a": "x", "ctx_b": "y", "endings": ["1", "2"], "label": 1},
    )
    stem = {"stem": "Why?", "choices": [{"text": "so", "label": "A"}, {"text": "no", "label": "B"}]}
    put(tmp_path / "ARC-Easy-Test.jsonl", {"question": stem, "answerKey": "B"})
    put(
        tmp_path / "winogrande_1.1" / "dev.jsonl",
        {"sentence": "A _ b", "option1": "x", "option2": "y", "answer": "2"},
    )
    assert questions.hellaswag(load_rows("hellaswag", tmp_path).rows[0]).requests[1] == (
        "A: x Y",
        " 2",
    )
    assert questions.arc(load_rows("arc_easy", tmp_path).rows[0]).answer == 1
    assert questions.winogrande(load_rows("winogrande", tmp_path).rows[0]).requests[1] == (
        "A y",
        " b",
    )


def test_rendered_requests_give_each_document_once(tmp_path):
    documents = [
        {"query": f"Question: {i}\nAnswer:", "choices": ["a", "b"], "gold": i} for i in (0, 1)
    ]
    lines = [{"doc_id": i, "doc": documents[i % 2]} for i in range(8)]
    put(tmp_path / "arc_easy" / "requests.jsonl.gz", *lines, pack=True)
    rows = load_rows("arc_easy", tmp_path).rows
    assert rows == documents
    assert questions.arc(rows[1]).requests == (
        ("Question: 1\nAnswer:", " a"),
        ("Question: 1\nAnswer:", " b"),
    )
    last = {"doc_id": 0, "doc": {"query": "to the", "answers_text": ["sea"]}}
    put(tmp_path / "lambada" / "requests.jsonl.gz", last, pack=True)
    assert load_rows("lambada", tmp_path).rows == [{"text": "to the sea"}]


def test_mmlu_csv_by_subject(tmp_path):
    put(tmp_path / "mmlu" / "test" / "world_history_test.csv", '"Who, then?",a,b,"c ""d""",e,C\n')
    (row,) = load_rows("mmlu", tmp_path).rows
    assert row == {
        "subject": "world_history",
        "question": "Who, then?",
        "choices": ["a", "b", 'c "d"', "e"],
        "answer": "C",
    }
    assert questions.mmlu(row).answer == 2
    put(tmp_path / "mmlu" / "test" / "world_history_test.csv", "too,few\n")
    with pytest.raises(InputError, match="not of the layout"):
        load_rows("mmlu", tmp_path)


def test_bfcl_with_its_answers(tmp_path):
    function = {
        "name": "f",
        "description": "d",
        "parameters": {"type": "dict", "properties": {}, "required": []},
    }
    base = {"question": [[{"role": "user", "content": "q"}]], "function": [function]}
    put(tmp_path / "calls" / "BFCL_v4_live_simple.json", {"id": "s", **base})
    put(
        tmp_path / "calls" / "possible_answer" / "BFCL_v4_live_simple.json",
        {"id": "s", "ground_truth": [{"f": {}}]},
    )
    put(tmp_path / "calls" / "BFCL_v4_irrelevance.json", {"id": "i", **base})
    put(tmp_path / "calls" / "BFCL_v4_multi_turn_base.json", {"id": "m"})
    cases = {case.category: case for case in map(case_of, load_rows("calls", tmp_path).rows)}
    assert cases.keys() == {"live_simple", "irrelevance"}
    assert (cases["live_simple"].answers, cases["irrelevance"].answers) == (({"f": {}},), ())


def test_rgb_s_four_abilities(tmp_path):
    row = {
        "id": 1,
        "query": "Who?",
        "answer": [["Ann", "Anna"]],
        "positive": ["Ann did."],
        "negative": ["x", "y", "z", "w", "v"],
    }
    put(tmp_path / "en.json", row)
    put(
        tmp_path / "en_int.json",
        {**row, "answer": [["Ann"], ["Bo"]], "positive": [["Ann did."], ["Bo did."]]},
    )
    put(tmp_path / "en_fact.json", {**row, "positive_wrong": ["Tim did."], "answer": "Ann"})
    rows = {row["kind"]: row for row in load_rows("rag", tmp_path).rows}
    assert {kind: row["answers"] for kind, row in rows.items()} == {
        "noise": [["Ann", "Anna"]],
        "rejection": [],
        "integration": [["Ann"], ["Bo"]],
        "counterfactual": [["Ann"]],
    }
    assert {kind: row["support"] for kind, row in rows.items() if kind != "integration"} == {
        "noise": ["right 1"],
        "rejection": [],
        "counterfactual": ["right 1"],
    }
    assert sorted(rows["integration"]["support"]) == ["right 1", "right 2"]
    assert len(rows["noise"]["documents"]) == 5
    assert "Ann did." not in [document["text"] for document in rows["rejection"]["documents"]]


def test_texts_by_article_and_by_speech(tmp_path):
    put(
        tmp_path / "wiki.test.raw", " \n = One = \n\n a \n\n = = Part = = \n b \n\n = Two = \n c \n"
    )
    put(tmp_path / "tinyshakespeare.txt", "A:\nhello\n\n" * 4000)
    rows = load_rows("perplexity", tmp_path).rows
    wiki = [row["text"] for row in rows if row["source"] == "wikitext2"]
    assert [text.split("=")[1].strip() for text in wiki] == ["One", "Two"]
    assert "= = Part = =" in wiki[0]
    plays = [row["text"] for row in rows if row["source"] == "tinyshakespeare"]
    assert "".join(plays) == "A:\nhello\n\n" * 4000
    assert {len(text) < 16_020 for text in plays} == {True}


def test_ifeval_and_gsm8k_as_they_are(tmp_path):
    put(
        tmp_path / "input_data.jsonl",
        {"key": 1, "prompt": "p", "instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}]},
    )
    assert check(load_rows("ifeval", tmp_path).rows[0], "a b")["prompt_strict"] == 1
    put(tmp_path / "gsm8k_test.jsonl", {"question": "5 and 7?", "answer": "so\n#### 12"})
    from understudy.judge.evaluate.arithmetic import check as check_sum

    row = load_rows("gsm8k", tmp_path).rows[0]
    assert [
        check_sum(row, text)["exact"] for text in ("It is $12.", "12 of 13", "", "1,2 12.0")
    ] == [1, 0, 0, 1]


def test_an_unreadable_file_is_one_line(tmp_path):
    (tmp_path / "lambada.jsonl.gz").write_bytes(b"\x1f\x8b junk")
    with pytest.raises(InputError, match="cannot be read"):
        load_rows("lambada", tmp_path)
    (tmp_path / "rag.jsonl").write_text('{"corpus": "nowhere", "question": "q"}\n')
    with pytest.raises(InputError, match="no such corpus"):
        load_rows("rag", tmp_path)
    put(tmp_path / "piqa.jsonl", "")
    with pytest.raises(InputError, match="without rows"):
        load_rows("piqa", tmp_path)


def test_the_oracle_is_not_a_tautology():
    assert Oracle().scores([("no such context", " no such choice")])[0].is_greedy
