"""The commands and the Python of the guides, as a reader would copy them.

A word in capitals or in angle brackets stands for something of the reader's; `…` for more of it.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)


def blocks_of(page: Path, *kinds: str) -> list[str]:
    """The texts of a page's blocks of some kinds."""
    blocks = FENCE.findall(page.read_text(encoding="utf-8"))
    return [text for kind, text in blocks if kind in kinds]


def commands_of(page: Path) -> list[str]:
    """The lines of a page's blocks that call the program, without prompt sign and remark."""
    shells = blocks_of(page, "", "console", "sh", "bash")
    lines = "\n".join(shells).replace("\\\n", " ").splitlines()
    bare = [line.removeprefix("$ ").partition("  #")[0].strip() for line in lines]
    return [line for line in bare if line.startswith("understudy ")]


COMMANDS = [(page.name, line) for page in PAGES for line in commands_of(page)]


def words_of(line: str) -> list[str]:
    """A command's arguments as a reader would give them."""
    line = re.sub(r"\[[^\]]*\]", "", line.partition(" > ")[0])
    return shlex.split(line.replace("…", "more"))[1:]
