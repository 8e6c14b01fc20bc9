"""The game as `understudy npc` is told of it: `--action` and `--fact`.

sell                                           something it may do
sell:sword,bread                               to one of these
sell:sword; price=1..9; when price <= silver   with a number, under a condition
sell; item=sword,bread; cues buy, trade; about hand over goods for coins
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from understudy.errors import UsageError

if TYPE_CHECKING:
    from understudy.roleplay.state import ActionKind, GameState

ACTION = (
    "NAME[:TARGET,…][; ARGUMENT=LEAST..MOST or A,B][; when CONDITION][; cues WORD,…][; about …]"
)
_RANGE = re.compile(r"(-?\d+)\.\.(-?\d+)\Z")


def add_game(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--scene", default="", help="what the character sees")
    parser.add_argument(
        "--action",
        action="append",
        default=[],
        metavar="NAME[:TARGET,…][; …]",
        help='something it may do, as "sell:sword,bread; price=1..9; when price <= silver; '
        'cues buy; about hand over goods" (repeatable)',
    )
    parser.add_argument(
        "--fact",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="what is so in the game, such as silver=5 (repeatable)",
    )


def game_of(arguments: argparse.Namespace) -> GameState:
    """The state that the options describe.

    Raises:
        UsageError: an action or a fact is none, or a condition names what is neither a fact nor an
        argument.
    """
    from understudy.roleplay.state import GameState

    facts = dict(read_fact(text) for text in arguments.fact)
    kinds = tuple(read_action(text) for text in arguments.action)
    for kind in kinds:
        _check_names(kind, facts)
    return GameState(arguments.scene, facts, kinds)


def read_fact(text: str, where: str = "--fact") -> tuple[str, object]:
    """A name, and its value: as JSON where it is that, else as text."""
    name, mark, value = text.partition("=")
    if not name.strip() or not mark:
        raise UsageError("not a name and its value", where=where, expected="NAME=VALUE", found=text)
    try:
        return name.strip(), json.loads(value)
    except ValueError:
        return name.strip(), value


def read_action(text: str) -> ActionKind:
    """An action as the module's docstring writes it."""
    from understudy.roleplay.state import ActionKind

    first, *parts = (part.strip() for part in text.split(";"))
    name, _, targets = first.partition(":")
    if not name.strip():
        raise UsageError("an action without a name", where="--action", expected=ACTION, found=text)
    given: dict[str, Any] = {"targets": _words(targets)}
    arguments: dict[str, tuple[str, ...] | tuple[int, int]] = {}
    for part in filter(None, parts):
        word, _, rest = part.partition(" ")
        field = {"when": "when", "cues": "cues", "about": "description"}.get(word)
        if field is not None and rest.strip():
            given[field] = _words(rest) if field == "cues" else rest.strip()
            continue
        argument, mark, values = part.partition("=")
        if not mark or not argument.strip().isidentifier() or not _words(values):
            raise UsageError(
                "not a part of an action", where=f"--action {name}", expected=ACTION, found=part
            )
        arguments[argument.strip()] = _values(values, f"--action {name}")
    return ActionKind(name.strip(), arguments=arguments, **given)


def _values(text: str, where: str) -> tuple[str, ...] | tuple[int, int]:
    found = _RANGE.match(text.strip())
    if found is None:
        return _words(text)
    least, most = int(found[1]), int(found[2])
    if least > most:
        raise UsageError("an empty range", where=where, expected="LEAST..MOST", found=text.strip())
    return least, most


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _check_names(kind: ActionKind, facts: Mapping[str, object]) -> None:
    from understudy.roleplay.conditions import name_of, names_in

    known = {name_of(name) for name in ("target", *kind.arguments, *facts)}
    if unknown := names_in(kind.when) - known:
        raise UsageError(
            "a condition names what is neither a fact nor an argument",
            where=f"--action {kind.name}: when {kind.when}",
            expected=", ".join(sorted(known)),
            found=", ".join(sorted(unknown)),
            do="tell it with --fact NAME=VALUE",
        )
