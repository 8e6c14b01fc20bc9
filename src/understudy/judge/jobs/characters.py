"""Characters: does one speak in whole sentences, alone, and as itself? Items have a `card` and
`messages`, the last of them the player's.
"""

from __future__ import annotations

import re
from typing import Any

from understudy.errors import ContextError
from understudy.judge.evaluate.applications import keeps
from understudy.judge.jobs.job import Item, Job, Settings, Switch
from understudy.model import Model
from understudy.roleplay.card import Card
from understudy.roleplay.knowledge import leaves_character
from understudy.roleplay.memory import Said
from understudy.roleplay.npc import Npc, NpcSettings
from understudy.roleplay.said_before import words_of
from understudy.roleplay.speech import sentences_in

MIN_WORDS = 3
_RULES = ("any", "all", "none", "starts", "ends", "max_words")
_SPEAKER = re.compile(r"(?:^|[.!?…\"”*]\s+|\n\s*)[A-Z][\w'’-]*(?: [A-Z0-9][\w'’-]*)?:\s")
_END = re.compile(r"[.!?…。！？][\"'”’*)»」]*$")


def score(model: Model, item: Item, settings: Settings) -> dict[str, Any]:
    """What is said to the last message."""
    card = Card(dict(item["card"]))
    npc = Npc(model, card, settings=NpcSettings(**settings))
    *earlier, last = item["messages"]
    if earlier:
        npc.memory.history = [Said(m["role"], m["content"]) for m in earlier]
    before = npc.said_before(last["content"])
    try:
        text = npc.turn(last["content"]).say.strip()
    except ContextError:
        text = ""
    rules = {"kept": int(keeps(item, text))} if any(name in item for name in _RULES) else {}
    said = [words_of(sentence) for sentence in sentences_in(text)]
    is_new = not before.recites(said) and not any(map(before.repeats, said))
    return {**judged(text), "anew": int(is_new), **rules}


def judged(text: str) -> dict[str, int]:
    """What can be told of a reply without its card."""
    line = {
        "one_speaker": int(_SPEAKER.search(text) is None),
        "in_character": int(leaves_character(text) is None),
        "whole": int(_END.search(text) is not None),
        "words": len(text.split()),
    }
    is_right = line["words"] >= MIN_WORDS and all(
        line[name] for name in ("one_speaker", "in_character", "whole")
    )
    return {"right": int(is_right), **line}


CHARACTERS = Job(
    "characters",
    "Characters",
    {
        "right": "share",
        "words": "mean",
        "one_speaker": "share",
        "in_character": "share",
        "whole": "share",
        "anew": "share",
        "kept": "share",
    },
    (
        Switch(
            "window of penalties",
            "penalties count the tokens of this speech; off: a repetition penalty of 1.15 over "
            "the whole prompt",
            {"repetition_penalty": 1.0, "frequency_penalty": 0.2, "penalty_last_n": 64},
            {"repetition_penalty": 1.15, "frequency_penalty": 0.0, "penalty_last_n": -1},
        ),
        Switch(
            "one speaker",
            "words end where somebody else's turn would begin",
            {"stops_at_speakers": True},
            {"stops_at_speakers": False},
        ),
        Switch(
            "character guard",
            "a sentence that leaves the character is drawn again",
            {"stays_in_character": True},
            {"stays_in_character": False},
        ),
        Switch(
            "sentences",
            "words are at least one sentence and end with one",
            {"speaks_in_sentences": True},
            {"speaks_in_sentences": False},
        ),
        Switch(
            "anew",
            "what was just said, and more than two sentences of the card, is not said again",
            {"speaks_anew": True},
            {"speaks_anew": False},
        ),
    ),
    {
        "repetition_penalty": 1.0,
        "frequency_penalty": 0.2,
        "penalty_last_n": 64,
        "stops_at_speakers": True,
        "stays_in_character": True,
        "speaks_in_sentences": True,
        "speaks_anew": True,
    },
    score,
)
