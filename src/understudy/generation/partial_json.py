"""JSON on its way: what of it may be handed on so that it can be closed at any moment.

stream = PartialJson(); stream.push('{"city": "Par')     # '{"city": "Par'
stream.closing()                                         # '"}'

A key is held back until its value has begun, a number or word until it is one, an escape until it
is whole.
"""

from __future__ import annotations

import re

_NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?\Z")
_WORDS = ("true", "false", "null")


class PartialJson:
    """Follows one JSON value. `is_done` once it is complete; what comes after it is kept in
    `rest`.
    """

    def __init__(self) -> None:
        self.is_done = False
        self.rest = ""
        self._held = ""  # read, and not yet handed on
        self._stack: list[str] = []  # closers of open objects and arrays, the innermost last
        self._state = "value"  # value, key, colon, after, string, word
        self._is_key = False
        self._escape = ""
        self._word = ""
        self._was_given = False

    def push(self, text: str) -> str:
        """The part of what has come that can be closed."""
        given = ""
        for i, char in enumerate(text):
            if self.is_done:
                self.rest += text[i:]
                break
            self._held += char
            if self._take(char):
                given += self._held
                self._held = ""
        self._was_given = self._was_given or bool(given)
        return given

    def closing(self) -> str:
        """What makes all that was handed on one complete value."""
        if not self._was_given:
            return "{}"
        end = '"' if self._state == "string" and not self._is_key else ""
        return end + "".join(reversed(self._stack))

    def _take(self, char: str) -> bool:
        """One character further; whether what was read can be closed here."""
        if self._state == "string":
            return self._in_string(char)
        if self._state == "word":
            if char not in ",]} \t\r\n":
                self._word += char
                return self._word in _WORDS or _NUMBER.match(self._word) is not None
            self._state = "after"
        if char in " \t\r\n":
            return self._state == "after"
        if char in "]}":
            self._stack.pop()
            return self._ended()
        if char == ",":
            self._state = "key" if self._stack[-1] == "}" else "value"
            return False
        if char == ":":
            self._state = "value"
            return False
        return self._begin(char)

    def _begin(self, char: str) -> bool:
        if char == '"':
            self._is_key = self._state == "key"
            self._state = "string"
            return not self._is_key
        if char in "{[":
            self._stack.append("}" if char == "{" else "]")
            self._state = "key" if char == "{" else "value"
            return True
        self._state, self._word = "word", char
        return _NUMBER.match(char) is not None

    def _in_string(self, char: str) -> bool:
        if self._escape:
            self._escape += char
            if self._escape[1] == "u" and len(self._escape) < 6:
                return False
            is_high = (
                self._escape[1] == "u"
                and self._escape[2:3] in "dD"
                and self._escape[3:4] in "89abAB"
            )
            self._escape = ""
            return not self._is_key and not is_high  # the second half of a pair follows
        if char == "\\":
            self._escape = char
            return False
        if char == '"':
            self._state = "colon" if self._is_key else "after"
            return not self._is_key and (bool(self._stack) or self._ended())
        return not self._is_key

    def _ended(self) -> bool:
        self._state = "after"
        self.is_done = not self._stack
        return True
