"""Readers of documents against the programs that people see them with.

CommonMark's own examples (npm), LibreOffice (`soffice`), Chromium's innerText, Poppler's
`pdftotext`;
each test is skipped where its program is not installed.
"""

from __future__ import annotations

import base64
import html
import io
import re
import shutil
import subprocess
import unicodedata
from collections import Counter
from pathlib import Path

import pytest

from tests.others.support import npm_folder
from tests.unit.rag.word_files import cell, paragraph, run, table, word_file
from understudy.rag.readers import read_document

pytestmark = pytest.mark.others
_WORD = re.compile(r"\w+")
_NUMBER = re.compile(r"\d+")
_BLANK_BEFORE = re.compile(r"[ \t][,.;:)]")
PAGES = sorted(Path("/usr/share/doc").rglob("*.html"))
MANUALS = ("bash", "tar", "find", "grep", "ls")
# The page replaces itself by what innerText gives: navigation out, as with us, and details open.
SCRIPT = (
    "<script>addEventListener('load',()=>{document.querySelectorAll('nav').forEach(n=>n.remove());"
    "document.querySelectorAll('details').forEach(n=>n.open=true);const t=document.body.innerText;"
    "document.documentElement.innerHTML='<head></head><body></body>';const"
    " p=document.createElement('xmp');"
    "p.id='shown';p.textContent=btoa(unescape(encodeURIComponent(t)));document.body.append(p)})"
    "</script>"
)


