"""The commands by what they are for, and the choice that `understudy` alone offers."""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Mapping

JOBS: dict[str, tuple[str, ...]] = {
    "Run a model": ("demo", "chat", "generate", "serve", "ps"),
    "Play, ask documents, call functions": ("npc", "card", "rag", "tool"),
    "Make a small model": (
        "compress",
        "prune",
        "distill",
        "quantize",
        "align",
        "data",
        "convert",
    ),
    "Measure a model": ("jobs", "eval", "perplexity", "bench", "safety"),
    "Models and this machine": ("list", "pull", "show", "cache", "doctor"),
    "The command line": ("completion", "manual"),
}

# What `understudy` alone offers: what a person wants, what is asked for, and the commands.
CHOICES: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("See what it can do", "", ("demo",)),
    ("Talk to the embedded model", "", ("chat",)),
    ("Open the page in a browser", "", ("serve",)),
    (
        "Ask my documents",
        "A file or folder",
        ("rag add --index documents.index {}", "chat --documents documents.index"),
    ),
    ("Play with a character card", "The card (PNG, JSON, CHARX)", ("npc {}",)),
    ("Open a model that I have", "The file or folder", ("chat {}",)),
    ("See what this machine can do", "", ("doctor",)),
)
_WIDTH = 78


def grouped(commands: Mapping[str, str]) -> str:
    """The commands under the jobs that they are for; one that has no job stands at the end."""
    placed = {name for names in JOBS.values() for name in names}
    rest = tuple(name for name in commands if name not in placed)
    groups = {**JOBS, "More": rest} if rest else JOBS
    lines: list[str] = []
    for title, names in groups.items():
        known = [name for name in names if name in commands]
        if known:
            lines += [f"{title}:", *(_line(name, commands[name]) for name in known), ""]
    return "\n".join([*lines, "`understudy COMMAND --help` tells the options of one."])


def _line(name: str, summary: str) -> str:
    indent = " " * 15
    return textwrap.fill(f"  {name:<13}{summary}", _WIDTH, subsequent_indent=indent)


def choose() -> list[list[str]]:
    """Asks what is wanted and gives the words of its commands; none where nothing is chosen."""
    print("What would you like to do?\n")
    for number, (wish, _, commands) in enumerate(CHOICES, 1):
        shown = ", then ".join(command.replace("{}", "…") for command in commands)
        print(f"  {number}  {wish:<32} understudy {shown}")
    print("\n     All commands: understudy --help\n")
    picked = _asked(f"A number (1 to {len(CHOICES)}; Enter ends): ")
    if not picked.isdigit() or not 1 <= int(picked) <= len(CHOICES):
        return []
    _, question, commands = CHOICES[int(picked) - 1]
    answer = _asked(f"{question}: ") if question else ""
    if question and not answer:
        return []
    names = shlex.split(answer) if answer[:1] in ("'", '"') else [answer]
    return [_words(command, names) for command in commands]


def _words(command: str, names: list[str]) -> list[str]:
    return [word for part in command.split() for word in (names if part == "{}" else [part])]


def _asked(question: str) -> str:
    """A line; empty where the input ends."""
    try:
        return input(question).strip()
    except EOFError:
        print()
        return ""
