"""Arguments in pieces: at every cut what was handed on, closed, is JSON; uncut it is the whole."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.generation.partial_json import PartialJson

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.text(max_size=4), VALUES, max_size=3)


@settings(deadline=None)
@given(OBJECTS, st.booleans(), st.integers(1, 5))
def test_every_cut_can_be_closed(value, is_ascii, size):
    text = json.dumps(value, ensure_ascii=is_ascii)
    for cut in range(len(text) + 1):
        stream = PartialJson()
        given = "".join(stream.push(text[at : min(cut, at + size)]) for at in range(0, cut, size))
        assert text.startswith(given)
        closed = json.loads(given + stream.closing()) if not stream.is_done else json.loads(given)
        assert isinstance(closed, dict)
        assert set(closed) <= set(value)
    stream = PartialJson()
    assert stream.push(text + "} more") == text
    assert stream.is_done
    assert stream.rest == "} more"


@pytest.mark.parametrize(
    ("text", "given", "closing"),
    [
        ('{"city": "Par', '{"city": "Par', '"}'),
        ('{"city": "a", "un', '{"city": "a"', "}"),
        ('{"n": -', "{", "}"),
        ('{"n": 1.', '{"n": 1', "}"),
        ('{"n": [1, tru', '{"n": [1', "]}"),
        ('{"s": "x\\u00', '{"s": "x', '"}'),
        ("", "", "{}"),
    ],
)
def test_what_is_held_back(text, given, closing):
    stream = PartialJson()
    assert stream.push(text) == given
    assert stream.closing() == closing
