"""Lorebooks: SillyTavern's own code and ours, on the same random books, conversations and numbers
of chance.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

import pytest

from tests.others.sillytavern import SillyTavern
from tests.others.sillytavern.situations import (
    make_chat,
    make_foreign,
    make_settings,
    make_sources,
    make_world,
)
from understudy.roleplay.lore import Found, Line, LoreMemory, ScanSettings, WorldInfoSettings
from understudy.roleplay.lorebook import Lorebook
from understudy.roleplay.macros import MacroContext

pytestmark = pytest.mark.others
NUM_BOOKS = 600
NUM_TURNS = 3  # of each: 1,800 situations
NAMES = {"user": "Ada", "char": "Hilde"}
ROLES = ("system", "user", "assistant")
SOURCES = {
    "personaDescription": "persona",
    "characterDescription": "description",
    "characterPersonality": "personality",
    "characterDepthPrompt": "depth_prompt",
    "scenario": "scenario",
    "creatorNotes": "creator_notes",
}
SETTINGS = {
    "world_info_depth": "scan_depth",
    "world_info_include_names": "include_names",
    "world_info_recursive": "recursive",
    "world_info_case_sensitive": "case_sensitive",
    "world_info_match_whole_words": "match_whole_words",
    "world_info_use_group_scoring": "use_group_scoring",
    "world_info_min_activations": "min_activations",
    "world_info_min_activations_depth_max": "min_activations_depth",
    "world_info_max_recursion_steps": "max_recursion_steps",
}


@pytest.fixture(scope="module")
def theirs() -> Iterator[SillyTavern]:
    process = SillyTavern()
    yield process
    process.close()


def lines_of(texts: list[str]) -> list[Line]:
    roles = ("user", "assistant")
    return [Line(roles[(len(texts) - 1 - i) % 2], text) for i, text in enumerate(texts)]  # type: ignore[arg-type]


def in_sillytavern(
    theirs: SillyTavern, lines: list[Line], settings: dict[str, Any], **request: Any
) -> dict[str, Any]:
    names = {"user": NAMES["user"], "assistant": NAMES["char"]}
    with_names = settings.get("world_info_include_names", True)
    chat = [f"{names[x.role]}: {x.text}" if with_names else x.text for x in reversed(lines)]
    return theirs.ask("scan", chat=chat, settings=settings, names=NAMES, **request)


def here(
    book: Lorebook,
    lines: list[Line],
    settings: dict[str, Any],
    sources: dict[str, str],
    memory: LoreMemory,
    draws: list[float],
    budget: int,
) -> Found:
    numbers = iter(draws)
    macros = MacroContext(NAMES["char"], NAMES["user"], draw=lambda: next(numbers))
    world = WorldInfoSettings(**{SETTINGS[name]: value for name, value in settings.items()})
    return book.scan(
        lines,
        ScanSettings(
            count_tokens=lambda text: len(text.split()),
            budget=budget,
            macros=macros,
            sources={SOURCES[name]: text for name, text in sources.items()},
            draw=lambda: next(numbers),
            world=world,
        ),
        memory,
    )


def our_shape(found: Found) -> dict[str, Any]:
    def texts(position: Any) -> list[str]:
        return [placed.content for placed in found.at(position)]

    depth: dict[str, list[str]] = {}
    for placed in found.at("depth"):
        depth.setdefault(f"{placed.depth} {placed.role}", []).append(placed.content)
    examples = [p for p in found.placed if p.position.startswith("examples")]
    return {
        "before": "\n".join(texts("before_char")),
        "after": "\n".join(texts("after_char")),
        "depth": depth,
        "examples": [(p.position, p.content) for p in examples],
        "note": (texts("note_top"), texts("note_bottom")),
        "outlets": found.outlets,
        "timed": [
            sorted((e.start, e.end, e.is_protected) for e in effects)
            for effects in (found.memory.sticky, found.memory.cooldown)
        ],
    }


def their_shape(found: dict[str, Any]) -> dict[str, Any]:
    timed = [found["timed"].get(name) or {} for name in ("sticky", "cooldown")]
    places = ("examples_top", "examples_bottom")
    return {
        "before": found["before"],
        "after": found["after"],
        "depth": {f"{d['depth']} {ROLES[d['role']]}": d["entries"] for d in found["depth"]},
        "examples": [(places[e["position"]], e["content"]) for e in found["examples"]],
        "note": (found["noteTop"], found["noteBottom"]),
        "outlets": {name: "\n".join(texts) for name, texts in found["outlets"].items()},
        "timed": [
            sorted((e["start"], e["end"], e["protected"]) for e in effects.values())
            for effects in timed
        ],
    }


@pytest.mark.parametrize("seed", range(NUM_BOOKS))
def test_every_situation_is_as_in_sillytavern(theirs: SillyTavern, seed: int) -> None:
    chance = random.Random(seed)
    world, settings, sources = make_world(chance), make_settings(chance), make_sources(chance)
    book, request = Lorebook.parse(json.dumps(world)), {"world": world}
    if seed % 2:  # as it travels in a card, written by SillyTavern
        for entry in world["entries"].values():
            entry.pop("characterFilter")
        exported = theirs.ask("export", name="book", entries=world["entries"])
        book, request = Lorebook(exported), {"book": exported}
    assert book.rules == "sillytavern"
    texts, memory, timed = make_chat(chance, chance.randint(1, 6)), LoreMemory(), {}
    budget = chance.choice([5, 12, 30, 1000])
    for _ in range(NUM_TURNS):
        lines, draws = lines_of(texts), [chance.random() for _ in range(200)]
        # a window of 4 tokens for each of the budget: SillyTavern gives lore a quarter
        answer = in_sillytavern(
            theirs,
            lines,
            settings,
            sources=sources,
            draws=draws,
            context=4 * budget,
            timed=timed,
            **request,
        )
        found = here(book, lines, settings, sources, memory, draws, budget)
        assert our_shape(found) == their_shape(answer)
        memory, timed = found.memory, answer["timed"]
        texts = [*texts, *make_chat(chance, 2 * chance.randint(0, 2))]


@pytest.mark.parametrize("kind", ["NovelLorebook", "AgnaiMemoryBook", "RisuLorebook"])
@pytest.mark.parametrize("seed", range(100))
def test_books_of_other_programs_say_what_sillytavern_makes_of_them(
    theirs: SillyTavern, kind: str, seed: int
) -> None:
    chance = random.Random(seed)
    given, settings = make_foreign(chance, kind), make_settings(chance)
    book = Lorebook.parse(json.dumps(given), rules="sillytavern")
    lines, draws = lines_of(make_chat(chance, 4)), [chance.random() for _ in range(200)]
    world = theirs.ask("import", kind=kind, book=given)
    answer = in_sillytavern(theirs, lines, settings, world=world, draws=draws, context=4000)
    found = here(book, lines, settings, {}, LoreMemory(), draws, 1000)
    assert our_shape(found) == their_shape(answer)
