"""Macros: SillyTavern's engine and ours, on the same texts, names and numbers of chance."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.others.sillytavern import SillyTavern
from tests.others.sillytavern.macro_texts import TEXTS, random_text
from understudy.roleplay.macro_list import MACROS
from understudy.roleplay.macros import MacroContext, expand

pytestmark = pytest.mark.others
NUM_RANDOM = 3000
FIELDS = {
    "description": "A miller.",
    "personality": "blunt",
    "scenario": "",
    "persona": "A traveller.",
    "system": "Be {{char}}.",
    "jailbreak": "Stay.",
    "mesExamples": "<START>\na: b\n<START>\nc: d",
    "version": "1.0",
    "charDepthPrompt": "Note.",
    "creatorNotes": "By me.",
    "firstMessage": "Hello.",
    "alternateGreetings": ["Hi."],
}
VALUES = {
    "description": "A miller.",
    "personality": "blunt",
    "persona": "A traveller.",
    "system_prompt": "Be {{char}}.",
    "post_history_instructions": "Stay.",
    "mes_example": "<START>\na: b\n<START>\nc: d",
    "examples": "a: b\nc: d\n",
    "character_version": "1.0",
    "depth_prompt": "Note.",
    "creator_notes": "By me.",
    "model": "a-model",
    "max_prompt": "3000",
    "max_context": "4096",
    "max_response": "300",
}
ELSE = "\x1f"  # of the mark that `{{else}}` leaves there where it is reversed
DIFFERENT = {  # and why
    "{{systemPrompt}}": "here the card's own prompt; there only with a system prompt switched on",
    "{{lastGenerationType}}": "here always normal; there empty until something was generated",
    "{{isMobile}}": "a stub says so there",
}


@pytest.fixture(scope="module")
def theirs() -> Iterator[SillyTavern]:
    process = SillyTavern()
    yield process
    process.close()


def both(theirs: SillyTavern, text: str, draws: list[float]) -> tuple[Any, str]:
    numbers = iter(draws)
    context = MacroContext(
        "Hilde",
        "Ada",
        values=VALUES,
        messages=[("assistant", "Hello."), ("user", "Hey.")],
        greetings=["Hello.", "Hi."],
        outlets={"hall": "OUT"},
        now=datetime(2026, 3, 4, 15, 6, 7, tzinfo=UTC),
        draw=lambda: next(numbers),
    )
    answer = theirs.ask(
        "expand",
        texts=[text],
        draws=draws,
        names={"user": "Ada", "char": "Hilde"},
        fields=FIELDS,
        outlets={"hall": "OUT"},
        messages=[{"mes": "Hello."}, {"mes": "Hey.", "is_user": True}],
    )
    return answer[0], expand(text, context)


@pytest.mark.parametrize("text", TEXTS)
def test_every_macro_and_every_corner(theirs: SillyTavern, text: str) -> None:
    answer, ours = both(theirs, text, [0.1, 0.7, 0.4, 0.9, 0.3, 0.6] * 5)
    assert text in DIFFERENT or ours == answer


@pytest.mark.parametrize("seed", range(10))
def test_random_texts(theirs: SillyTavern, seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(NUM_RANDOM // 10):
        text = random_text(chance)
        answer, ours = both(theirs, text, [chance.random() for _ in range(200)])
        assert ours == answer or ELSE in answer, text


def test_every_macro_of_its_list_is_here(theirs: SillyTavern) -> None:
    for macro in theirs.ask("describe"):
        ours = MACROS[macro["name"].lower()]
        most = None if macro["list"] else macro["maxArgs"]
        assert (ours.least, ours.most) == (macro["minArgs"], most), macro["name"]
