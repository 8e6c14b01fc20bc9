"""The tokenizer: text <-> ids, with control markers switched on or off by the caller.

A marker is a token that stands for structure (`<|im_start|>`, `<extra_id_1>`, `</s>`). Text is
first cut at markers, where they are allowed, and each piece between them goes through the segmenter
of the file, exactly as the original implementations do. With markers off the text of a marker is
ordinary characters and cannot give the marker's id: segmenters do not know it.

A lone surrogate, which has no UTF-8 bytes, is encoded as "?".
"""

from __future__ import annotations

import functools
import re
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from understudy.errors import UsageError

# Unicode's White_Space, which is not quite what `str.strip` takes.
_BLANKS = "\t\n\x0b\x0c\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(
    map(chr, range(0x2000, 0x200B))
)


class Segmenter(ABC):
    """Plain text -> ids, never a marker's (the unknown token excepted, where there is no other
    way).
    """

    vocab_size: int

    @abstractmethod
    def encode(self, text: str, is_start: bool) -> list[int]:
        """Ids of a piece of text; `is_start` where it opens the whole text (a dummy space may stand
        there).
        """

    def encode_stretch(
        self, pieces: Sequence[str | Marker], *, is_start: bool, is_end: bool
    ) -> list[int]:
        """Ids of what stands between two markers: text, with the markers in it that do not cut
        it.
        """
        _ = is_end
        ids: list[int] = []
        for piece in pieces:
            ids += [piece.token] if isinstance(piece, Marker) else self.encode(piece, is_start)
            is_start = False
        return ids

    @abstractmethod
    def piece(self, token: int) -> str:
        """The vocabulary entry as the file spells it."""

    @abstractmethod
    def bytes_of(self, token: int) -> bytes:
        """The UTF-8 bytes that the token stands for; a part of a character is possible."""

    strips_first_space: bool = False  # whether decoding drops one space at the very start


@dataclass(frozen=True, slots=True)
class Marker:
    """One marker.

    `strips_left` and `strips_right` swallow the white space beside it, `is_whole_word` wants no
    letters there. With `is_inside` the text round it is one text to the segmenter, as SentencePiece
    has it for user-defined pieces. One that `is_second` is looked for in what the others leave of a
    text.
    """

    token: int
    text: str
    is_special: (
        bool  # control tokens disappear when special tokens are skipped; user-defined ones stay
    )
    strips_left: bool = False
    strips_right: bool = False
    is_whole_word: bool = False
    is_inside: bool = False
    is_second: bool = False

    @property
    def is_text(self) -> bool:
        """Runs of blanks and single characters that a vocabulary lists as user-defined: they can
        open no turn, so they are matched in any text, as they were in training.
        """
        return not self.is_special and (len(self.text) == 1 or not self.text.strip(_BLANKS))


