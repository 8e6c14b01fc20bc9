"""Markdown: headings, fenced code, tables and lists found in the file's own text, so that offsets are those of the file."""

from __future__ import annotations

import re
from pathlib import Path

from understudy.rag.document import Block, Document, Kind
from understudy.rag.readers import decode

_HEADING = re.compile(r" {0,3}(#{1,6})[ \t]+(.+?)[ \t]*#*[ \t]*")
_FENCE = re.compile(r" {0,3}(```+|~~~+)")
_LIST = re.compile(r"[ \t]*(?:[-*+]|\d{1,9}[.)])[ \t]+")
_UNDERLINE = re.compile(r" {0,3}(=+|-+)[ \t]*")


def read(path: Path, data: bytes) -> Document:
    text = decode(path, data)
    lines = _spans(text)
    blocks: list[Block] = []
    at = _after_front_matter(text, lines)
    while at < len(lines):
        start, end = lines[at]
        line = text[start:end]
        if not line.strip():
            at += 1
        elif match := _HEADING.fullmatch(line):
            blocks.append(
                Block(start + match.start(2), start + match.end(2), "heading", len(match[1]))
            )
            at += 1
        elif match := _FENCE.match(line):
            last = next(
                (
                    i
                    for i in range(at + 1, len(lines))
                    if text[slice(*lines[i])].strip().startswith(match[1])
                ),
                len(lines) - 1,
            )
            blocks.append(Block(start, lines[last][1], "code"))
            at = last + 1
        else:
            at = _paragraph(text, lines, at, blocks)
    first = next((b for b in blocks if b.kind == "heading"), None)
    return Document(text, tuple(blocks), text[first.start : first.end] if first else path.stem)


def _spans(text: str) -> list[tuple[int, int]]:
    spans, at = [], 0
    for line in text.split("\n"):
        spans.append((at, at + len(line)))
        at += len(line) + 1
    return spans


def _after_front_matter(text: str, lines: list[tuple[int, int]]) -> int:
    if text[slice(*lines[0])].strip() != "---":
        return 0
    return next(
        (
            i + 1
            for i, span in enumerate(lines[1:50], 1)
            if text[slice(*span)].strip() in ("---", "...")
        ),
        0,
    )


def _paragraph(text: str, lines: list[tuple[int, int]], at: int, blocks: list[Block]) -> int:
    """Takes lines up to the next blank line, heading or fence; gives the line after them."""
    last = at
    while last + 1 < len(lines):
        following = text[slice(*lines[last + 1])]
        underline = _UNDERLINE.fullmatch(following)
        if underline and last == at and following.strip():
            blocks.append(Block(*lines[at], "heading", 1 if underline[1][0] == "=" else 2))
            return at + 2
        if not following.strip() or _HEADING.fullmatch(following) or _FENCE.match(following):
            break
        last += 1
    first = text[slice(*lines[at])]
    kind: Kind = (
        "table" if first.strip().startswith("|") else "list" if _LIST.match(first) else "paragraph"
    )
    blocks.append(Block(lines[at][0], lines[last][1], kind))
    return last + 1
