"""Keys that are patterns: Node's answers and ours, on random patterns and texts."""

from __future__ import annotations

import random

import pytest

from tests.others.sillytavern import SillyTavern
from understudy.roleplay.pattern_characters import UntranslatableError
from understudy.roleplay.patterns import read_pattern

pytestmark = pytest.mark.others
NUM_PATTERNS = 4000
ATOMS = [
    "a",
    "b",
    "orc",
    "k",
    "K",
    "é",
    "É",
    "ß",
    "ſ",
    "s",
    "猫",
    "😀",
    ".",
    "\\d",
    "\\w",
    "\\W",
    "\\s",
    "\\S",
    "\\D",
    "[abc]",
    "[^a-c]",
    "[a-z]",
    "[\\w-]",
    "[]",
    "[^]",
    "[^\\s]",
    "[😀a]",
    "(a)",
    "(b|a)",
    "(?:ab)",
    "(?<n>a)",
    "\\1",
    "\\2",
    "\\k<n>",
    "\\b",
    "\\B",
    "^",
    "$",
    "(?=a)",
    "(?!b)",
    "(?<=a)",
    "(?<!b)",
    "\\x41",
    "\\u0041",
    "\\u{41}",
    "\\u{1F600}",
    "\\0",
    "\\cA",
    "\\c",
    "\\n",
    "\\t",
    "\\p{L}",
    "\\p{Lu}",
    "\\P{L}",
    "\\p{Script=Han}",
    "[\\p{L}\\d]",
    "{",
    "}",
    "]",
    "a{2}",
    "a{,2}",
    "x{1,2}?",
    "\\8",
    "\\12",
    "[\\b]",
    "[a-]",
    "[-a]",
    "\\-",
    "\\é",
    "|",
    "(",
    ")",
    "*",
    "?",
    "+",
    "İ",
    "i",
    "I",
    "ı",
    "Σ",
    "ς",
    "σ",
    "[^é]",
    "[É-ß]",
    "[\\1]",
    "\\k",
    "\\/",
]
QUANTIFIERS = ["", "", "", "", "*", "+", "?", "{1,2}", "*?", "{2}", "+?", "{0}"]
TEXTS = [
    *"abkKéÉßẞSsſ猫😀\n\x01\u2028 1_A{}]-İiIıΣςσ\\n/\ufeff\x0c",
    "orc",
    "ORC",
    "<n>",
    "aa",
    "ab",
]


@pytest.mark.parametrize("seed", range(3))
def test_random_patterns(seed: int) -> None:
    chance = random.Random(seed)
    pairs = []
    for _ in range(NUM_PATTERNS):
        parts = [
            chance.choice(ATOMS) + chance.choice(QUANTIFIERS) for _ in range(chance.randint(1, 4))
        ]
        flags = "".join(flag for flag in "imsuy" if chance.random() < 0.25)
        text = "\x01" + "".join(chance.choice(TEXTS) for _ in range(chance.randint(0, 7)))
        pairs.append((f"/{''.join(parts)}/{flags}", text))
    theirs = SillyTavern()
    answers = theirs.ask("matches", pairs=pairs)
    theirs.close()
    num_compared = 0
    for (key, text), answer in zip(pairs, answers, strict=True):
        try:
            pattern = read_pattern(key)
        except UntranslatableError:
            continue
        num_compared += 1
        assert (None if pattern is None else pattern.matches(text, 2.0)) == answer, (key, text)
    assert num_compared > 0.95 * NUM_PATTERNS