class Tokenizer:
    """See the module's docstring. Ids outside 0 … vocab_size - 1 are a UsageError."""

    def __init__(
        self,
        segmenter: Segmenter,
        markers: Iterable[Marker],
        *,
        bos_id: int | None,
        eos_ids: Sequence[int],
        pad_id: int | None = None,
        opening_ids: Sequence[int] = (),
        closing_ids: Sequence[int] = (),
        restarts: bool = False,
        special_tokens: Mapping[str, str] | None = None,
        chat_template: str | None = None,
        named_templates: Mapping[str, str] | None = None,
    ) -> None:
        self._segmenter = segmenter
        self.markers: Mapping[str, Marker] = {m.text: m for m in markers if m.text}
        self._by_id = {m.token: m for m in self.markers.values()}
        self._patterns = [
            _pattern([text for text, marker in self.markers.items() if marker.is_second == second])
            for second in (False, True)
        ]
        self._text_pattern = _pattern(
            [text for text, marker in self.markers.items() if marker.is_text]
        )
        self.base_size = segmenter.vocab_size  # without the markers behind the vocabulary
        self.vocab_size = max([segmenter.vocab_size, *(m.token + 1 for m in self.markers.values())])
        self.bos_id, self.eos_ids, self.pad_id = bos_id, tuple(eos_ids), pad_id
        self.opening_ids, self.closing_ids = tuple(opening_ids), tuple(closing_ids)
        self._restarts = restarts  # whether text behind a marker is segmented as a new text
        self.chat_template, self.named_templates = chat_template, dict(named_templates or {})
        ids = {"bos_token": bos_id, "eos_token": next(iter(eos_ids), None), "pad_token": pad_id}
        self.special_tokens: dict[str, str] = (
            {
                name: self.token_bytes(id).decode("utf-8", "replace")
                for name, id in ids.items()
                if id is not None
            }
            if special_tokens is None
            else dict(special_tokens)
        )

    # ---- encoding ----

    @property
    def add_bos(self) -> bool:
        """Whether a prompt begins with a token that nobody wrote."""
        return bool(self.opening_ids)

    def encode(self, text: str, *, markers: bool = False, add_special: bool = False) -> list[int]:
        """Ids of a text. With `markers=False` (the default) markers in it stay plain text.

        Args:
            add_special: put `opening_ids` in front (once, where the text begins with them already)
                and `closing_ids` behind it.
        """
        segments = self.split(text) if markers else [text]
        if not add_special:
            return self.encode_segments(segments)
        return [*self.encode_segments(segments, add_opening=True), *self.closing_ids]

    def split(self, text: str) -> list[str | Marker]:
        """Cuts a text at its markers, the leftmost first and of those the longest."""
        segments: list[str | Marker] = [text]
        for pattern in self._patterns:
            cut = (self._cut(s, pattern) if isinstance(s, str) else [s] for s in segments)
            segments = [piece for pieces in cut for piece in pieces]
        return segments

    def _cut(self, text: str, pattern: re.Pattern[str] | None) -> list[str | Marker]:
        segments: list[str | Marker] = []
        at = 0
        for match in pattern.finditer(text) if pattern is not None else ():
            marker = self.markers[match[0]]
            if not marker.is_whole_word or _stands_alone(match):
                segments += [text[at : match.start()], marker]
                at = match.end()
        return [*segments, text[at:]]

    def encode_segments(
        self, segments: Iterable[str | Marker], *, add_opening: bool = False
    ) -> list[int]:
        """Ids of texts and markers in a row; neighbouring texts are joined first, as if they had
        been one.

        With `add_opening` they begin with `opening_ids`, of which those that the markers in front
        are already do not come twice.
        """
        segments = list(segments)
        ids = self.missing_opening(segments) if add_opening else []
        is_start = True
        for pieces, marker in self._stretches(segments):
            if pieces:
                ids += self._segmenter.encode_stretch(
                    pieces, is_start=is_start, is_end=marker is None
                )
                is_start = False
            if marker is not None:
                ids.append(marker.token)
                is_start = self._restarts
        return ids

    def _stretches(
        self, segments: Iterable[str | Marker]
    ) -> Iterator[tuple[list[str | Marker], Marker | None]]:
        """(pieces, the marker that ends them) for each stretch between markers that cut the
        text.
        """
        pieces: list[str | Marker] = []
        for text, last in _runs(segments):
            safe = text.encode("utf-8", "replace").decode("utf-8")
            for piece in (*self._cut(safe, self._text_pattern), last):
                if isinstance(piece, Marker) and not piece.is_inside:
                    yield pieces, piece
                    pieces = []
                elif piece:
                    pieces.append(piece)
        yield pieces, None

    def missing_opening(self, segments: Iterable[str | Marker]) -> list[int]:
        """Those of `opening_ids` that the markers in front of a text are not already; blanks before
        or between them are passed over."""
        written: list[int] = []
        for segment in segments:
            if isinstance(segment, Marker):
                written.append(segment.token)
            elif segment.strip():
                break
        opening = list(self.opening_ids)
        first = next(
            i for i in range(len(opening) + 1) if written[: len(opening) - i] == opening[i:]
        )
        return opening[:first]

    # ---- decoding ----

    def decode(self, ids: Sequence[int], *, skip_special: bool = False) -> str:
        """Text of some ids; bytes that are no UTF-8 become U+FFFD."""
        shown = [token for token in ids if not (skip_special and self.is_special(token))]
        data = [self.token_bytes(token) for token in shown]
        first = next((i for i, piece in enumerate(data) if piece), None)
        if first is not None:
            data[first] = self.opening_bytes(shown[first])
        return b"".join(data).decode("utf-8", "replace")

    def opening_bytes(self, token: int) -> bytes:
        """`token_bytes` of the first token of a text: without the dummy space that encoding puts
        there.
        """
        data = self.token_bytes(token)
        is_dummy = (
            self._segmenter.strips_first_space
            and token not in self._by_id
            and data.startswith(b" ")
        )
        return data[1:] if is_dummy else data

    def token_bytes(self, token: int) -> bytes:
        """The UTF-8 bytes that a token stands for, a marker's text included."""
        self._check(token)
        marker = self._by_id.get(token)
        return marker.text.encode() if marker is not None else self._segmenter.bytes_of(token)

    def id_to_piece(self, token: int) -> str:
        """The vocabulary entry as the file spells it."""
        self._check(token)
        piece = self._segmenter.piece(token) if token < self._segmenter.vocab_size else ""
        marker = self._by_id.get(token)
        return marker.text if marker is not None and not piece else piece

    def is_special(self, token: int) -> bool:
        marker = self._by_id.get(token)
        return marker is not None and marker.is_special

    def marker_id(self, text: str) -> int | None:
        """The id of a marker, None when this vocabulary does not have it."""
        marker = self.markers.get(text)
        return None if marker is None else marker.token

    @functools.cached_property
    def longest_token(self) -> int:
        """Bytes of the longest token: what is longer than n times so many characters has more than
        n tokens.
        """
        return max((len(self.token_bytes(token)) for token in range(self.vocab_size)), default=1)

    @property
    def strips_first_space(self) -> bool:
        return self._segmenter.strips_first_space

    def _check(self, token: int) -> None:
        if not 0 <= token < self.vocab_size:
            raise UsageError(
                "token id is outside the vocabulary",
                expected=f"0 to {self.vocab_size - 1}",
                found=token,
            )


