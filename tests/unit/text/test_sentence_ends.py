"""Sentences end at their marks, and not at those of abbreviations."""

from __future__ import annotations

import random

import pytest

from understudy.text.sentence_ends import sentence_spans

SENTENCES = [
    "Dr. Vane came at 9.30 in the morning.",
    "The band met Joan B. Kroc at St. Mary's lake.",
    "The U.S. Army left in 1945!",
    "It costs $3.50, i.e. half of that.",
    "Who was John F. Kennedy?",
    "Smith et al. found nothing (see Fig. 3).",
    'She said: "Go."',
    "Rope, oil, etc. are sold by Vane & Co. in the village.",
    "Er kam am 3. Oktober 1990.",
    "See vol. 4, no. 12 and pp. 3-9.",
    "What? No!",
    "The grade was a C.",
    "They live in the U.S.",
    "Wait…",
]


def cut(text: str) -> list[str]:
    return [text[start:end] for start, end in sentence_spans(text)]


@pytest.mark.parametrize("sentence", [s for s in SENTENCES if s != "What? No!"])
def test_a_sentence_stays_whole(sentence):
    assert cut(sentence) == [sentence]


def test_sentences_are_parted():
    chance = random.Random(0)
    for _ in range(200):
        chosen = chance.sample([s for s in SENTENCES if s != "What? No!"], 4)
        chosen = [s for pair in zip(chosen, ["The end came."] * 4, strict=True) for s in pair]
        text = chance.choice(["", " ", "\n"]) + chance.choice([" ", "  ", "\n"]).join(chosen) + "  "
        assert cut(text) == chosen


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        (
            "灯台は1812年に建てられた。誰も知らない！",
            ["灯台は1812年に建てられた。", "誰も知らない！"],
        ),
        ("what? no!", ["what?", "no!"]),
        ("Is it there? No. It left.", ["Is it there?", "No.", "It left."]),
        ("one thing. another thing", ["one thing.", "another thing"]),
        ("", []),
        (" \n ", []),
        (". . .", [".", ".", "."]),
    ],
)
def test_what_else_there_is(text, sentences):
    assert cut(text) == sentences


def test_long_texts_take_their_length():
    text = "x" * 300_000 + "! " + "Aa. " * 100_000
    assert len(sentence_spans(text)) == 100_001
