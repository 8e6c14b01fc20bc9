"""The text of an HTML file, fit for the parser: decoded as browsers do, and kept from trees that
grow faster than the file.

The standard's tree builder walks its stack of open elements at most tags, and copies open
formatting elements into each new paragraph, so some hundred kilobytes of open tags would take
minutes. Chromium ends the depth at 512, as we do.
"""

from __future__ import annotations

import codecs
import re
from collections import Counter
from dataclasses import dataclass, field

from understudy.rag.readers import names

MAX_DEPTH = 512  # elements open at once; deeper ones lose their tags, never their text
MAX_FORMATTING = 16  # of them that the tree builder copies; beyond, none of the file's is a tag
MAX_ATTRIBUTES = 128  # of one tag; with more it loses all
_CHARSET = re.compile(rb"""<meta[^>]{0,200}?charset\s*=\s*["']?\s*([\w.:-]{2,40})""", re.IGNORECASE)
_XML_ENCODING = re.compile(rb"""\A\s*<\?xml[^>]{0,100}?encoding\s*=\s*["']([\w.:-]{2,40})""")
# Labels that mean another encoding than their name (WHATWG Encoding Standard, 4.2).
_LABELS = {
    "ascii": "cp1252",
    "us-ascii": "cp1252",
    "iso-8859-1": "cp1252",
    "iso8859-1": "cp1252",
    "latin1": "cp1252",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "shift_jis": "cp932",
    "shift-jis": "cp932",
    "sjis": "cp932",
    "euc-kr": "cp949",
    "ks_c_5601-1987": "cp949",
    "big5": "big5hkscs",
    "iso-8859-9": "cp1254",
    "tis-620": "cp874",
    "utf-16": "utf-8",  # in a file that could be read so far it cannot be true
    "utf-16le": "utf-8",
    "utf-16be": "utf-8",
}
_TAG = re.compile(r"<(?:!--|(/?)([a-zA-Z][^\s/>]*))")
_RAW = frozenset(["script", "style", "textarea", "title", "xmp", "iframe", "noembed", "noframes"])
_FORMATTING = names("""a b big code em font i nobr s small strike strong tt u""")
# Void elements, and those that the next of their kind closes: they do not add to the depth by
# themselves.
_SHALLOW = names(
    """area base br col embed hr img input link meta param source track wbr frame image keygen html
    head body dt dd option optgroup tr td th thead tbody tfoot caption colgroup rb rt rp rtc"""
)
_SPECIAL = names(
    """p li address applet article aside blockquote button center details dir div dl fieldset
    figcaption
    figure footer form frameset h1 h2 h3 h4 h5 h6 header hgroup iframe listing main marquee menu
    nav noembed noframes noscript object ol plaintext pre script search section select style
    summary table template textarea title ul xmp"""
)
_BARRIERS = frozenset(["applet", "marquee", "object", "select", "table", "template"])
_LI_STOPS = _SPECIAL - {"address", "div", "p", "li"}
_ENDS_ITSELF = frozenset(["p", "li"])  # the next one closes the one before, with what is open in it
_FOREIGN = frozenset(["svg", "math"])
_HTML_INSIDE = frozenset(
    ["foreignobject", "desc", "annotation-xml", "mi", "mo", "mn", "ms", "mtext"]
)
_BREAK_OUT = (
    _SPECIAL | _FORMATTING | {"span", "sub", "sup", "var", "ruby", "img", "p", "li", "br", "hr"}
)
_SELF_CLOSED = re.compile(
    r"<(script|style|title|textarea|iframe|[abipqsu]|div|span|em|strong|td|th|tr|li|ul|ol|dl|dt|dd|"
    r"h[1-6]|pre|code|"
    r"table|"
    r"section|article|aside|small|sub|sup|cite)(\s[^<>]*)?/>",
    re.IGNORECASE,
)


def html_text(data: bytes) -> str:
    """The text of a page: by its byte order mark, by what it says of itself, as UTF-8, or as
    Windows-1252.
    """
    for mark, encoding in (
        (codecs.BOM_UTF8, "utf-8"),
        (b"\xff\xfe", "utf-16-le"),
        (b"\xfe\xff", "utf-16-be"),
    ):
        if data.startswith(mark):
            return data[len(mark) :].decode(encoding, "replace")
    match = _CHARSET.search(data, 0, 1 << 14) or _XML_ENCODING.match(data)
    if match:
        label = match[1].decode("ascii").lower()
        try:
            return data.decode(_LABELS.get(label, label), "replace")
        except (LookupError, ValueError):  # an encoding that nobody knows
            pass
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace")