def _pattern(texts: Iterable[str]) -> re.Pattern[str] | None:
    longest_first = sorted(texts, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, longest_first))) if longest_first else None


def _stands_alone(match: re.Match[str]) -> bool:
    before, after = match.string[: match.start()][-1:], match.string[match.end() :][:1]
    return not _is_of_word(before) and not _is_of_word(after)


def _is_of_word(character: str) -> bool:
    """Unicode's class of word characters, which is not quite Python's: with marks and joiners,
    without fractions and raised digits."""
    if character in ("", "\u200c", "\u200d"):
        return character != ""
    category = unicodedata.category(character)
    return category[0] in "LM" or category in ("Nd", "Nl", "Pc") or "Ⓐ" <= character <= "ⓩ"


def _runs(segments: Iterable[str | Marker]) -> Iterable[tuple[str, Marker | None]]:
    """(text, the marker that ends it) for each stretch between markers, white space swallowed where
    markers ask for it.
    """
    text = ""
    strip_next = False
    for segment in segments:
        if isinstance(segment, str):
            text += segment
            continue
        if strip_next:
            text = text.lstrip(_BLANKS)
        yield (text.rstrip(_BLANKS) if segment.strips_left else text), segment
        text, strip_next = "", segment.strips_right
    yield (text.lstrip(_BLANKS) if strip_next else text), None
