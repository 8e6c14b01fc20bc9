"""Markdown by CommonMark's block rules, with tables: blocks are spans of the file's own text, so
that offsets are those of the file.

Outside any block, and so never found: link definitions, HTML comments, rules, and YAML front matter
but for its title.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from understudy.rag.document import Document, DocumentBlock, Kind
from understudy.rag.readers import decode

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

_KINDS: dict[str, Kind] = {
    "paragraph_open": "paragraph",
    "blockquote_open": "paragraph",
    "html_block": "paragraph",
    "bullet_list_open": "list",
    "ordered_list_open": "list",
    "table_open": "table",
    "fence": "code",
    "code_block": "code",
}
_FRONT_MATTER = re.compile(r"---[ \t]*\n((?:[^\n]*\n){1,200}?)(?:---|\.\.\.)[ \t]*(?:\n|\Z)")
# Lines of a YAML mapping as front matter has it: a key, what belongs to the key above, or a remark.
_YAML_LINE = re.compile(
    r"""(?:["']?[\w][\w .@/-]*["']?:(?:\s.*)?|[ \t]+\S.*|-(?:\s.*)?|#.*|[\]}],?)?"""
)
_YAML_KEY = re.compile(r"""["']?\w[\w .@/-]*["']?:(?:\s|\Z)""")
_YAML_TITLE = re.compile(r"""^title:[ \t]*(["']?)(.+?)\1[ \t]*$""", re.MULTILINE | re.IGNORECASE)
_HEADING_SIGNS = re.compile(r"[ \t]{0,3}#{1,6}[ \t]+")
_NEWLINE = re.compile(r"\n")


def read(path: Path, data: bytes) -> Document:
    text = decode(path, data)
    front = _front_matter(text)
    start = front.end() if front else 0
    title = _YAML_TITLE.search(front[1]) if front else None
    blocks = tuple(_blocks(text, start))
    heading = next((b for b in blocks if b.kind == "heading"), None)
    name = title[2] if title else text[heading.start : heading.end] if heading else path.stem
    return Document(text, blocks, name)


@lru_cache(maxsize=1)
def _parser() -> MarkdownIt:
    """Blocks only: what stands inside a line changes no offset."""
    from markdown_it import MarkdownIt

    return MarkdownIt("commonmark", {"maxNesting": 100}).enable("table").disable("inline")


def _blocks(text: str, start: int) -> Iterator[DocumentBlock]:
    lines = [start]  # where each line begins, and where the text ends
    lines += [match.end() for match in _NEWLINE.finditer(text, start)]
    lines.append(len(text) + 1)
    for token in _parser().parse(text[start:]):
        if token.level or token.map is None:
            continue
        first, end = lines[token.map[0]], lines[min(token.map[1], len(lines) - 1)] - 1
        if token.type == "heading_open":
            yield from _heading(text, first, end, token)
        elif token.type == "html_block":
            yield from _outside_comments(text, first, end)
        elif token.type in _KINDS:
            yield from _span(text, first, end, _KINDS[token.type])


def _span(text: str, start: int, end: int, kind: Kind, level: int = 0) -> Iterator[DocumentBlock]:
    """The block without blank lines around it; none where nothing is left."""
    end = start + len(text[start:end].rstrip())
    at = start + len(text[start:end]) - len(text[start:end].lstrip())
    start = at if kind != "code" else text.rfind("\n", start, at) + 1 or start
    if start < end:
        yield DocumentBlock(start, end, kind, level)


def _heading(text: str, start: int, end: int, token: Token) -> Iterator[DocumentBlock]:
    if token.markup.startswith("#"):
        signs = _HEADING_SIGNS.match(text, start, end)
        start = signs.end() if signs else start
        line = text[start:end].rstrip()
        bare = line.rstrip("#")  # closing signs count only behind a blank
        end = start + len(bare if not bare or bare[-1].isspace() else line)
    else:  # the line of signs below it
        end = text.rfind("\n", start, start + len(text[start:end].rstrip()))
    return _span(text, start, end, "heading", int(token.tag[1:]))


def _outside_comments(text: str, start: int, end: int) -> Iterator[DocumentBlock]:
    """HTML in Markdown stays as it is written, comments left out."""
    while start < end:
        opening = text.find("<!--", start, end)
        yield from _span(text, start, opening if opening >= 0 else end, "paragraph")
        closing = text.find("-->", opening, end) if opening >= 0 else -1
        start = closing + 3 if closing >= 0 else end


def _front_matter(text: str) -> re.Match[str] | None:
    """YAML at the top of the file; what stands between two rules is text (CommonMark 4.1)."""
    match = _FRONT_MATTER.match(text)
    if match is None:
        return None
    lines = match[1].split("\n")
    is_yaml = bool(_YAML_KEY.match(lines[0])) or lines[0].startswith("#")
    is_yaml = is_yaml and any(_YAML_KEY.match(line) for line in lines)
    return match if is_yaml and all(_YAML_LINE.fullmatch(line) for line in lines) else None
