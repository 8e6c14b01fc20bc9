"""A character card is read and spoken with for a turn; the ledger says where the tokens went."""

from pathlib import Path

import understudy
from understudy import ActionKind, GameState, Npc, read_card

card = read_card(Path(__file__).parent / "hilde.json")
npc = Npc(understudy.load("smollm2-135m-instruct"), card)
print("Hilde:", npc.greeting())
give = ActionKind("give", "hand it over", ("lantern", "key"), when="storm == 'over'")
state = GameState("The lighthouse at night.", {"storm": "raging"}, (give,))
turn = npc.turn("What is the light for?", state, on_say=lambda text: print("Hilde:", text))
print(turn.emotion, turn.actions)
used = {origin: count for origin, count in turn.ledger.tokens.items() if count}
print(used, "of", turn.ledger.context)
