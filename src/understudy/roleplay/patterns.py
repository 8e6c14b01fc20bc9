"""Keys `/pattern/flags`: JavaScript's regular expressions, translated for the `regex` library.

ECMAScript 2024, section 22.2 with Annex B. Sets of characters, case, line ends and word boundaries
are written out, so that they mean what JavaScript means; without the flag `u` pattern and text are
compared as UTF-16. What has no translation is refused by name (`UntranslatableError`); what
JavaScript refuses is no pattern at all (`None`), and SillyTavern takes it as plain text.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import regex

from understudy.roleplay.charsets import LINE_TERMINATORS, WORDS
from understudy.roleplay.javascript import to_utf16
from understudy.roleplay.pattern_characters import (
    Characters,
    PatternSyntaxError,
    UntranslatableError,
)

PATTERN_SECONDS = 0.05
SCAN_SECONDS = 0.5  # for all regular expressions of one scan
MAX_PATTERN = 2000  # characters
MAX_COUNT = 999  # of a counted repeat: the library unrolls them
MAX_DEPTH = 60  # of groups
_KEY = re.compile(r"/([\s\S]+?)/([gimsuy]*)\Z")
_COUNTED = re.compile(r"\{(\d+)(?:(,)(\d*))?\}", re.ASCII)
_NAME = re.compile(r"<([A-Za-z_$][\w$]*)>")


@dataclass(frozen=True, slots=True)
class Pattern:
    """A compiled key."""

    compiled: Any
    is_unicode: bool
    is_sticky: bool  # flag `y`: only at the very beginning of the text

    def matches(self, text: str, timeout: float) -> bool:
        """Whether the pattern is found.

        Raises:
            TimeoutError: it took longer than `timeout` seconds.
        """
        text = text if self.is_unicode else to_utf16(text)
        find = self.compiled.match if self.is_sticky else self.compiled.search
        return find(text, timeout=timeout) is not None


class PatternTime:
    """What the patterns of one scan may compute; waiting for a busy processor is not counted."""

    def __init__(self) -> None:
        self._left = SCAN_SECONDS

    def finds(self, pattern: Pattern, text: str) -> bool:
        """Whether a pattern is found.

        Raises:
            TimeoutError: it, or all of the scan together, took too long.
        """
        if self._left <= 0:
            raise TimeoutError
        started = time.thread_time()
        try:
            return pattern.matches(text, min(PATTERN_SECONDS, self._left))
        finally:
            self._left -= time.thread_time() - started


@lru_cache(maxsize=1024)
def read_pattern(key: str) -> Pattern | None:
    """The pattern that a key of SillyTavern's is, None where it is plain text.

    Raises:
        UntranslatableError: a pattern of JavaScript's that cannot be had here.
    """
    match = _KEY.match(key)
    if match is None or re.search(r"(?:^|[^\\])/", match[1]):
        return None
    return compile_pattern(match[1].replace("\\/", "/", 1), match[2])


def compile_pattern(source: str, flags: str) -> Pattern | None:
    """As `new RegExp(source, flags)`; None where JavaScript throws."""
    if len(set(flags)) < len(flags):
        return None
    try:
        if len(source) > MAX_PATTERN:
            raise UntranslatableError(f"it is longer than {MAX_PATTERN} characters")
        translated = _Translator(source, flags).translate()
        compiled = regex.compile(translated, regex.VERSION0)
    except PatternSyntaxError:
        return None
    except (regex.error, OverflowError, RecursionError, MemoryError) as error:
        raise UntranslatableError(f"{error}") from error
    return Pattern(compiled, "u" in flags, "y" in flags)


class _Translator(Characters):
    """One pattern under way: reads JavaScript's grammar and writes that of `regex`."""

    def __init__(self, source: str, flags: str) -> None:
        super().__init__(source, flags)
        self.is_multiline, self.is_dotall = "m" in flags, "s" in flags
        self.depth = self.num_open = self.lookbehinds = 0
        self.names: list[str | None] = [None]  # of the groups, by their number
        self._count_groups()
        self.closed: set[int] = set()
        self.repeated: set[int] = set()
        self.behind: set[int] = set()
        self.references: set[int] = set()

    def translate(self) -> str:
        text = self._disjunction()
        if self.at < len(self.source):
            raise PatternSyntaxError("unmatched )")
        if self.references & self.repeated:
            raise UntranslatableError("it refers back to a group that is repeated")
        if self.references & self.behind:
            raise UntranslatableError("it refers back to a group inside a lookbehind")
        return text

    def _count_groups(self) -> None:
        """How many groups there are and what they are called, which decides what `\\1` and `\\k`
        mean.
        """
        pattern = r"\\[\s\S]|\[(?:\\[\s\S]|[^\]\\])*\]|\((?:\?<(?![=!])([^>]*)>|(?!\?))"
        for match in re.finditer(pattern, self.source):
            if match[0].startswith("("):
                self.names.append(match[1])
        given = [name for name in self.names if name]
        if len(set(given)) < len(given):
            raise UntranslatableError("two groups have the same name")

    # ---- the grammar ----

    def _disjunction(self) -> str:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise UntranslatableError(f"its groups are nested deeper than {MAX_DEPTH}")
        alternatives = [""]
        while self.at < len(self.source) and not self._peek(")"):
            if self._take("|"):
                alternatives.append("")
            else:
                alternatives[-1] += self._term()
        self.depth -= 1
        return "|".join(alternatives)

    def _term(self) -> str:
        if self._take("^"):
            return self._line_start() if self.is_multiline else r"\A"
        if self._take("$"):
            return rf"(?={self._line_end()}|\Z)" if self.is_multiline else r"\Z"
        if self._take("\\b"):
            return self._boundary("(?:{0}(?!{1})|(?<!{1})(?={1}))")
        if self._take("\\B"):
            return self._boundary("(?:{0}(?={1})|(?<!{1})(?!{1}))")
        first_group = self.num_open + 1
        atom, may_repeat = self._atom()
        high, suffix = self._quantifier()
        if suffix and not may_repeat:
            raise PatternSyntaxError("nothing to repeat")
        if high is None or high > 1:
            self.repeated |= set(range(first_group, self.num_open + 1))
        return f"(?:{atom}){suffix}" if suffix else atom

    def _line_start(self) -> str:
        return rf"(?:\A|(?<={self._line_end()}))"

    def _line_end(self) -> str:
        return self.sets.text(LINE_TERMINATORS)

    def _boundary(self, form: str) -> str:
        word = self.sets.text(self.sets.close(WORDS) if self.is_unicode else WORDS)
        return form.format(f"(?<={word})", word)

    def _quantifier(self) -> tuple[int | None, str]:
        """How often the atom before may stand at most (None: without end), and the quantifier's
        text.
        """
        high: int | None = 1
        text = ""
        if (mark := self.source[self.at : self.at + 1]) and mark in "*+?":
            self.at += 1
            high, text = (1 if mark == "?" else None), mark
        elif match := _COUNTED.match(self.source, self.at):
            self.at = match.end()
            low = int(match[1])
            high = low if match[2] is None else int(match[3]) if match[3] else None
            if high is not None and high < low:
                raise PatternSyntaxError("numbers out of order")
            if max(low, high or 0) > MAX_COUNT:
                raise UntranslatableError(f"it counts further than {MAX_COUNT}")
            text = f"{{{low},{'' if high is None else high}}}"
        if text and self._take("?"):
            text += "?"
        return high, text

    def _atom(self) -> tuple[str, bool]:
        """One atom, and whether it may be repeated."""
        if self._peek("("):
            return self._group()
        if self._take("."):
            return self.sets.text([] if self.is_dotall else LINE_TERMINATORS, is_negated=True), True
        if self._take("["):
            return self._class(), True
        if self._take("\\"):
            return self._escape(), True
        char = self.source[self.at]
        if char in "*+?" or _COUNTED.match(self.source, self.at):
            raise PatternSyntaxError("nothing to repeat")
        if self.is_unicode and char in "{}]":
            raise PatternSyntaxError("lone bracket")
        self.at += 1
        return self._literal(ord(char)), True

    def _literal(self, code: int) -> str:
        return self.sets.text(self.sets.close([(code, code)]))

    def _group(self) -> tuple[str, bool]:
        for opening, may_repeat in (("(?=", True), ("(?!", True), ("(?<=", False), ("(?<!", False)):
            if self._take(opening):
                return self._look(opening, may_repeat and not self.is_unicode)
        if self._take("(?:"):
            return f"(?:{self._inside()})", True
        if self._peek("(?") and not self._peek("(?<"):
            if re.match(r"\(\?[ims-]+:", self.source[self.at :]):
                raise UntranslatableError("it changes flags inside the pattern")
            raise PatternSyntaxError("invalid group")
        if self._take("(?"):
            name = _NAME.match(self.source, self.at)
            if name is None:
                raise PatternSyntaxError("invalid name")
            self.at = name.end()
        else:
            self.at += 1
        self.num_open += 1
        number = self.num_open
        if self.lookbehinds:
            self.behind.add(number)
        text = f"({self._inside()})"
        self.closed.add(number)
        return text, True

    def _look(self, opening: str, may_repeat: bool) -> tuple[str, bool]:
        is_behind = opening.startswith("(?<")
        self.lookbehinds += is_behind
        text = f"{opening}{self._inside()})"
        self.lookbehinds -= is_behind
        return text, may_repeat

    def _inside(self) -> str:
        text = self._disjunction()
        if not self._take(")"):
            raise PatternSyntaxError("unterminated group")
        return text

    def _escape(self) -> str:
        """An atom that begins with a backslash, which has been read."""
        if self.at >= len(self.source):
            raise PatternSyntaxError("\\ at the end")
        char = self.source[self.at]
        if char in "dDwWsS":
            self.at += 1
            return self.sets.text(self._shorthand(char))
        if char in "pP" and self.is_unicode:
            return f"[{self._property()}]"
        if char == "k" and (self.is_unicode or any(self.names)):
            self.at += 1
            name = _NAME.match(self.source, self.at)
            if name is None or name[1] not in self.names:
                raise PatternSyntaxError("invalid named reference")
            self.at = name.end()
            return self._reference(self.names.index(name[1]))
        digits = re.compile(r"[1-9]\d*", re.ASCII).match(self.source, self.at)
        if digits and (self.is_unicode or int(digits[0]) < len(self.names)):
            if int(digits[0]) >= len(self.names):
                raise PatternSyntaxError("invalid escape")
            self.at = digits.end()
            return self._reference(int(digits[0]))
        return self._literal(self._character(is_class=False))

    def _reference(self, number: int) -> str:
        """A group that took no part is empty in JavaScript, and so is one that is still open or
        comes later.
        """
        self.references.add(number)
        if self.lookbehinds:
            raise UntranslatableError("it refers back inside a lookbehind")
        if number not in self.closed:
            return "(?:)"
        return f"(?({number})(?{'i' if self.ignores_case else ''}:\\{number})|)"
