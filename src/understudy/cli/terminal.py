"""Model text on a terminal: control characters are shown, not obeyed."""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TextIO

from understudy.errors import UsageError

Commands = Mapping[
    str, tuple[str, Callable[[str], object]]
]  # name -> what it does, the doing of it


QUOTES = '"""'
TYPED = {word: f"/{word}" for word in ("exit", "quit", "help")}


def harmless(text: str) -> str:
    """The text with control characters (escape sequences begin with one) and bidirectional
    overrides made visible.
    """
    return "".join(c if c in "\n\t" or not _is_control(c) else f"\\x{ord(c):02x}" for c in text)


def _is_control(character: str) -> bool:
    return (
        unicodedata.category(character) == "Cc"
        or character in "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
    )


def write(text: str, stream: TextIO | None = None) -> None:
    """Writes at once; on a terminal only harmless text, into a file or pipe as it is."""
    out = sys.stdout if stream is None else stream
    out.write(harmless(text) if out.isatty() else text)
    out.flush()


def note_if_cut(finish_reason: str, max_tokens: int | None) -> None:
    """Says on stderr that an answer ended because it might not be longer."""
    if finish_reason == "length":
        most = f" of {max_tokens} tokens" if max_tokens is not None else ""
        write(f"note: the answer was cut at its limit{most} (--max-tokens)\n", sys.stderr)


def typed_lines(history: Path | None) -> Iterator[str]:
    """What a person types, until the end of input: lines, or texts of several lines between three
    quotation marks. What was typed before is remembered in a file, or only until then. The words
    that people leave other programs with, and `help`, are the commands of that name.
    """
    from prompt_toolkit import PromptSession
    from prompt_toolkit.history import FileHistory, InMemoryHistory

    is_kept = history is not None and _can_write(history)
    session: PromptSession[str] = PromptSession(
        history=FileHistory(str(history)) if is_kept else InMemoryHistory()
    )
    while True:
        try:
            text = session.prompt("> ")
            while text.startswith(QUOTES) and text.count(QUOTES) < 2:
                text += "\n" + session.prompt("… ")
            if text.startswith(QUOTES):
                text = text.replace(QUOTES, "").strip("\n")
            yield TYPED.get(text.strip().casefold(), text)
        except KeyboardInterrupt:
            continue
        except EOFError:
            return


def _can_write(path: Path) -> bool:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a"):
            return True
    except OSError:
        return False


def run_command(commands: Commands, line: str) -> bool:
    """Runs what was typed as `/name rest`; False when the conversation is to end.

    Raises:
        UsageError: there is no such command.
    """
    name, _, rest = line[1:].partition(" ")
    if name in ("quit", "exit", "q"):
        return False
    if name not in commands:
        raise UsageError("unknown command", where=f"/{name}", do="/help lists the commands")
    commands[name][1](rest.strip())
    return True
