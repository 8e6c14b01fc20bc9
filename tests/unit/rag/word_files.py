"""Word files made by hand: a body and the parts beside it, in the smallest package that Word opens."""

from __future__ import annotations

import io
import zipfile

W = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
NAMESPACES = " ".join(
    f'xmlns:{prefix}="{uri}"'
    for prefix, uri in {
        "w": W,
        "m": "http://schemas.openxmlformats.org/officeDocument/2006/math",
        "r": "http://schemas.openxmlformats.org/officeDocument/2006/relationships",
        "mc": "http://schemas.openxmlformats.org/markup-compatibility/2006",
        "wp": "http://schemas.openxmlformats.org/drawingml/2006/wordprocessingDrawing",
        "a": "http://schemas.openxmlformats.org/drawingml/2006/main",
        "wps": "http://schemas.microsoft.com/office/word/2010/wordprocessingShape",
        "v": "urn:schemas-microsoft-com:vml",
    }.items()
)
_TYPES = "http://schemas.openxmlformats.org/package/2006/content-types"
_RELATIONS = "http://schemas.openxmlformats.org/package/2006/relationships"
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_ROOTS = {"header": "hdr", "footer": "ftr"}


def run(text: str, properties: str = "") -> str:
    return f'<w:r>{properties and f"<w:rPr>{properties}</w:rPr>"}<w:t xml:space="preserve">{text}</w:t></w:r>'


def paragraph(*inside: str, properties: str = "") -> str:
    """A paragraph of runs; plain strings without markup become runs."""
    runs = "".join(part if part.startswith("<") else run(part) for part in inside)
    return f"<w:p>{properties and f'<w:pPr>{properties}</w:pPr>'}{runs}</w:p>"


def cell(*inside: str, properties: str = "") -> str:
    blocks = "".join(part if part.startswith("<") else paragraph(part) for part in inside)
    return f"<w:tc><w:tcPr>{properties}</w:tcPr>{blocks}</w:tc>"


def table(*rows: str) -> str:
    inside = "".join(row if row.startswith("<w:sdt") else f"<w:tr>{row}</w:tr>" for row in rows)
    return f"<w:tbl><w:tblPr/><w:tblGrid><w:gridCol/><w:gridCol/></w:tblGrid>{inside}</w:tbl>"


def word_file(body: str, **parts: str) -> bytes:
    """The bytes of a .docx.

    Args:
        parts: what stands in `styles`, `numbering`, `footnotes`, `endnotes`, `settings`,
            `comments`, `header1`, `footer1` …
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        main = "application/vnd.openxmlformats-officedocument.wordprocessingml"
        types = "".join(
            f'<Override PartName="/word/{name}.xml" ContentType="{main}.{_kind(name)}+xml"/>'
            for name in parts
        )
        archive.writestr(
            "[Content_Types].xml",
            f'<Types xmlns="{_TYPES}"><Default Extension="rels" '
            'ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
            f'<Override PartName="/word/document.xml"'
            f' ContentType="{main}.document.main+xml"/>{types}</Types>',
        )
        archive.writestr(
            "_rels/.rels",
            f'<Relationships xmlns="{_RELATIONS}"><Relationship Id="rId1"'
            f' Type="{_OFFICE}/officeDocument" '
            'Target="word/document.xml"/></Relationships>',
        )
        relations = "".join(
            f'<Relationship Id="{name}" Type="{_OFFICE}/{_kind(name)}" Target="{name}.xml"/>'
            for name in parts
        )
        archive.writestr(
            "word/_rels/document.xml.rels",
            f'<Relationships xmlns="{_RELATIONS}">{relations}</Relationships>',
        )
        archive.writestr(
            "word/document.xml", f"<w:document {NAMESPACES}><w:body>{body}</w:body></w:document>"
        )
        for name, inside in parts.items():
            root = _ROOTS.get(_kind(name), _kind(name))
            archive.writestr(f"word/{name}.xml", f"<w:{root} {NAMESPACES}>{inside}</w:{root}>")
    return buffer.getvalue()


def _kind(name: str) -> str:
    return name.rstrip("0123456789")
