"""Replies taken apart while they are written: the pieces joined are the whole, however cut."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from understudy.generation.reader import (
    CallPiece,
    CallStart,
    ReasoningPiece,
    StreamParser,
    TextPiece,
    read_reply,
)
from understudy.generation.tools import Tool
from understudy.text.call_forms import LLAMA_FORM, MISTRAL_FORM, TOOL_CALL_FORM, TOOLCALL_FORM
from understudy.text.toolcalls import ParsedCall, parse_calls

ANYTHING = {"type": "object", "additionalProperties": True}
TOOLS = [Tool("weather", "", ANYTHING), Tool("time", "", ANYTHING)]


class Template:
    """As much of a chat template as a parser asks for."""

    reasoning, opens_with_reasoning = None, False

    def __init__(self, form):
        self.call_form = form

    def parse(self, text, names=None):
        return parse_calls(text, names)

    def clean(self, text):
        return text.strip()


class Thinker(Template):
    reasoning = ("<think>", "</think>")


def pieces_of(template, raw, cuts, *, tools=TOOLS, is_strict=True):
    parser, pieces, at = StreamParser(template, tools, is_strict=is_strict), [], 0
    for cut in [*sorted(cut % (len(raw) + 1) for cut in cuts), len(raw)]:
        pieces += parser.push(raw[at:cut])
        at = max(at, cut)
    return pieces + parser.finish(), parser


def read(form, raw, cuts, **options):
    pieces, _ = pieces_of(Template(form), raw, cuts, **options)
    text = "".join(piece.text for piece in pieces if isinstance(piece, TextPiece))
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
@settings(deadline=None)
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


@settings(deadline=None)
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
    assert read(TOOL_CALL_FORM, raw, [5, 9], tools=()) == (raw, [], [])
    fenced = '```json\n{"name": "weather", "arguments": {}}\n```'
    assert read(TOOL_CALL_FORM, fenced, [5, 9], tools=()) == (fenced, [], [])


CALL = '{"name": "weather", "arguments": {"city": "Paris", "days": 3}}'
FOREIGN = {
    "tagged otherwise": f"<toolcall>{CALL}</toolcall>",
    "in capitals": f"<TOOLCALL>[{CALL}]</TOOLCALL>",
    "fenced": f"```json\n{CALL}\n```",
    "fenced without a language": f"```\n{CALL}\n```\n",
    "bare": CALL,
    "bare, with words behind it": f"{CALL}\nI looked it up.",
    "with its wrapper": f'{{"type": "function", "function": {CALL}}}',
    "a list": f"[{CALL}]",
    "XML": "<tool_call>\n<function=weather>\n<parameter=city>\nParis\n</parameter>\n<parameter=days>\n3\n</parameter>\n</function>\n</tool_call>",
    "XML with JSON": '<function=weather>{"city": "Paris", "days": 3}</function>',
    "invoked": '<function_calls><invoke name="weather"><parameter name="city">Paris</parameter><parameter name="days">3</parameter></invoke></function_calls>',
    "Python": 'weather(city="Paris", days=3)',
    "Python in a list": '[weather(city="Paris", days=3)]',
    "Python in tags": '<|tool_call_start|>[weather(city="Paris", days=3)]<|tool_call_end|>',
    "Python in a fence": '```python\nweather(city="Paris", days=3)\n```',
}
TYPED = [
    Tool(
        "weather",
        "",
        {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
            "required": ["city"],
        },
    ),
]


@pytest.mark.parametrize("is_strict", [True, False])
@pytest.mark.parametrize("raw", FOREIGN.values(), ids=FOREIGN)
@settings(deadline=None)
@given(cuts=CUTS)
def test_calls_of_every_notation_are_calls(raw, is_strict, cuts):
    text, names, arguments = read(LLAMA_FORM, raw, cuts, tools=TYPED, is_strict=is_strict)
    assert names == ["weather"]
    assert json.loads(arguments[0]) == {"city": "Paris", "days": 3}
    assert text == ("I looked it up." if "words" in raw or "looked" in raw else "")


@pytest.mark.parametrize("raw", [raw for raw in FOREIGN.values() if raw[0] in "<`"])
def test_words_before_a_call_are_handed_on_at_once(raw):
    parser = StreamParser(Template(TOOL_CALL_FORM), TYPED, is_strict=True)
    assert parser.push("I shall look. " + raw[:1]) == [TextPiece("I shall look.")]
    parser.push(raw[1:])
    parser.finish()
    assert parser.calls == [ParsedCall("weather", {"city": "Paris", "days": 3})]
    assert parser.text == "I shall look."


NO_CALLS = [
    '{"answer": "Paris", "days": 3}',
    "[1, 2, 3]",
    "```rust\nfn main() {}\n```\nand\n```\nplain\n```\nend",
    '```json\n{"city": "Paris"}\n```\nThat is it.',
    "`weather` is a function; 2 < 3, <b>bold</b> and a <tool",
    "weather is fine",
    "print(1)",
    '{"name": "Paris", "population": 3}',
    "[see below] for more",
]


@pytest.mark.parametrize("raw", NO_CALLS)
@settings(deadline=None)
@given(cuts=CUTS)
def test_what_is_no_call_is_text(raw, cuts):
    assert read(TOOL_CALL_FORM, raw, cuts) == (raw, [], [])


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        ('{"answer": "Paris', '{"answer": "Paris'),
        ("```rust\nfn main", "```rust\nfn main"),
        ('```json\n{"city": 1}\n```\nThat', '```json\n{"city": 1}\n```\nThat'),
        ("[1, 2", "[1, 2"),
        ('{"name": "Paris", "population": 3} is', '{"name": "Paris", "population": 3} is'),
    ],
)
def test_other_text_does_not_wait_for_the_end(raw, told):
    parser = StreamParser(Template(TOOL_CALL_FORM), TOOLS, is_strict=True)
    pieces = [piece for char in raw for piece in parser.push(char)]
    assert "".join(piece.text for piece in pieces) == told


def test_a_wrong_call_is_text_and_told():
    raw = '```json\n{"name": "fly", "arguments": {}}\n```'
    found = read_reply(Template(TOOL_CALL_FORM), raw, TYPED)
    assert (found.text, found.calls) == (raw, [])
    assert found.refused[0][1].startswith("there is no tool 'fly'")


def test_arguments_that_a_tool_does_not_have_are_left_out():
    raw = '{"name": "weather", "arguments": {"city": "Paris", "unit": "C"}}'
    found = read_reply(Template(TOOL_CALL_FORM), raw, TYPED)
    assert found.calls == [ParsedCall("weather", {"city": "Paris"})]
    assert found.notes == ["weather: no argument 'unit', left out"]
    taking = [Tool("weather", "", {**TYPED[0].parameters, "additionalProperties": True})]
    assert read_reply(Template(TOOL_CALL_FORM), raw, taking).calls[0].arguments["unit"] == "C"


@settings(deadline=None)
@given(cuts=CUTS)
def test_the_token_that_opens_calls_leaves_no_text(cuts):
    template = Template(LLAMA_FORM)
    raw = '<|python_tag|>{"name": "weather", "parameters": {"city": "Paris"}}'
    pieces, parser = pieces_of(template, raw, cuts)
    assert parser.calls == [ParsedCall("weather", {"city": "Paris"})]
    assert not any(isinstance(piece, TextPiece) for piece in pieces)


@settings(deadline=None)
@given(cuts=CUTS)
def test_reasoning_comes_apart_from_the_answer(cuts):
    raw = "<think>\nThe user asks < 3.\n</think>\n\nIt rains. " + TOOL_CALL_FORM.write([CALL])
    pieces, parser = pieces_of(Thinker(TOOL_CALL_FORM), raw, cuts)
    thought = "".join(piece.text for piece in pieces if isinstance(piece, ReasoningPiece))
    assert thought == parser.reasoning == "The user asks < 3."
    assert parser.text == "It rains."
    assert [call.name for call in parser.calls] == ["weather"]
    assert pieces_of(Template(TOOL_CALL_FORM), raw, cuts)[1].text.startswith("<think>")


def test_reasoning_that_the_prompt_has_opened_or_that_was_cut():
    template = Thinker(TOOL_CALL_FORM)
    template.opens_with_reasoning = True
    found = read_reply(template, "I wonder.\n</think>\n\nYes.", TOOLS)
    assert (found.reasoning, found.text) == ("I wonder.", "Yes.")
    found = read_reply(template, "I wonder and", TOOLS)
    assert (found.reasoning, found.text) == ("I wonder and", "")
