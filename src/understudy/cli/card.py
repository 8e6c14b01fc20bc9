"""`understudy card show|check|set|convert FILE`: character cards in JSON, PNG and CHARX; `card model|compare`: model cards."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from understudy.cli import model_cards
from understudy.cli.terminal import write
from understudy.errors import UsageError
from understudy.roleplay.card import Card
from understudy.roleplay.card_files import read_card, write_card
from understudy.roleplay.card_values import macro_notes
from understudy.roleplay.lorebook import Lorebook


def configure(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
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
    convert = actions.add_parser("convert", help="write a card as another kind of file")
    convert.add_argument("file", type=Path)
    convert.add_argument("to", type=Path, help="ends in .json, .png or .charx")
    convert.add_argument("--version-3", action="store_true", help="as a version 3 card")
    convert.add_argument(
        "--no-backfill",
        action="store_true",
        help="put no version 2 card beside a version 3 one into a PNG",
    )
    model_cards.configure(actions)


def run(arguments: argparse.Namespace) -> int:
    if arguments.action in model_cards.ACTIONS:
        return model_cards.ACTIONS[arguments.action](arguments)
    card = read_card(arguments.file)
    if arguments.action == "show":
        write(
            json.dumps(card.document, ensure_ascii=False, indent=1) + "\n"
            if arguments.json
            else _in_words(card)
        )
    elif arguments.action == "check":
        return _check(card)
    elif arguments.action == "set":
        for field in arguments.fields:
            _set(card, field)
        write_card(card, arguments.file)
    else:
        write_card(
            card.upgraded() if arguments.version_3 else card,
            arguments.to,
            backfill=not arguments.no_backfill,
        )
        write(f"{arguments.to}: {card.name}\n", sys.stderr)
    return 0


def _check(card: Card) -> int:
    """Writes what is wrong, and what of the lorebook is not used; only the first makes the exit code 1."""
    problems, notes = card.problems(), [f"macros: {note}" for note in macro_notes(card)]
    if card.lorebook is not None:
        book = Lorebook(card.lorebook)
        notes += [f"lorebook: {book}", *(f"not used: {warning}" for warning in book.warnings)]
    sound = [] if problems else [f"{card.name}: a sound version {card.version} card"]
    write("".join(f"{line}\n" for line in (*problems, *sound, *notes)))
    return 1 if problems else 0


def _set(card: Card, field: str) -> None:
    name, separator, value = field.partition("=")
    if not separator:
        raise UsageError("not a change", where=field, expected="NAME=VALUE")
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
