"""What of a passage can be quoted: rows with the names of their columns, lists, sentences; and
answers that lie in a cell or over two sentences.
"""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from tests.unit.rag.word_files import cell, paragraph, run, table, word_file
from understudy.rag.index import Index
from understudy.rag.parts import begins_in_table, head_before, parts_of
from understudy.rag.settings import AnswerSettings

PRICES = [["Item", "Price", "Stock"], ["Rope", "7", "12"], ["Lamp oil", "3", "40"]]
BARS = "\n".join(" | ".join(row) for row in PRICES)
MARKDOWN = "| Item | Price | Stock |\n|:---|---:|---|\n| Rope | 7 | 12 |\n| Lamp oil | 3 | 40 |"


@pytest.mark.parametrize("text", [BARS, MARKDOWN])
def test_rows_say_the_names_of_their_columns(text):
    parts = parts_of(text)
    assert [part.said for part in parts] == [
        "Item: Rope; Price: 7; Stock: 12",
        "Item: Lamp oil; Price: 3; Stock: 40",
    ]
    assert parts[0].text.strip("| ") == "Rope | 7 | 12"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Keeper | Ada Vane\nMiller | Hilde", ["Keeper | Ada Vane", "Miller | Hilde"]),
        ("Oslo | 7 km\nRome | 9 km", ["Oslo | 7 km", "Rome | 9 km"]),
        (
            "Town | Way\nOslo | 7 km\nRome | 9 km",
            ["Town: Oslo; Way: 7 km", "Town: Rome; Way: 9 km"],
        ),
        (
            " | 2018 | 2019\nRopes | 12 | 14\nLamps | 3 | 4",
            ["Ropes; 2018: 12; 2019: 14", "Lamps; 2018: 3; 2019: 4"],
        ),
        ("Only | one row", ["Only | one row"]),
        ("- | -\n- | -", []),
        ("A | B | C\nd | e | f | g\nh | | i", ["d | e | f | g", "A: h; C: i"]),
    ],
)
def test_only_a_head_names_columns(text, said):
    assert [part.said for part in parts_of(text)] == said


def test_a_list_stands_with_the_line_that_leads_to_it():
    text = "Nothing else is needed.\nFor the dough take:\n- 2 eggs\n- flour\n- milk\nBake it well."
    whole = [part.text for part in parts_of(text)]
    assert whole == [
        "Nothing else is needed.",
        "For the dough take: - 2 eggs - flour - milk",
        "Bake it well.",
    ]
    long = "Rules:\n" + "\n".join(f"{i}. The {i}th rule says nothing new at all." for i in range(9))
    parts = parts_of(long)
    assert len(parts) == 9
    assert parts[3].text == "3. The 3th rule says nothing new at all."
    assert parts[3].said == f"Rules: {parts[3].text}"


def test_parts_are_spans_of_their_passage():
    pieces = [
        "A line. And another one!",
        "- one",
        "a | b",
        "# Head",
        "Open: 9-17",
        "",
        "x",
        "| 1 |",
    ]
    chance = random.Random(0)
    for _ in range(300):
        text = "\n".join(chance.choices([*pieces, *(f"  {p}\t" for p in pieces)], k=8))
        for part in parts_of(text):
            stands = "".join(" " if c.isspace() else c for c in text[part.start : part.end])
            assert part.text == stands
            assert part.text.strip() == part.text
            assert "# Head" not in part.text


def test_the_head_of_a_table_that_began_before():
    assert head_before("Words before.\n\nItem | Price\nRope | 7\n") == "Item | Price"
    assert head_before("Item | Price\nRope | 7\n\nWords after.\n") == ""
    assert begins_in_table("\nRope | 7")
    assert not begins_in_table("Rope costs 7.")
    assert parts_of("Rope | 7", "Item | Price")[0].said == "Item: Rope; Price: 7"


def long_table(folder, num_rows):
    names = [f"Thing{i}" for i in range(num_rows)]
    rows = [
        ["Item", "Price", "Stock"],
        *([name, str(100 + i), "5"] for i, name in enumerate(names)),
    ]
    written = ("".join(cell(paragraph(run(text))) for text in row) for row in rows)
    path = folder / "prices.docx"
    path.write_bytes(word_file(paragraph(run("What we sell.")) + table(*written)))
    return path


@pytest.mark.parametrize("num_rows", [120, 400])
def test_a_row_far_from_its_head(tmp_path, num_rows):
    """Also farther than what is kept of the section around a chunk."""
    with Index(tmp_path / "x.index") as index:
        index.add([long_table(tmp_path, num_rows)])
        found = index.ground("What is the price of Thing97?")
        best = found.sentences[0]
        heads = {passage.table_head for passage in found.passages}
        assert best.said == "Item: Thing97; Price: 197; Stock: 5"
        text, citations = found.read("197", len(found.passages))
    assert heads == {"", "Item | Price | Stock"}
    assert text == "197"
    assert citations[0].quote == "Thing97 | 197 | 5"


TWO = "The mill stands by the brook. Hilde built it. She opened it in 1790. Rye is ground there."


@pytest.mark.parametrize(
    ("answer", "quote"),
    [
        ("Hilde, in 1790.", "Hilde built it. She opened it in 1790."),
        ("Hilde.", "Hilde built it."),
    ],
)
def test_one_quote_may_be_two_sentences(tmp_path, answer, quote):
    (tmp_path / "mill.txt").write_text(TWO)
    with Index(tmp_path / "x.index", answers=AnswerSettings(max_quotes=1)) as index:
        index.add([tmp_path / "mill.txt"])
        found = index.ground("Who built the mill, and when was it opened?")
        text, citations = replace(found, settings=index.answers).read(answer, 1)
    assert text == answer
    assert [citation.quote for citation in citations] == [quote]
    assert TWO[citations[0].start : citations[0].end] == quote


def test_words_of_the_heading_count_for_what_stands_under_it(tmp_path):
    (tmp_path / "shop.md").write_text(
        "# Returns and refunds\n\nYou have thirty days. Bring the receipt.\n\n"
        "# Deliveries\n\nThey come on Mondays. Somebody must be at home.\n"
    )
    with Index(tmp_path / "x.index") as index:
        index.add([tmp_path / "shop.md"])
        found = index.ground("How many days do I have for refunds?")
    assert found.sentences[0].text == "You have thirty days."
    assert found.passages[0].with_heading.startswith("Returns and refunds\n")
