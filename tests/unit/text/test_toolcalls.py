"""Tool calls: what is written is read back whatever it holds, sloppy ones are understood, hostile
ones cost little.
"""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.text.toolcalls import ParsedCall, calls_of_message, parse_calls, write_call

ONE = ParsedCall("f", {"x": 1})
PLAIN = '{"name": "f", "arguments": {"x": 1}}'

nasty = st.text(max_size=12) | st.sampled_from(
    [
        "<toolcall>",
        "</toolcall>",
        "</tool_call> <tool_call>",
        "```\n",
        "[TOOL_CALLS]",
        '{"name": "g"}',
        "]}",
        "\\",
        '"',
        "\u2028",
    ]
)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | nasty,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(nasty, inner, max_size=3),
    max_leaves=8,
)
calls = st.builds(ParsedCall, nasty.filter(bool), st.dictionaries(nasty, values, max_size=4))
FORMS = [
    ("<toolcall> ", " </toolcall>"),
    ("<tool_call>\n", "\n</tool_call>"),
    ("<toolcall>", ""),
    ("<|python_tag|>", ""),
    ("[TOOL_CALLS] [", "]"),
]


@settings(max_examples=300, deadline=None)
@given(st.lists(calls, min_size=1, max_size=3), st.sampled_from(FORMS))
def test_what_is_written_is_read_back(wanted, form):
    text = "\n".join(form[0] + write_call(call.name, call.arguments) + form[1] for call in wanted)
    assert parse_calls(text) == ("", wanted)


@settings(max_examples=100, deadline=None)
@given(calls, st.sampled_from(["<toolcall> ", "<tool_call>"]))
def test_text_around_a_call_is_kept(call, opening):
    closing = opening.strip().replace("<", "</")
    text = f"Let me look. {opening}{write_call(call.name, call.arguments)}{closing}\nOne moment."
    assert parse_calls(text) == ("Let me look. \nOne moment.", [call])


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        (
            f"<toolcall>```json\n{PLAIN}\n```</toolcall>",
            None,
        ),  # a fence inside a tag is not one of the known forms
        (f"<toolcall>{{{PLAIN}}}</toolcall>", ""),
        (f"First\n```json\n{PLAIN}\n```\nthen\n```json\n{PLAIN}\n```", "First\n\nthen"),
        (f"```python\nprint(1)\n```\n```tool_call\n{PLAIN}", "```python\nprint(1)\n```"),
        (
            '<toolcall>{"name": "f", "arguments": {"x":\n 1}} and so on</toolcall> bye',
            "and so on bye",
        ),
        (f"</toolcall>{PLAIN}", None),
        (f"</toolcall><toolcall>{PLAIN}", "</toolcall>"),
        (f"[{PLAIN}", ""),
    ],
)
def test_sloppy_forms(text, rest):
    found = parse_calls(text)
    if rest is None:
        assert found == (text, [])
    else:
        assert found == (rest, [ONE] * text.count('"name"'))


def test_line_breaks_inside_strings_are_read():
    assert parse_calls('<toolcall>{"name": "say", "arguments": {"text": "a\nb"}}')[1] == [
        ParsedCall("say", {"text": "a\nb"})
    ]


@pytest.mark.parametrize(
    "text",
    [
        '<toolcall>{"name": "f", "arguments": {"x": NaN}}</toolcall>',
        '<toolcall>{"name": "f", "arguments": {"x": 1e999}}</toolcall>',
        '<toolcall>{"name": "f", "arguments": ' + '{"a":' * 100 + "1" + "}" * 101 + "</toolcall>",
        '{"name": "f"} is a call',
        '<toolcall>{"name": "f", "arguments": "[1]"}</toolcall>',
        '<toolcall>{"name": "f", "arguments": 0}</toolcall>',
        "<toolcall>",
    ],
)
def test_the_text_stays_as_it_is(text):
    assert parse_calls(text) == (text, [])


@pytest.mark.parametrize(
    "unit",
    [
        "[",
        "{",
        '{"a":',
        "<toolcall>",
        "<toolcall>{",
        '<toolcall>{"a":"',
        "```json\n",
        "```json\n{",
        f"<toolcall>{PLAIN}",
        f"<toolcall>{PLAIN}</toolcall>",
        "</toolcall>",
        "[TOOL_CALLS][",
    ],
)
def test_hostile_text_is_read_in_linear_time(unit):
    start = time.perf_counter()
    parse_calls(unit * (100_000 // len(unit)))
    assert time.perf_counter() - start < 5  # milliseconds; quadratic work took minutes


def test_calls_of_a_message_in_either_form():
    bare = {"name": "f", "arguments": {"x": 1}}
    message = {"tool_calls": [{"type": "function", "function": bare}, bare, {"function": 5}, 7]}
    assert calls_of_message(message) == [("f", {"x": 1})] * 2
    assert write_call("f", '{"x": 1}') == PLAIN
    assert write_call("f", "not json") == '{"name": "f", "arguments": "not json"}'


@pytest.mark.parametrize(
    "answer",
    [
        '{"name": "Ada", "age": 36}',
        '[{"name": "Ada", "age": 36}, {"name": "Bo", "age": 7}]',
        '```json\n{"name": "Ely", "kind": "city"}\n```',
        '{"function": {"name": "f", "description": "counts"}}',
    ],
)
@pytest.mark.parametrize("names", [None, ["f"]])
def test_an_object_that_merely_has_a_name_is_no_call(answer, names):
    assert parse_calls(answer, names) == (answer, [])


@pytest.mark.parametrize(
    "call", ['{"name": "f"}', '{"id": "c1", "type": "function", "function": {"name": "f"}}']
)
def test_a_call_may_leave_out_its_arguments(call):
    assert parse_calls(call) == ("", [ParsedCall("f", {})])
