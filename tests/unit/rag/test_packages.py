"""Excel, PowerPoint, EPUB and OpenDocument: the parts of a package in the order in which people
see them.
"""

from __future__ import annotations

import io
import random
import re
import zipfile

import pytest

from tests.unit.rag import odf_files as odf
from understudy.errors import DocumentError
from understudy.rag.document import Document
from understudy.rag.readers import read_document
from understudy.rag.readers.package import MAX_MARKS, MAX_PART_BYTES, MAX_PARTS

OFFICE = "http://schemas.openxmlformats.org"
RELATIONS = f'xmlns="{OFFICE}/package/2006/relationships"'
LINK = f'Type="{OFFICE}/officeDocument/2006/relationships/'
R = f'xmlns:r="{OFFICE}/officeDocument/2006/relationships"'


def relations(**targets: str) -> str:
    """Relationships by id; the kind is the id without its number."""
    entries = "".join(
        f'<Relationship Id="{id}" {LINK}{id.rstrip("0123456789")}" Target="{target}"/>'
        for id, target in targets.items()
    )
    return f"<Relationships {RELATIONS}>{entries}</Relationships>"


def read(tmp_path, name: str, parts: dict[str, str]) -> Document:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for part, text in parts.items():
            archive.writestr(part, text)
    (tmp_path / name).write_bytes(buffer.getvalue())
    return read_document(tmp_path / name)


def blocks(document: Document) -> list[tuple[str, str]]:
    return [(block.kind, document.text[block.start : block.end]) for block in document.blocks]


def sheet_parts() -> dict[str, str]:
    s = f'xmlns="{OFFICE}/spreadsheetml/2006/main"'
    rows = (
        '<row><c r="A1" t="s"><v>0</v></c><c r="B1" t="inlineStr"><is><t>Since</t></is></c><c'
        ' r="C1" t="s"><v>1</v></c></row>'
        '<row><c r="A2" t="str"><v>Ely</v></c><c r="B2" s="1"><v>46000</v></c><c r="C2" s="2">'
        "<v>0.05</v></c></row>"
        '<row><c r="A3"/></row><row><c r="C4"><f>1+1</f><v>2</v></c><c r="D4" t="b"><v>1</v>'
        "</c></row>"
    )
    return {
        "_rels/.rels": relations(officeDocument1="xl/workbook.xml"),
        "xl/workbook.xml": f'<workbook {s} {R}><sheets><sheet name="Fares" r:id="worksheet1"/>'
        '<sheet name="Old" state="hidden" r:id="worksheet1"/></sheets></workbook>',
        "xl/_rels/workbook.xml.rels": relations(
            worksheet1="worksheets/sheet1.xml",
            sharedStrings1="sharedStrings.xml",
            styles1="styles.xml",
        ),
        "xl/worksheets/sheet1.xml": f"<worksheet {s}><sheetData>{rows}</sheetData></worksheet>",
        "xl/sharedStrings.xml": f"<sst {s}><si><t>Port</t></si><si><r><t>Re</t></r><r>"
        "<t>bate</t></r></si></sst>",
        "xl/styles.xml": f'<styleSheet {s}><numFmts><numFmt numFmtId="164"'
        ' formatCode="dd/mm/yyyy"/></numFmts>'
        '<cellXfs><xf numFmtId="0"/><xf numFmtId="164"/><xf numFmtId="9"/></cellXfs>'
        "</styleSheet>",
    }


def test_sheets_are_tables_of_what_cells_show(tmp_path):
    document = read(tmp_path, "x.xlsx", sheet_parts())
    assert blocks(document) == [
        ("heading", "Fares"),
        ("table", "Port: Ely; Since: 2025-12-09; Rebate: 5%"),
        ("table", "Rebate: 2; column 4: TRUE"),
    ]
    assert document.warnings == ("left out: sheet Old",)


