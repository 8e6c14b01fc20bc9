"""`understudy npc CARD`: play with a character in the terminal; every turn shows what it says,
feels and wants to do.

Lines beginning with `/` are commands: `/ledger`, `/save FILE`, `/resume FILE`, `/cut N` (only N
characters were heard), `/quit`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from understudy.cli.options import add_loading, add_model, load_model
from understudy.cli.terminal import write
from understudy.errors import UnderstudyError, UsageError
from understudy.roleplay.card_files import read_card
from understudy.roleplay.lorebook import Lorebook
from understudy.roleplay.npc import Npc, NpcSettings, Turn
from understudy.roleplay.state import ActionKind, GameState


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("card", type=Path, help="JSON, PNG or CHARX")
    add_model(parser)
    parser.add_argument(
        "--lorebook", type=Path, action="append", default=[], help="a further lorebook (repeatable)"
    )
    parser.add_argument(
        "--rules",
        choices=["sillytavern", "v3"],
        help="whose rules lorebooks follow; default: those of the program that made them",
    )
    parser.add_argument("--persona", default="", help="who the player is, for {{persona}}")
    parser.add_argument("--user", default="Traveller", help="the player's name")
    parser.add_argument("--scene", default="", help="what the character sees")
    parser.add_argument(
        "--action",
        action="append",
        default=[],
        metavar="NAME[:TARGET,TARGET]",
        help="something it may do (repeatable)",
    )
    parser.add_argument("--temperature", type=float)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--greeting", type=int, default=0, help="which greeting opens the play")
    parser.add_argument("--json", action="store_true", help="one JSON object a turn")
    add_loading(parser)


def run(arguments: argparse.Namespace) -> int:
    card = read_card(arguments.card)
    books = [
        Lorebook.parse(_read(path), path, rules=arguments.rules) for path in arguments.lorebook
    ]
    state = GameState(arguments.scene, {}, tuple(_action(text) for text in arguments.action))
    settings = NpcSettings(
        user=arguments.user,
        temperature=arguments.temperature,
        seed=arguments.seed,
        greeting=arguments.greeting,
        persona=arguments.persona,
        rules=arguments.rules,
    )
    npc = Npc(load_model(arguments), card, lorebooks=books, settings=settings)
    num_said = _say_warnings(npc, 0)
    if not arguments.json and npc.memory.history:
        write(f"{card.shown_name}: {npc.memory.history[0].text}\n")
    for line in _lines():
        try:
            if line == "/quit":
                break
            _command(npc, line) if line.startswith("/") else _turn(npc, line, state, arguments.json)
        except UnderstudyError as error:
            write(f"understudy: {error}\n", sys.stderr)
        num_said = _say_warnings(npc, num_said)
    return 0


def _say_warnings(npc: Npc, num_said: int) -> int:
    """Writes what is new among the things that could not be used; returns how many there are
    now.
    """
    for warning in npc.warnings[num_said:]:
        write(f"understudy: {warning}\n", sys.stderr)
    return len(npc.warnings)


def _lines() -> Iterator[str]:
    return (line.strip() for line in sys.stdin if line.strip())


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read: {error.strerror}", where=path) from error


def _action(text: str) -> ActionKind:
    name, _, targets = text.partition(":")
    return ActionKind(name, targets=tuple(target for target in targets.split(",") if target))


def _turn(npc: Npc, line: str, state: GameState, is_json: bool) -> None:
    if is_json:
        write(json.dumps(_document(npc.turn(line, state)), ensure_ascii=False) + "\n")
        return
    write(f"{npc.card.shown_name}: ")
    turn = npc.turn(line, state, on_say=write)
    wants = "".join(
        f" · {action.name}{f' → {action.target}' if action.target else ''}"
        for action in turn.actions
    )
    write(f"\n  [{turn.emotion}{wants}]\n")


def _document(turn: Turn) -> dict[str, object]:
    assert turn.ledger is not None
    tokens: dict[str, object] = {str(origin): count for origin, count in turn.ledger.tokens.items()}
    return {
        "say": turn.say,
        "emotion": turn.emotion,
        "memory": turn.memory,
        "fault": turn.fault,
        "actions": [
            {"name": a.name, **({"target": a.target} if a.target else {}), **a.arguments}
            for a in turn.actions
        ],
        "ledger": {
            **tokens,
            "reserve": turn.ledger.reserve,
            "free": turn.ledger.free,
            "dropped": turn.ledger.dropped,
        },
    }


def _command(npc: Npc, line: str) -> None:
    name, _, rest = line[1:].partition(" ")
    if name == "ledger" and npc.last is not None and npc.last.ledger is not None:
        ledger = npc.last.ledger
        for origin, count in ledger.tokens.items():
            write(f"{origin:10} {count:6}\n") if count else None
        write(f"{'reserve':10} {ledger.reserve:6}\n{'free':10} {ledger.free:6}\n")
        write("".join(f"dropped {line}\n" for line in ledger.dropped))
    elif name == "save" and rest:
        npc.save(rest)
    elif name == "resume" and rest:
        npc.resume(rest)
    elif name == "cut" and rest.isdigit():
        write(f"  heard: {npc.interrupt(int(rest))}\n")
    else:
        raise UsageError(
            "unknown command", where=line, expected="/ledger /save FILE /resume FILE /cut N /quit"
        )
