"""A reply taken apart while it is written: text, then calls, their arguments in pieces.

The grammar of `chat.calls` fixes the form of calls, so that a name is known before its arguments begin. Joined, the pieces are what the
whole reply would give; if the reply is cut, the arguments sent so far are closed, so that they always are JSON.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Generator, Iterator
from dataclasses import dataclass

from understudy.generation.partial_json import PartialJson
from understudy.text.templates import ChatTemplate

_HEAD = re.compile(r'\s*\{"name": (?P<name>"(?:[^"\\]|\\.)*"), "(?:arguments|parameters)": ')


@dataclass(frozen=True, slots=True)
class Text:
    text: str


@dataclass(frozen=True, slots=True)
class CallStart:
    index: int
    id: str
    name: str


@dataclass(frozen=True, slots=True)
class CallPiece:
    index: int
    text: str


Piece = Text | CallStart | CallPiece


class Reading:
    """`push` the text of one answer as it comes; `finish` at its end.

    Args:
        has_calls: whether calls may come; else all is text.
        is_raw: text is handed on as it is, without trimming white space around it.
    """

    def __init__(
        self, chat_template: ChatTemplate, *, has_calls: bool, is_raw: bool = False
    ) -> None:
        form = chat_template.call_form if has_calls else None
        self._form, self._is_raw = form, is_raw
        self._opening = ""
        if form is not None:
            marker = chat_template.tokenizer.marker_id(form.open)
            is_hidden = marker is not None and chat_template.tokenizer.is_special(marker)
            self._opening = f'{form.first}{{"name": "' if is_hidden else form.open
        self._buffer, self._has_begun, self._in_calls = "", is_raw, False
        self._json: PartialJson | None = None
        self.num_calls = 0

    @property
    def is_cut(self) -> bool:
        """Whether the last call has begun and is not complete."""
        return self._json is not None and not self._json.is_done

    def push(self, text: str) -> Iterator[Piece]:
        self._buffer += text
        if not self._in_calls:
            yield from self._text()
        while self._in_calls and (yield from self._calls()):
            pass

    def finish(self) -> Iterator[Piece]:
        """The end of the answer: held back text that turned out to be text, and the end of a call that was cut."""
        if self._json is not None:
            if not self._json.is_done and (end := self._json.closing()):
                yield CallPiece(self.num_calls - 1, end)
            return
        rest = "" if self._in_calls else self._buffer
        rest = rest if self._is_raw else (rest if self._has_begun else rest.lstrip()).rstrip()
        if rest:
            yield Text(rest)

    def _text(self) -> Iterator[Piece]:
        at = self._buffer.find(self._opening) if self._opening else -1
        end = at if at >= 0 else len(self._buffer) - self._may_open()
        ready = self._buffer[:end]
        if not self._is_raw:
            ready = ready.rstrip()  # white space stays until text follows
            end = len(ready)
            ready = ready if self._has_begun else ready.lstrip()
        if at >= 0:
            hidden = (
                0
                if self._form is not None and self._opening != self._form.open
                else len(self._opening)
            )
            self._buffer, self._in_calls = self._buffer[at + hidden :], True
        else:
            self._buffer = self._buffer[end:]
        if ready:
            self._has_begun = True
            yield Text(ready)

    def _may_open(self) -> int:
        """Length of the end of the buffer that may become an opening."""
        for length in range(min(len(self._opening) - 1, len(self._buffer)), 0, -1):
            if self._opening.startswith(self._buffer[-length:]):
                return length
        return 0

    def _calls(self) -> Generator[Piece, None, bool]:
        """Reads on in calls; returns whether there may be more to read at once."""
        if self._json is None:
            match = _HEAD.search(self._buffer)
            if match is None:
                return False
            yield CallStart(
                self.num_calls, f"call_{secrets.token_hex(12)}", str(json.loads(match["name"]))
            )
            self.num_calls += 1
            self._json, self._buffer = PartialJson(), self._buffer[match.end() :]
        piece, self._buffer = self._json.push(self._buffer), ""
        if piece:
            yield CallPiece(self.num_calls - 1, piece)
        if not self._json.is_done:
            return False
        self._buffer, self._json = self._json.rest, None
        return bool(self._buffer)
