"""OpenDocument files made by hand: a body and styles, in the smallest package that is read."""

from __future__ import annotations

import io
import zipfile

PREFIX = "urn:oasis:names:tc:opendocument:xmlns"
NAMESPACES = (
    " ".join(
        f'xmlns:{prefix}="{PREFIX}:{name}:1.0"'
        for prefix, name in {
            "office": "office",
            "text": "text",
            "table": "table",
            "style": "style",
            "draw": "drawing",
            "svg": "svg-compatible",
            "form": "form",
            "presentation": "presentation",
        }.items()
    )
    + ' xmlns:xlink="http://www.w3.org/1999/xlink"'
)


def p(*inside: str, style: str = "") -> str:
    attribute = f' text:style-name="{style}"' if style else ""
    return f"<text:p{attribute}>{''.join(inside)}</text:p>"


def h(text: str, level: int = 1) -> str:
    return f'<text:h text:outline-level="{level}">{text}</text:h>'


def item(*blocks: str, attributes: str = "") -> str:
    return f"<text:list-item {attributes}>{''.join(blocks)}</text:list-item>"


def listed(*items: str, style: str = "", attributes: str = "") -> str:
    name = f'text:style-name="{style}"' if style else ""
    return f"<text:list {name} {attributes}>{''.join(items)}</text:list>"


def cell(*blocks: str, attributes: str = "") -> str:
    return f"<table:table-cell {attributes}>{''.join(blocks)}</table:table-cell>"


def row(*cells: str, attributes: str = "") -> str:
    return f"<table:table-row {attributes}>{''.join(cells)}</table:table-row>"


def table(*rows: str, attributes: str = "") -> str:
    return f"<table:table {attributes}>{''.join(rows)}</table:table>"


def level(number: int, **attributes: str) -> str:
    """A numbered level of a list's style; `num_format="1"` and so on."""
    given = " ".join(
        f"{'text' if name in ('display_levels', 'start_value') else 'style'}:"
        f'{name.replace("_", "-")}="{value}"'
        for name, value in attributes.items()
    )
    return f'<text:list-level-style-number text:level="{number}" {given}/>'


def odf_parts(
    kind: str, body: str, *, automatic: str = "", styles: str = "", masters: str = ""
) -> dict[str, str]:
    """The parts of a file; `kind` is text, spreadsheet or presentation."""
    content = (
        f"<office:document-content {NAMESPACES}><office:automatic-styles>{automatic}"
        f"</office:automatic-styles><office:body><office:{kind}>{body}</office:{kind}>"
        "</office:body></office:document-content>"
    )
    common = (
        f"<office:document-styles {NAMESPACES}><office:styles>{styles}</office:styles>"
        f"<office:master-styles>{masters}</office:master-styles></office:document-styles>"
    )
    return {"content.xml": content, "styles.xml": common}


def odf_file(kind: str, body: str, parts: dict[str, str] | None = None, **styles: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in {**odf_parts(kind, body, **styles), **(parts or {})}.items():
            archive.writestr(name, text)
    return buffer.getvalue()
