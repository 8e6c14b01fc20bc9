"""The command line: `understudy COMMAND ...`. One file per command, imported when it is asked for.

To add a command: `cli/<name>.py` with `configure(parser)` and `run(arguments) -> int`, its name in
`COMMANDS`, and in a group of `overview.JOBS`.
Exit codes: 0 done, 1 the work failed, 2 used wrongly, 130 interrupted.
"""

from __future__ import annotations

import argparse
import importlib
import os
import shlex
import sys
import warnings
from collections.abc import Collection, Sequence

from understudy.errors import UnderstudyError, UnderstudyWarning, UsageError

COMMANDS: dict[str, str] = {
    "demo": "show the main job on the embedded model, with figures",
    "chat": "talk to a model in the terminal",
    "generate": "continue a text or answer a prompt",
    "pull": "fetch a model from the hub",
    "list": "the models that are on this machine",
    "cache": "the packed models that are kept for a quick start: list, clear, limit",
    "show": "what a checkpoint is, before loading it",
    "convert": "write a checkpoint as GGUF or as a Hugging Face folder",
    "prune": "trim a model's layers, heads, neurons or channels and reconstruct the rest",
    "distill": "train a smaller model on a bigger one's distribution",
    "quantize": "write a model in 4 or 8 bits, by calibration",
    "compress": "run a recipe: prune, distil, quantize",
    "data": "training data: check it, mix it, make it out of tools, cards and documents",
    "align": "tune a model on data, into an adapter",
    "rag": "answers from documents, with quotes that can be checked",
    "tool": "answer with your functions: schemas, calls, results",
    "card": "character cards: read, check, edit, convert; model cards: write from stored runs, "
    "compare two models",
    "npc": "play with a character in the terminal",
    "serve": "models over HTTP, for the clients of OpenAI, Anthropic and llama.cpp",
    "safety": "probe a model: injections, leaks, misuse of tools, refusals",
    "ps": "what a running server has loaded and is doing",
    "bench": "how fast a model runs here, against the machine's limits",
    "perplexity": "how well a model predicts a text",
    "eval": "how good a model is: questions, instructions, calls, documents, characters",
    "jobs": "calls, documents and characters with every switch on and off, and which to set",
    "doctor": "what this machine and installation can do",
    "completion": "what makes bash, zsh or fish complete commands and options",
    "manual": "all commands and options as a manual page",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; every error that a user can meet becomes one line on stderr."""
    words = [
        *(sys.argv[1:] if arguments is None else arguments)
    ]  # the command `list` hides the built-in here
    try:
        with warnings.catch_warnings():
            _print_notes()
            return _dispatch(words) if words or not _is_terminal() else _guided()
    except UnderstudyError as error:
        if os.environ.get("UNDERSTUDY_DEBUG") == "1":
            raise
        print(f"understudy: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("understudy: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        from understudy.atomic import is_full_disk

        if not is_full_disk(error):
            raise
        print(f"understudy: {error.filename or 'output'}: the disk is full", file=sys.stderr)
        return 1


def _print_notes() -> None:
    """What a model file is not taken at its word for becomes a line on stderr, without Python's
    frame.
    """
    shown = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *place: object) -> None:
        if issubclass(category, UnderstudyWarning):
            print(f"note: {message}", file=sys.stderr)
        else:
            shown(message, category, *place)  # type: ignore[arg-type]

    warnings.showwarning = show  # type: ignore[assignment]


def _is_terminal() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty()


def _guided() -> int:
    """`understudy` alone: the commands of what a person chooses, as long as they go well."""
    from understudy.cli.overview import choose

    for words in choose():
        if code := _dispatch(words):
            return code
    return 0


def _dispatch(words: list[str]) -> int:
    if words[:1] == ["help"]:
        words = [*words[1:], "--help"]
    wanted = next((word for word in words if not word.startswith("-")), None)
    if wanted is not None and wanted not in COMMANDS:
        raise UsageError("there is no such command", found=wanted, do=_guess(wanted))
    parser = make_parser([name for name in COMMANDS if name == wanted])
    parsed, unknown = parser.parse_known_args(words)
    if unknown:
        parser.prog = f"understudy {parsed.command}"
        parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    from understudy.cli.environment import check_environment  # what help needs not, comes after it
    from understudy.report.provenance import COMMAND

    check_environment()
    COMMAND.set(shlex.join(["understudy", *words]))
    return int(importlib.import_module(f"understudy.cli.{parsed.command}").run(parsed))


def _guess(word: str) -> str:
    """Which command may have been meant."""
    from difflib import get_close_matches

    close = get_close_matches(word, COMMANDS, 1)
    return (f"did you mean {close[0]}? " if close else "") + "`understudy help` lists them all"


def make_parser(whole: Collection[str] = tuple(COMMANDS)) -> argparse.ArgumentParser:
    """The parser of the command line.

    Args:
        whole: commands whose options are there; only their files are imported.
    """
    parser = _Parser(
        prog="understudy",
        description="Make a small language model out of a big one, and run it on the device.",
        formatter_class=_Overview,
        usage="understudy [-h] [--version] COMMAND ...",
    )
    parser.add_argument("--version", action="version", version=_version())
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, summary in COMMANDS.items():
        description = summary[0].upper() + summary[1:] + "."
        command = commands.add_parser(
            name, help=summary, description=description, prog=f"understudy {name}"
        )
        if name in whole:
            importlib.import_module(f"understudy.cli.{name}").configure(command)
    return parser


class _Overview(argparse.RawDescriptionHelpFormatter):
    """Help without argparse's own list of the commands: they stand below, by what they are for."""

    def _format_action(self, action: argparse.Action) -> str:
        is_commands = isinstance(action, argparse._SubParsersAction)
        return "" if is_commands else super()._format_action(action)


class _Parser(argparse.ArgumentParser):
    """argparse with one-line errors, and the commands in groups where help is asked for."""

    def format_help(self) -> str:
        if self.prog == "understudy":
            from understudy.cli.overview import grouped

            self.epilog = grouped(COMMANDS)
        return super().format_help()

    def error(self, message: str) -> None:  # type: ignore[override]
        print(f"{self.prog}: {message} (try `{self.prog} --help`)", file=sys.stderr)
        raise SystemExit(2)


def _version() -> str:
    from understudy import __version__

    return f"understudy {__version__}"
