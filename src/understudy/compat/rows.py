"""One or two texts as a row of ids: cut to a length, framed by special tokens, padded; as the
tokenizers library does it.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from understudy.compat.frame import Frame
from understudy.errors import UnderstudyWarning, UsageError

NO_LIMIT = int(1e30)  # what transformers says where no file gives a length
LAYOUT = (
    "padding",
    "padding_side",
    "pad_to_multiple_of",
    "truncation",
    "max_length",
    "truncation_side",
)
_PADDINGS = ("longest", "max_length", "do_not_pad")
_TRUNCATIONS = ("longest_first", "only_first", "only_second", "do_not_truncate")


@dataclass(slots=True)
class Row:
    """Ids with what is known of each: its type, whether it was put there, its place in its text,
    whether it counts.
    """

    ids: list[int]
    types: list[int] = field(default_factory=list)
    specials: list[int] = field(default_factory=list)
    offsets: list[tuple[int, int]] = field(default_factory=list)
    mask: list[int] = field(default_factory=list)

    @classmethod
    def of(cls, ids: Sequence[int], offsets: Sequence[tuple[int, int]], kind: int) -> Row:
        count = len(ids)
        return cls([*ids], [kind] * count, [0] * count, [*offsets], [1] * count)

    def columns(self) -> tuple[list[Any], ...]:
        return self.ids, self.types, self.specials, self.offsets, self.mask

    def extend(self, other: Row) -> None:
        for mine, more in zip(self.columns(), other.columns(), strict=True):
            mine.extend(more)

    def cut(self, length: int, is_left: bool) -> None:
        """Keeps `length` tokens, those behind with `is_left`."""
        for column in self.columns():
            column[:] = column[max(len(column) - length, 0) :] if is_left else column[:length]


@dataclass(frozen=True, slots=True)
class RowLayout:
    """How rows are cut and padded, from keywords of transformers."""

    padding: str
    truncation: str
    max_length: int
    padding_side: str
    truncation_side: str
    multiple: int

    @classmethod
    def of(cls, given: Mapping[str, Any], own: Mapping[str, Any]) -> RowLayout:
        """`given` are keywords of a call, `own` the tokenizer's sides and `model_max_length`.

        Raises:
            UsageError: an unknown strategy or side.
        """
        padding = _strategy("padding", given.get("padding"), _PADDINGS, "do_not_pad")
        wanted, length = given.get("truncation"), given.get("max_length")
        is_unsaid = wanted is None and length is not None and padding == "do_not_pad"
        truncation = _strategy(
            "truncation", True if is_unsaid else wanted, _TRUNCATIONS, "do_not_truncate"
        )
        limit = own["model_max_length"] if length is None else length
        if limit >= NO_LIMIT:
            if truncation != "do_not_truncate" or padding == "max_length":
                note = (
                    "there is no length to cut or pad to, so rows stay as they are; give max_length"
                )
                warnings.warn(note, UnderstudyWarning, stacklevel=4)
            truncation = "do_not_truncate"
            padding = "do_not_pad" if padding == "max_length" else padding
        multiple = given.get("pad_to_multiple_of") or 1
        if "do_not" not in padding + truncation and limit % multiple:
            raise UsageError(
                "rows are cut to a length that is no multiple of what they are padded to",
                where="max_length",
                expected=f"a multiple of {multiple}",
                found=limit,
            )
        return cls(
            padding,
            truncation,
            limit,
            checked_side(given.get("padding_side") or own["padding_side"], "padding_side"),
            checked_side(given.get("truncation_side") or own["truncation_side"], "truncation_side"),
            multiple,
        )


def _strategy(where: str, given: Any, known: Sequence[str], off: str) -> str:
    chosen = known[0] if given is True else off if given in (None, False) else given
    if chosen not in known:
        raise UsageError("unknown strategy", where=where, expected=" ".join(known), found=given)
    return str(chosen)


def checked_side(side: str, where: str) -> str:
    """UsageError unless it is left or right."""
    if side not in ("left", "right"):
        raise UsageError("unknown side", where=where, expected="left or right", found=side)
    return side


def framed(parts: Sequence[Row], frame: Frame | None, layout: RowLayout, num_missing: int) -> Row:
    """Texts cut to what the length leaves them, with special tokens round them.

    Args:
        parts: one text or two.
        frame: special tokens; None for none.
        layout: how long the row may be.
        num_missing: how many of the front's last tokens the text begins with already.
    """
    front = list(frame.front) if frame is not None else []
    front = front[: len(front) - num_missing]
    between = frame.between if frame is not None else ()
    back = frame.back if frame is not None else ()
    if layout.truncation != "do_not_truncate":
        num_added = len(front) + len(back) + (len(between) if len(parts) > 1 else 0)
        _cut(parts, max(layout.max_length - num_added, 0), layout)
    row = _specials(front)
    row.extend(parts[0])
    if len(parts) > 1:
        row.extend(_specials(between))
        row.extend(parts[1])
    row.extend(_specials(back))
    return row


def _specials(tokens: Sequence[tuple[int, int]]) -> Row:
    count = len(tokens)
    ids, types = [token for token, _ in tokens], [kind for _, kind in tokens]
    return Row(ids, types, [1] * count, [(0, 0)] * count, [1] * count)


def _cut(parts: Sequence[Row], length: int, layout: RowLayout) -> None:
    """As `truncate_encodings` of tokenizers 0.23."""
    is_left = layout.truncation_side == "left"
    sizes = [len(part.ids) for part in parts]
    surplus = sum(sizes) - length
    if surplus <= 0:
        return
    if layout.truncation == "longest_first":
        wanted = _longest_first(sizes, length)
    else:
        place = int(layout.truncation == "only_second")
        if place >= len(parts) or sizes[place] <= surplus:
            raise UsageError(
                "the text is too short to be cut to this length",
                where=f"truncation={layout.truncation!r}",
                expected=f"more than {surplus} tokens",
                found=sizes[place] if place < len(parts) else "no second text",
            )
        wanted = [size - surplus * (i == place) for i, size in enumerate(sizes)]
    for part, size in zip(parts, wanted, strict=True):
        part.cut(size, is_left)


def _longest_first(sizes: Sequence[int], length: int) -> list[int]:
    if len(sizes) == 1:
        return [length]
    short, long = sorted(sizes)
    long = short if short > length else max(short, length - short)
    if short + long > length:
        short = length // 2
        long = short + length % 2
    return [short, long] if sizes[0] <= sizes[1] else [long, short]


def pad(rows: Sequence[Row], layout: RowLayout, token: int) -> None:
    """Fills short rows, in place."""
    if layout.padding == "do_not_pad":
        return
    width = max((len(row.ids) for row in rows), default=0)
    if layout.padding == "max_length":
        width = layout.max_length
    width = -(-width // layout.multiple) * layout.multiple
    for row in rows:
        gap = width - len(row.ids)
        for column, value in zip(row.columns(), (token, 0, 1, (0, 0), 0), strict=True):
            filler = [value] * gap
            column[:] = filler + column if layout.padding_side == "left" else column + filler
