"""Names with digits: what is one, and that an answer comes from the row that has it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from understudy.rag.ground import ground
from understudy.rag.identifiers import holds, identifiers, names_are_absent
from understudy.rag.index import Index


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("Total amount due on invoice 2026-117?", {"2026-117"}),
        ("Is the RX-7 or the A12 in stock?", {"rx-7", "a12"}),
        ("What changed in v4.2.1 of order #B-77/3?", {"v4.2.1", "b-77/3"}),
        ("Who ruled from 1914-1918, in the 19th century, in the 1990s?", set()),
        ("What weighs 5km, 10-mm, 3pm, 1,240.00 or 4.2 percent of 12?", set()),
        ("Which 10-year-old was born on 2026-11-28 or 3.4.2026?", set()),
        ("Wo steht Kühler K9-ß2?", {"k9-ss2"}),
    ],
)
def test_names_with_digits(text: str, names: set[str]) -> None:
    assert identifiers(text) == names


def test_a_name_is_no_part_of_a_longer_one() -> None:
    assert holds("Invoice 2026-117, paid.", ["2026-117"])
    assert holds("(2026-117)", ["2026-117"])
    assert not holds("Invoice 2026-1170", ["2026-117"])
    assert not holds("12026-117", ["2026-117"])
    assert not holds("v4.2.1", ["v4.2"])
    assert holds("It came with v4.2.", ["v4.2"])


def test_signs_between_letters_and_digits_do_not_matter() -> None:
    assert holds("The F-16 flew in 1974.", identifiers("What did the F16 replace?"))
    assert holds("An RX 7, or an RX/7", ["rx-7"])
    assert not holds("An RX 71", ["rx-7"])


ROWS = "\n".join(
    f"| 2026-{number} | {client} | {total} |"
    for number, client, total in (
        (114, "Harbour Trust", "1,240.00"),
        (115, "Lindqvist AB", "880.50"),
        (116, "Observatory", "3,975.00"),
        (117, "Greenway Foods", "2,460.00"),
        (118, "Harbour Trust", "415.25"),
    )
)
TABLE = f"# Invoices of the spring\n\n| Invoice | Client | Total |\n| --- | --- | --- |\n{ROWS}\n"
PROSE = "# Fans\n\nThe RX-7 runs on 24 volts. It weighs 3 kg.\n\nThe RX-9 needs 48 volts.\n"


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    for name, text in (("invoices.md", TABLE), ("fans.md", PROSE)):
        (tmp_path / name).write_text(text)
    with Index(tmp_path / "x.index") as opened:
        opened.add([tmp_path / "invoices.md", tmp_path / "fans.md"])
        yield opened


@pytest.mark.parametrize(
    ("question", "holds_it"),
    [
        *(
            (f"Total amount due on invoice 2026-{number}?", f"2026-{number}")
            for number in range(114, 119)
        ),
        ("Who is the client of 2026-118?", "2026-118"),
        ("How many volts does the RX-9 need?", "RX-9"),
        ("What is the total of Greenway Foods?", "2026-117"),
    ],
)
def test_the_row_of_what_is_asked_about_comes_first(
    index: Index, question: str, holds_it: str
) -> None:
    found = ground(index, question)
    assert holds_it in found.sentences[0].text
    assert found.is_enough


@pytest.mark.parametrize("question", ["What does invoice 2026-119 cost?", "How heavy is the RX-8?"])
def test_what_no_document_names_is_not_answered(index: Index, question: str) -> None:
    assert not ground(index, question).is_enough


def test_a_name_that_is_like_no_other_is_left_to_its_words(index: Index) -> None:
    assert not names_are_absent("Which fan of DIN4711 needs 48 volts?", index.search("volts", 4))
