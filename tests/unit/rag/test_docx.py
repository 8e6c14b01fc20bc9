"""Word: what a person sees in print is there, in order, and what is deleted or hidden is not."""

from __future__ import annotations

import pytest

from tests.unit.rag.word_files import cell, paragraph, run, table, word_file
from understudy.rag.document import Document
from understudy.rag.readers import read_document


def box(inside: str) -> str:
    return f"<w:sdt><w:sdtPr/><w:sdtContent>{inside}</w:sdtContent></w:sdt>"


def text_box(*paragraphs: str) -> str:
    """As Word writes one: a shape, and the same again for programs of before 2010."""
    content = f"<w:txbxContent>{''.join(paragraphs)}</w:txbxContent>"
    return (
        '<w:r><mc:AlternateContent><mc:Choice Requires="wps"><w:drawing><wp:anchor><a:graphic>'
        "<a:graphicData>"
        f"<wps:wsp><wps:txbx>{content}</wps:txbx></wps:wsp></a:graphicData></a:graphic>"
        "</wp:anchor></w:drawing></mc:Choice>"
        f"<mc:Fallback><w:pict><v:shape><v:textbox>{content}</v:textbox></v:shape></w:pict>"
        "</mc:Fallback>"
        "</mc:AlternateContent></w:r>"
    )


def field(instruction: str, result: str | None) -> str:
    middle = (
        "" if result is None else f'<w:r><w:fldChar w:fldCharType="separate"/></w:r>{run(result)}'
    )
    return (
        f'<w:r><w:fldChar w:fldCharType="begin"/></w:r><w:r><w:instrText>{instruction}'
        "</w:instrText></w:r>"
        f'{middle}<w:r><w:fldChar w:fldCharType="end"/></w:r>'
    )


def math(inside: str) -> str:
    return f"<m:oMath>{inside}</m:oMath>"


def mrun(text: str) -> str:
    return f"<m:r><m:t>{text}</m:t></m:r>"


def read(tmp_path, body: str, **parts: str) -> Document:
    (tmp_path / "x.docx").write_bytes(word_file(body, **parts))
    return read_document(tmp_path / "x.docx")


def ins(inside: str, kind: str = "ins") -> str:
    return f'<w:{kind} w:id="1" w:author="A">{inside}</w:{kind}>'


@pytest.mark.parametrize(
    ("runs", "shown"),
    [
        (("The price is ", ins(run("150")), " euros."), "The price is 150 euros."),
        (
            ("It costs ", ins("<w:r><w:delText>90</w:delText></w:r>", "del"), ins(run("95")), "."),
            "It costs 95.",
        ),
        (("Here ", ins(run("moved"), "moveTo"), ins(run("gone"), "moveFrom"), "."), "Here moved."),
        (("Client: ", box(run("Widow Alder"))), "Client: Widow Alder"),
        (
            (
                "Dear ",
                f'<w:fldSimple w:instr="MERGEFIELD N">{run("Ada")}</w:fldSimple>',
                ", welcome.",
            ),
            "Dear Ada, welcome.",
        ),
        (("On ", field("DATE", "4 May"), "."), "On 4 May."),
        (("A", field(" IF 1 ", None), "B"), "AB"),
        (("In ", f"<w:smartTag>{box(run('Ely'))}</w:smartTag>", "."), "In Ely."),
        (("See ", f"<w:hyperlink>{run('the table')}</w:hyperlink>", "."), "See the table."),
        (
            ("seen", run(" unseen", "<w:vanish/>"), run(" again", '<w:vanish w:val="0"/>')),
            "seen again",
        ),
        (
            (
                "well",
                "<w:r><w:noBreakHyphen/></w:r>",
                "known in",
                "<w:r><w:softHyphen/></w:r>",
                "ter",
            ),
            "well-known inter",
        ),
        (
            (
                '<w:r><w:sym w:font="Symbol" w:char="F061"/></w:r>',
                " and ",
                '<w:r><w:sym w:font="Wingdings" w:char="F0FE"/></w:r>',
            ),
            "α and ☑",
        ),
        (
            (
                "<w:r><w:ruby><w:rt><w:r><w:t>かんじ</w:t></w:r></w:rt><w:rubyBase><w:r><w:t>漢字"
                "</w:t></w:r></w:rubyBase></w:ruby></w:r>",
                "です",
            ),
            "漢字(かんじ)です",
        ),
        (
            ("Area ", math(f"<m:f><m:num>{mrun('a+b')}</m:num><m:den>{mrun('2')}</m:den></m:f>")),
            "Area (a+b)/2",
        ),
        (
            (
                math(
                    f"<m:sSup><m:e>{mrun('x')}</m:e><m:sup>{mrun('2')}</m:sup></m:sSup>{mrun('=4')}"
                ),
            ),
            "x^2=4",
        ),
        ((math(f"<m:rad><m:deg/><m:e>{mrun('n')}</m:e></m:rad>"),), "√(n)"),
        (
            (
                math(
                    mrun("k")
                    + f"<m:f><m:num>{mrun('a')}</m:num><m:den>{mrun('b')}</m:den></m:f>"
                    + f"<m:sSup><m:e>{mrun('x')}</m:e><m:sup>{mrun('2')}</m:sup></m:sSup>"
                    + mrun("+y")
                ),
            ),
            "k a/b x^2+y",
        ),
        (
            (
                math(
                    f'<m:nary><m:naryPr><m:chr m:val="∑"/></m:naryPr><m:sub>{mrun("i")}</m:sub>'
                    f"<m:sup>{mrun('n')}</m:sup><m:e>{mrun('i')}</m:e></m:nary>"
                ),
            ),
            "∑_i^n i",
        ),
        (("<m:oMathPara>" + math(mrun("E=mc")) + "</m:oMathPara>",), "E=mc"),
    ],
)
def test_what_a_paragraph_shows(tmp_path, runs, shown):
    document = read(tmp_path, paragraph("Before.") + paragraph(*runs))
    assert document.text == f"Before.\n\n{shown}"


