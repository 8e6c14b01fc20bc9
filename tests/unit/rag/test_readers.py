"""Readers: each kind of file, made here by other programs' writers where there are some, and
damaged ones.
"""

from __future__ import annotations

import io
import itertools
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.errors import DocumentError, UnderstudyError
from understudy.rag.chunk import chunk_document
from understudy.rag.document import Document
from understudy.rag.readers import READERS, read_document


def kinds(document: Document) -> list[tuple[str, str]]:
    return [(block.kind, document.text[block.start : block.end]) for block in document.blocks]


def read(tmp_path, name: str, data: bytes | str) -> Document:
    path = tmp_path / name
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return read_document(path)


def pdf_of(*pages: str) -> bytes:
    """A PDF by hand: one line of text a page."""
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        "",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    for text in pages:
        stream = f"BT /F1 12 Tf 40 700 Td ({text}) Tj ET" if text else ""
        number = len(objects) + 1
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 600 800] /Resources << /Font << /F1 3 0 R >> >> /Contents {number + 1} 0 R >>"
        )
        objects.append(f"<< /Length {len(stream)} >>\nstream\n{stream}\nendstream")
    objects[1] = (
        f"<< /Type /Pages /Count {len(pages)} /Kids [{' '.join(f'{4 + 2 * i} 0 R' for i in range(len(pages)))}] >>"
    )
    out, offsets = b"%PDF-1.4\n", []
    for i, body in enumerate(objects, 1):
        offsets.append(len(out))
        out += f"{i} 0 obj\n{body}\nendobj\n".encode()
    table = "".join(f"{offset:010} 00000 n \n" for offset in offsets)
    return (
        out
        + f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}trailer\n<< /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{len(out)}\n%%EOF\n".encode()
    )


def test_plain_text_keeps_the_files_offsets(tmp_path):
    text = "\n\nFirst line\nsecond line\n\n   \nNext.\n"
    document = read(tmp_path, "a.txt", text)
    assert document.text == text
    assert kinds(document) == [("paragraph", "First line\nsecond line"), ("paragraph", "Next.")]
    assert read(tmp_path, "b.txt", "ünï".encode("utf-16")).text == "ünï"
    assert read(tmp_path, "c.txt", "\ufeffmark\r\nx").text == "mark\nx"


def test_markdown(tmp_path):
    text = "---\nt: x\n---\n# Top #\npara\n\n## Sub\n- a\n- b\n\n```py\n# no heading\n```\n| a | b |\n|---|---|\n| 1 | 2 |\n\nUnder\n=====\nend\n"
    document = read(tmp_path, "a.md", text)
    assert kinds(document) == [
        ("heading", "Top"),
        ("paragraph", "para"),
        ("heading", "Sub"),
        ("list", "- a\n- b"),
        ("code", "```py\n# no heading\n```"),
        ("table", "| a | b |\n|---|---|\n| 1 | 2 |"),
        ("heading", "Under"),
        ("paragraph", "end"),
    ]
    assert (document.text, document.title) == (text, "Top")


def test_html(tmp_path):
    document = read(
        tmp_path,
        "a.html",
        """<html><head><title>T</title><style>x{}</style></head><body><nav>menu</nav><h1>Head</h1>
        <div>loose <b>bold</b> text<p>para<script>evil()</script></p></div><ul><li>one</li><li>two</li></ul>
        <table><tr><th>a</th><th>b</th></tr><tr><td>1</td><td>2</td></tr></table><pre>code  here</pre><p hidden>no</p></body></html>""",
    )
    assert kinds(document) == [
        ("heading", "Head"),
        ("paragraph", "loose bold text"),
        ("paragraph", "para"),
        ("list", "- one\n- two"),
        ("table", "a | b\n1 | 2"),
        ("code", "code  here"),
    ]


def test_pdf_with_pages(tmp_path):
    document = read(tmp_path, "a.pdf", pdf_of("Page one speaks.", "Page two answers."))
    assert [document.page_at(document.text.index(word)) for word in ("one", "two")] == [1, 2]
    assert [chunk.page for chunk in chunk_document(document, len, size=20, overlap=0)] == [1, 2]


def test_scanned_encrypted_and_damaged_pdf(tmp_path):
    with pytest.raises(DocumentError, match="pages are pictures"):
        read(tmp_path, "scan.pdf", pdf_of("", ""))
    assert "1 of 2 pages" in read(tmp_path, "half.pdf", pdf_of("", "text")).warnings[0]
    from pypdf import PdfReader, PdfWriter

    writer = PdfWriter(clone_from=PdfReader(io.BytesIO(pdf_of("secret"))))
    writer.encrypt("password", algorithm="RC4-128")
    buffer = io.BytesIO()
    writer.write(buffer)
    with pytest.raises(DocumentError, match="encrypted"):
        read(tmp_path, "locked.pdf", buffer.getvalue())
    with pytest.raises(DocumentError, match=r"broken\.pdf"):
        read(tmp_path, "broken.pdf", pdf_of("x")[:120])


