"""HTML: the text of the standard's tree, as a browser shows it, each word once."""

from __future__ import annotations

import pytest

from understudy.rag.document import Document
from understudy.rag.readers import read_document
from understudy.rag.readers.html_source import MAX_DEPTH, html_text, tamed


def read(tmp_path, html: str | bytes, name: str = "x.html") -> Document:
    (tmp_path / name).write_bytes(html.encode() if isinstance(html, str) else html)
    return read_document(tmp_path / name)


@pytest.mark.parametrize(
    ("html", "shown"),
    [
        ("<p>See <a href=x>the table</a>, page <b>4</b>.</p>", "See the table, page 4."),
        (
            "<p>H<sub>2</sub>O, <b>W</b>ord, fer<!-- x -->ry, <b>bold</b>ly",
            "H2O, Word, ferry, boldly",
        ),
        ("<p>日本<b>語</b>の文", "日本語の文"),
        (
            "<p>inter&shy;national, Donau<wbr>dampf, zero&#8203;width",
            "international, Donaudampf, zerowidth",
        ),
        ("<p>a<br>b <br> c&nbsp;d\n e", "a\nb\nc d e"),
        (
            "<form id=aspnetForm><h1>Hours</h1><p>Nine to five.</p><input name=q></form>",
            "Hours\n\nNine to five.",
        ),
        ("<button><h2>Open</h2></button><footer>Foot</footer>", "Open\n\nFoot"),
        ("<title>T</title>Text", "Text"),
        ("<p>a<p>b<div>c<p>d</div>e", "a\n\nb\n\nc\n\nd\n\ne"),
        ("<ul><li>alpha<li>beta<li>gamma</ul>", "- alpha\n- beta\n- gamma"),
        (
            "<ul><li>Fruit<ul><li>Apple</li><li>Pear</li></ul></li><li>Bread</li></ul>",
            "- Fruit\n  - Apple\n  - Pear\n- Bread",
        ),
        ("<ol><li><p>one</p><p>more</p></li><li>two</ol>", "- one\n  more\n- two"),
        ("<ul><li>See<pre>x = 1\n  y</pre>then</ul>", "- See\n\nx = 1\n  y\n\n  then"),
        ("<dl><dt>Toll<dd>A fee.<dl><dt>In<dd>ner</dl></dl>", "Toll\nA fee.\n  In\n  ner"),
        (
            "<p hidden>no</p><p style='color:red; display: none'>no</p><div"
            " style=visibility:hidden>no</div>yes",
            "yes",
        ),
        (
            "<dialog>no</dialog><dialog open>yes</dialog><template>no</template><noscript>no"
            "</noscript>",
            "yes",
        ),
        ("<p hidden=until-found>found</p>", "found"),
        ("<svg><title>no</title><text>in a picture</text></svg>", "in a picture"),
        ("<blockquote>Said<footer>by Ada</footer></blockquote>", "Said\n\nby Ada"),
        ("<pre>a\n\n  b<br>c</pre>", "a\n\n  b\nc"),
        ("<select><option>one<option>two</select>", "one\n\ntwo"),
        (
            "<p>a<span style='display:block'>b</span> <i style='Display : flex'>c</i>d"
            "<b style='display:inline-block'>e</b>",
            "a\nb\nc\nde",
        ),
        ("<p>漢字<ruby>東京<rp>(<rt>とうきょう<rp>)</ruby>へ", "漢字東京(とうきょう)へ"),
    ],
)
def test_what_a_page_shows(tmp_path, html, shown):
    assert read(tmp_path, html).text == shown


@pytest.mark.parametrize(
    ("html", "shown"),
    [
        (
            "<table><caption>Fares<tr><th>Port<th>Fare<tr><td>Ely<td>4</table>",
            "Fares\n\nPort | Fare\nEly | 4",
        ),
        (
            "<table><tr><th>Port<th>Who<th>Fare<tr><td rowspan=2>Ely<td>adult<td>4<tr><td>child"
            "<td>2<tr><td colspan=2>Lynn<td>6</table>",
            "Port | Who | Fare\nEly | adult | 4\nEly | child | 2\nLynn |  | 6",
        ),
        (
            "<table><tr><td rowspan=0>a<td>b<tr><td>c<tr><td>d<tbody><tr><td>e<td>f</table>",
            "a | b\na | c\na | d\ne | f",
        ),
        (
            "<table><tr><td>Menu<td><h1>Head</h1>Text<table><tr><td>in<td>ner</table></table>",
            "Menu\n\nHead\n\nText\n\nin | ner",
        ),
        ("<table><tr><td>Just<tr><td>one column</table>", "Just\n\none column"),
        ("<table><tr><td>a<ul><li>b<li>c</ul><td>d</table>", "a b c | d"),
    ],
)
def test_tables(tmp_path, html, shown):
    assert read(tmp_path, html).text == shown


def test_encodings(tmp_path):
    for data in (
        "<meta charset=iso-8859-1><p>Größe €".encode("cp1252"),
        '<meta http-equiv=Content-Type content="text/html; charset=utf-8"><p>Größe €'.encode(),
        "<p>Größe €".encode(),
        "<p>Größe €".encode("cp1252"),
        "\ufeff<p>Größe €".encode("utf-16"),
    ):
        assert "Größe €" in html_text(data)
    assert "日本語" in html_text('<meta charset="shift_jis">日本語'.encode("shift_jis"))
    assert "ü" in html_text("<meta charset=nonsense>ü".encode())


def test_self_closed_tags_of_xhtml(tmp_path):
    page = '<?xml version="1.0"?><html><head><title/><script src="x"/></head><body><p><a id="n"/>Text</p><div/>more</body></html>'
    assert read(tmp_path, page, "x.xhtml").text == "Text\n\nmore"


def test_only_what_the_tree_cannot_bear_is_cut():
    page = (
        "<div><p>a<b>c</b></p><svg><path d='x'/></svg></div>" * 2000
        + "<p><o:p>" * 2000
        + "<li><a name=x>y" * 2000
    )
    assert tamed(page) == page
    assert tamed("<div>" * 2000 + "x").count("<div>") == MAX_DEPTH
    assert "<script>if (a<b) '<div>'</script>" in tamed(
        "<script>if (a<b) '<div>'</script>" + "<i>" * 99
    )
    assert tamed(f"<p {' '.join(f'a{i}' for i in range(500))}>x") == "<p>x"