def test_boxes_of_a_form_are_ticked_or_not(tmp_path):
    def form(data: str) -> str:
        begin = f'<w:fldChar w:fldCharType="begin"><w:ffData>{data}</w:ffData></w:fldChar>'
        return f'<w:r>{begin}</w:r><w:r><w:instrText>FORM</w:instrText></w:r><w:r><w:fldChar w:fldCharType="end"/></w:r>'

    ticked = form('<w:checkBox><w:default w:val="0"/><w:checked/></w:checkBox>')
    chosen = form(
        '<w:ddList><w:result w:val="1"/><w:listEntry w:val="no"/><w:listEntry w:val="yes"/>'
        "</w:ddList>"
    )
    body = paragraph(ticked, " ", form("<w:checkBox/>"), " ", chosen)
    assert read(tmp_path, body).text == "☒ ☐ yes"


def test_text_boxes_come_once_after_their_paragraph(tmp_path):
    body = paragraph("Host", text_box(paragraph("In the box"), paragraph("second")), " text")
    assert read(tmp_path, body).text == "Host text\n\nIn the box\n\nsecond"


def test_notes_follow_their_paragraph_and_endnotes_the_text(tmp_path):
    notes = (
        f'<w:{{0}}note w:id="0" w:type="separator">{paragraph("----")}</w:{{0}}note>'
        f'<w:{{0}}note w:id="2">{paragraph("{1}")}</w:{{0}}note>'
    )
    body = paragraph("Toll", '<w:r><w:footnoteReference w:id="2"/></w:r>', ".") + paragraph(
        "Fare", '<w:r><w:endnoteReference w:id="2"/></w:r>', "."
    )
    document = read(
        tmp_path,
        body + paragraph("End."),
        footnotes=notes.format("foot", "In pence."),
        endnotes=notes.format("end", "In 1812."),
    )
    assert document.text.split("\n\n") == ["Toll¹.", "¹ In pence.", "Fareⁱ.", "End.", "ⁱ In 1812."]


def test_headers_and_footers_come_once_and_only_where_they_are_shown(tmp_path):
    references = "".join(
        f'<w:headerReference w:type="{kind}" r:id="header{i}"/>'
        for i, kind in enumerate(("default", "first", "even"), 1)
    )
    section = (
        f'<w:sectPr>{references}<w:footerReference w:type="default" r:id="footer1"/>{{}}</w:sectPr>'
    )
    parts = {f"header{i}": paragraph(f"Head {i}") for i in (1, 2, 3)}
    parts["footer1"] = paragraph("Foot")
    plain = read(tmp_path, paragraph("Text.") + section.format(""), **parts)
    assert plain.text == "Head 1\n\nText.\n\nFoot"
    parts["settings"] = "<w:evenAndOddHeaders/>"
    body = paragraph("Text.", properties=section.format("")) + section.format("<w:titlePg/>")
    assert read(tmp_path, body, **parts).text == "Head 1\n\nHead 3\n\nHead 2\n\nText.\n\nFoot"


NUMBERING = """<w:abstractNum w:abstractNumId="1">
<w:lvl w:ilvl="0"><w:start w:val="1"/><w:numFmt w:val="decimal"/><w:lvlText w:val="%1."/></w:lvl>
<w:lvl w:ilvl="1"><w:start w:val="1"/><w:numFmt w:val="lowerLetter"/><w:lvlText w:val="%1.%2)"/></w:lvl></w:abstractNum>
<w:abstractNum w:abstractNumId="2"><w:lvl w:ilvl="0"><w:start w:val="1"/><w:numFmt w:val="bullet"/><w:lvlText w:val="•"/></w:lvl></w:abstractNum>
<w:num w:numId="1"><w:abstractNumId w:val="1"/></w:num><w:num w:numId="2"><w:abstractNumId w:val="2"/></w:num>
<w:num w:numId="3"><w:abstractNumId w:val="1"/><w:lvlOverride w:ilvl="0"><w:startOverride w:val="7"/></w:lvlOverride></w:num>"""
STYLES = """<w:style w:type="paragraph" w:default="1" w:styleId="N"><w:name w:val="Normal"/></w:style>
<w:style w:type="paragraph" w:styleId="U1"><w:name w:val="heading 1"/><w:pPr><w:numPr><w:numId w:val="1"/></w:numPr></w:pPr></w:style>
<w:style w:type="paragraph" w:styleId="Mine"><w:name w:val="My chapter"/><w:basedOn w:val="U1"/><w:pPr><w:numPr><w:numId w:val="0"/></w:numPr></w:pPr></w:style>"""


