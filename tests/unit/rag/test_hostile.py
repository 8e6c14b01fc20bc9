"""Hostile files: 10,000-fold nesting and tags left open end in a text or one line, in bounded time
and memory.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.unit.rag.odf_files import item, listed, odf_file, p
from tests.unit.rag.test_readers import pdf_of
from tests.unit.rag.word_files import cell, paragraph, table, word_file

FOLD = 10_000
MAX_CPU_S = 20
MAX_BYTES = 2 << 30

PROGRAM = textwrap.dedent("""
    import sys, time
    from pathlib import Path
    from understudy.errors import UnderstudyError
    from understudy.rag.chunk import chunk_document
    from understudy.rag.readers import read_document
    for path in sorted(Path(sys.argv[1]).iterdir()):
        begun = time.process_time()
        try:
            document = read_document(path)
            chunk_document(document, lambda text: len(text) // 4 + 1)
            size = len(document.text)
        except UnderstudyError as error:
            assert "\\n" not in str(error), path
            size = -1
        print(path.name, size, path.stat().st_size, round(time.process_time() - begun, 2), flush=True)
""")


def nested(opening: str, inside: str, closing: str, fold: int = FOLD) -> str:
    return opening * fold + inside + closing * fold


HTML = {
    "div": "<div>" * FOLD + "x",
    "div8": "<div>" * (8 * FOLD) + "x",
    "formatting": "".join(f"<b id={i}><p>x" for i in range(FOLD)),
    "bold": "<b>" * FOLD + "x",
    "li": "<ul>" + "<li>item" * FOLD,
    "lists": "<ul><li>a" * FOLD,
    "rows": "<table>" + "<tr><td>item" * FOLD,
    "tables": "<table><tr><td>x" * FOLD,
    "closed": nested("<div>", "x", "</div>"),
    "never": "<a" * FOLD,
    "misnested": "<span><div></span>" * FOLD,
    "foreign": "<svg><foreignObject><x/>" * FOLD,
    "attributes": f"<p {' '.join(f'a{i}=1' for i in range(2 * FOLD))}>x",
    "scripts": "<script>" * FOLD,
    "comments": "<!--" * FOLD,
    "spans": "<table>" + "<tr>" + "<td rowspan=65534>abc" * 1000 + "<tr><td>x" * FOLD,
    "wide": "<table>" + "<tr><td colspan=1000>abc" * FOLD,
    "buttons": "<button>" * FOLD + "<form>" * FOLD,
    "select": "<select><option>" * FOLD,
    "entities": "&" * FOLD + "&amp" * FOLD,
    "ruby": "<ruby><rt>" * FOLD,
    "pre": "<pre>" * FOLD + "x",
}
MARKDOWN = {
    "quotes": ">" * FOLD + "a",
    "lists": "- " * FOLD + "a",
    "steps": "".join("  " * i + "- a\n" for i in range(1000)),
    "brackets": "[" * FOLD,
    "labels": "[a\n" * FOLD,
    "definitions": "[a]: x\n" * FOLD,
    "html": "<div>\n" * FOLD,
    "comments": "<!--\n\n" * FOLD,
    "fences": "```\n\n" * FOLD,
    "table": "|a|b|\n|-|-|\n" * FOLD,
    "blanks": "# a" + " " * FOLD + "b",
    "front": "---\na:\n" + " " * FOLD + "x\n" * FOLD,
}
JSON = {
    "lists": nested("[", "1", "]"),
    "open": "[" * FOLD,
    "objects": nested('{"a":', "1", "}"),
    "number": "1" * FOLD,
    "shallow": nested('{"abc":[', "1", "]}", 400),
}
CSV = {
    "quotes": '"' * FOLD,
    "open": '"a,' * FOLD,
    "delimiters": ",;\t|" * FOLD,
    "rows": "a,b\n" + '1,"2\n' * FOLD,
    "doubled": '"' + '""' * FOLD + '",b\n1,2',
}
WORD = {
    "controls": nested("<w:sdt><w:sdtContent>", paragraph("x"), "</w:sdtContent></w:sdt>"),
    "tables": nested("<w:tbl><w:tr><w:tc>", paragraph("x"), "</w:tc></w:tr></w:tbl>"),
    "insertions": "<w:p>" + nested("<w:ins>", "<w:r><w:t>x</w:t></w:r>", "</w:ins>") + "</w:p>",
    "boxes": nested(
        "<w:p><w:r><w:pict><w:txbxContent>", paragraph("x"), "</w:txbxContent></w:pict></w:r></w:p>"
    ),
    "formula": "<w:p><m:oMath>"
    + nested("<m:f><m:num>", "<m:r><m:t>x</m:t></m:r>", "</m:num></m:f>")
    + "</m:oMath></w:p>",
    "fields": "<w:p>" + '<w:r><w:fldChar w:fldCharType="begin"/></w:r>' * FOLD + "</w:p>",
    "alternatives": "<w:p><w:r>"
    + nested(
        "<mc:AlternateContent><mc:Choice>", "<w:t>x</w:t>", "</mc:Choice></mc:AlternateContent>"
    )
    + "</w:r></w:p>",
    "wide": table(
        *[cell("x", properties='<w:gridSpan w:val="999999999"/>') for _ in range(FOLD // 10)]
    ),
    "open": "<w:p>" * FOLD,
}

OPEN_DOCUMENT = {
    "spans": p(nested("<text:span>", "x", "</text:span>")),
    "lists": nested("<text:list><text:list-item>", p("x"), "</text:list-item></text:list>"),
    "items": listed(*[item(p("x")) for _ in range(FOLD)]),
    "tables": nested(
        "<table:table><table:table-row><table:table-cell>",
        p("x"),
        "</table:table-cell></table:table-row></table:table>",
    ),
    "sections": nested("<text:section>", p("x"), "</text:section>"),
    "frames": nested(
        "<text:p><draw:frame><draw:text-box>", p("x"), "</draw:text-box></draw:frame></text:p>"
    ),
    "groups": nested("<draw:g>", p("x"), "</draw:g>"),
    "notes": nested(
        "<text:p><text:note><text:note-body>", p("x"), "</text:note-body></text:note></text:p>"
    ),
    "blanks": p('<text:s text:c="999999999"/>' * FOLD),
    "math": p(
        "<draw:frame><draw:object><math>"
        + nested("<msup>", "<mi>x</mi>", "</msup>")
        + "</math></draw:object></draw:frame>"
    ),
}

PDF = {
    "saves": "q " * FOLD,
    "arrays": "[" * FOLD,
    "texts": "BT " * FOLD,
    "strings": "(" * FOLD,
    "dictionaries": "<< /A " * FOLD,
    "marked": "/P << >> BDC " * FOLD,
    "lines": "12 TL " + "T* (word) Tj " * FOLD,
    "scattered": "".join(f"1 0 0 1 {i % 500} {i * 37 % 700} Tm (w) Tj " for i in range(FOLD)),
}


def files(kind: str, folder: Path) -> None:
    if kind == "docx":
        for name, body in WORD.items():
            (folder / f"{name}.docx").write_bytes(word_file(body))
        return
    if kind == "odt":
        for name, body in OPEN_DOCUMENT.items():
            (folder / f"{name}.odt").write_bytes(odf_file("text", body))
        return
    if kind == "pdf":
        for name, inside in PDF.items():
            (folder / f"{name}.pdf").write_bytes(pdf_of(f"x) Tj {inside} (y"))
        return
    for name, text in {
        "html": HTML,
        "md": MARKDOWN,
        "json": JSON,
        "csv": CSV,
        "jsonl": JSON,
        "txt": HTML,
    }[kind].items():
        (folder / f"{name}.{kind}").write_text(text, encoding="utf-8")


def bounded() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MAX_BYTES, MAX_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (MAX_CPU_S, MAX_CPU_S))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits as Linux has them")
@pytest.mark.parametrize(
    "kind", ["html", "md", "json", "jsonl", "csv", "docx", "odt", "pdf", "txt"]
)
def test_deep_and_open_files_end(tmp_path, kind):
    files(kind, tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, tmp_path],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=bounded,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OPENBLAS_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [line.split() for line in done.stdout.splitlines()]
    assert len(rows) == len(list(tmp_path.iterdir()))
    for name, size, num_bytes, seconds in rows:
        assert int(size) <= 8 * int(num_bytes) + 65536 or kind in ("docx", "odt"), name
        assert float(seconds) < MAX_CPU_S / 2, name
