"""From a document to chunks: spans of its text, cut at its structure.

Sections are never mixed; tables and code stay whole where they fit; long blocks are cut between
sentences, longer sentences between words. Each chunk knows its heading path and the span of its
section (its parent). `text[chunk.start:chunk.end]` is the chunk.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from understudy.errors import UsageError
from understudy.rag.document import Document, DocumentBlock

DEFAULT_SIZE = 220
DEFAULT_OVERLAP = 40
MAX_PARENT = 4000  # characters of a section that are worth giving to a reader around a chunk
# Chinese and Japanese put no blank behind a sentence.
_SENTENCE_END = re.compile(
    r"(?<=[.!?…])[\"'”’)\]]*\s+|(?<=[。！？])[\"'”’)\]」』）]*\s*(?![。！？])|\n+"
)
_WORD_GAP = re.compile(r"\s+")

CountTokens = Callable[[str], int]


@dataclass(frozen=True, slots=True)
class Chunk:
    """`text[start:end]`; `parent` is the span of the section around it, `page` where it begins,
    counted from 1.
    """

    start: int
    end: int
    heading_path: tuple[str, ...]
    parent: tuple[int, int]
    num_tokens: int
    page: int | None


@dataclass(frozen=True, slots=True)
class _Piece:
    start: int
    end: int
    num_tokens: int


def chunk_document(
    document: Document,
    count_tokens: CountTokens,
    *,
    size: int = DEFAULT_SIZE,
    overlap: int = DEFAULT_OVERLAP,
) -> list[Chunk]:
    """Cuts a document.

    Args:
        count_tokens: the number of tokens of a text, by the tokenizer of the model that will read
            it.
        size: most tokens of a chunk; a single word may be longer.
        overlap: tokens of the end of a chunk that begin the next one of the same section, in whole
            sentences.
    """
    if size < 8 or not 0 <= overlap <= size // 2:
        raise UsageError(
            "chunk size and overlap do not fit",
            expected="size at least 8, overlap at most half of it",
            found=(size, overlap),
        )
    chunks: list[Chunk] = []
    for path, blocks in _sections(document):
        pieces = [
            piece for block in blocks for piece in _pieces(document.text, block, count_tokens, size)
        ]
        parent = (blocks[0].start, blocks[-1].end)
        for group in _groups(pieces, size, overlap):
            start, end = group[0].start, group[-1].end
            around = parent if parent[1] - parent[0] <= MAX_PARENT else _around(start, end, parent)
            chunks.append(
                Chunk(
                    start,
                    end,
                    path,
                    around,
                    sum(p.num_tokens for p in group),
                    document.page_at(start),
                )
            )
    return chunks


def _around(start: int, end: int, parent: tuple[int, int]) -> tuple[int, int]:
    margin = max(0, MAX_PARENT - (end - start)) // 2
    return max(parent[0], start - margin), min(parent[1], end + margin)


def _sections(document: Document) -> Iterable[tuple[tuple[str, ...], list[DocumentBlock]]]:
    """(heading path, blocks under it); a heading without anything under it is a section of its
    own.
    """
    path: list[tuple[int, str]] = []
    blocks: list[DocumentBlock] = []
    bare: DocumentBlock | None = None
    for block in document.blocks:
        if block.kind != "heading":
            blocks.append(block)
            bare = None
            continue
        if blocks or (bare is not None and bare.level >= block.level):
            yield tuple(title for _, title in path), blocks or [bare]  # type: ignore[list-item]
        while path and path[-1][0] >= block.level:
            path.pop()
        path.append((block.level, " ".join(document.text[block.start : block.end].split())))
        blocks, bare = [], block
    if blocks or bare is not None:
        yield tuple(title for _, title in path), blocks or [bare]  # type: ignore[list-item]


def _pieces(text: str, block: DocumentBlock, count_tokens: CountTokens, size: int) -> list[_Piece]:
    """A block as pieces of at most `size` tokens: whole, else its sentences, else runs of words."""
    num_tokens = count_tokens(text[block.start : block.end])
    if num_tokens <= size and (block.kind in ("table", "code") or num_tokens <= size // 4):
        return [_Piece(block.start, block.end, num_tokens)]
    pieces = []
    for start, end in _split(text, block.start, block.end, _SENTENCE_END):
        count = count_tokens(text[start:end])
        pieces += (
            [_Piece(start, end, count)]
            if count <= size
            else _words(text, start, end, count_tokens, size)
        )
    return pieces


def _split(text: str, start: int, end: int, gap: re.Pattern[str]) -> list[tuple[int, int]]:
    spans, at = [], start
    for match in gap.finditer(text, start, end):
        if match.start() > at:
            spans.append((at, match.start() if gap is _WORD_GAP else _end_of(text, match)))
        at = match.end()
    return [*spans, (at, end)] if at < end else spans


def _end_of(text: str, match: re.Match[str]) -> int:
    """A sentence keeps its closing quotes and brackets, not the white space after them."""
    return match.start() + len(match[0].rstrip())


def _words(text: str, start: int, end: int, count_tokens: CountTokens, size: int) -> list[_Piece]:
    """A long sentence in runs of words, halved until each fits; a word that does not fit is cut by
    characters.
    """
    count = count_tokens(text[start:end])
    if count <= size:
        return [_Piece(start, end, count)]
    words = _split(text, start, end, _WORD_GAP)
    if len(words) > 1:
        middle = len(words) // 2
        halves = [(words[0][0], words[middle - 1][1]), (words[middle][0], words[-1][1])]
    elif end - start > 1:
        halves = [(start, (start + end) // 2), ((start + end) // 2, end)]
    else:
        return [_Piece(start, end, count)]
    return [piece for half in halves for piece in _words(text, *half, count_tokens, size)]


def _groups(pieces: list[_Piece], size: int, overlap: int) -> Iterable[list[_Piece]]:
    """Neighbouring pieces of together at most `size` tokens, the end of each group repeated in the
    next.
    """
    group: list[_Piece] = []
    total, num_new = 0, 0
    for piece in pieces:
        if group and total + piece.num_tokens > size:
            yield group
            group = _tail(group, min(overlap, size - piece.num_tokens))
            total, num_new = sum(p.num_tokens for p in group), 0
        group.append(piece)
        total += piece.num_tokens
        num_new += 1
    if num_new:
        yield group


def _tail(group: list[_Piece], most: int) -> list[_Piece]:
    tail: list[_Piece] = []
    for piece in reversed(group[1:]):
        most -= piece.num_tokens
        if most < 0:
            break
        tail.insert(0, piece)
    return tail