def program(*names: str) -> str:
    found = next((path for name in names if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"{names[0]} is not installed")
    return found


def words(text: str) -> Counter[str]:
    return Counter(_WORD.findall(unicodedata.normalize("NFKC", text.replace("\u00ad", ""))))


def pdf_text(path: Path) -> str:
    command = [program("pdftotext"), "-enc", "UTF-8", str(path), "-"]
    return subprocess.run(command, capture_output=True, check=True).stdout.decode(
        "utf-8", "replace"
    )


# ---- Markdown ----

# Words that only a link's marks join, as in `[foo][bar][baz]`: the file's own text keeps the marks.
JOINED_BY_MARKUP = [480, 481, 526, 538, 570]


def commonmark_examples() -> list[tuple[str, str]]:
    spec = (
        npm_folder("commonmark", ["commonmark-spec@0.31.2"])
        / "node_modules/commonmark-spec/spec.txt"
    )
    fence = "`" * 32
    pattern = re.compile(rf"^{fence} example\n(.*?)^\.\n(.*?)^{fence}$", re.MULTILINE | re.DOTALL)
    text = spec.read_text(encoding="utf-8")
    return [(a.replace("→", "\t"), b.replace("→", "\t")) for a, b in pattern.findall(text)]


def test_all_text_of_commonmarks_examples_stands_in_blocks(tmp_path):
    examples = commonmark_examples()
    assert len(examples) > 600
    missing = []
    for i, (markdown, shown) in enumerate(examples):
        (tmp_path / "x.md").write_text(markdown, encoding="utf-8")
        seen = words(html.unescape(re.sub(r"<!--.*?-->|<[^>]*>", "", shown, flags=re.DOTALL)))
        if not seen:
            continue
        document = read_document(tmp_path / "x.md")
        blocks = "\n".join(document.text[b.start : b.end] for b in document.blocks)
        plain = html.unescape(re.sub(r"[\\*`]", "", blocks).replace("\n", " "))
        held = words(plain) | words(html.unescape(blocks)) | words(blocks)
        if any(word not in held and word not in plain for word in seen):
            missing.append((i + 1, markdown, seen - held))
    assert [number for number, *_ in missing] == JOINED_BY_MARKUP


# ---- Word ----

PARTS = {
    "footnotes": f'<w:footnote w:id="2">{paragraph("Below in a note.")}</w:footnote>',
    "header1": paragraph("Above on each page"),
    "numbering": '<w:abstractNum w:abstractNumId="1"><w:lvl w:ilvl="0"><w:start w:val="1"/>'
    '<w:numFmt w:val="decimal"/>'
    '<w:lvlText w:val="%1."/></w:lvl></w:abstractNum><w:num w:numId="1"><w:abstractNumId'
    ' w:val="1"/></w:num>',
}
NUMBERED = '<w:numPr><w:ilvl w:val="0"/><w:numId w:val="1"/></w:numPr>'
BODY = "".join(
    [
        paragraph("It costs ", f'<w:ins w:id="1" w:author="A">{run("ninety")}</w:ins>', " pence."),
        paragraph(
            "Client: ",
            f"<w:sdt><w:sdtPr/><w:sdtContent>{run('Widow Alder')}</w:sdtContent></w:sdt>",
        ),
        paragraph(
            "Dear ",
            f'<w:fldSimple w:instr=" MERGEFIELD N ">{run("Ada")}</w:fldSimple>',
            ", welcome.",
        ),
        paragraph("Toll", '<w:r><w:footnoteReference w:id="2"/></w:r>', " is due."),
        paragraph("first item", properties=NUMBERED)
        + paragraph("second item", properties=NUMBERED),
        table(
            cell("outer one")
            + cell("outer two", table(cell("inner one") + cell("inner two")), paragraph("tail"))
        ),
        paragraph("seen ", run("hidden", "<w:vanish/>"), "again"),
        '<w:sectPr><w:headerReference w:type="default" r:id="header1"/></w:sectPr>',
    ]
)


def test_word_files_show_what_libreoffice_prints(tmp_path):
    (tmp_path / "x.docx").write_bytes(word_file(BODY, **PARTS))
    command = [program("soffice"), "--headless", "--convert-to", "pdf", "--outdir", str(tmp_path)]
    profile = f"-env:UserInstallation=file://{tmp_path}/profile"
    subprocess.run([*command, profile, str(tmp_path / "x.docx")], check=True, capture_output=True)
    theirs, ours = (
        words(
            _NUMBER.sub(r" \g<0> ", unicodedata.normalize("NFKC", text))
        )  # a note's own stands close to it
        for text in (pdf_text(tmp_path / "x.pdf"), read_document(tmp_path / "x.docx").text)
    )
    assert theirs - ours == Counter()
    assert ours - theirs == Counter()


# ---- HTML ----


def inner_text(page: Path, folder: Path) -> str:
    source = page.read_bytes()
    start = re.match(rb"\s*(<\?xml[^>]*>)?\s*(<!doctype[^>]*>)?", source, re.IGNORECASE)
    assert start is not None
    copy = folder / "judged.html"
    copy.write_bytes(source[: start.end()] + SCRIPT.encode() + source[start.end() :])
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=3000"]
    command = [program("chromium", "google-chrome"), *options, f"--user-data-dir={folder}/chromium"]
    done = subprocess.run(
        [*command, "--dump-dom", f"file://{copy}"], capture_output=True, timeout=120, check=False
    )
    match = re.search(rb'<xmp id="shown">([^<]*)</xmp>', done.stdout)
    if match is None:
        pytest.skip(f"Chromium gave no text: {done.stderr[-200:]!r}")
    return base64.b64decode(match[1]).decode("utf-8")


def test_pages_show_what_chromium_shows(tmp_path):
    pages = [page for page in PAGES if 4_000 < page.stat().st_size < 400_000][
        :: max(1, len(PAGES) // 40)
    ][:40]
    if not pages:
        pytest.skip("no pages under /usr/share/doc")
    total = missing = 0
    blanks: Counter[str] = Counter()
    for page in pages:
        theirs, ours = inner_text(page, tmp_path), read_document(page).text
        total += words(theirs).total()
        missing += (words(theirs) - words(ours)).total()
        if words(theirs) == words(ours):  # elsewhere a script or style sheet hides something
            more = len(_BLANK_BEFORE.findall(ours)) - len(_BLANK_BEFORE.findall(theirs))
            blanks.update({page.name: more} if more > 0 else {})
    assert missing <= total / 1000
    assert blanks.total() <= total / 5_000, blanks


# ---- PDF ----


def test_pdfs_of_groff_and_ghostscript_hold_pdftotexts_words(tmp_path):
    program("groff")
    files = []
    for name in MANUALS:
        source = subprocess.run(
            [program("man"), "-w", name], capture_output=True, text=True, check=False
        ).stdout.strip()
        if not source:
            continue
        paper = subprocess.run(
            [program("man"), "-Tps", name], capture_output=True, check=True
        ).stdout
        (tmp_path / f"{name}.ps").write_bytes(paper)
        files.append(tmp_path / f"{name}.pdf")
        command = [program("gs"), "-q", "-dBATCH", "-dNOPAUSE", "-sDEVICE=pdfwrite"]
        subprocess.run([*command, f"-sOutputFile={files[-1]}", f"{tmp_path}/{name}.ps"], check=True)
    if not files:
        pytest.skip("no manual pages are installed")
    total = missing = 0
    for file in files:
        theirs = words(pdf_text(file))
        total += theirs.total()
        missing += (theirs - words(read_document(file).text)).total()
    assert missing <= total / 1000


def test_csv_of_the_csv_module_in_all_its_dialects(tmp_path):
    import csv

    rows = [
        ["Port", "Fare, in pence", 'Said "so"'],
        ["Ely", "4,50", "a;b|c\td"],
        ["Lynn", "", "two\nlines"],
    ]
    for delimiter in ",;\t|":
        for quoting in (csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC):
            buffer = io.StringIO()
            csv.writer(buffer, delimiter=delimiter, quoting=quoting).writerows(rows)
            (tmp_path / "x.csv").write_text(buffer.getvalue(), encoding="utf-8", newline="")
            text = read_document(tmp_path / "x.csv").text
            assert text == (
                'Port: Ely; Fare, in pence: 4,50; Said "so": a;b|c d\n\nPort: Lynn; Said "so": two lines'
            )
