"""Random pages: blocks and inline elements in each other, tags left open as HTML allows, hidden
parts, styles that change what begins a line.
"""

from __future__ import annotations

import random

WORDS = [
    "alpha",
    "beta",
    "gamma",
    "x1",
    "Ωmega",
    "née",
    "日本",
    "ok,",
    "(so)",
    "end.",
    "3.5",
    "a-b",
]
JOINTS = [
    " ",
    "  ",
    "\n",
    " \t",
    "&nbsp;",
    "",
    "<wbr>",
    "&shy;",
    "<!-- c -->",
    " <!-- c --> ",
    "<br>",
]
INLINE = [
    "b",
    "i",
    "em",
    "strong",
    "span",
    "code",
    "sub",
    "sup",
    "small",
    "u",
    "mark",
    "q",
    "cite",
    "kbd",
    "s",
    "del",
    "ins",
    "font",
    "big",
    "tt",
    "label",
    "bdi",
    "time",
    "var",
    "data",
    "dfn",
    "samp",
    "nobr",
    "a",
    "abbr",
    "output",
]
FLOW = [
    "div",
    "section",
    "article",
    "main",
    "header",
    "footer",
    "aside",
    "blockquote",
    "center",
    "form",
    "details",
    "figure",
    "fieldset",
    "search",
    "hgroup",
]
LINES = ["p", "h1", "h2", "h3", "pre", "address"]
LISTS = ["ul", "ol", "menu", "dir"]
PIECES = [
    "<img alt=unseen src=x>",
    "<input value=unseen>",
    "<script>var unseen=1</script>",
    "<style>.unseen{}</style>",
    "<noscript>unseen</noscript>",
    "<template>unseen</template>",
    "<iframe src=about:blank>unseen</iframe>",
    "<video>unseen</video><canvas>unseen</canvas><progress value=1>unseen</progress>",
    "<svg><title>unseen</title><text>drawn</text></svg>",
]
STYLES = [
    "display:none",
    "visibility:hidden",
    "display:block",
    "display:inline",
    "white-space:pre",
    "float:left",
    "position:absolute",
    "display:flex",
]
MAX_DEPTH = 4


class RandomPage:
    """`html` of one seed."""

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)
        self.html = f"<!doctype html><title>t</title><body>{self._flow(0)}"

    def _text(self) -> str:
        draw = self.draw
        text = draw.choice(WORDS)
        for _ in range(draw.randint(0, 3)):
            text += draw.choice(JOINTS) + draw.choice(WORDS)
        return draw.choice(["", " "]) + text + draw.choice(["", " ", "\n"])

    def _attributes(self) -> str:
        chance = self.draw.random()
        if chance < 0.03:
            return " hidden"
        return f' style="{self.draw.choice(STYLES)}"' if chance < 0.13 else ""

    def _end(self, tag: str) -> str:
        """An end tag that may be left out."""
        return "" if self.draw.random() < 0.4 else f"</{tag}>"

    def _line(self, depth: int) -> str:
        return "".join(self._inline(depth) for _ in range(self.draw.randint(1, 3)))

    def _inline(self, depth: int) -> str:
        chance = self.draw.random()
        if depth > MAX_DEPTH or chance < 0.55:
            return self._text()
        if chance < 0.92:
            tag = self.draw.choice(INLINE)
            return f"<{tag}{self._attributes()}>{self._line(depth + 1)}</{tag}>"
        return self.draw.choice(PIECES)

    def _flow(self, depth: int) -> str:
        draw = self.draw
        parts = [
            self._block(depth) if draw.random() < 0.55 else self._line(1)
            for _ in range(draw.randint(1, 3))
        ]
        return "".join(part + draw.choice(["", " ", "\n"]) for part in parts)

    def _block(self, depth: int) -> str:
        draw, more = self.draw, self._attributes()
        kind = draw.choice([*FLOW, *LINES, *LISTS, "dl", "table"])
        if depth > MAX_DEPTH or kind == "p":
            return f"<p{more}>{self._line(3)}{self._end('p')}"
        if kind in LINES:
            return f"<{kind}{more}>{self._line(1)}</{kind}>"
        if kind in LISTS:
            items = (
                f"<li>{self._inside(depth)}{self._end('li')}" for _ in range(draw.randint(1, 4))
            )
            return f"<{kind}{more}>{''.join(items)}</{kind}>"
        if kind == "dl":
            pair = f"<dt>{self._line(2)}{self._end('dt')}<dd>{self._inside(depth)}{self._end('dd')}"
            return f"<dl{more}>{pair}</dl>"
        if kind == "table":
            rows = (self._row(depth) for _ in range(draw.randint(1, 3)))
            return f"<table{more}>{draw.choice(['', '<thead>', '<tbody>'])}{''.join(rows)}</table>"
        first = {"details": "summary", "fieldset": "legend", "figure": "figcaption"}.get(kind)
        opening = f"<{first}>{self._line(2)}</{first}>" if first else ""
        return f"<{kind}{more}>{opening}{self._flow(depth + 1)}</{kind}>"

    def _inside(self, depth: int) -> str:
        return self._flow(depth + 1) if self.draw.random() < 0.3 else self._line(2)

    def _row(self, depth: int) -> str:
        cells = ""
        for _ in range(self.draw.randint(1, 3)):
            tag, wide = self.draw.choice(["td", "td", "th"]), self.draw.choice(["", " colspan=2"])
            inside = self._flow(depth + 1) if self.draw.random() < 0.15 else self._line(2)
            cells += f"<{tag}{wide}>{inside}{self._end(tag)}"
        return f"<tr>{cells}{self._end('tr')}"
