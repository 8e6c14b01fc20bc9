"""What characters cost: first token cold and warm, resuming a saved session, and whether the form
of turns ever breaks.

    python bench/roleplay.py [--model M] [--turns 60] [--write bench/results/roleplay.json]

The persona has about 1,500 tokens. `cold` is the first turn of a fresh cache, `warm` are later
ones, `resume` reads a saved session into a fresh model (text, keys and values) and speaks its next
turn. `form`: turns of many seeds at a high temperature, each held against the schema of turns by
jsonschema, actions against the state of the game.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import numpy as np

import understudy
from understudy.roleplay.card import Card
from understudy.roleplay.npc import Npc, NpcSettings
from understudy.roleplay.state import ActionKind, GameState, turn_schema

STATE = GameState(
    "The mill at dusk.",
    {"sacks of flour": 3},
    (ActionKind("give", "hand over", ("flour", "key")), ActionKind("wait")),
)
QUESTIONS = (
    "Good evening.",
    "What do you sell?",
    "Who lives in the tower?",
    "Have you seen the ferryman?",
    "Tell me of the flood.",
)
SETTINGS = NpcSettings(temperature=0.0)


def card(words: int) -> Card:
    facts = [
        f"In the year {1700 + i} the mill ground {i + 3} sacks of rye for the village by the river."
        for i in range(200)
    ]
    persona = " ".join(
        ("{{char}} is the miller of a small village, blunt and kind. " + " ".join(facts)).split()[
            :words
        ]
    )
    return Card(
        {
            "spec": "chara_card_v2",
            "spec_version": "2.0",
            "data": {"name": "Hilde", "description": persona, "first_mes": "Well?"},
        }
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="smollm2-135m-instruct")
    parser.add_argument("--turns", type=int, default=60)
    parser.add_argument("--write", type=Path)
    arguments = parser.parse_args()
    persona = card(900)
    model = understudy.load(arguments.model)
    watch = Watch(model)
    npc = Npc(model, persona, settings=SETTINGS)
    turns = [npc.turn(text, STATE) for text in QUESTIONS]
    first = watch.seconds
    with tempfile.TemporaryDirectory() as folder:
        npc.save(Path(folder) / "play.json")
        size = sum(path.stat().st_size for path in Path(folder).iterdir())
        with understudy.load(arguments.model) as fresh:
            again = Npc(fresh, persona, settings=SETTINGS)
            started = time.perf_counter()
            again.resume(Path(folder) / "play.json")
            resume = time.perf_counter() - started
            resumed = again.turn("And then?", STATE)
    result = {
        "model": arguments.model,
        "prompt_tokens": turns[0].usage.prompt_tokens,
        "cold_first_token_ms": round(first[0] * 1e3, 1),
        "warm_first_token_ms": [
            round(float(np.median(first[1:])) * 1e3, 1),
            round(max(first[1:]) * 1e3, 1),
        ],
        "warm_tokens_computed": [
            turn.usage.prompt_tokens - turn.usage.cached_tokens for turn in turns[1:]
        ],
        "resume_ms": round(resume * 1e3, 1),
        "saved_mb": round(size / 1e6, 1),
        "resumed_tokens_computed": resumed.usage.prompt_tokens - resumed.usage.cached_tokens,
        "form": form(model, arguments.turns),
    }
    print(json.dumps(result, indent=1))
    if arguments.write:
        arguments.write.write_text(json.dumps(result, indent=1) + "\n")


class Watch:
    """Notes when the second output of each request came: the first is the forced beginning, which
    is there at once.
    """

    def __init__(self, model: understudy.Model) -> None:
        self.seconds: list[float] = []
        self._stream, model.stream_outputs = model.stream_outputs, self.watched

    def watched(self, prompt: object, **options: object) -> Iterator[object]:
        started = time.perf_counter()
        for index, output in enumerate(self._stream(prompt, **options)):
            if index == 1:
                self.seconds.append(time.perf_counter() - started)
            yield output


def form(model: understudy.Model, count: int) -> dict[str, int]:
    schema = turn_schema(STATE, SETTINGS.emotions, max_say=240, max_actions=2, max_memory=1)
    whole = cut = bad = 0
    for seed in range(count):
        npc = Npc(model, card(60), settings=NpcSettings(temperature=1.5, seed=seed))
        turn = npc.turn(QUESTIONS[seed % len(QUESTIONS)], STATE)
        document = {
            "say": turn.say,
            "emotion": turn.emotion,
            "memory": list(turn.memory),
            "actions": [
                {"name": a.name, **({"target": a.target} if a.target else {}), **a.arguments}
                for a in turn.actions
            ],
        }
        cut += turn.is_cut
        try:
            jsonschema.validate(document, schema)
            whole += 1
        except jsonschema.ValidationError:
            bad += 1
    return {"turns": count, "fit_the_schema": whole, "do_not": bad, "cut_by_their_reserve": cut}


if __name__ == "__main__":
    main()
