"""Tokens back into text as they come, whole characters only."""

from __future__ import annotations

import codecs
from collections.abc import Collection

from understudy.text.tokenizer import Tokenizer


class StreamDecoder:
    """`push` gives the text that a token completes, which may be nothing; `finish` what is left
    over.

    The pieces joined are what `Tokenizer.decode` gives for all ids at once. Bytes that can no
    longer become a character are U+FFFD as soon as that is certain. With `continues` the tokens go
    on from an earlier text, so that a space before the first word is one that the model wrote and
    stays. Special tokens leave no text but those of `shown`.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        skip_special: bool = True,
        continues: bool = False,
        shown: Collection[int] = (),
    ) -> None:
        self._tokenizer, self._skip_special, self._shown = tokenizer, skip_special, shown
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._is_opening = not continues

    def push(self, token: int) -> str:
        is_hidden = self._skip_special and self._tokenizer.is_special(token)
        if is_hidden and token not in self._shown:
            return ""
        data = self._tokenizer.token_bytes(token)
        if self._is_opening and data:
            self._is_opening = False
            data = self._tokenizer.opening_bytes(token)
        return self._decoder.decode(data)

    def finish(self) -> str:
        return self._decoder.decode(b"", final=True)