def test_docx(tmp_path):
    import docx

    file = docx.Document()
    file.add_heading("Chapter", 1)
    file.add_paragraph("A paragraph.")
    file.add_paragraph("item", style="List Bullet")
    table = file.add_table(1, 2)
    table.rows[0].cells[0].text, table.rows[0].cells[1].text = "x", "y"
    file.save(tmp_path / "a.docx")
    assert kinds(read_document(tmp_path / "a.docx")) == [
        ("heading", "Chapter"),
        ("paragraph", "A paragraph."),
        ("list", "item"),
        ("table", "x | y"),
    ]
    with pytest.raises(DocumentError, match="encrypted or of an old format"):
        read(tmp_path, "old.docx", b"\xd0\xcf\x11\xe0" + b"\0" * 100)
    buffer = io.BytesIO()
    zipfile.ZipFile(buffer, "w").close()
    with pytest.raises(DocumentError, match="cannot be read"):
        read(tmp_path, "empty.docx", buffer.getvalue())


def test_tables_and_json(tmp_path):
    assert kinds(read(tmp_path, "a.csv", "name,age\nAda,36\nBo,\n")) == [
        ("table", "name: Ada; age: 36"),
        ("table", "name: Bo"),
    ]
    assert kinds(read(tmp_path, "a.tsv", "x\ty\n1\t2\t3\n"))[0][1] == "x: 1; y: 2; column 3: 3"
    assert kinds(read(tmp_path, "a.json", '[{"a": 1, "b": {"c": "x"}}, 2]')) == [
        ("paragraph", "a: 1\nb.c: x"),
        ("paragraph", "2"),
    ]
    assert kinds(read(tmp_path, "b.json", '{"k": [{"a": 1}], "s": "t"}')) == [
        ("heading", "k"),
        ("paragraph", "a: 1"),
        ("paragraph", "s: t"),
    ]
    assert len(kinds(read(tmp_path, "a.jsonl", '{"a": 1}\n\n{"a": 2}\n'))) == 2


@pytest.mark.parametrize(
    ("name", "data", "match"),
    [
        ("a.exe", b"MZ", "no reader"),
        ("a.txt", b"a\0b", "binary"),
        ("a.txt", b"\xff\xfa", "not UTF-8"),
        ("a.txt", b" \n ", "no text"),
        ("a.json", b"{", "not JSON"),
        ("a.json", b"[" * 100_000, "nested too deeply"),
        ("a.html", b"\0\1", "binary"),
        ("a.docx", b"PK", "not a Word"),
    ],
)
def test_bad_files(tmp_path, name, data, match):
    with pytest.raises(DocumentError, match=match):
        read(tmp_path, name, data)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(READERS)), st.binary(max_size=300))
def test_any_bytes_give_a_document_or_one_error(tmp_path_factory, ending, data):
    path = tmp_path_factory.mktemp("any") / f"x{ending}"
    path.write_bytes(data)
    try:
        document = read_document(path)
    except UnderstudyError as error:
        assert "\n" not in str(error)  # noqa: PT017
        return
    for block in document.blocks:
        assert 0 <= block.start < block.end <= len(document.text)


prose = st.text(alphabet="ab .!?\n#-|`é😀", max_size=600)


@settings(max_examples=150, deadline=None)
@given(prose, st.integers(8, 60), st.integers(0, 4))
def test_chunks_are_spans_within_size_that_miss_no_word(tmp_path_factory, text, size, overlap):
    path = tmp_path_factory.mktemp("md") / "x.md"
    path.write_text(text, encoding="utf-8")
    try:
        document = read_document(path)
    except DocumentError:
        return
    chunks = chunk_document(document, len, size=size, overlap=overlap)
    covered = set()
    for chunk in chunks:
        assert document.text[chunk.start : chunk.end].strip()
        assert chunk.num_tokens <= size
        assert chunk.parent[0] <= chunk.start < chunk.end <= chunk.parent[1]
        covered |= set(range(chunk.start, chunk.end))
    for block in document.blocks:
        if block.kind != "heading":
            assert all(
                i in covered or document.text[i].isspace() for i in range(block.start, block.end)
            )


def test_headings_stand_in_the_path_and_sections_do_not_mix(tmp_path):
    document = read(tmp_path, "a.md", "# A\none\n## B\ntwo\n## C\nthree\n# D\n## E\n")
    found = [
        (chunk.heading_path, document.text[chunk.start : chunk.end])
        for chunk in chunk_document(document, len, size=50, overlap=0)
    ]
    assert found == [(("A",), "one"), (("A", "B"), "two"), (("A", "C"), "three"), (("D", "E"), "E")]


def test_overlap_repeats_whole_sentences(tmp_path):
    document = read(tmp_path, "a.txt", " ".join(f"Sentence number {i} is here." for i in range(30)))
    chunks = chunk_document(document, lambda text: len(text.split()), size=20, overlap=5)
    texts = [document.text[chunk.start : chunk.end] for chunk in chunks]
    for before, after in itertools.pairwise(texts):
        assert before.split(". ")[-1] == after.split(". ")[0] + "."
