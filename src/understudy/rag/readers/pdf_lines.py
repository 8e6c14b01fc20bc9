"""From the characters of a PDF page to lines and paragraphs, by where they stand and not by the
blanks that the file has.

Writers move instead of writing blanks, put blanks under letters when they kern, and end a page's
line anywhere. A word ends where the gap to the next character is a tenth of the line's height, as
in Poppler's pdftotext.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

WORD_GAP = 0.1  # of the height of a line
SAME_LINE = 0.6  # heights that a baseline may move within a line: raised and lowered signs
NEW_PARAGRAPH = 1.3  # distances of lines from which on a gap parts paragraphs
FEW_LINES = 3
COLUMN = 12.0  # units: lines that begin nearer than this stand in one column
INDENT = 0.7  # heights
SAME_PLACE = 0.1  # heights between a character and its copy
RAISED = 0.15  # heights that the number of a note stands above its line
# Accents as signs of their own, and as marks of the letter before them.
_ACCENTS = dict(
    zip(
        "`´ˆ^˜~¯˘˙¨˚ˇ¸˛˝",
        "\u0300\u0301\u0302\u0302\u0303\u0303\u0304\u0306"
        "\u0307\u0308\u030a\u030c\u0327\u0328\u030b",
        strict=True,
    )
)
_DOTLESS = {"ı": "i", "ȷ": "j"}
_HYPHENS = "-\u2010\u00ad\u0002"
_LETTER = re.compile(r"[^\W\d_]")
_MEAN_WIDTH = 0.45  # of a character, in heights: how much room the next word would have needed


@dataclass(frozen=True, slots=True)
class Glyph:
    """A character with the box of its advance; `y` is its baseline, upwards. In a line that is
    turned by quarters of a turn all are as whoever reads along it sees them.
    """

    character: str
    left: float
    right: float
    y: float
    height: float
    turns: int = 0
    starts_line: bool = False
    after_blank: float | None = (
        None  # where the blank before it begins and, behind the sign, how wide it is
    )
    blank_width: float = 0.0


@dataclass(slots=True)
class PageLine:
    text: str
    left: float
    right: float
    y: float
    height: float
    turns: int = 0
    number_end: float = 0.0  # where a number that the line begins with ends
    behind_number: float | None = None  # and where the rest begins

    @property
    def is_hyphenated(self) -> bool:
        return (
            len(self.text) > 1 and self.text[-1] in _HYPHENS and bool(_LETTER.match(self.text[-2]))
        )


def lines_of(glyphs: Iterable[Glyph]) -> list[PageLine]:
    """Characters in the order of the file as lines of words."""
    found: list[PageLine] = []
    pieces: list[str] = []
    previous: Glyph | None = None
    for glyph in _with_accents(_once(glyphs)):
        if previous is None or _begins_line(previous, glyph):
            _finish(found, pieces)
            pieces = []
            found.append(PageLine("", glyph.left, glyph.right, glyph.y, glyph.height, glyph.turns))
        else:
            line = found[-1]
            if _ends_word(previous, glyph) or _is_behind_mark(pieces, previous, glyph):
                if all(piece.isdecimal() for piece in pieces):
                    line.number_end, line.behind_number = previous.right, glyph.left
                pieces.append(" ")
            line.left, line.right = min(line.left, glyph.left), max(line.right, glyph.right)
            line.height = max(line.height, glyph.height)
        pieces.append(glyph.character)
        previous = glyph
    _finish(found, pieces)
    return list(_downwards(line for line in found if line.text.strip()))


def _downwards(lines: Iterable[PageLine]) -> Iterator[PageLine]:
    """Lines in their order; turned ones, which PDFium may give from the left to the right of the
    page, from the first to the last.
    """
    for turns, group in itertools.groupby(lines, key=lambda line: line.turns):
        run = list(group)
        rises = sum(1 if b.y > a.y else -1 for a, b in itertools.pairwise(run))
        yield from reversed(run) if turns and rises > 0 else run


def _finish(found: list[PageLine], pieces: list[str]) -> None:
    if found:
        found[-1].text = "".join(pieces).strip()


def _begins_line(previous: Glyph, glyph: Glyph) -> bool:
    if glyph.turns != previous.turns:
        return True
    height = max(previous.height, glyph.height)
    is_level = abs(glyph.y - previous.y) < SAME_LINE * height
    if is_level and glyph.left >= previous.right - height:
        return False  # a new line of the file that goes on where the last one ended
    return glyph.starts_line or (not is_level and glyph.left < previous.left) or is_level


def _ends_word(previous: Glyph, glyph: Glyph) -> bool:
    height = max(previous.height, glyph.height)
    gap = glyph.left - previous.right
    if glyph.after_blank is None:
        return gap > WORD_GAP * height or abs(glyph.y - previous.y) >= SAME_LINE * height
    advance = glyph.left - glyph.after_blank
    is_kerned_away = gap < 0.02 * height and advance < 0.4 * glyph.blank_width
    return not is_kerned_away


def _is_behind_mark(pieces: list[str], previous: Glyph, glyph: Glyph) -> bool:
    """Whether a line begins with the raised number of a note, which ends here."""
    is_number = len(pieces) <= 3 and all(piece.isdigit() for piece in pieces)
    return is_number and previous.y - glyph.y > RAISED * glyph.height


def _once(glyphs: Iterable[Glyph]) -> Iterator[Glyph]:
    """Characters without those that are drawn a second time to look bold."""
    last: deque[Glyph] = deque(maxlen=4)
    for glyph in glyphs:
        reach = SAME_PLACE * glyph.height
        if not any(
            one.character == glyph.character
            and abs(one.left - glyph.left) < reach
            and abs(one.y - glyph.y) < reach
            for one in last
        ):
            yield glyph
        last.append(glyph)


def _with_accents(glyphs: Iterable[Glyph]) -> Iterator[Glyph]:
    """Characters with the accents that stand over them as signs of their own, as TeX's older fonts
    have it, put into one letter.
    """
    held: Glyph | None = None
    for glyph in glyphs:
        if held is not None and (letter := _accented(held, glyph)) is not None:
            yield letter
            held = None
            continue
        if held is not None:
            yield held
        held = glyph
    if held is not None:
        yield held


def _accented(first: Glyph, second: Glyph) -> Glyph | None:
    """Both as one letter, if one of them is an accent in the other's place."""
    accent, letter = (first, second) if first.character in _ACCENTS else (second, first)
    mark = _ACCENTS.get(accent.character)
    if mark is None or accent.turns != letter.turns:
        return None
    middle = (accent.left + accent.right) / 2
    if not letter.left < middle < letter.right or abs(accent.y - letter.y) > letter.height:
        return None
    base = _DOTLESS.get(letter.character, letter.character)
    whole = unicodedata.normalize("NFC", base + mark)
    if len(whole) > 1:
        return None
    return replace(
        letter,
        character=whole,
        starts_line=first.starts_line,
        after_blank=first.after_blank,
        blank_width=first.blank_width,
    )


