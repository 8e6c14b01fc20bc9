"""`understudy manual`: the manual page, for man(1): `understudy manual | man -l -`."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator


def configure(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = """to read it:       understudy manual | man -l -
to install it:    understudy manual > ~/.local/share/man/man1/understudy.1"""


def run(arguments: argparse.Namespace) -> int:
    from understudy import __version__
    from understudy.cli import COMMANDS, make_parser

    print("\n".join(page(make_parser(), COMMANDS, __version__)))
    return 0


def page(parser: argparse.ArgumentParser, summaries: dict[str, str], version: str) -> Iterator[str]:
    """The lines of the page."""
    yield f'.TH UNDERSTUDY 1 "" "understudy {version}" "User Commands"'
    yield from (".SH NAME", r"understudy \- small language models on the device")
    yield from (".SH SYNOPSIS", ".B understudy", r".I COMMAND \fR[options]")
    yield from (".SH DESCRIPTION", _text(parser.description or ""))
    yield ".SH COMMANDS"
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, command in action.choices.items():
                yield from _command(command, name, summaries.get(name, ""))
    yield from (".SH EXIT STATUS", *_entry("0", "Done."), *_entry("1", "The work failed."))
    yield from (*_entry("2", "Used wrongly."), *_entry("130", "Interrupted."))
    yield from (".SH FILES", *_entry("~/.cache/understudy", "Packed models, for a quick start."))


def _command(parser: argparse.ArgumentParser, name: str, summary: str) -> Iterator[str]:
    yield f'.SS "understudy {_text(name)}"'
    yield _text(summary[:1].upper() + summary[1:] + "." if summary else "")
    usage = re.sub(r"\s+", " ", parser.format_usage()).removeprefix("usage: ").strip()
    yield from (".PP", _text(usage))
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            helps = {choice.dest: choice.help or "" for choice in action._choices_actions}
            for inner, command in action.choices.items():
                yield from _command(command, f"{name} {inner}", helps.get(inner, ""))
        elif action.help != argparse.SUPPRESS and action.dest != "help":
            yield from _entry(_names(action), action.help or "")


def _names(action: argparse.Action) -> str:
    value = action.metavar or (action.dest.upper() if action.nargs != 0 else "")
    shown = " ".join(value) if isinstance(value, tuple) else str(value)
    if action.choices and not action.metavar:
        shown = "|".join(map(str, action.choices))
    return " ".join([", ".join(action.option_strings), shown]).strip()


def _entry(name: str, text: str) -> Iterator[str]:
    yield ".TP"
    yield f".B {_text(name)}"
    yield _text(text.replace("%%", "%") or "\\&")


def _text(text: str) -> str:
    """A line that no macro can begin in: backslashes and dashes escaped."""
    line = " ".join(text.split()).replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{line}" if line[:1] in (".", "'") else line