def without_self_closed(text: str) -> str:
    """XHTML's `<div/>`, which an HTML parser takes for an open tag, as a pair of tags."""
    return _SELF_CLOSED.sub(lambda match: f"<{match[1]}{match[2] or ''}></{match[1]}>", text)


def tamed(text: str) -> str:
    """The page with no more tags than the tree builder can bear; a page of people's making comes
    back as it is.
    """
    scan = _Scan(text)
    scan.run()
    if scan.num_formatting > MAX_FORMATTING:
        scan = _Scan(text, drops_formatting=True)
        scan.run()
    return text if scan.is_unchanged else "".join(scan.kept)


def _stops(name: str) -> frozenset[str]:
    """The open elements at which the search for the one to close ends in vain (13.2.4.2 and
    13.2.6.4.7 of the standard).
    """
    if name in _FORMATTING:
        return frozenset()
    if name == "li":
        return _LI_STOPS
    return _BARRIERS if name in _SPECIAL else _SPECIAL


@dataclass(slots=True)
class _Scan:
    """One pass over the tags of a page, in time linear to it: each search begins where the last one
    ended.

    The stack holds what the tree builder's would, but for the elements of `_SHALLOW`, and closes no
    more than that does.
    """

    text: str
    drops_formatting: bool = False
    kept: list[str] = field(default_factory=list)
    is_unchanged: bool = True
    num_formatting: int = 0  # most that were open at once
    _stack: list[str] = field(default_factory=list)
    _formatting: Counter[str] = field(
        default_factory=Counter
    )  # a paragraph's end does not end them
    _is_foreign: bool = False  # in svg or math, where `/>` closes

    def run(self) -> None:
        text, lower, at = self.text, self.text.lower(), 0
        while (match := _TAG.search(text, at)) is not None:
            name = (match[2] or "").lower()
            end = text.find(">" if name else "-->", match.end())
            if end >= 0 and name in _RAW and not match[1]:
                end = lower.find(f"</{name}", end)
                end -= end >= 0
            if end < 0:
                break
            end += 1 if name else 3
            self._take(at, match.start(), end, name, bool(match[1]))
            at = end
        self.kept.append(text[at:])

    def _take(self, at: int, start: int, end: int, name: str, is_end: bool) -> None:
        """Keeps the text before a tag, and the tag unless it goes too deep."""
        tag = self.text[start:end]
        if name and name not in _RAW:
            if is_end:
                self._close(name)
            elif not self._opens(name, tag.endswith("/>")):
                tag = ""
            elif len(tag.split(None, MAX_ATTRIBUTES + 1)) > MAX_ATTRIBUTES:
                tag = f"<{name}>"
            if self.drops_formatting and name in _FORMATTING:
                tag = ""
        self.is_unchanged = self.is_unchanged and len(tag) == end - start
        self.kept += (self.text[at:start], tag)

    def _opens(self, name: str, is_self_closed: bool) -> bool:
        """Counts an element open; False where its tag is to go."""
        if name in _BREAK_OUT or name in _HTML_INSIDE:
            self._is_foreign = False
        if name in _SHALLOW or (self._is_foreign and is_self_closed):
            return True
        if name in _ENDS_ITSELF:
            self._close(name)
        if len(self._stack) >= MAX_DEPTH:
            return False
        if name == "a" and self._formatting["a"]:  # the second closes the first
            self._close("a")
        self._is_foreign = self._is_foreign or name in _FOREIGN
        self._stack.append(name)
        if name in _FORMATTING:
            self._formatting[name] += 1
            self.num_formatting = max(self.num_formatting, self._formatting.total())
        return True

    def _close(self, name: str) -> None:
        """Counts closed what the tree builder closes at an end tag, and no more: it stops at
        certain elements.
        """
        stack = self._stack
        self._is_foreign = name in _HTML_INSIDE or (self._is_foreign and name not in _FOREIGN)
        stops = _stops(name)
        if self._formatting[name]:
            self._formatting[name] -= 1
        for i in range(len(stack) - 1, -1, -1):
            if stack[i] == name:
                del stack[i : None if name not in _FORMATTING else i + 1]
                return
            if stack[i] in stops:
                return
