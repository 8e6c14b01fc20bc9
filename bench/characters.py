"""Characters in conversation: how many words, one speaker, in character, whole sentences; with the
switches of `SessionSettings` on and off. And: how often small talk lets a character act.

    python bench/characters.py --chat synthetic_persona_chat_valid.csv [--model M] [--turns 60]
    [--off] [--write FILE]

`--chat` is `Synthetic-Persona-Chat_valid.csv` of google-research-datasets/Synthetic-Persona-Chat
(CC BY 4.0). Turns are those of `understudy jobs --characters`: the second speaker is the character.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import re
from pathlib import Path

import understudy
from understudy.chat.session import Session, SessionSettings
from understudy.generation.plan import Block, Turn
from understudy.judge.jobs.characters import judged
from understudy.judge.jobs.items import load_items
from understudy.judge.jobs.job import Item
from understudy.report.statistics import bootstrap
from understudy.roleplay.card import Card
from understudy.roleplay.deeds import wanted_actions
from understudy.roleplay.state import ActionKind, GameState

MAX_TOKENS = 60
STATE = GameState(
    actions=(
        ActionKind("give", "hand over", ("sword", "key", "bread")),
        ActionKind("open", "open something", ("door", "chest")),
        ActionKind("attack", "fight", ("player", "wolf")),
        ActionKind("trade", "sell", ("sword", "potion")),
        ActionKind("follow", "walk along"),
        ActionKind("wait"),
        ActionKind("leave"),
    )
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--chat", type=Path, required=True)
    parser.add_argument("--model", default="smollm2-135m-instruct")
    parser.add_argument("--turns", type=int, default=60)
    parser.add_argument("--off", action="store_true", help="with the switches off")
    parser.add_argument("--write", type=Path)
    arguments = parser.parse_args()
    model = understudy.load(arguments.model)
    is_on = not arguments.off
    settings = SessionSettings(stays_in_character=is_on, stops_at_speakers=is_on)
    lines = []
    for item in load_items("characters", arguments.chat).rows[: arguments.turns]:
        lines.append(judged(said(model, item, settings)))
        if len(lines) % 10 == 0:
            print(json.dumps(summary(lines)), flush=True)
    result = {
        "model": arguments.model,
        "switches": "on" if is_on else "off",
        "turns": len(lines),
        "figures": summary(lines),
        "small_talk_with_an_action_offered": small_talk(arguments.chat),
    }
    print(json.dumps(result, indent=1))
    if arguments.write:
        arguments.write.write_text(json.dumps(result, indent=1) + "\n")


def said(model: understudy.Model, item: Item, settings: SessionSettings) -> str:
    session = Session(model, character=Card(dict(item["card"])), settings=settings)
    *earlier, last = item["messages"]
    session.turns[:] = [Turn(m["role"], [Block("history", m["content"])]) for m in earlier]
    return session.say(last["content"], max_tokens=MAX_TOKENS).text


def summary(lines: list[dict[str, int]]) -> dict[str, list[float]]:
    return {
        name: [round(v, 3) for v in bootstrap([float(line[name]) for line in lines])]
        for name in lines[0]
    }


def small_talk(path: Path, most: int = 2000) -> list[float]:
    """Messages that open the way to an action, which the model may still not take; of how many."""
    with path.open(encoding="utf-8", newline="") as file:
        texts = [row["Best Generated Conversation"] for row in csv.DictReader(file)]
    messages = [message for text in texts for message in re.findall(r"^User 1: (.+)$", text, re.M)]
    drawn = random.Random(0).sample(messages, min(most, len(messages)))
    return [sum(bool(wanted_actions(message, STATE)) for message in drawn), len(drawn)]


if __name__ == "__main__":
    main()
