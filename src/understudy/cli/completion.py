"""`understudy completion SHELL`: what makes a shell complete commands, options, files."""

from __future__ import annotations

import argparse

from understudy.errors import MissingError

SHELLS = ("bash", "zsh", "fish")
_FILES = ("model", "folder", "file", "path", "recipe", "card", "document", "text", "data", "out")
HOW = """where to put it:
  bash   understudy completion bash > ~/.local/share/bash-completion/completions/understudy
  zsh    understudy completion zsh > ~/.zfunc/_understudy     (with fpath+=~/.zfunc before compinit)
  fish   understudy completion fish > ~/.config/fish/completions/understudy.fish"""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = HOW
    parser.add_argument("shell", choices=SHELLS)


def run(arguments: argparse.Namespace) -> int:
    from understudy.cli import make_parser

    try:
        import shtab
    except ImportError as error:
        raise MissingError("shtab is not installed", do="run `pip install shtab`") from error
    parser = make_parser()
    _complete_files(parser, shtab.FILE)
    print(shtab.complete(parser, shell=arguments.shell))
    return 0


def _complete_files(parser: argparse.ArgumentParser, files: dict[str, str]) -> None:
    """Arguments that name a file or folder complete as such."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                _complete_files(command, files)
            continue
        shown = action.metavar if isinstance(action.metavar, str) else action.dest
        takes_value = action.nargs != 0 and not action.choices
        if takes_value and any(word in shown.lower() for word in _FILES):
            action.complete = files  # type: ignore[attr-defined]
