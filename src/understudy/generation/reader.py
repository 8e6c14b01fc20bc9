"""A reply read while it is written: reasoning, text and calls, in whatever notation they come.

parser = StreamParser(chat_template, tools, is_strict=True)
for output in outputs: pieces = parser.push(output.text)
pieces = parser.finish(); parser.text, parser.reasoning, parser.calls

Where a grammar holds the calls (`is_strict`), the arguments of a call of the template's own form
are handed on while they are written (`written_calls.py`): joined they are what the whole reply
gives, and if the reply is cut, they are closed, so that they always are JSON. Calls of every other
form (fenced, bare, a list, XML, Python) are held back from their first character and read at the
end by `read_calls`; what turns out to be no call is text.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from understudy.generation.calls import Calls, check_calls, read_calls
from understudy.generation.openings import Opening, find_opening, num_begun
from understudy.generation.tools import Tool
from understudy.generation.written_calls import WrittenCall, begun_call
from understudy.text.call_forms import json_text
from understudy.text.templates import ChatTemplate
from understudy.text.toolcalls import ParsedCall

_OWN = re.compile(r"\s*(?:\[\s*)?(?:\{|\Z)")


@dataclass(frozen=True, slots=True)
class TextPiece:
    text: str


@dataclass(frozen=True, slots=True)
class ReasoningPiece:
    text: str


@dataclass(frozen=True, slots=True)
class CallStart:
    index: int
    id: str
    name: str


@dataclass(frozen=True, slots=True)
class CallPiece:
    """A part of a call's arguments, which are JSON once all parts are joined."""

    index: int
    text: str


Refused = tuple[ParsedCall, str]
ReplyPiece = TextPiece | ReasoningPiece | CallStart | CallPiece


