"""`understudy card new|show|check|set|convert FILE`: character cards in JSON, PNG and CHARX.

`understudy card model|compare`: model cards.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from understudy.cli import model_cards
from understudy.cli.terminal import write
from understudy.errors import DocumentError, UsageError
from understudy.roleplay.card import Card
from understudy.roleplay.card_files import read_card, write_card
from understudy.roleplay.card_notes import card_notes
from understudy.roleplay.lorebook import Lorebook


def configure(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    new = actions.add_parser("new", help="begin a card, of version 3; a PNG keeps its picture")
    new.add_argument("file", type=Path, help="ends in .json, .png or .charx")
    new.add_argument("--name", required=True, help="the character's name")
    new.add_argument(
        "--set",
        action="append",
        default=[],
        dest="fields",
        metavar="NAME=VALUE",
        help="a further field (repeatable)",
    )
    new.add_argument("--image", type=Path, help="a PNG that the card goes into")
    show = actions.add_parser("show", help="the fields of a character card")
    show.add_argument("file", type=Path)
    show.add_argument("--json", action="store_true", help="the whole document")
    check = actions.add_parser(
        "check", help="what the specification would have otherwise; exit code 1 if anything"
    )
    check.add_argument("file", type=Path)
    change = actions.add_parser(
        "set", help="change fields of a card in place, everything else kept"
    )
    change.add_argument("file", type=Path)
    change.add_argument(
        "fields",
        nargs="+",
        metavar="NAME=VALUE",
        help="a value that is JSON is read as JSON, otherwise as text",
    )
    change.add_argument(
        "--new", action="store_true", help="add fields that the format does not have, and the file"
    )
    _configure_convert(actions)
    model_cards.configure(actions)


def _configure_convert(actions: Any) -> None:
    convert = actions.add_parser("convert", help="write a card as another kind of file")
    convert.add_argument("file", type=Path)
    convert.add_argument(
        "to", type=Path, help="ends in .json, .png or .charx; a PNG that is there keeps its picture"
    )
    convert.add_argument("--version-3", action="store_true", help="as a version 3 card")
    convert.add_argument(
        "--no-backfill",
        action="store_true",
        help="put no version 2 card beside a version 3 one into a PNG",
    )
    convert.add_argument("--image", type=Path, help="a PNG that the card goes into")
    convert.add_argument("--force", action="store_true", help="replace a .json or .charx")


def run(arguments: argparse.Namespace) -> int:
    if arguments.action in model_cards.ACTIONS:
        return model_cards.ACTIONS[arguments.action](arguments)
    return _ACTIONS[arguments.action](arguments)


def _new(arguments: argparse.Namespace) -> int:
    """A PNG without a card may be there: the card goes into it."""
    path = arguments.file
    if path.exists() and (path.suffix.lower() != ".png" or _holds_card(path)):
        raise UsageError("the file is there already", where=path, do="change it with `card set`")
    card = Card.new(arguments.name)
    for field in arguments.fields:
        _set(card, field, may_add=False)
    write_card(card, path, image=arguments.image)
    write(f"{path}: {card.name}\n", sys.stderr)
    return 0


def _holds_card(path: Path) -> bool:
    try:
        read_card(path)
    except DocumentError as error:
        return "holds no card" not in error.what
    return True


def _show(arguments: argparse.Namespace) -> int:
    card = read_card(arguments.file)
    whole = json.dumps(card.document, ensure_ascii=False, indent=1) + "\n"
    write(whole if arguments.json else _in_words(card))
    return 0


def _change(arguments: argparse.Namespace) -> int:
    path = arguments.file
    if path.exists():
        card = read_card(path)
    elif arguments.new:
        card = Card.new(path.stem)
    else:
        raise UsageError(
            "there is no such card",
            where=path,
            do=f"begin it: understudy card new {path} --name NAME (or give --new)",
        )
    for field in arguments.fields:
        _set(card, field, may_add=arguments.new)
    write_card(card, path)
    return 0


def _convert(arguments: argparse.Namespace) -> int:
    card, to = read_card(arguments.file), arguments.to
    is_other = to.exists() and to.resolve() != arguments.file.resolve()
    is_picture = to.suffix.lower() == ".png"
    if is_other and not is_picture and not arguments.force:
        raise UsageError(
            "the file is there already", where=to, do="give another name, or --force to replace it"
        )
    write_card(
        card.upgraded() if arguments.version_3 else card,
        to,
        backfill=not arguments.no_backfill,
        image=arguments.image,
    )
    kept = ", into the picture that was there" if is_other and is_picture else ""
    write(f"{to}: {card.name}{kept if arguments.image is None else ''}\n", sys.stderr)
    return 0


def _check(arguments: argparse.Namespace) -> int:
    """What is wrong, and what of macros and lore is not used; only the first makes the exit code
    1.
    """
    card = read_card(arguments.file)
    problems, notes = card.problems(), card_notes(card)
    sound = [] if problems else [f"{card.name}: a sound version {card.version} card"]
    write("".join(f"{line}\n" for line in (*problems, *sound, *notes)))
    return 1 if problems else 0


def _set(card: Card, field: str, *, may_add: bool) -> None:
    name, separator, value = field.partition("=")
    if not separator:
        raise UsageError("not a change", where=field, expected="NAME=VALUE")
    if not may_add and not card.can_have(name):
        inner = name.removeprefix("data.")
        hint = f"name it {inner}" if card.can_have(inner) else "--new adds it all the same"
        if not card.can_have(inner) and card.upgraded().can_have(inner):
            hint = "make it a version 3 card first: `card convert … --version-3`"
        raise UsageError(f"a version {card.version} card has no such field", where=name, do=hint)
    try:
        parsed = json.loads(value)
    except ValueError:
        parsed = value
    card.set(
        name,
        value
        if isinstance(parsed, (int, float)) and name not in ("creation_date", "modification_date")
        else parsed,
    )


def _in_words(card: Card) -> str:
    book = card.lorebook
    rows = {
        "name": card.name,
        "version": card.version,
        "greetings": len([g for g in card.greetings if g]),
        "lorebook": Lorebook(book) if book else "none",
        "assets": len(card.assets),
        "extensions": ", ".join(card.data.get("extensions") or {}) or "none",
        "creator's notes": card.creator_notes(),
        "description": card.text("description"),
        "personality": card.text("personality"),
        "scenario": card.text("scenario"),
        "first message": card.text("first_mes"),
    }
    return "".join(
        f"{name:16} {value}\n" for name, value in rows.items() if value not in ("", None)
    )


_ACTIONS = {"new": _new, "show": _show, "check": _check, "set": _change, "convert": _convert}
