"""OpenDocument texts, sheets and slides: what a person sees, in its order."""

from __future__ import annotations

import pytest

from tests.unit.rag.odf_files import (
    NAMESPACES,
    cell,
    h,
    item,
    level,
    listed,
    odf_file,
    p,
    row,
    table,
)
from understudy.errors import DocumentError
from understudy.rag.readers import read_document


def text_of(tmp_path, body: str, **styles) -> list[tuple[str, str]]:
    document = read(tmp_path, "x.odt", "text", body, **styles)
    return [(block.kind, document.text[block.start : block.end]) for block in document.blocks]


def read(tmp_path, name: str, kind: str, body: str, parts=None, **styles):
    (tmp_path / name).write_bytes(odf_file(kind, body, parts, **styles))
    return read_document(tmp_path / name)


@pytest.mark.parametrize(
    ("inside", "text"),
    [
        ("one\n  two", "one two"),
        ('a<text:s text:c="3"/>b<text:tab/>c<text:line-break/>d', "a   b c\nd"),
        ("bold<text:span>ly</text:span> done", "boldly done"),
        ("a <text:span> b</text:span>", "a b"),
        ('<text:a xlink:href="x">the docs</text:a>.', "the docs."),
        ("It costs <text:change-start/>ninety<text:change-end/> pence", "It costs ninety pence"),
        ("Dear <text:user-field-get>Ada</text:user-field-get>,", "Dear Ada,"),
        ('x<text:span text:style-name="H">unseen</text:span>y', "xy"),
        ('x<text:hidden-text text:is-hidden="true">unseen</text:hidden-text>y', "xy"),
        ("x<text:placeholder>&lt;name&gt;</text:placeholder>y", "xy"),
        (
            "<text:ruby><text:ruby-base>東京</text:ruby-base>"
            "<text:ruby-text>とうきょう</text:ruby-text></text:ruby>へ",
            "東京(とうきょう)へ",
        ),
        ("x<office:annotation><text:p>why?</text:p></office:annotation>y", "xy"),
    ],
)
def test_words_of_a_paragraph(tmp_path, inside, text):
    hidden = '<style:text-properties text:display="none"/>'
    automatic = f'<style:style style:name="H">{hidden}</style:style>'
    assert text_of(tmp_path, p(inside), automatic=automatic) == [("paragraph", text)]


def test_what_is_deleted_or_hidden_is_left_out_and_comments_are_counted(tmp_path):
    deleted = (
        f"<text:tracked-changes><text:deletion>{p('old')}</text:deletion></text:tracked-changes>"
    )
    hidden = '<text:section text:display="none">' + p("unseen") + "</text:section>"
    note = "<office:annotation><text:p>why?</text:p></office:annotation>"
    document = read(tmp_path, "x.odt", "text", deleted + hidden + p("seen", note))
    assert document.text == "seen"
    assert document.warnings == ("left out: 1 comment",)


def test_headings_and_lists_have_their_numbers(tmp_path):
    outline = (
        '<text:outline-style><text:outline-level-style text:level="1" style:num-format="I" '
        'style:num-suffix="."/><text:outline-level-style text:level="2" style:num-format="1" '
        'text:display-levels="2"/></text:outline-style>'
    )
    style = (
        '<text:list-style style:name="L">'
        + level(1, num_format="1", num_suffix=".")
        + level(2, num_format="a", num_prefix="(", num_suffix=")")
        + "</text:list-style>"
    )
    body = (
        h("Start")
        + h("Sub", 2)
        + listed(item(p("one"), p("more")), item(p("two"), listed(item(p("x")))), style="L")
        + p("between")
        + listed(
            item(p("three")),
            item(p("seven"), attributes='text:start-value="7"'),
            style="L",
            attributes='text:continue-numbering="true"',
        )
        + listed(item(p("anew")), style="L")
        + h("End")
    )
    assert text_of(tmp_path, body, styles=outline, automatic=style) == [
        ("heading", "I. Start"),
        ("heading", "I.1 Sub"),
        ("list", "1. one"),
        ("list", "more"),
        ("list", "2. two"),
        ("list", "(a) x"),
        ("paragraph", "between"),
        ("list", "3. three"),
        ("list", "7. seven"),
        ("list", "1. anew"),
        ("heading", "II. End"),
    ]


