"""Blocks as Markdown and as HTML: every kind is drawn in both, and nothing that a text holds is
obeyed."""

import base64
import csv
import json
import re
import xml.dom.minidom

import pytest

from understudy.errors import FormatError, UnderstudyError
from understudy.report.charts import Scale, svg
from understudy.report.document import (
    Bar,
    Bars,
    Beside,
    Folded,
    Heading,
    HeatMap,
    Intervals,
    KeyFigure,
    KeyFigures,
    Lines,
    Listing,
    Point,
    Prose,
    Quote,
    ReportDocument,
    Series,
    Table,
)
from understudy.report.html import to_html
from understudy.report.lines import append_line, read_lines
from understudy.report.markdown import to_markdown
from understudy.report.style import DARK, LIGHT, PRINT
from understudy.report.text import duration, num_bytes, number, visible
from understudy.report.write import write_documents, write_json, write_page

EVIL = '<script>alert(1)</script> `x` | [a](http://b.c) \x1b[2J \u202e "quoted"'


def document(text: str = "words") -> ReportDocument:
    inside = Table(("name", "value"), [[text, "1"]], frozenset({1}))
    return ReportDocument(
        "page",
        text,
        "about",
        [
            Heading("First"),
            KeyFigures([KeyFigure(text, "41.2", "teacher 38.9")]),
            Bars("bars", text, [Bar(text, 3.0), Bar("b", 1.0, "one", "quiet")]),
            Lines("lines", text, [Series(text, [(0, 3.0), (1, 2.0), (2, 1.5)])], "step", "nats"),
            Intervals("intervals", text, [Point(text, 0.4, 0.3, 0.5, "bad")], reference=0.5),
            Prose([text]),
            Quote(f"{text}\nsecond line", "said"),
            Listing(f"{text}\n```", "json"),
            HeatMap("map", text, [text, "b"], ["0", "1"], [[0.1, None], [0.2, 0.4]], "layer"),
            Beside([Quote(f"{text} here", "one"), Quote("there", text)]),
            Folded(text, [inside, Bars("folded", text, [Bar("a", 1.0)])]),
        ],
    )


def test_every_block_stands_in_both_forms():
    page, text = to_html(document()), to_markdown(document())
    for word in ("words", "41.2", "teacher 38.9", "second line", "said"):
        assert word in page
        assert word in text
    assert page.count("<svg") == 5
    assert text.count("](figures/") == 5
    assert "<details>" in page
    assert "<details>" in text


def test_nothing_that_a_text_holds_is_obeyed():
    page, text = to_html(document(EVIL)), to_markdown(document(EVIL))
    assert "<script" not in page
    assert "<script" not in text.split("```json")[0].split("````json")[0]
    assert "\x1b" not in page + text
    assert "\u202e" not in page + text
    assert page.isascii()
    assert "````json" in text  # a fence longer than any inside


def test_the_page_is_light_dark_and_printable_without_scripts_or_links_out():
    page = to_html(document())
    assert "prefers-color-scheme:dark" in page
    assert "@media print" in page
    assert "default-src 'none'" in page
    assert "http://" not in page
    assert "https://" not in page
    assert LIGHT.keys() == DARK.keys() == PRINT.keys()


@pytest.mark.parametrize("chart", document(EVIL).charts, ids=lambda chart: chart.name)
def test_a_chart_alone_is_well_formed_and_brings_its_colours(chart):
    picture = svg(chart, is_alone=True)
    xml.dom.minidom.parseString(picture)
    assert "prefers-color-scheme:dark" in picture


def test_charts_of_nothing_or_of_no_numbers_are_drawn_too():
    nan = float("nan")
    for chart in (
        Bars("a", "", []),
        Bars("a", "", [Bar("x", nan), Bar("y", 0.0)]),
        Lines("b", "", []),
        Lines("b", "", [Series("x", [(0, nan), (1, 1.0)])]),
        Lines("b", "", [Series("x", [(0, 1.0), (1, 1.0)])]),
        Lines("b", "", [Series("x", [(0, 0.0), (1, 1.0), (2, 10.0)])], is_logarithmic=True),
        Intervals("c", "", []),
        Intervals("c", "", [Point("x", 1.0, 1.0, 1.0)]),
        Intervals("c", "", [Point("x", 40.0, 30.0, 300.0)], is_logarithmic=True),
    ):
        picture = svg(chart, is_alone=True)
        xml.dom.minidom.parseString(picture)
        assert "nan" not in picture.replace("nan</text>", "")


