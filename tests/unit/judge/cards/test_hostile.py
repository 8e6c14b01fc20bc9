"""Whatever models, files and people write, it stays text: in Markdown as a parser sees it, in HTML,
in the figures."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser

import pytest
from markdown_it import MarkdownIt

from tests.unit.judge.cards import made
from understudy.judge.cards.statements import Statements
from understudy.judge.cards.write import write_card
from understudy.report.charts import svg
from understudy.report.document import (
    Fields,
    Heading,
    Intervals,
    Point,
    Prose,
    ReportDocument,
    Table,
    Text,
)
from understudy.report.html import to_html
from understudy.report.markdown import escape, to_markdown

HOSTILE = [
    "</td></table><script>alert(1)</script>",
    "](javascript:alert(1))",
    "[x](javascript:alert(1))",
    "![x](http://evil.example/p.png)",
    "a | b | c",
    "`code` ``two`` | pipe",
    "a\\|b",
    "\\",
    "back\\`tick",
    "line\nbreak\r\n\r\n# heading",
    "\x1b[2J\x1b]0;owned\x07",
    "\u202egnp.exe",
    "\x00\x9b31m",
    "\ud800",
    "http://evil.example www.evil.example mail@evil.example",
    "<http://evil.example>",
    "&lt;script&gt; &amp;",
    "* * *",
    "---",
    "- item",
    "1. item",
    "=====",
    "> quote",
    "~~gone~~ **bold** _soft_ __x__",
    "<!-- -->",
    "A" * 1_000_000,
    "| --- | --- |",
    "a" * 60 + "`",
]
TEXTS = "".join(HOSTILE)
MARKDOWN = MarkdownIt("commonmark").enable(["table", "strikethrough"])
OURS = ('<a id="', "</a>", "<br>")
TAGS = {
    "div",
    "small",
    "html",
    "head",
    "meta",
    "title",
    "style",
    "body",
    "main",
    "header",
    "h1",
    "h2",
    "h3",
    "p",
    "nav",
    "a",
    "b",
    "section",
    "table",
    "thead",
    "tbody",
    "tr",
    "th",
    "td",
    "br",
    "code",
    "span",
    "sup",
    "figure",
    "figcaption",
    "svg",
    "line",
    "text",
    "g",
    "circle",
    "ul",
    "li",
}


def tokens(text: str):
    for token in MARKDOWN.parse(text):
        yield token
        yield from token.children or ()


def check_markdown(text: str) -> None:
    for token in tokens(text):
        assert token.type not in (
            "html_block",
            "hr",
            "s_open",
            "em_open",
            "fence",
            "code_block",
            "blockquote_open",
        ) or token.content.startswith(OURS)
        if token.type == "html_inline":
            assert token.content.startswith(OURS), token.content
        if token.type == "link_open":
            target = token.attrGet("href")
            assert target.startswith("#run-") or target in {
                f"{stem}.md" for stem in ("bias", "explainability", "privacy", "safety")
            }
        if token.type == "image":
            assert token.attrGet("src").startswith("figures/")
    assert all(c == "\n" or c.isprintable() for c in text)
    assert "evil.example" not in [word.removeprefix("http://") for word in text.split()]


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag, attributes):
        assert tag in TAGS, tag
        assert all(not name.startswith("on") for name, _ in attributes)
        assert all(not (value or "").startswith("javascript") for _, value in attributes)
        if tag not in ("meta", "br", "line", "circle"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        assert tag in TAGS

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def check_page(text: str) -> None:
    parser = Tags()
    parser.feed(text)
    assert parser.open == []
    assert text.isascii()
    assert all(c == "\n" or c.isprintable() for c in text)


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_each_text_stays_one_cell_and_one_paragraph(text):
    blocks = [
        Heading(text),
        Prose([text, Text(text, code=text)]),
        Fields([(text, [text, Text("", code=text)])]),
        Table(
            [text, "b"],
            [
                [text, Text(text, code=text, runs=(1,))],
                ["x", Text(text, kind="missing", code=text)],
            ],
            anchors=["run-1", "run-2"],
        ),
        Intervals("f", text, [Point(text, 0.5, 0.4, 0.6)], bounds=(0.0, 1.0)),
    ]
    document = ReportDocument("page", text, text, blocks)
    markdown, page = to_markdown(document), to_html(document)
    check_markdown(markdown)
    check_page(page)
    kinds = [token.type for token in tokens(markdown)]
    assert (kinds.count("table_open"), kinds.count("tr_open"), kinds.count("td_open")) == (2, 5, 6)
    assert kinds.count("heading_open") == 2
    assert "bullet_list_open" not in kinds
    assert "ordered_list_open" not in kinds
    assert len(markdown) + len(page) < 200_000
    assert ElementTree.fromstring(svg(blocks[-1], is_alone=True)) is not None


def test_the_text_that_a_reader_sees_is_the_text():
    for text in HOSTILE:
        if text.isprintable() and len(text) < 1000:
            shown = "".join(
                t.content for t in tokens(f"x{escape(text)}x") if t.type in ("text", "text_special")
            )
            assert shown == f"x{text}x"


def test_a_whole_card_of_hostile_metadata_answers_and_commands(tmp_path):
    metadata = {
        f"general.{name}": TEXTS.encode("utf-8", "replace").decode()
        for name in ("name", "license", "author")
    }
    lineage = {
        "teacher": TEXTS,
        "stages": [TEXTS, {"stage": TEXTS, "quality": TEXTS}],
        "recipe": {TEXTS: TEXTS},
        "note": TEXTS,
    }
    model = made.write_model(
        tmp_path / "a|b](javascript:x)<i>.gguf", 1, metadata | {"understudy": lineage}
    )
    runs = tmp_path / "runs|<b>"
    record = made.record(model, command=TEXTS, machine=TEXTS, date=TEXTS, version=TEXTS)
    made.write_evaluation(runs / "](x)", model, [1, 0], run=record)
    changes = {
        "answer": TEXTS,
        "probe_says": TEXTS,
        "fault": TEXTS,
        "category": TEXTS,
        "run": record,
        "detectors": {f"garak:{TEXTS[:99]}": TEXTS},
    }
    made.write_safety(
        runs / "safety.jsonl",
        model,
        {TEXTS: [True, False], "garak:x|y": [True], "personal-data": [True]},
        **changes,
        error=None,
    )
    said = Statements({"use": dict.fromkeys(("task", "users"), TEXTS), "model": {"name": TEXTS}})
    paths = write_card(model, [runs], tmp_path / "card", said)
    for path in paths:
        text = path.read_text("utf-8")
        assert len(text) < 1_000_000
        if path.suffix == ".md":
            check_markdown(text)
        elif path.suffix == ".html":
            check_page(text)
        else:
            ElementTree.fromstring(text)
