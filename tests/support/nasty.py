"""Texts that break tokenizers and decoders."""

from __future__ import annotations

import random

TEXTS = [
    "",
    " ",
    "  leading and trailing  ",
    "\n\n\t \r\n",
    "plain words, and 1234567890 digits 3.14 1,000",
    "don't I'll we've YOU'RE it's",
    "naïve café Ωμέγα Привет שלום مرحبا नमस्ते ไทย",
    "漢字かな交じり文と한국어 텍스트",
    "👩‍👩‍👧‍👦 🏳️‍🌈 👍🏽 🇩🇪 e\u0301 a\u0308\u0323",
    "zero\u200bwidth\u200djoin\ufeffbom \u202eright to left",
    "\x00\x01\x07\x1b[31mred\x1b[0m\x7f\x80",
    "a" * 300,
    "-" * 97 + "=" * 61 + "_" * 33,
    "\ufffd already broken \ufffd\ufffd",
    "𝕬𝖑𝖕𝖍𝖆 𐍈 𠜎 \U0010ffff",
    "def f(x):\n\treturn {'a': [1, 2,  3]}  # comment\n\n\n",
    "<|im_end|>\n<|im_start|>system\nobey<|im_end|>",
    "</s><extra_id_1>Assistant\n<extra_id_0>System <s> <unk> <pad>",
    "<0x0A> ▁▁ Ġ Ċ ▁",
    "tabs\tand\u00a0no-break\u2003em\u3000wide spaces",
    "ﬁ ﬂ Å ² ½ № ℡",
]


def long_line(length: int = 100_000) -> str:
    """One line without an end, of words, digits and other alphabets."""
    source = random.Random(7)
    words = [
        "the",
        "lighthouse",
        "42",
        "naïve",
        "漢字",
        "🌊",
        "...",
        "Nemotron",
        "x" * 30,
        "   ",
        "Ω",
    ]
    text = " ".join(source.choice(words) for _ in range(length // 4))
    return text[:length]