@pytest.mark.parametrize("is_logarithmic", [False, True])
def test_an_axis_has_a_few_round_ticks_inside(is_logarithmic):
    for low, high in ((0.001, 1), (3, 4), (1, 1000), (0.5, 70_000), (41.2, 43.9)):
        scale = Scale(low, high, 0, 100, is_logarithmic)
        ticks = scale.ticks()
        assert 2 <= len(ticks) <= 11
        assert all(low * 0.999 <= tick <= high * 1.001 for tick in ticks)
        places = [scale.place(tick) for tick in ticks]
        assert places == sorted(places)
        assert scale.place(low) == 0
        assert scale.place(high) == 100


def test_a_curve_keeps_its_ends_and_at_most_what_can_be_seen():
    curve = Series("loss", [(float(i), 1.0 / (i + 1)) for i in range(20_000)])
    picture = svg(Lines("a", "", [curve]))
    places = picture.split('points="')[1].split('"')[0].split(" ")
    assert 400 < len(places) < 1010
    assert places[0].startswith("64.0,")
    assert places[-1].startswith("704.0,")


def test_the_same_document_makes_the_same_files(tmp_path):
    first = write_documents([document()], tmp_path / "a")
    second = write_documents([document()], tmp_path / "b")
    assert [path.name for path in first] == [
        "page.md",
        "page.html",
        "bars.svg",
        "lines.svg",
        "intervals.svg",
        "map.svg",
        "folded.svg",
    ]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    assert write_page(document(), tmp_path / "c").read_bytes() == first[1].read_bytes()


def test_json_is_ascii_and_a_place_that_cannot_be_written_is_said(tmp_path):
    write_json(tmp_path / "new" / "a.json", {"text": "é\x1b"})
    content = (tmp_path / "new" / "a.json").read_bytes()
    assert content.isascii()
    assert json.loads(content) == {"text": "é\x1b"}
    (tmp_path / "file").write_text("")
    with pytest.raises(UnderstudyError, match="cannot write"):
        write_json(tmp_path / "file" / "a.json", {})


def test_lines_survive_a_kill(tmp_path):
    path = tmp_path / "new" / "run.jsonl"
    assert read_lines(path) == []
    append_line(path, {"id": 1})
    with path.open("a") as file:
        file.write('{"id": 2, "te')
    assert read_lines(path) == [(1, {"id": 1})]
    assert read_lines(path, repairs=True) == [(1, {"id": 1})]
    append_line(path, {"id": 2})
    assert read_lines(path) == [(1, {"id": 1}), (2, {"id": 2})]
    path.write_text('{"id": 1}\nno\n')
    with pytest.raises(FormatError, match=r"run.jsonl:2"):
        read_lines(path)


def test_texts_and_numbers_as_a_reader_sees_them():
    assert visible("a\x1b\u202e\n\ud800") == "a\\u{1b}\\u{202e}\\n\\u{d800}"
    assert visible("a\n\x1bb", keeps_lines=True) == "a\n\\u{1b}b"
    assert visible("x" * 9, 3) == "xxx … (9 characters)"
    assert [number(value) for value in (0.0, 0.05, 41.216, 1234.5, 3e9)] == [
        "0.00",
        "0.05",
        "41.22",
        "1,234",
        "3e+09",
    ]
    assert [num_bytes(value) for value in (12, 8.24e7, 1.5e9)] == ["12 bytes", "82.4 MB", "1.5 GB"]
    assert [duration(value) for value in (3.14, 59, 200, 7260)] == [
        "3.1 s",
        "59 s",
        "3 min 20 s",
        "2 h 1 min",
    ]


def test_a_long_folded_table_is_a_file_too():
    rows = [["=1+1", "2"], ['a "b", c', "-3"], [EVIL, "4.5"]]
    report = ReportDocument("page", "t", "", [Folded("f", [Table(("name", "value"), rows)])])
    link = re.search(r'href="data:text/csv;base64,([^"]*)"', to_html(report))
    found = list(csv.reader(base64.b64decode(link[1]).decode().splitlines()))
    assert found[:3] == [["name", "value"], ["'=1+1", "2"], ['a "b", c', "-3"]]
    short = ReportDocument("page", "t", "", [Folded("f", [Table(("a",), [["1"]])])])
    assert "text/csv" not in to_html(short)


def test_a_heat_map_is_darkest_where_it_is_largest():
    chart = HeatMap("m", "c", ["q", "k"], ["0", "1"], [[1.0, 4.0], [None, 2.0]], "layer")
    drawn = xml.dom.minidom.parseString(svg(chart, is_alone=True))
    cells = drawn.getElementsByTagName("rect")
    shades = [float(cell.getAttribute("fill-opacity") or 0) for cell in cells]
    assert shades[1] == max(shades) == 1.0
    assert shades[0] < shades[3] < shades[1]
    assert cells[2].getAttribute("class") == "cell none"
    assert cells[1].getElementsByTagName("title")[0].firstChild.data == "q, layer 1: 4.00"
