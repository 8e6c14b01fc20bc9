"""Random lorebooks and conversations for SillyTavern and for us; every field of an entry takes
part.
"""

from __future__ import annotations

import random
from typing import Any

WORDS = [
    "wolf",
    "moon",
    "orc",
    "Hilde",
    "the castle",
    "猫",
    "狼",
    "été",
    "Straße",
    "a.b",
    "axe",
    "gold",
]
KEYS = [
    *WORDS,
    *(
        "/wo?lf/i",
        "/^\x01User:/",
        "/moon$/m",
        "/(?<a>o)r\\k<a>?c/",
        "/GOLD/",
        "/猫|狼/u",
        "/bad(/",
        "/a/b/",
    ),
    *(
        "{{char}}",
        "{{user}}",
        " orc ",
        "",
        " ",
        "*",
        "she|he",
        "wol",
        "黑猫",
        "Ada",
        "lore",
        "cave",
    ),
]
TEXTS = [
    *(
        "A wolf howls at the moon.",
        "The orc has an axe!",
        "黑猫と狼",
        "Nothing here.",
        "gold in the castle",
    ),
    *(
        "Hilde waves.",
        "WOLF! MOON!",
        "L'été; Straße",
        "axb a.b",
        "",
        "  she said  ",
        "the castle's cave",
    ),
    *("GOLD\nmoon", "orcs and wolves", "Ada?", "* ? $100"),
]
CONTENTS = [
    *(
        "Wolves fear fire.",
        "The moon is gold.",
        "{{char}} knows the orc.",
        "lore of the castle",
        "",
    ),
    *(
        "@@activate\nalways",
        "@@dont_activate\nnever",
        "@@depth 3\n@@@activate\nmaybe",
        "cave {{user}} axe",
    ),
    *(
        "wolf moon orc gold",
        "long words " * 6,
        "@@activate_only_after 3\nx",
        "猫",
        "{{random::wolf::moon}}",
    ),
]
GROUPS = ["", "", "", "a", "b", "7", "a, b"]


def make_entry(chance: random.Random, number: int) -> dict[str, Any]:
    def maybe(value: Any, otherwise: Any, share: float = 0.25) -> Any:
        return value() if chance.random() < share else otherwise

    def flag() -> bool:
        return chance.random() < 0.5

    keys = chance.sample(KEYS, chance.randint(0, 3))
    return {
        "uid": number,
        "key": keys,
        "keysecondary": maybe(lambda: chance.sample(KEYS, chance.randint(0, 3)), [], 0.5),
        "comment": f"entry {number}",
        "content": chance.choice(CONTENTS),
        "constant": chance.random() < 0.15,
        "vectorized": False,
        "selective": chance.random() < 0.8,
        "selectiveLogic": chance.randrange(4),
        "addMemo": True,
        "order": chance.choice([100, 100, 100, 50, 10, 200]),
        "position": chance.choice([0, 1, 2, 3, 4, 4, 5, 6, 7]),
        "disable": chance.random() < 0.08,
        "ignoreBudget": maybe(flag, False),
        "excludeRecursion": maybe(flag, False, 0.4),
        "preventRecursion": maybe(flag, False, 0.4),
        "matchPersonaDescription": maybe(flag, False),
        "matchCharacterDescription": maybe(flag, False),
        "matchCharacterPersonality": maybe(flag, False),
        "matchCharacterDepthPrompt": maybe(flag, False),
        "matchScenario": maybe(flag, False),
        "matchCreatorNotes": maybe(flag, False),
        "delayUntilRecursion": maybe(lambda: chance.choice([0, 1, 2, 3, True]), 0),
        "probability": maybe(lambda: chance.choice([0, 10, 50, 90]), 100, 0.4),
        "useProbability": chance.random() < 0.9,
        "depth": chance.choice([0, 1, 2, 4]),
        "outletName": chance.choice(["hall", "cellar", ""]),
        "group": chance.choice(GROUPS),
        "groupOverride": maybe(flag, False),
        "groupWeight": chance.choice([100, 100, 1, 300]),
        "scanDepth": maybe(lambda: chance.choice([0, 1, 3, 2000]), None),
        "caseSensitive": maybe(flag, None, 0.4),
        "matchWholeWords": maybe(flag, None, 0.4),
        "useGroupScoring": maybe(flag, None),
        "automationId": "",
        "role": chance.randrange(3),
        "sticky": maybe(lambda: chance.choice([1, 2, 3]), None),
        "cooldown": maybe(lambda: chance.choice([1, 2, 4]), None),
        "delay": maybe(lambda: chance.choice([1, 3, 6]), None, 0.15),
        "triggers": maybe(lambda: chance.sample(["normal", "continue", "swipe"], 1), [], 0.15),
        "characterFilter": maybe(
            lambda: {"isExclude": flag(), "names": [chance.choice(["Hilde", "Bo"])], "tags": []},
            {"isExclude": False, "names": [], "tags": []},
            0.1,
        ),
    }