@dataclass(slots=True)
class _Paragraph:
    lines: list[PageLine] = field(default_factory=list)

    @property
    def leading(self) -> float:
        return self.lines[0].y - self.lines[1].y if len(self.lines) > 1 else 0.0


def paragraphs_of(lines: list[PageLine]) -> Iterator[str]:
    """Lines as paragraphs: lines that were full run on, shorter ones keep their end, words cut at
    an end are whole again.
    """
    paragraph, edges = _Paragraph(), _edges(lines)
    for i, line in enumerate(lines):
        following = lines[i + 1] if i + 1 < len(lines) else None
        if paragraph.lines and not _goes_on(paragraph, line, following):
            yield _text(paragraph.lines, _margin(paragraph.lines, edges))
            paragraph = _Paragraph()
        paragraph.lines.append(line)
    if paragraph.lines:
        yield _text(paragraph.lines, _margin(paragraph.lines, edges))


def _goes_on(paragraph: _Paragraph, line: PageLine, following: PageLine | None) -> bool:
    last = paragraph.lines[-1]
    height = max(last.height, line.height)
    distance = last.y - line.y
    if last.is_hyphenated and _LETTER.match(line.text):
        return True
    if not 0 < distance < 2.5 * height or min(last.height, line.height) < 0.8 * height:
        return False
    if paragraph.leading and distance > NEW_PARAGRAPH * paragraph.leading:
        return False
    if line.left > last.right or line.right < last.left:
        return False
    moved = line.left - last.left
    if moved > INDENT * height:  # hanging, or the first line of the next paragraph
        return following is None or following.left > line.left - INDENT * height
    return moved > -INDENT * height or len(paragraph.lines) == 1


def _is_cut(before: str, after: str) -> bool:
    """Whether a hyphen at a line's end cut a word: letters of one case stand round it."""
    return after.islower() or (before.isupper() and after.isupper())


def _edges(lines: list[PageLine]) -> dict[int, float]:
    """How far lines reach that begin near each other, by where they begin."""
    found: dict[int, float] = {}
    for line in lines:
        column = int(line.left // COLUMN)
        found[column] = max(found.get(column, line.right), line.right)
    return found


def _margin(paragraph: list[PageLine], edges: dict[int, float]) -> float:
    """How far its lines reach, or where they are too few to tell, those of the page that begin at
    its left edge.
    """
    reach = max(line.right for line in paragraph)
    if len(paragraph) >= FEW_LINES:
        return reach
    column = int(paragraph[0].left // COLUMN)
    return max(reach, *(edges.get(c, reach) for c in (column - 1, column, column + 1)))


def _text(lines: list[PageLine], margin: float) -> str:
    pieces = [lines[0].text]
    for last, line in itertools.pairwise(lines):
        first_word = line.text.split(" ", 1)[0]
        room = margin - last.right
        if last.is_hyphenated and _is_cut(last.text[-2], line.text[0]):
            pieces[-1] = pieces[-1][:-1]
            pieces.append(line.text)
        elif room < (len(first_word) + 1) * _MEAN_WIDTH * last.height:
            pieces += [" ", line.text]
        else:
            pieces += ["\n", line.text]
    return "".join(pieces).replace("\x02", "-")