def test_tables_with_spans_repeats_and_tables_in_them(tmp_path):
    wide = cell(p("wide"), attributes='table:number-columns-spanned="2"')
    body = table(
        f"<table:table-header-rows>{row(cell(p('A')), cell(p('B')), cell(p('C')))}"
        "</table:table-header-rows>",
        row(wide, "<table:covered-table-cell/>", cell(p("c"))),
        row(cell(p("x"), attributes='table:number-columns-repeated="2"'), cell(p("y"), p("z"))),
    )
    assert text_of(tmp_path, body) == [("table", "A | B | C\nwide |  | c\nx | x | y z")]
    inner = table(row(cell(p("in")), cell(p("ner"))))
    assert text_of(tmp_path, table(row(cell(p("out")), cell(inner, p("tail"))))) == [
        ("paragraph", "out"),
        ("table", "in | ner"),
        ("paragraph", "tail"),
    ]


def test_notes_frames_and_margins(tmp_path):
    def note(kind: str, mark: str, text: str) -> str:
        return (
            f'<text:note text:note-class="{kind}"><text:note-citation>{mark}</text:note-citation>'
            f"<text:note-body>{p(text)}</text:note-body></text:note>"
        )

    inside = f"<svg:title>alt</svg:title><draw:text-box>{p('in a box')}</draw:text-box>"
    box = f"<draw:frame>{inside}</draw:frame>"
    body = p(
        "Toll", note("footnote", "1", "below"), " is due", note("endnote", "i", "at the end"), "."
    )
    masters = (
        f'<style:master-page style:name="Standard"><style:header>{p("above")}</style:header>'
        f'<style:header-left style:display="false">{p("never")}</style:header-left>'
        f"<style:footer>{p('beneath')}</style:footer></style:master-page>"
        f'<style:master-page style:name="Other"><style:header>{p("unused")}</style:header>'
        "</style:master-page>"
    )
    found = text_of(tmp_path, body + p("here ", box, "and on"), masters=masters)
    assert [text for _, text in found] == [
        "above",
        "Toll¹ is dueⁱ.",
        "¹ below",
        "here and on",
        "in a box",
        "ⁱ at the end",
        "beneath",
    ]


def test_formulas_and_controls_are_text_and_charts_are_counted(tmp_path):
    fraction = "<mfrac><mrow><mi>a</mi><mo>+</mo><mi>b</mi></mrow><mn>2</mn></mfrac>"
    power = "<msup><mi>x</mi><mn>2</mn></msup>"
    math = (
        '<math xmlns="http://www.w3.org/1998/Math/MathML"><semantics><mrow>'
        f"{fraction}<mo>=</mo>{power}<msqrt><mi>n</mi></msqrt></mrow>"
        '<annotation encoding="StarMath 5.0">{a+b} over 2</annotation></semantics></math>'
    )
    body = "<office:body><office:chart/></office:body>"
    chart = f"<office:document-content {NAMESPACES}>{body}</office:document-content>"
    parts = {"Object 1/content.xml": math, "Object 2/content.xml": chart}
    forms = (
        '<office:forms><form:form><form:checkbox form:id="c" form:label="Paid" '
        'form:current-state="checked"/><form:text form:id="t" form:current-value="Ely"/>'
        "</form:form></office:forms>"
    )
    objects = [f'<draw:frame><draw:object xlink:href="./Object {i}"/></draw:frame>' for i in (1, 2)]
    controls = '<draw:control draw:control="c"/><draw:control draw:control="t"/>'
    body = forms + p("so ", objects[0], ".") + p(objects[1], "x", controls)
    document = read(tmp_path, "x.odt", "text", body, parts)
    assert document.text == "so (a+b)/2=x^2√(n).\n\nx\n\n☒ Paid\n\nEly"
    assert document.warnings == ("left out: 1 chart",)


