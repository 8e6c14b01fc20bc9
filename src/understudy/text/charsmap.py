"""The precompiled character map of a SentencePiece model (`nmt_nfkc` and its likes).

The map is a double-array trie over UTF-8, behind it the texts that its values point to. At each
place of a text the longest entry is replaced; a character that begins none stays. Source:
sentencepiece `normalizer.cc` and darts-clone's unit layout.
"""

from __future__ import annotations

import functools
import struct
from itertools import takewhile

import numpy as np

from understudy.errors import FormatError


class CharacterMap:
    """Raises FormatError where the bytes are no such map."""

    def __init__(self, blob: bytes) -> None:
        size = struct.unpack("<I", blob[:4])[0] if len(blob) >= 4 else 0
        if size % 4 or not 1024 <= size <= len(blob) - 4:
            raise FormatError("character map of a sentencepiece model is damaged", found=size)
        self._units: list[int] = np.frombuffer(blob, "<u4", size // 4, 4).tolist()
        self._texts = blob[4 + size :]
        # Where no entry holds a blank, words are looked up one by one.
        self._blank = None if 0x20 in map(_label, self._units) else " "
        self._replaced = functools.lru_cache(maxsize=65536)(self._of_word)
        self._is_open = functools.cache(self._begins_entry)

    def replace(self, text: str) -> str:
        """The text with its characters replaced."""
        if not any(map(self._is_open, text)):
            return text
        if self._blank is None:
            return self._of_word(text)
        return self._blank.join(map(self._replaced, text.split(self._blank)))

    def _of_word(self, word: str) -> str:
        if word.isascii() and not any(map(self._is_open, word)):
            return word
        data, at, out = word.encode("utf-8", "replace"), 0, []
        while at < len(data):
            length, value = self._longest(data, at)
            if not length:
                length = _character_length(data[at])
                out.append(data[at : at + length])
            else:
                out.append(self._text(value))
            at += length
        return b"".join(out).decode("utf-8", "replace")

    def _begins_entry(self, character: str) -> bool:
        """Whether an entry begins with the bytes of this character."""
        node = _child_base(self._units[0], 0)
        for byte in character.encode("utf-8", "replace"):
            node ^= byte
            if node >= len(self._units) or _label(self._units[node]) != byte:
                return False
            node ^= _offset(self._units[node])
        return True

    def _longest(self, data: bytes, at: int) -> tuple[int, int]:
        """(bytes, value) of the longest entry that begins at a byte; (0, 0) without one."""
        units, found = self._units, (0, 0)
        node = _child_base(units[0], 0)
        for length, byte in enumerate(data[at:], 1):
            node ^= byte
            if node >= len(units) or _label(units[node]) != byte:
                break
            unit = units[node]
            node ^= _offset(unit)
            if unit >> 8 & 1 and node < len(units):
                found = (length, units[node] & 0x7FFFFFFF)
        return found

    def _text(self, start: int) -> bytes:
        return bytes(takewhile(bool, self._texts[start : start + 256]))


def _offset(unit: int) -> int:
    return unit >> 10 << ((unit & 1 << 9) >> 6)


def _child_base(unit: int, node: int) -> int:
    return node ^ _offset(unit)


def _label(unit: int) -> int:
    return unit & (1 << 31 | 0xFF)


def _character_length(first: int) -> int:
    return 1 if first < 0x80 else 2 if first < 0xE0 else 3 if first < 0xF0 else 4
