"""Guesses come from the place most like the end, and save steps where a text repeats itself."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.engine.fake import FakeRunner, letters
from understudy.engine import Engine, Request, SamplingParams
from understudy.engine.speculation import LONGEST, Drafter


def slow_draft(tokens: list[int], most: int) -> list[int]:
    """The definition: of all earlier places, the latest first, the one that agrees the longest."""
    best, longest = -1, 1
    for end in range(len(tokens) - 2, 0, -1):
        length = 0
        while length < min(LONGEST, end + 1) and tokens[end - length] == tokens[-1 - length]:
            length += 1
        if length > longest:
            best, longest = end, length
    if longest < 2:
        return []
    endless = [*tokens, *tokens[best + 1 :] * most]  # what is said over and over goes on
    return endless[best + 1 :][:most]


@given(
    st.lists(st.integers(0, 2), max_size=40),
    st.integers(1, 6),
    st.lists(st.integers(0, 40), max_size=3),
)
def test_drafts_follow_the_definition_however_they_are_asked(tokens, most, cuts):
    drafter = Drafter()
    for length in [*sorted(min(cut, len(tokens)) for cut in cuts), len(tokens)]:
        assert drafter.draft(tokens[:length], most) == slow_draft(tokens[:length], most)


def test_nothing_is_guessed_without_a_precedent():
    assert Drafter().draft([1, 2, 3, 4], 4) == []
    assert Drafter().draft([1], 4) == []


def test_a_text_that_repeats_itself_takes_fewer_steps():
    def asks(speculate: int) -> tuple[int, list[int], int]:
        engine = Engine(FakeRunner(32), letters(), context=128, speculate=speculate)
        # the bias makes the fake model say one token for ever
        engine.add(Request([1, 2], SamplingParams(max_tokens=60, logit_bias={9: 1000.0})))
        outputs = []
        while engine.has_work:
            outputs += engine.step()
        return (
            engine.runner.steps,
            [t for o in outputs for t in o.new_tokens],
            outputs[-1].usage.accepted_tokens,
        )

    (slow, expected, _), (quick, got, accepted) = asks(0), asks(4)
    assert got == expected == [9] * 60
    assert slow == 60
    assert quick < 20
    assert accepted > 40
