"""A village of three in the terminal: `go NAME`, or just talk. Coins and goods change hands only as the reducer allows."""

import sys

from village_cards import LORE, VILLAGERS

import understudy
from understudy.roleplay.npc import Npc
from understudy.roleplay.state import Action, ActionKind, GameState, Reducer, Refused

OWNED = {"Hilde": "flour", "Osric": "key", "Wren": "marble"}


def give(state: GameState, action: Action) -> GameState:
    if state.facts["your coins"] < 2:
        raise Refused("you cannot pay")
    bag = [*state.facts["your bag"], action.target]
    return GameState(
        state.scene, {"your coins": state.facts["your coins"] - 2, "your bag": bag}, state.actions
    )


model = understudy.load("smollm2-135m-instruct")
npcs = {card.name: Npc(model, card, lorebooks=[LORE]) for card in VILLAGERS}
reducer, here, facts = Reducer({"give": give}), "Hilde", {"your coins": 4, "your bag": []}
print(f"(Hilde, Osric and Wren live here; `go NAME` walks)\n{here}: {npcs[here].greeting()}")
for line in map(str.strip, sys.stdin):
    if line.removeprefix("go ") in npcs:
        here = line.removeprefix("go ")
        print(f"{here}: {npcs[here].greeting()}")
    elif line:
        actions = (ActionKind("give", "sell it for two coins", (OWNED[here],)), ActionKind("wait"))
        print(f"{here}: ", end="", flush=True)
        turn = npcs[here].turn(
            line,
            GameState("A small village.", facts, actions),
            on_say=lambda text: print(text, end="", flush=True),
        )
        result = reducer.commit(GameState("", facts, actions), turn.actions[:1])
        facts = dict(result.state.facts)
        print(
            f"\n  ({turn.emotion}; {facts})",
            *(f"refused: {reason}" for _, reason in result.refused),
        )