def test_sheets_are_tables_of_what_cells_show(tmp_path):
    fares = table(
        row(cell(p("Port")), cell(p("Fare")), cell()),
        row(cell(), attributes='table:number-rows-repeated="1048576"'),
        row(cell(p("Ely")), cell(p("4,50 €"), attributes='office:value="4.5"')),
        row(
            cell(attributes='table:number-columns-repeated="2"'),
            cell(attributes='office:value="7" office:value-type="float"'),
            cell(attributes='table:number-columns-repeated="16000"'),
            attributes='table:number-rows-repeated="2"',
        ),
        attributes='table:name="Fares"',
    )
    hidden = table(row(cell(p("old"))), attributes='table:name="Old" table:style-name="H"')
    style = (
        '<style:style style:name="H"><style:table-properties table:display="false"/></style:style>'
    )
    document = read(tmp_path, "x.ods", "spreadsheet", fares + hidden, automatic=style)
    assert document.text == ("Fares\n\nPort: Ely; Fare: 4,50 €\n\ncolumn 3: 7\n\ncolumn 3: 7")
    assert document.warnings == ("left out: sheet Old",)


def test_few_bytes_for_many_cells_are_bounded(tmp_path):
    many = row(
        cell(p("x"), attributes='table:number-columns-repeated="99999999"'),
        attributes='table:number-rows-repeated="99999999"',
    )
    document = read(tmp_path, "x.ods", "spreadsheet", table(many, attributes='table:name="A"'))
    assert len(document.text) < 32 << 20


def test_slides_come_in_their_order_with_titles_tables_and_notes(tmp_path):
    def frame(kind: str, *blocks: str, more: str = "") -> str:
        inside = f"<draw:text-box>{''.join(blocks)}</draw:text-box>"
        return f'<draw:frame presentation:class="{kind}" {more}>{inside}</draw:frame>'

    style = (
        '<style:style style:name="H"><style:drawing-page-properties '
        'presentation:visibility="hidden"/></style:style>'
    )
    empty = frame("subtitle", p("click"), more='presentation:placeholder="true"')
    shown = (
        f"<draw:page>{frame('title', p('Tolls'))}{frame('outline', listed(item(p('a'))))}"
        f"{frame('page-number', p('7'))}{empty}"
        f"<draw:frame>{table(row(cell(p('x')), cell(p('y'))))}</draw:frame>"
        f"<draw:custom-shape>{p('in a shape')}</draw:custom-shape>"
        f"<presentation:notes>{frame('page', p('thumb'))}{frame('notes', p('Say it slowly.'))}"
        "</presentation:notes></draw:page>"
    )
    hidden = f'<draw:page draw:style-name="H">{frame("title", p("unseen"))}</draw:page>'
    body = shown + hidden + f"<draw:page>{frame('title', p('Last'))}</draw:page>"
    document = read(tmp_path, "x.odp", "presentation", body, automatic=style)
    blocks = [(b.kind, document.text[b.start : b.end]) for b in document.blocks]
    assert blocks == [
        ("heading", "Tolls"),
        ("list", "a"),
        ("table", "x | y"),
        ("paragraph", "in a shape"),
        ("paragraph", "Say it slowly."),
        ("heading", "Last"),
    ]
    assert len(document.page_starts) == 2


def test_one_with_a_password_is_one_line(tmp_path):
    manifest = {"META-INF/manifest.xml": "<manifest><encryption-data/></manifest>"}
    with pytest.raises(DocumentError, match=r"is encrypted\. Save it without"):
        read(tmp_path, "x.odt", "text", p("x"), manifest)


@pytest.mark.parametrize(
    ("name", "other"),
    [("x.doc", ".docx"), ("x.rtf", ".docx"), ("x.xls", ".xlsx"), ("x.ppt", ".pptx")],
)
def test_older_formats_are_refused_with_what_to_do(tmp_path, name, other):
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(DocumentError, match=f"Save it as {other}"):
        read_document(tmp_path / name)
