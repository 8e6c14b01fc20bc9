"""Stop strings: however the text is cut into pieces, it ends where letter by letter it would, and
nothing waits without need.
"""

from __future__ import annotations

import itertools

from hypothesis import example, given
from hypothesis import strategies as st

from understudy.engine.stops import StopFilter

letters = st.text(st.sampled_from("ab"), max_size=20)
stops = st.lists(st.text(st.sampled_from("ab"), min_size=1, max_size=4), min_size=1, max_size=3)


def definition(text: str, stops: list[str]) -> tuple[str, str | None]:
    """What is said, and the stop: the longest of those that the text ends with first."""
    for end in range(len(text) + 1):
        met = [stop for stop in stops if text[:end].endswith(stop)]
        if met:
            stop = max(met, key=len)
            return text[: end - len(stop)], stop
    return text, None


@given(letters, stops, st.lists(st.integers(0, 20), max_size=5))
@example("abab", ["abab", "ba"], [])
def test_cuts_do_not_matter(text, stops, cuts):
    expected, expected_stop = definition(text, stops)
    filter, said, borders = StopFilter(stops), "", sorted({0, *cuts, len(text)})
    stop = None
    for begin, end in itertools.pairwise(borders):
        piece, stop = filter.push(text[begin:end])
        said += piece
        if stop is not None:
            break
        held = text[:end].removeprefix(said)
        assert not held or any(
            s.startswith(held) and s != held for s in stops
        )  # only what may become a stop waits
    if stop is None:
        said += filter.finish()
    assert (said, stop) == (expected, expected_stop)
