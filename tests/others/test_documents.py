"""Readers of documents against the programs that people see them with.

CommonMark's own examples (npm), LibreOffice (`soffice`), Chromium's innerText, Poppler's
`pdftotext`;
each test is skipped where its program is not installed.
"""

from __future__ import annotations

import base64
import html
import io
import json
import random
import re
import shutil
import subprocess
import unicodedata
from collections import Counter
from pathlib import Path

import pytest

from tests.others.random_html import RandomPage
from tests.others.support import npm_folder
from tests.unit.rag.word_files import cell, paragraph, run, table, word_file
from understudy.errors import DocumentError
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


def pdf_text(path: Path, *options: str) -> str:
    command = [program("pdftotext"), "-enc", "UTF-8", *options, str(path), "-"]
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


def converted(folder: Path, kind: str, *names: str) -> None:
    """What LibreOffice makes of files of a folder, beside them."""
    command = [program("soffice"), "--headless", f"-env:UserInstallation=file://{folder}/profile"]
    command += ["--convert-to", kind, "--outdir", str(folder)]
    files = [str(folder / name) for name in names]
    subprocess.run([*command, *files], check=True, capture_output=True)


@pytest.mark.parametrize("kind", ["docx", "odt"])
def test_texts_show_what_libreoffice_prints(tmp_path, kind):
    (tmp_path / "x.docx").write_bytes(word_file(BODY, **PARTS))
    if kind == "odt":
        converted(tmp_path, "odt", "x.docx")
    converted(tmp_path, "pdf", f"x.{kind}")
    theirs, ours = (
        words(
            _NUMBER.sub(r" \g<0> ", unicodedata.normalize("NFKC", text))
        )  # a note's own stands close to it
        for text in (pdf_text(tmp_path / "x.pdf"), read_document(tmp_path / f"x.{kind}").text)
    )
    assert theirs - ours == Counter()
    assert ours - theirs == Counter()


FORMS = ["decimal", "lowerLetter", "upperRoman", "lowerRoman", "upperLetter", "bullet", "none"]


def random_lists(draw: random.Random) -> tuple[str, dict[str, str]]:
    """A document of numbered paragraphs: three kinds of lists of four levels, two of which are
    also begun anew; a level is entered from the one above.
    """
    kinds = []
    for kind in range(3):
        levels = []
        for i in range(4):
            form = draw.choice(FORMS)
            shown = [f"%{i + 1}.", f"(%{i + 1})", f"Art %{i + 1}"]
            shown.append("".join(f"%{j + 1}." for j in range(i + 1)))
            text = {"bullet": "•", "none": draw.choice(["", "Ex"])}.get(form, draw.choice(shown))
            levels.append(
                f'<w:lvl w:ilvl="{i}"><w:start w:val="{draw.choice([1, 1, 3])}"/>'
                f'<w:numFmt w:val="{form}"/><w:lvlText w:val="{text}"/></w:lvl>'
            )
        kinds.append(f'<w:abstractNum w:abstractNumId="{kind}">{"".join(levels)}</w:abstractNum>')
    anew = '<w:lvlOverride w:ilvl="0"><w:startOverride w:val="5"/></w:lvlOverride>'
    for number in range(5):
        kind = f'<w:abstractNumId w:val="{number % 3}"/>{anew if number > 2 else ""}'
        kinds.append(f'<w:num w:numId="{number + 1}">{kind}</w:num>')
    body, deepest, number = "", dict[int, int](), 1
    for i in range(draw.randint(4, 14)):
        if draw.random() < 0.25:
            body += paragraph(f"word{i}x")
            continue
        number = draw.randint(1, 5) if draw.random() < 0.3 else number
        level = deepest[number] = min(draw.choice([0, 0, 1, 1, 2, 3]), deepest.get(number, -1) + 1)
        place = f'<w:numPr><w:ilvl w:val="{level}"/><w:numId w:val="{number}"/></w:numPr>'
        body += paragraph(f"word{i}x", properties=place)
    return body, {"numbering": "".join(kinds)}


@pytest.mark.parametrize("kind", ["docx", "odt"])
def test_lists_have_the_numbers_that_libreoffice_prints(tmp_path, kind):
    names = [f"x{seed}" for seed in range(60)]
    for seed, name in enumerate(names):
        body, parts = random_lists(random.Random(seed))
        (tmp_path / f"{name}.docx").write_bytes(word_file(body, **parts))
    if kind == "odt":
        converted(tmp_path, "odt", *(f"{name}.docx" for name in names))
    converted(tmp_path, "pdf", *(f"{name}.{kind}" for name in names))
    wrong = []
    for name in names:
        theirs, ours = (
            re.sub(r"[\s•]+", "", text)
            for text in (
                pdf_text(tmp_path / f"{name}.pdf", "-layout"),
                read_document(tmp_path / f"{name}.{kind}").text,
            )
        )
        if theirs != ours:
            wrong.append((name, theirs, ours))
    assert not wrong


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


# Each page in a frame; what all of them show is written where Chromium prints it.
FRAMES = """<!doctype html><meta charset=utf-8><body><script>
const pages = JSON.parse(decodeURIComponent(escape(atob("PAGES"))));
(async () => {
  const shown = [];
  for (const page of pages) {
    const frame = document.createElement("iframe");
    frame.style = "width:900px;height:700px";
    const loaded = new Promise(resolve => { frame.onload = resolve; });
    frame.srcdoc = page;
    document.body.append(frame);
    await loaded;
    const body = frame.contentDocument.body;
    body.querySelectorAll("details").forEach(one => { one.open = true; });
    shown.push(body.innerText);
    frame.remove();
  }
  const out = document.createElement("xmp");
  out.id = "shown";
  out.textContent = btoa(unescape(encodeURIComponent(JSON.stringify(shown))));
  document.body.append(out);
})();
</script>"""


def test_random_pages_hold_the_words_of_innertext(tmp_path):
    """Open tags, styles, hidden parts, all in each other: of 400 pages fewer than 3 words of 1,000
    differ (some are cut or joined at the edges of what floats)."""
    pages = [RandomPage(seed).html for seed in range(400)]
    written = base64.b64encode(json.dumps(pages).encode()).decode()
    (tmp_path / "all.html").write_text(FRAMES.replace("PAGES", written))
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=600000"]
    options += [f"--user-data-dir={tmp_path}/chromium", "--dump-dom"]
    command = [program("chromium", "google-chrome"), *options, f"file://{tmp_path}/all.html"]
    done = subprocess.run(command, capture_output=True, timeout=500, check=False)
    match = re.search(rb'<xmp id="shown">([A-Za-z0-9+/=]+)</xmp>', done.stdout)
    assert match is not None
    shown = json.loads(base64.b64decode(match[1]))
    total, differing, wrong = 0, 0, []
    for page, theirs in zip(pages, shown, strict=True):
        path = tmp_path / "page.html"
        path.write_text(page)
        try:
            ours = read_document(path).text
        except DocumentError:
            ours = ""
        a, b = words(theirs), words(ours)
        total, differing = total + a.total(), differing + (a - b).total() + (b - a).total()
        wrong += [(page, theirs, ours)] if a != b else []
    assert differing <= 0.003 * total, (differing, total, wrong[:3])


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