def make_world(chance: random.Random) -> dict[str, Any]:
    numbers = chance.sample(range(30), chance.randint(1, 8))
    return {"entries": {str(n): make_entry(chance, n) for n in numbers}}


def make_settings(chance: random.Random) -> dict[str, Any]:
    """Half of them are a fresh installation's."""
    if chance.random() < 0.5:
        return {}
    return {
        "world_info_depth": chance.choice([0, 1, 2, 4]),
        "world_info_include_names": chance.random() < 0.5,
        "world_info_recursive": chance.random() < 0.5,
        "world_info_case_sensitive": chance.random() < 0.3,
        "world_info_match_whole_words": chance.random() < 0.5,
        "world_info_use_group_scoring": chance.random() < 0.3,
        "world_info_min_activations": chance.choice([0, 0, 2, 4]),
        "world_info_min_activations_depth_max": chance.choice([0, 3]),
        "world_info_max_recursion_steps": chance.choice([0, 0, 1, 2]),
    }


def make_sources(chance: random.Random) -> dict[str, str]:
    names = ("personaDescription", "characterDescription", "characterPersonality")
    names += ("characterDepthPrompt", "scenario", "creatorNotes")
    return {name: chance.choice(TEXTS) for name in names}


def make_chat(chance: random.Random, number: int) -> list[str]:
    """Messages, the oldest first; every other is the user's, who speaks last."""
    return [chance.choice(TEXTS) for _ in range(number)]


def make_foreign(chance: random.Random, kind: str) -> dict[str, Any]:
    """A book as another program writes it: NovelLorebook, AgnaiMemoryBook or RisuLorebook."""

    def entry() -> dict[str, Any]:
        keys, content = chance.sample(KEYS, chance.randint(0, 3)), chance.choice(CONTENTS[:5])
        order, is_on = chance.choice([0, 10, 100, 400]), chance.random() < 0.9
        if kind == "NovelLorebook":
            rank = {"contextConfig": {"budgetPriority": order}} if chance.random() < 0.8 else {}
            return {"text": content, "keys": keys, "enabled": is_on, "displayName": "n", **rank}
        if kind == "AgnaiMemoryBook":
            named = {"name": "n", "entry": content, "keywords": keys, "enabled": is_on}
            return {**named, "weight": order, "priority": chance.randint(0, 9)}
        seconds = chance.sample(KEYS, chance.randint(0, 2)) if chance.random() < 0.5 else []
        return {
            "key": ", ".join(keys),
            "secondkey": ",".join(seconds),
            "comment": "n",
            "content": content,
            "alwaysActive": chance.random() < 0.15,
            "selective": chance.random() < 0.5,
            "insertorder": order,
        }

    heads = {
        "NovelLorebook": {"lorebookVersion": 5},
        "AgnaiMemoryBook": {"kind": "memory", "name": "b"},
        "RisuLorebook": {"type": "risu", "ver": 1},
    }
    name = "data" if kind == "RisuLorebook" else "entries"
    return {**heads[kind], name: [entry() for _ in range(chance.randint(1, 6))]}