def slide_parts() -> dict[str, str]:
    p = f'xmlns:p="{OFFICE}/presentationml/2006/main" xmlns:a="{OFFICE}/drawingml/2006/main" {R}'

    def shape(text: str, kind: str = "") -> str:
        holder = f'<p:ph type="{kind}"/>' if kind else ""
        return f"<p:sp><p:nvSpPr><p:nvPr>{holder}</p:nvPr></p:nvSpPr><p:txBody><a:p><a:r><a:t>{text}</a:t></a:r></a:p></p:txBody></p:sp>"

    cells = (
        "<a:tr>"
        + "".join(
            f"<a:tc><a:txBody><a:p><a:r><a:t>{t}</a:t></a:r></a:p></a:txBody></a:tc>" for t in "xy"
        )
        + "</a:tr>"
    )
    table = f"<p:graphicFrame><a:graphic><a:graphicData><a:tbl>{cells}</a:tbl></a:graphicData></a:graphic></p:graphicFrame>"
    return {
        "_rels/.rels": relations(officeDocument1="ppt/presentation.xml"),
        "ppt/presentation.xml": f'<p:presentation {p}><p:sldIdLst><p:sldId r:id="slide2"/>'
        '<p:sldId r:id="slide1"/></p:sldIdLst></p:presentation>',
        "ppt/_rels/presentation.xml.rels": relations(
            slide1="slides/s1.xml", slide2="slides/s2.xml"
        ),
        "ppt/slides/s1.xml": f"<p:sld {p}><p:spTree>{shape('Last')}</p:spTree></p:sld>",
        "ppt/slides/s2.xml": f"<p:sld {p}><p:spTree>{shape('Tolls', 'title')}"
        f"<p:grpSp>{shape('In a group')}</p:grpSp>{table}{shape('7', 'sldNum')}</p:spTree>"
        "</p:sld>",
        "ppt/slides/_rels/s2.xml.rels": relations(notesSlide1="../notes/n2.xml"),
        "ppt/notes/n2.xml": f"<p:notes {p}><p:spTree>{shape('Say it slowly.')}</p:spTree>"
        "</p:notes>",
    }


def test_slides_come_in_their_order_with_titles_tables_and_notes(tmp_path):
    document = read(tmp_path, "x.pptx", slide_parts())
    assert blocks(document) == [
        ("heading", "Tolls"),
        ("paragraph", "In a group"),
        ("table", "x | y"),
        ("paragraph", "Say it slowly."),
        ("paragraph", "Last"),
    ]


def book_parts() -> dict[str, str]:
    return {
        "META-INF/container.xml": '<container><rootfiles><rootfile full-path="OEBPS/book.opf"/>'
        "</rootfiles></container>",
        "OEBPS/book.opf": '<package xmlns:dc="http://purl.org/dc/elements/1.1/"><metadata>'
        "<dc:title>The Toll</dc:title></metadata>"
        '<manifest><item id="b" href="two.xhtml"/><item id="a" href="one%20.xhtml"/><item'
        ' id="c" href="gone.xhtml"/></manifest>'
        '<spine><itemref idref="a"/><itemref idref="b"/><itemref idref="c"/></spine></package>',
        "OEBPS/one .xhtml": '<?xml version="1.0"?><html><head><title/></head><body><h1>One</h1>'
        '<p>First<a id="x"/> page.</p></body></html>',
        "OEBPS/two.xhtml": "<html><body><p>Second page.</p></body></html>",
    }


def test_books_are_read_along_their_spine(tmp_path):
    document = read(tmp_path, "x.epub", book_parts())
    assert document.text == "One\n\nFirst page.\n\nSecond page."
    assert (document.title, document.warnings) == (
        "The Toll",
        ("the book lacks a page: gone.xhtml",),
    )


@pytest.mark.parametrize("name", ["x.xlsx", "x.pptx", "x.epub", "x.docx", "x.odt", "x.ods"])
def test_damaged_packages_are_one_line(tmp_path, name):
    with pytest.raises(DocumentError, match="it lacks a part"):
        read(tmp_path, name, {"other.xml": "<a/>"})
    (tmp_path / name).write_bytes(b"PK\3\4 nonsense")
    with pytest.raises(DocumentError, match=r"not an? "):
        read_document(tmp_path / name)


