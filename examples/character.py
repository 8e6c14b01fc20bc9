"""A character card written as a PNG, read back, and spoken with for a turn; the ledger says where the tokens went."""

import tempfile
from pathlib import Path

import understudy
from understudy.roleplay.card import Card
from understudy.roleplay.card_files import read_card, write_card
from understudy.roleplay.npc import Npc
from understudy.roleplay.state import ActionKind, GameState

card = Card(
    {
        "spec": "chara_card_v2",
        "spec_version": "2.0",
        "data": {
            "name": "Hilde",
            "description": "{{char}} is the miller of a small village.",
            "first_mes": "Good day, {{user}}.",
            "character_book": {
                "entries": [
                    {
                        "keys": ["tower"],
                        "content": "The tower is locked.",
                        "enabled": True,
                        "insertion_order": 1,
                    }
                ]
            },
        },
    }
).upgraded()
with tempfile.TemporaryDirectory() as folder:
    write_card(card, Path(folder) / "hilde.png")
    npc = Npc(understudy.load("smollm2-135m-instruct"), read_card(Path(folder) / "hilde.png"))
print("Hilde:", npc.greeting())
state = GameState(
    "The mill at dusk.",
    {"sacks of flour": 3},
    (ActionKind("give", "hand it over", ("flour", "key")),),
)
turn = npc.turn("What is in the tower?", state, on_say=lambda text: print("Hilde:", text))
print(turn.emotion, turn.actions)
print(
    {origin: count for origin, count in turn.ledger.tokens.items() if count},
    "of",
    turn.ledger.context,
)
