"""Tokens back into text as they come, whole characters only."""

from __future__ import annotations

import codecs

from understudy.text.tokenizer import Tokenizer


class StreamDecoder:
    """`push` gives the text that a token completes, which may be nothing; `finish` what is left over.

    The pieces joined are what `Tokenizer.decode` gives for all ids at once. Bytes that can no longer become a character are
    U+FFFD as soon as that is certain.
    """

    def __init__(self, tokenizer: Tokenizer, *, skip_special: bool = True) -> None:
        self._tokenizer, self._skip_special = tokenizer, skip_special
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._may_strip = tokenizer.strips_first_space

    def push(self, token: int) -> str:
        if self._skip_special and self._tokenizer.is_special(token):
            return ""
        data = self._tokenizer.token_bytes(token)
        if self._may_strip and data:
            self._may_strip = False
            if data.startswith(b" ") and self._tokenizer.id_to_piece(token) not in self._tokenizer.markers:
                data = data[1:]
        return self._decoder.decode(data)

    def finish(self) -> str:
        return self._decoder.decode(b"", final=True)
