"""The tokenizer: text <-> ids, with control markers switched on or off by the caller.

A marker is a token that stands for structure (`<|im_start|>`, `<extra_id_1>`, `</s>`). Text is first cut at markers, where
they are allowed, and each piece between them goes through the segmenter of the file, exactly as the original implementations do.
With markers off the text of a marker is ordinary characters and cannot give the marker's id.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from understudy.errors import UsageError


class Segmenter(ABC):
    """Plain text -> ids, knowing no markers."""

    vocab_size: int

    @abstractmethod
    def encode(self, text: str, is_start: bool) -> list[int]:
        """Ids of a piece of text; `is_start` where it opens the whole text (a dummy space may stand there)."""

    @abstractmethod
    def piece(self, token: int) -> str:
        """The vocabulary entry as the file spells it."""

    @abstractmethod
    def bytes_of(self, token: int) -> bytes:
        """The UTF-8 bytes that the token stands for; a part of a character is possible."""

    strips_first_space: bool = False  # whether decoding drops one space at the very start


@dataclass(frozen=True, slots=True)
class Marker:
    """One marker; `strips_left` and `strips_right` swallow the white space beside it."""

    token: int
    text: str
    is_special: bool  # control tokens disappear when special tokens are skipped; user-defined ones stay
    strips_left: bool = False
    strips_right: bool = False


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
        add_bos: bool = False,
        chat_template: str | None = None,
    ) -> None:
        self._segmenter = segmenter
        self.markers: Mapping[str, Marker] = {m.text: m for m in markers if m.text}
        self._by_id = {m.token: m for m in self.markers.values()}
        longest_first = sorted(self.markers, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None
        self.vocab_size = max([segmenter.vocab_size, *(m.token + 1 for m in self.markers.values())])
        self.bos_id, self.eos_ids, self.pad_id = bos_id, tuple(eos_ids), pad_id
        self.add_bos, self.chat_template = add_bos, chat_template

    # ---- encoding ----

    def encode(self, text: str, *, markers: bool = False, add_bos: bool = False) -> list[int]:
        """Ids of a text. With `markers=False` (the default) markers in it stay plain text."""
        return self.encode_segments(self.split(text) if markers else [text], add_bos=add_bos)

    def split(self, text: str) -> list[str | Marker]:
        """Cuts a text at its markers."""
        if self._pattern is None:
            return [text]
        segments: list[str | Marker] = []
        at = 0
        for match in self._pattern.finditer(text):
            segments += [text[at : match.start()], self.markers[match[0]]]
            at = match.end()
        return [*segments, text[at:]]

    def encode_segments(self, segments: Iterable[str | Marker], *, add_bos: bool = False) -> list[int]:
        """Ids of texts and markers in a row; neighbouring texts are joined first, as if they had been one."""
        ids = [self.bos_id] if add_bos and self.bos_id is not None else []
        is_start = True
        for text, marker in _runs(segments):
            if text:
                ids += self._encode_text(text, is_start)
                is_start = False
            if marker is not None:
                ids.append(marker.token)
                is_start = False
        return ids

    def _encode_text(self, text: str, is_start: bool) -> list[int]:
        text = text.encode("utf-8", "replace").decode("utf-8")  # a lone surrogate has no bytes: it becomes "?"
        ids = self._segmenter.encode(text, is_start)
        if not self._by_id.keys().isdisjoint(ids):
            ids = self._without_markers(text, is_start)
        return ids

    def _without_markers(self, text: str, is_start: bool) -> list[int]:
        """For vocabularies that spell a marker as an ordinary word: it is cut after its first character."""
        assert self._pattern is not None
        cut = self._pattern.sub(lambda match: match[0][0] + "\0" + match[0][1:], text.replace("\0", "\0\0"))
        ids: list[int] = []
        for piece in re.split("(?<!\0)\0(?!\0)", cut):
            ids += self._segmenter.encode(piece.replace("\0\0", "\0"), is_start)
            is_start = False
        return [token for token in ids if token not in self._by_id]

    # ---- decoding ----

    def decode(self, ids: Sequence[int], *, skip_special: bool = False) -> str:
        """Text of some ids; bytes that are no UTF-8 become U+FFFD."""
        data = b"".join(self.token_bytes(token) for token in ids if not (skip_special and self.is_special(token)))
        text = data.decode("utf-8", "replace")
        if self._segmenter.strips_first_space and ids and text.startswith(" ") and ids[0] not in self._by_id:
            text = text[1:]
        return text

    def token_bytes(self, token: int) -> bytes:
        """The UTF-8 bytes that a token stands for, a marker's text included."""
        self._check(token)
        marker = self._by_id.get(token)
        return marker.text.encode() if marker is not None else self._segmenter.bytes_of(token)

    def id_to_piece(self, token: int) -> str:
        """The vocabulary entry as the file spells it."""
        self._check(token)
        marker = self._by_id.get(token)
        return marker.text if marker is not None else self._segmenter.piece(token)

    def is_special(self, token: int) -> bool:
        marker = self._by_id.get(token)
        return marker is not None and marker.is_special

    def marker_id(self, text: str) -> int | None:
        """The id of a marker, None when this vocabulary does not have it."""
        marker = self.markers.get(text)
        return None if marker is None else marker.token

    @property
    def strips_first_space(self) -> bool:
        return self._segmenter.strips_first_space

    def _check(self, token: int) -> None:
        if not 0 <= token < self.vocab_size:
            raise UsageError("token id is outside the vocabulary", expected=f"0 to {self.vocab_size - 1}", found=token)


def _runs(segments: Iterable[str | Marker]) -> Iterable[tuple[str, Marker | None]]:
    """(text, the marker that ends it) for each stretch between markers, white space swallowed where markers ask for it."""
    text = ""
    strip_next = False
    for segment in segments:
        if isinstance(segment, str):
            text += segment
            continue
        if strip_next:
            text = text.lstrip()
        yield (text.rstrip() if segment.strips_left else text), segment
        text, strip_next = "", segment.strips_right
    yield (text.lstrip() if strip_next else text), None
