"""CSV by any dialect of the csv module, Markdown by CommonMark's blocks, JSON with the line that is
wrong.
"""

from __future__ import annotations

import csv
import io
import random

import pytest

from understudy.errors import DocumentError
from understudy.rag.document import Document
from understudy.rag.readers import read_document
from understudy.rag.readers.delimiter import find_dialect

CELLS = [
    "Ely",
    "4,50",
    "1,000",
    'say "hi"',
    "a;b",
    "x|y",
    "x\ty",
    "",
    "line\nbreak",
    '35,5" long',
    "12:30",
    "a, b, c",
    "1;2;3",
    '"hi", he said',
    "Ada  Vane",
    "0",
]


def read(tmp_path, name: str, text: str) -> Document:
    (tmp_path / name).write_text(text, encoding="utf-8", newline="")
    return read_document(tmp_path / name)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC])
def test_files_of_the_csv_module(delimiter, quoting):
    for seed in range(150):
        pick = random.Random(seed)
        width = pick.randint(1, 5)
        rows = [[f"col{i}" for i in range(width)]]
        rows += [[pick.choice(CELLS) for _ in range(width)] for _ in range(pick.randint(1, 6))]
        buffer = io.StringIO()
        csv.writer(buffer, delimiter=delimiter, quoting=quoting).writerows(rows)
        text = buffer.getvalue().replace("\r\n", "\n")
        found = find_dialect(text)
        lines = io.StringIO(text[found.start :], newline="")
        assert found.escape is None
        assert list(csv.reader(lines, delimiter=found.delimiter)) == rows, text


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONE])
def test_files_that_escape_by_a_backslash(delimiter, quoting):
    style = {"delimiter": delimiter, "quoting": quoting, "doublequote": False, "escapechar": "\\"}
    for seed in range(150):
        pick = random.Random(seed)
        width = pick.randint(2, 5)
        rows = [[f"col{i}" for i in range(width)]]
        rows += [[pick.choice(CELLS) for _ in range(width)] for _ in range(pick.randint(1, 6))]
        buffer = io.StringIO()
        csv.writer(buffer, **style).writerows(rows)
        text = buffer.getvalue().replace("\r\n", "\n")
        found = find_dialect(text)
        lines = io.StringIO(text, newline="")
        read_rows = csv.reader(lines, delimiter=found.delimiter, escapechar=found.escape)
        assert list(read_rows) == rows, text


def test_backslashes_that_escape_nothing(tmp_path):
    windows = 'path,size\n"C:\\a, b\\",5\nC:\\c\\,6\n'
    assert find_dialect(windows).escape is None
    assert read(tmp_path, "a.csv", windows).text.endswith("path: C:\\c\\; size: 6")
    mysql = 'a,b\n"say \\"hi\\", she said",2\n'
    assert read(tmp_path, "a.csv", mysql).text == 'a: say "hi", she said; b: 2'


def test_excels_first_line_and_decimals(tmp_path):
    assert (
        read(tmp_path, "a.csv", "sep=;\r\nOrt;Preis\r\nEly;4,50\r\n").text
        == "Ort: Ely; Preis: 4,50"
    )
    assert read(tmp_path, "a.csv", "col0\n1,000\n").text == "col0: 1,000"
    assert read(tmp_path, "a.csv", 'pipe,price\n5" long,2\n').text == 'pipe: 5" long; price: 2'
    assert read(tmp_path, "a.csv", 'a\n5" pipe, long\n').text == 'a: 5" pipe, long'
    assert read(tmp_path, "a.csv", "name,age\nAda,36,extra\n\nBo\n").text.endswith(
        "age: 36; column 3: extra\n\nname: Bo"
    )
    with pytest.raises(DocumentError, match=r"a\.csv: line \d"):
        read(tmp_path, "a.csv", "a,b\n1," + "x" * (1 << 20) + "y\n")


def test_bad_json_is_named_by_its_line(tmp_path):
    with pytest.raises(DocumentError, match=r"x\.jsonl: line 3: file is not JSON"):
        read(tmp_path, "x.jsonl", '{"a": 1}\n\n{"a": }\n')
    with pytest.raises(DocumentError, match=r"line 2, column 6"):
        read(tmp_path, "x.json", '{\n"a": }')
    big = "1" * 5000
    assert read(tmp_path, "x.json", f"[1e400, {big}, 1.10, NaN, true, null]").text.split(
        "\n\n"
    ) == [
        "1e400",
        big,
        "1.10",
        "NaN",
        "true",
        "null",
    ]


def blocks(document: Document) -> list[tuple[str, str]]:
    return [(block.kind, document.text[block.start : block.end]) for block in document.blocks]


def test_markdown_blocks_are_those_of_commonmark(tmp_path):
    text = """---

The ferry leaves at nine.

---

# Top #
Setext
on two lines
---
1. one

   still one

        code in it
2. two
> quoted
lazily
[a]: http://x "definition"

[b]: http://y

<!-- unseen -->
<div>seen</div>

    indented

```
# no heading
"""
    document = read(tmp_path, "x.md", text)
    assert document.text == text
    assert blocks(document) == [
        ("paragraph", "The ferry leaves at nine."),
        ("heading", "Top"),
        ("heading", "Setext\non two lines"),
        ("list", "1. one\n\n   still one\n\n        code in it\n2. two"),
        ("paragraph", '> quoted\nlazily\n[a]: http://x "definition"'),
        ("paragraph", "<div>seen</div>"),
        ("code", "    indented"),
        ("code", "```\n# no heading"),
    ]
    assert [b.level for b in document.blocks if b.kind == "heading"] == [1, 2]


@pytest.mark.parametrize(
    ("front", "is_front_matter", "title"),
    [
        ("---\ntitle: The toll\ntags:\n  - a\n---\n", True, "The toll"),
        ('---\ntitle: "Quoted"\n...\n', True, "Quoted"),
        ("---\n# remark\ndate: 2026-01-01\nlist:\n- a\n---\n", True, "Head"),
        ("---\n\nText.\n\n---\n", False, "Head"),
        ("---\nText of a person.\n---\n", False, "Text of a person."),
        (
            "---\nNote: this is said.\nAnd goes on.\n---\n",
            False,
            "Note: this is said.\nAnd goes on.",
        ),
    ],
)
def test_front_matter_is_yaml(tmp_path, front, is_front_matter, title):
    document = read(tmp_path, "x.md", f"{front}# Head\n")
    assert document.title == title
    assert (document.blocks[0].start == len(front) + 2) == is_front_matter
