"""Options that switch the content guard on. Without them nothing is checked."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from understudy.errors import UsageError

if TYPE_CHECKING:
    from understudy.judge.safety.moderation import Guard
    from understudy.model import Model

CHECKS = ("words", "pii", "model")


def add_guard(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("guard (off unless asked for)")
    group.add_argument(
        "--guard",
        type=_checks,
        metavar="CHECKS",
        help="check what goes in and out by words, pii, model (comma between): see docs/safety.md",
    )
    group.add_argument(
        "--guard-category",
        action="append",
        default=[],
        metavar="NAME",
        help="only this category of AEGIS 2.0 (repeatable)",
    )
    group.add_argument(
        "--guard-words",
        type=Path,
        metavar="FILE",
        help="JSON {category: [words]} instead of the built-in lists",
    )
    group.add_argument(
        "--guard-threshold",
        type=float,
        default=0.9,
        metavar="SHARE",
        help="of yes, for model (default 0.9)",
    )
    group.add_argument("--guard-notice", metavar="TEXT", help="said instead of what is stopped")


def _checks(text: str) -> tuple[str, ...]:
    checks = tuple(dict.fromkeys(text.split(",")))
    if not checks or any(check not in CHECKS for check in checks):
        raise argparse.ArgumentTypeError(
            f"expected some of {', '.join(CHECKS)}, with a comma between; found {text!r}"
        )
    return checks


def guard_of(arguments: argparse.Namespace) -> Callable[[Model], Guard] | None:
    """What makes the guard of a model; None where none was asked for.

    Raises:
        UsageError: a setting of a guard that is off, or one that cannot be used.
    """
    if arguments.guard is None:
        given = [
            name for name in ("category", "words", "notice") if getattr(arguments, f"guard_{name}")
        ]
        if given:
            raise UsageError(
                "the guard is off",
                where=f"--guard-{given[0]}",
                do="switch it on with --guard words,pii",
            )
        return None
    from understudy.judge.safety.lexicon import LEXICON
    from understudy.judge.safety.moderation import Guard

    words: Mapping[str, Sequence[str]] = (
        _read_words(arguments.guard_words) if arguments.guard_words is not None else LEXICON
    )
    options: dict[str, Any] = {
        "categories": arguments.guard_category or None,
        "lexicon": words if "words" in arguments.guard else {},
        "pii": "pii" in arguments.guard,
        "threshold": arguments.guard_threshold,
    }
    if arguments.guard_notice:
        options["notice"] = arguments.guard_notice
    Guard(**options)  # what is wrong with them is said before a model is loaded
    return lambda model: Guard(model=model if "model" in arguments.guard else None, **options)


def _read_words(path: Path) -> Mapping[str, Sequence[str]]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"words cannot be read ({error})", where=path) from error
    lists = document.values() if isinstance(document, dict) else [None]
    if not all(
        isinstance(words, list) and all(isinstance(word, str) and word.strip() for word in words)
        for words in lists
    ):
        raise UsageError(
            "not lists of words", where=path, expected='{"category of AEGIS 2.0": ["word", …]}'
        )
    return dict(document)