def zipped(parts: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for part, data in parts.items():
            archive.writestr(part, data)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (b"<w>" + b" " * (MAX_PART_BYTES + 1), "inflates to too much"),
        (b"<w>" + b"<a/>" * (MAX_MARKS + 1), "is too large"),
        (b'<!DOCTYPE w [<!ENTITY a "aaaa">]><w>&a;</w>', "it declares entities"),
        (b"<w>" + b"<a>" * 200_000, "document.xml is damaged"),
    ],
    ids=["blanks", "tags", "entities", "open"],
)
def test_what_would_grow_is_refused_in_one_line(tmp_path, document, message):
    path = tmp_path / "x.docx"
    path.write_bytes(zipped({"word/document.xml": document, "[Content_Types].xml": b"<T/>"}))
    with pytest.raises(DocumentError, match=message):
        read_document(path)


def test_a_package_has_a_bounded_number_of_parts(tmp_path):
    path = tmp_path / "x.xlsx"
    path.write_bytes(b"PK\1\2" * (MAX_PARTS + 1))
    with pytest.raises(DocumentError, match="too many parts"):
        read_document(path)


def text_parts() -> dict[str, str]:
    style = f'<text:list-style style:name="L">{odf.level(1, num_format="1")}</text:list-style>'
    note = f"<text:note><text:note-body>{odf.p('n')}</text:note-body></text:note>"
    cells = odf.row(odf.cell(odf.p("x"), attributes='table:number-columns-repeated="2"'))
    body = odf.h("A") + odf.listed(odf.item(odf.p("b", note)), style="L") + odf.table(cells)
    return odf.odf_parts("text", body, automatic=style)


def cell_parts() -> dict[str, str]:
    cell = odf.cell(odf.p("x"), attributes='table:number-columns-repeated="2"')
    return odf.odf_parts("spreadsheet", odf.table(odf.row(cell), odf.row(odf.cell(), cell)))


PACKAGES = {
    "x.xlsx": sheet_parts,
    "x.pptx": slide_parts,
    "x.epub": book_parts,
    "x.odt": text_parts,
    "x.ods": cell_parts,
}
SPICE = ['"-1"', '"99999999999999999999"', '""', '"NaN"', '"ZZZ999999"', '"../../x"', "<", "&", ">"]


def spoiled(source: random.Random, parts: dict[str, str]) -> dict[str, bytes]:
    """One part gone, or one with values, tags or stretches of it changed."""
    changed = dict(parts)
    name = source.choice(list(parts))
    if source.random() < 0.15:
        del changed[name]
        return {part: text.encode() for part, text in changed.items()}
    text = changed[name]
    for _ in range(source.choice([1, 1, 3])):
        values = list(re.finditer(r'"[^"]*"', text))
        if values and source.random() < 0.6:
            at = source.choice(values)
            text = text[: at.start()] + source.choice(SPICE[:6]) + text[at.end() :]
        else:
            at, size = source.randrange(len(text) + 1), source.randint(0, 12)
            text = text[:at] + source.choice(["", *SPICE]) + text[at + size :]
    changed[name] = text
    return {part: text.encode() for part, text in changed.items()}


@pytest.mark.parametrize("name", list(PACKAGES))
def test_mutated_packages_are_a_document_or_one_line(tmp_path, name):
    source, path = random.Random(9), tmp_path / name
    num_read, lines = 0, []
    for _ in range(400):
        data = bytearray(zipped(spoiled(source, PACKAGES[name]())))
        if source.random() < 0.2:
            data[source.randrange(len(data))] = source.randrange(256)
        path.write_bytes(data)
        try:
            read_document(path)
            num_read += 1
        except DocumentError as error:
            lines.append(str(error))
    assert not [line for line in lines if "\n" in line]
    assert num_read > 20
    assert num_read < 390
