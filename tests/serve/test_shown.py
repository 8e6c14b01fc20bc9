"""Replies taken apart while they are written: however they come in pieces, the pieces joined are the whole."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from understudy.serve.shown import CallPiece, CallStart, Reading, Text
from understudy.text.templates.base import MISTRAL_FORM, TOOL_CALL_FORM, TOOLCALL_FORM


class Words:
    """As much of a tokenizer as a reading asks for."""

    def marker_id(self, text):
        return None

    def is_special(self, token):
        return False


class ChatTemplate:
    tokenizer = Words()

    def __init__(self, form):
        self.call_form = form


def read(form, raw, cuts, **options):
    reading, pieces, at = Reading(ChatTemplate(form), **{"has_calls": True, **options}), [], 0
    for cut in [*sorted(cut % (len(raw) + 1) for cut in cuts), len(raw)]:
        pieces += reading.push(raw[at:cut])
        at = max(at, cut)
    pieces += reading.finish()
    text = "".join(piece.text for piece in pieces if isinstance(piece, Text))
    names = [piece.name for piece in pieces if isinstance(piece, CallStart)]
    arguments = ["" for _ in names]
    for piece in pieces:
        if isinstance(piece, CallPiece):
            arguments[piece.index] += piece.text
    return text, names, arguments


CALLS = st.lists(
    st.tuples(
        st.sampled_from(["weather", "time"]),
        st.dictionaries(st.text(max_size=3), st.text(max_size=5), max_size=2),
    ),
    max_size=3,
)
CUTS = st.lists(st.integers(0, 400), max_size=6)


@pytest.mark.parametrize("form", [TOOL_CALL_FORM, TOOLCALL_FORM, MISTRAL_FORM])
@example(
    text="_", calls=[("time", {})], cuts=[7]
)  # text that also stands in the half of an opening that is held back
@given(
    text=st.text(st.characters(exclude_characters="<[{", exclude_categories=["Cs"]), max_size=12),
    calls=CALLS,
    cuts=CUTS,
)
def test_pieces_are_the_whole(form, text, calls, cuts):
    written = [json.dumps({"name": name, "arguments": arguments}) for name, arguments in calls]
    raw = text + (form.write(written) if written else "")
    found = read(form, raw, cuts)
    assert found[0] == text.strip()
    assert found[1] == [name for name, _ in calls]
    assert [json.loads(arguments) for arguments in found[2]] == [
        arguments for _, arguments in calls
    ]


@given(cut=st.integers(0, 200), cuts=CUTS)
def test_a_cut_reply_holds_json(cut, cuts):
    raw = "Let me see. " + TOOL_CALL_FORM.write(
        ['{"name": "weather", "arguments": {"city": "Paris", "days": [1, 2.5, true]}}'] * 2
    )
    text, names, arguments = read(TOOL_CALL_FORM, raw[:cut], cuts)
    assert "Let me see.".startswith(text) or "<" in text
    assert len(names) == len(arguments)
    for one in arguments:
        assert isinstance(json.loads(one), dict)


def test_without_tools_all_is_text():
    raw = '<tool_call>\n{"name": "f", "arguments": {}}\n</tool_call>'
    assert read(TOOL_CALL_FORM, raw, [5, 9], has_calls=False) == (raw, [], [])
    assert read(TOOL_CALL_FORM, "  a  ", [2], has_calls=False, is_raw=True)[0] == "  a  "
