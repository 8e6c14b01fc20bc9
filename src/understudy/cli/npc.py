"""`understudy npc CARD`: play with a character in the terminal; every turn shows what it says,
feels and wants to do.

Lines beginning with `/` are commands; `/help` lists them. Ctrl-C while the character speaks cuts
in: it ends the reply, not the program.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from understudy.cli.game_options import add_game, game_of, read_fact
from understudy.cli.options import add_loading, add_model, load_model
from understudy.cli.saving import SAVE_HELP, file_named, save_to
from understudy.cli.terminal import Commands, run_command, typed_lines, write
from understudy.errors import UnderstudyError, UsageError

if TYPE_CHECKING:
    from understudy.roleplay.npc import Npc, NpcTurn
    from understudy.roleplay.state import Action, GameState


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
    add_game(parser)
    parser.add_argument("--temperature", type=float)
    parser.add_argument(
        "--sampler",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="how it speaks, such as dry_multiplier=0.8; before the card (repeatable)",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--greeting", type=int, default=0, help="which greeting opens the play")
    parser.add_argument("--json", action="store_true", help="one JSON object a turn")
    add_loading(parser)


def run(arguments: argparse.Namespace) -> int:
    from understudy.roleplay.card_files import read_card
    from understudy.roleplay.lorebook import Lorebook
    from understudy.roleplay.npc import Npc, NpcSettings

    card = read_card(arguments.card)
    books = [
        Lorebook.parse(_read(path), path, rules=arguments.rules) for path in arguments.lorebook
    ]
    state = game_of(arguments)
    facts = dict(state.facts)
    settings = NpcSettings(
        **{"temperature": arguments.temperature, **_samplers(arguments.sampler)},
        user=arguments.user,
        seed=arguments.seed,
        greeting=arguments.greeting,
        persona=arguments.persona,
        rules=arguments.rules,
    )
    npc = Npc(load_model(arguments), card, lorebooks=books, settings=settings)
    num_said = _say_warnings(npc, 0)
    commands = _commands(npc, facts)
    if not arguments.json and npc.memory.history:
        write(f"{card.shown_name}: {npc.memory.history[0].text}\n")
    for line in _lines():
        try:
            if not line.startswith("/"):
                _turn(npc, line, replace(state, facts=facts), arguments.json)
            elif not run_command(commands, line):
                break
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
    from understudy.formats.packed import cache_folder

    is_terminal = sys.stdin.isatty() and sys.stdout.isatty()
    lines = typed_lines(cache_folder() / "npc-history") if is_terminal else sys.stdin
    return (line.strip() for line in lines if line.strip())


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read: {error.strerror}", where=path) from error


def _samplers(texts: Iterable[str]) -> dict[str, Any]:
    from understudy.roleplay.turn import SAMPLERS

    given = dict(read_fact(text, "--sampler") for text in texts)
    if unknown := set(given) - set(SAMPLERS):
        raise UsageError(
            "no such sampler",
            where="--sampler",
            expected=", ".join(SAMPLERS),
            found=", ".join(sorted(unknown)),
        )
    return given


def _turn(npc: Npc, line: str, state: GameState, is_json: bool) -> None:
    if is_json:
        write(json.dumps(_document(npc.turn(line, state)), ensure_ascii=False) + "\n")
        return
    before = npc.last
    with closing(npc.stream(line, state)) as pieces:  # type: ignore[type-var]
        try:
            write(f"{npc.card.shown_name}: ")
            for piece in pieces:
                write(piece)
        except KeyboardInterrupt:
            write(" …")
    turn = npc.last
    if turn is None or turn is before:  # cut in before anything was begun
        write("\n")
        return
    wants = "".join(f" · {_in_words(action)}" for action in turn.actions)
    write(f"\n  [{turn.emotion}{wants}]\n")
    for action, reason in turn.refused:
        write(f"  refused: {_in_words(action)} ({reason})\n")


def _in_words(action: Action) -> str:
    target = f" → {action.target}" if action.target else ""
    values = ", ".join(f"{name} {value}" for name, value in action.arguments.items())
    return f"{action.name}{target}{f' ({values})' if values else ''}"


def _document(turn: NpcTurn) -> dict[str, object]:
    assert turn.ledger is not None
    tokens: dict[str, object] = {str(origin): count for origin, count in turn.ledger.tokens.items()}
    return {
        "say": turn.say,
        "emotion": turn.emotion,
        "memory": turn.memory,
        "fault": turn.fault,
        "actions": [_plain(action) for action in turn.actions],
        "refused": [{**_plain(action), "reason": reason} for action, reason in turn.refused],
        "ledger": {
            **tokens,
            "reserve": turn.ledger.reserve,
            "free": turn.ledger.free,
            "dropped": turn.ledger.dropped,
        },
    }


def _plain(action: Action) -> dict[str, object]:
    target = {"target": action.target} if action.target else {}
    return {"name": action.name, **target, **action.arguments}


def _commands(npc: Npc, facts: dict[str, object]) -> Commands:
    def help_(_: str) -> None:
        for name, (meaning, _run) in commands.items():
            write(f"/{name:8} {meaning}\n")

    commands: Commands = {
        "help": ("this list", help_),
        "ledger": ("where the tokens of the last prompt went", lambda _: _ledger(npc)),
        "cut": ("N: only N characters of the last reply were heard", lambda rest: _cut(npc, rest)),
        "fact": ("NAME=VALUE: it is so in the game from now on", lambda text: _set(facts, text)),
        "save": (SAVE_HELP, lambda rest: save_to(npc, rest)),
        "resume": ("FILE: go on with such a play", lambda name: npc.resume(file_named(name))),
        "quit": ("leave", lambda _: None),
    }
    return commands


def _ledger(npc: Npc) -> None:
    ledger = npc.last.ledger if npc.last is not None else None
    if ledger is None:
        write("no prompt yet\n")
        return
    for origin, count in ledger.tokens.items():
        write(f"{origin:10} {count:6}\n") if count else None
    write(f"{'reserve':10} {ledger.reserve:6}\n{'free':10} {ledger.free:6}\n")
    write("".join(f"dropped {line}\n" for line in ledger.dropped))


def _cut(npc: Npc, rest: str) -> None:
    if not (rest.isascii() and rest.isdigit()):
        raise UsageError("not a number of characters", where="/cut", found=rest)
    write(f"  heard: {npc.interrupt(int(rest))}\n")


def _set(facts: dict[str, object], text: str) -> None:
    name, value = read_fact(text, "/fact")
    facts[name] = value
