"""A village of three in the terminal: `go NAME`, or just talk. Goods change hands for two coins."""

import json
import sys
from pathlib import Path

import understudy
from understudy import Action, ActionKind, GameState, Lorebook, Npc, Reducer, read_card

FOLDER = Path(__file__).parent / "village"
OWNED = {"Hilde": "flour", "Osric": "key", "Wren": "marble"}


def give(state: GameState, action: Action) -> GameState:
    bag = [*state.facts["bag"], action.target]
    return GameState(state.scene, {"coins": state.facts["coins"] - 2, "bag": bag}, state.actions)


model = understudy.load("smollm2-135m-instruct")
lore = Lorebook(json.loads((FOLDER / "lore.json").read_text(encoding="utf-8")))
cards = [read_card(FOLDER / f"{name.lower()}.json") for name in OWNED]
npcs = {card.name: Npc(model, card, lorebooks=[lore]) for card in cards}
reducer, here, facts = Reducer({"give": give}), "Hilde", {"coins": 4, "bag": []}
print(f"(Hilde, Osric and Wren live here; `go NAME` walks)\n{here}: {npcs[here].greeting()}")
for line in map(str.strip, sys.stdin):
    if line.removeprefix("go ") in npcs:
        here = line.removeprefix("go ")
        print(f"{here}: {npcs[here].greeting()}")
    elif line:
        sell = ActionKind("give", "sell it", (OWNED[here],), when="coins >= 2", cues=("buy",))
        state = GameState("A small village.", facts, (sell,))
        print(f"{here}: ", end="", flush=True)
        turn = npcs[here].turn(line, state, on_say=lambda text: print(text, end="", flush=True))
        facts = dict(reducer.commit(state, turn.actions).state.facts)
        print(f"\n  ({turn.emotion}; {facts})")