class StreamParser:
    """`push` the text of one answer as it comes, `finish` at its end; both give what is certain.

    Args:
        tools: what may be called: () where nothing may, None where that is not known.
        is_strict: a grammar holds calls to the template's form and to the tools' schemas.
        continues: the answer goes on a text, so that white space at its beginning counts.
        keeps_space: white space at the end of a text is handed on too.
        is_thinking: the answer begins inside of its reasoning; None: as the template's prompts do.
    """

    def __init__(
        self,
        chat_template: ChatTemplate,
        tools: Sequence[Tool] | None = (),
        *,
        is_strict: bool,
        continues: bool = False,
        keeps_space: bool = False,
        is_thinking: bool | None = None,
    ) -> None:
        self._trimmed = str if keeps_space else str.rstrip  # of a text, as far as it goes out
        self._template, self._tools = chat_template, tools
        self._names = None if tools is None else [tool.name for tool in tools]
        self._form = chat_template.call_form if is_strict and tools else None
        self._own_form = "" if self._form is None else self._form.open
        self._buffer = ""  # read, and not yet handed on
        thinks = chat_template.opens_with_reasoning if is_thinking is None else is_thinking
        self._state = "text" if continues else "reasoning" if thinks else "start"
        self._is_fenced = False
        self._opening: Opening | None = None  # of what is held back
        self._written: WrittenCall | None = None  # one that has begun and not ended
        self._texts: list[str] = [""] if continues else []
        self._thoughts: list[str] = []
        self.calls: list[ParsedCall] = []
        self.refused: list[Refused] = []
        self.failed: list[Refused] = []  # held back for their check, and not handed on
        self.notes: list[str] = []
        self.num_calls = 0  # handed on, the last of them perhaps not whole

    @property
    def text(self) -> str:
        """What the reply says, without reasoning and calls."""
        return "".join(self._texts)

    @property
    def reasoning(self) -> str:
        return "".join(self._thoughts)

    @property
    def is_cut(self) -> bool:
        """Whether the last call has begun and is not complete."""
        return self._written is not None

    def push(self, text: str) -> list[ReplyPiece]:
        self._buffer += text
        pieces: list[ReplyPiece] = []
        while self._read(pieces):
            pass
        return pieces

    def finish(self) -> list[ReplyPiece]:
        """The end: what was held back, as calls or as text, and the end of a call that was cut."""
        pieces: list[ReplyPiece] = []
        if (call := self._written) is not None:
            pieces += self._start_of(call.name, call.arguments) if call.is_held else ()
            pieces += [CallPiece(self.num_calls - 1, end)] if (end := call.closing()) else ()
        elif self._state == "reasoning":
            _add(pieces, ReasoningPiece, self._buffer.rstrip(), self._thoughts)
        elif self._state == "held" or self._is_foreign:
            self._end_held(pieces)
        elif self._state in ("start", "text"):
            _add(pieces, TextPiece, self._trimmed(self._buffer), self._texts)
        self._buffer = ""
        return pieces

    def _read(self, pieces: list[ReplyPiece]) -> bool:
        """Reads on; returns whether there may be more to read at once."""
        readers = {"reasoning": self._read_reasoning, "text": self._read_text}
        readers |= {"held": self._read_held, "calls": self._read_calls}
        return self._read_start() if self._state == "start" else readers[self._state](pieces)

    def _read_start(self) -> bool:
        begun = self._buffer.lstrip()
        opening = (self._template.reasoning or ("", ""))[0]
        if opening and begun.startswith(opening):
            self._buffer, self._state = begun[len(opening) :], "reasoning"
            return True
        if opening.startswith(begun) and opening:
            return False
        self._state = "text"
        return True

    def _read_reasoning(self, pieces: list[ReplyPiece]) -> bool:
        closing = (self._template.reasoning or ("", ""))[1]
        at = self._buffer.find(closing)
        end = at if at >= 0 else len(self._buffer) - num_begun(self._buffer, closing)
        ready = self._buffer[:end].rstrip()
        _add(pieces, ReasoningPiece, ready, self._thoughts)
        if at < 0:
            self._buffer = self._buffer[len(ready) :]
            return False
        self._buffer, self._state = self._buffer[at + len(closing) :], "text"
        return True

    def _read_text(self, pieces: list[ReplyPiece]) -> bool:
        opening, end = None, len(self._buffer)
        if self._names is None or self._names:
            opening, end = find_opening(
                self._buffer,
                self._own_form,
                self._names,
                is_start=not self._texts,
                is_fenced=self._is_fenced,
            )
        if opening is not None and opening.kind == "passing":
            end += opening.length
        ready = self._trimmed(self._buffer[:end])  # white space stays until text follows
        _add(pieces, TextPiece, ready, self._texts)
        if opening is None:
            self._buffer = self._buffer[len(ready) :]
        elif opening.kind == "passing":  # what closes a fence of something else opens nothing
            self._buffer, self._is_fenced = self._buffer[len(ready) :], not self._is_fenced
        elif opening.kind == "own":
            self._buffer, self._state = self._buffer[end:], "calls"
        else:
            self._buffer = self._buffer[len(ready) :]
            self._opening, self._state = opening, "held"
        return opening is not None

    def _read_held(self, pieces: list[ReplyPiece]) -> bool:
        assert self._opening is not None
        end = self._opening.end_in(self._buffer)
        if end is None:
            return False
        found = read_calls(self._template, self._buffer[:end], self._tools)
        if found.calls:
            self._opening.settle()
            return False
        self.refused += found.refused
        _add(pieces, TextPiece, self._buffer[:end], self._texts)
        self._buffer, self._opening, self._state = self._buffer[end:], None, "text"
        return True

    def _end_held(self, pieces: list[ReplyPiece]) -> None:
        found = read_calls(self._template, self._buffer, self._tools)
        self._note(found)
        gap = "\n\n" if self._texts and found.calls else ""
        rest = found.text.strip() if found.calls else self._buffer.rstrip()
        _add(pieces, TextPiece, gap + rest if rest else "", self._texts)
        for call in found.calls:
            pieces += self._start_of(call.name, json_text(call.arguments))

    def _note(self, found: Calls) -> None:
        self.calls += found.calls
        self.refused += found.refused
        self.notes += found.notes

    @property
    def _is_foreign(self) -> bool:
        """Whether the template's opening stands before something else than its own form."""
        is_json = self._form is None or self._form.notation == "json"
        is_own = not is_json or _OWN.match(self._buffer, len(self._own_form))
        is_begun = self.num_calls or self.failed or self.refused
        return self._state == "calls" and not is_begun and not is_own

    def _read_calls(self, pieces: list[ReplyPiece]) -> bool:
        if self._written is None:
            assert self._form is not None
            begun = begun_call(self._form, self._buffer, self._tools or ())
            if begun is None:
                return False
            self._written, self._buffer = begun
            if not self._written.is_held:
                pieces += self._start_of(self._written.name, self._written.arguments)
        call = self._written
        piece, self._buffer = call.push(self._buffer), ""
        if piece and not call.is_held:
            pieces.append(CallPiece(self.num_calls - 1, piece))
        if not call.is_done:
            return False
        self._buffer, self._written = call.rest, None
        self._take(pieces, call)
        return bool(self._buffer)

    def _take(self, pieces: list[ReplyPiece], call: WrittenCall) -> None:
        """A whole call, which a grammar that is wider than its schema may have let pass."""
        found = check_calls([call.parsed], self._tools)
        if call.is_held and found.refused:
            self.failed += found.refused
            return
        if call.is_held:
            pieces += self._start_of(call.name, json_text(found.calls[0].arguments))
        self._note(found)

    def _start_of(self, name: str, arguments: str) -> list[ReplyPiece]:
        """The beginning of a call, with the arguments that there are."""
        self.num_calls += 1
        start = CallStart(self.num_calls - 1, f"call_{secrets.token_hex(12)}", name)
        return [start, CallPiece(start.index, arguments)] if arguments else [start]


def read_reply(
    chat_template: ChatTemplate,
    raw: str,
    tools: Sequence[Tool] | None,
    *,
    is_strict: bool = False,
    is_thinking: bool | None = None,
) -> StreamParser:
    """A finished reply, read: the parser with its `text`, `reasoning`, `calls` and `refused`."""
    parser = StreamParser(chat_template, tools, is_strict=is_strict, is_thinking=is_thinking)
    parser.push(raw)
    parser.finish()
    return parser


def _add(
    pieces: list[ReplyPiece],
    kind: type[TextPiece] | type[ReasoningPiece],
    text: str,
    known: list[str],
) -> None:
    """Adds a piece of text, the first one without white space before it."""
    text = text if known else text.lstrip()
    if text:
        known.append(text)
        pieces.append(kind(text))
