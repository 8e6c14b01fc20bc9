"""Answers that stream for as long as their numbers are those of results."""

from __future__ import annotations

import random

import pytest

from understudy.generation.number_gate import NumberGate
from understudy.generation.reader import CallStart, ReasoningPiece, TextPiece
from understudy.generation.results import ResultCheck

CHECK = ResultCheck([("price", "A rope costs 14731.5 coins, a bread -3.")], "2 ropes?", False)


def cut(text: str, seed: int) -> list[str]:
    draw, pieces = random.Random(seed), []
    while text:
        size = draw.randint(1, 5)
        pieces.append(text[:size])
        text = text[size:]
    return pieces


def gated(pieces: list[str]) -> tuple[str, NumberGate]:
    gate = NumberGate(CHECK)
    out = [piece for text in pieces for piece in gate.push([TextPiece(text)])]
    return "".join(piece.text for piece in [*out, *gate.end()]), gate


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize(
    "text",
    [
        "It costs 14,731.5 coins.",
        "1. The rope: 14731.5\n2) The bread: -3",
        "For 2 you need money",
        "約14731.5枚です。",
        "  well-known, 3.\n\n",
        "",
    ],
)
def test_an_answer_of_its_numbers_goes_out_whole(text, seed):
    assert gated(cut(text, seed)) == (text, ANY_OPEN)


class _Open:
    def __eq__(self, gate):
        return not gate.is_shut and gate.fault is None


ANY_OPEN = _Open()


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize(
    ("text", "out", "number"),
    [
        ("A rope costs 14731.5 coins, two 99 coins.", "A rope costs 14731.5 coins, two", "99"),
        ("15999.", "", "15999."),
        ("It is 14731.59 coins", "It is", "14731.59"),
        ("1. Rope\n2. Bread\n77", "1. Rope\n2. Bread", "77"),
        ("約99枚です。", "約", "99"),
    ],
)
def test_nothing_goes_out_from_a_foreign_number_on(text, out, number, seed):
    given, gate = gated(cut(text, seed))
    assert given == gate.given == out
    assert gate.fault == f"{number.rstrip('.')} stands in no result"
    rest = "".join(piece.text for piece in gate.let_go())
    assert given + rest == text


def test_words_are_not_held_back():
    gate = NumberGate(CHECK)
    assert gate.push([TextPiece("The rope ")]) == [TextPiece("The rope")]
    assert gate.push([TextPiece("costs 147")]) == [TextPiece(" costs")]
    assert gate.push([TextPiece("31.5 coins")]) == [TextPiece(" 14731.5 coins")]


def test_calls_and_thoughts_pass():
    gate, call = NumberGate(CHECK), CallStart(0, "c", "price")
    thought = ReasoningPiece("99?")
    assert gate.push([thought]) == [thought]
    assert gate.push([TextPiece("I look up 99 ropes.")]) == [TextPiece("I look up")]
    assert gate.push([call]) == [TextPiece(" 99 ropes."), call]
    assert not gate.is_shut