def test_numbers_of_lists_and_headings(tmp_path):
    def item(text: str, number: int, level: int = 0) -> str:
        numbers = f'<w:numPr><w:ilvl w:val="{level}"/><w:numId w:val="{number}"/></w:numPr>'
        return paragraph(text, properties=numbers)

    document = read(
        tmp_path,
        item("one", 1)
        + item("two", 1)
        + item("deep", 1, 1)
        + item("deeper", 1, 1)
        + item("three", 1)
        + item("again", 1, 1)
        + item("dot", 2)
        + item("seven", 3)
        + item("eight", 3)
        + paragraph("Chapter", properties='<w:pStyle w:val="U1"/>')
        + paragraph("Annex", properties='<w:pStyle w:val="Mine"/>'),
        numbering=NUMBERING,
        styles=STYLES,
    )
    assert document.text.split("\n\n") == [
        "1. one",
        "2. two",
        "2.a) deep",
        "2.b) deeper",
        "3. three",
        "3.a) again",
        "dot",
        "7. seven",
        "8. eight",
        "9. Chapter",
        "Annex",
    ]
    assert [block.kind for block in document.blocks] == ["list"] * 9 + ["heading"] * 2


def test_tables(tmp_path):
    wide = '<w:gridSpan w:val="2"/>'
    below, above = '<w:vMerge w:val="restart"/>', "<w:vMerge/>"
    grid = table(
        cell("Fares", properties=wide) + cell("Note"),
        cell("Ely", properties=below) + cell("adult", "or old") + cell("4"),
        cell("", properties=above) + cell("child") + cell("2"),
        box(f"<w:tr>{cell('Lynn')}{cell('all')}{cell('6')}</w:tr>"),
    )
    text = "Fares |  | Note\nEly | adult or old | 4\n | child | 2\nLynn | all | 6"
    assert read(tmp_path, grid).text == text
    nested = table(
        cell("a") + cell("b"), cell("outer", table(cell("in") + cell("ner"))) + cell("c")
    )
    assert read(tmp_path, nested).text.split("\n\n") == ["a | b", "outer", "in | ner", "c"]
    assert read(tmp_path, table(cell("Only"), cell("one column"))).text == "Only\n\none column"
    deleted = table(cell("a") + cell("b"), "<w:trPr><w:del/></w:trPr>" + cell("x") + cell("y"))
    assert read(tmp_path, deleted).text == "a | b"
    gap = '<w:trPr><w:gridBefore w:val="1"/></w:trPr>' + cell("b")
    assert read(tmp_path, table(cell("A") + cell("B"), gap)).text == "A | B\n | b"


def test_a_deleted_end_joins_two_paragraphs(tmp_path):
    body = paragraph("The toll ", properties="<w:rPr><w:del/></w:rPr>") + paragraph(
        "is four pence."
    )
    assert read(tmp_path, body).text == "The toll is four pence."


def test_a_field_may_run_over_paragraphs(tmp_path):
    start = '<w:r><w:fldChar w:fldCharType="begin"/></w:r><w:r><w:instrText>TOC</w:instrText></w:r><w:r><w:fldChar w:fldCharType="separate"/></w:r>'
    body = (
        paragraph(start, "Chapter 1")
        + paragraph("Chapter 2")
        + paragraph('<w:r><w:fldChar w:fldCharType="end"/></w:r>', "Text")
    )
    assert read(tmp_path, body).text == "Chapter 1\n\nChapter 2\n\nText"


def test_the_strict_edition_of_the_standard(tmp_path):
    import io
    import zipfile

    data = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(word_file(paragraph("Strict.")))) as old,
        zipfile.ZipFile(data, "w") as new,
    ):
        for name in old.namelist():
            xml = old.read(name).replace(
                b"http://schemas.openxmlformats.org/wordprocessingml/2006/main",
                b"http://purl.oclc.org/ooxml/wordprocessingml/main",
            )
            new.writestr(
                name,
                xml.replace(
                    b"http://schemas.openxmlformats.org/officeDocument/2006",
                    b"http://purl.oclc.org/ooxml/officeDocument",
                ),
            )
    (tmp_path / "x.docx").write_bytes(data.getvalue())
    assert read_document(tmp_path / "x.docx").text == "Strict."


def test_what_is_left_out_is_said(tmp_path):
    comment = f'<w:comment w:id="1">{paragraph("Check this.")}</w:comment>'
    document = read(tmp_path, paragraph("Text.") + "<w:altChunk/>", comments=comment)
    assert document.warnings == ("left out: 1 comment", "left out: 1 embedded document")
