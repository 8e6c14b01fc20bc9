"""The forms of calls: found in a template, written, and read back whatever they hold."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.text.call_forms import (
    GEMMA4_FORM,
    GEMMA_FORM,
    GRANITE_FORM,
    LLAMA_FORM,
    MISTRAL_FORM,
    MISTRAL_NAMED_FORM,
    NEMOTRON_LIST_FORM,
    PHI_FORM,
    PYTHON_FORM,
    TOOL_CALL_FORM,
    TOOLCALL_FORM,
    XML_FORM,
    form_of,
)
from understudy.text.toolcalls import ParsedCall, parse_calls

FORMS = [
    *(TOOLCALL_FORM, TOOL_CALL_FORM, XML_FORM, NEMOTRON_LIST_FORM, PYTHON_FORM, GEMMA_FORM),
    *(GEMMA4_FORM, GRANITE_FORM, PHI_FORM, MISTRAL_FORM, MISTRAL_NAMED_FORM, LLAMA_FORM),
]


@pytest.mark.parametrize(
    ("template", "markers", "form"),
    [
        ("… <toolcall> {{ call }}", (), TOOLCALL_FORM),
        ("<tool_call>\n{{ call | tojson }}", ("<tool_call>",), TOOL_CALL_FORM),
        ("<tool_call>\\n<function=' + name + '>\\n<parameter=", (), XML_FORM),
        ("use <TOOLCALL>[{{ calls }}]</TOOLCALL>", (), NEMOTRON_LIST_FORM),
        ("List of tools: {{ tools }}", ("<|tool_call_start|>",), PYTHON_FORM),
        ("List of tools: {{ tools }}", (), TOOL_CALL_FORM),
        ("no word of them", ("<|tool_call_start|>",), TOOL_CALL_FORM),
        ("'<start_function_call>call:' + name", (), GEMMA_FORM),
        ("'<|tool_call>call:' + name", (), GEMMA4_FORM),
        ("respond with <|tool_call|> and a list", (), GRANITE_FORM),
        ("<|tool|>{{ message['tools'] }}", ("<|tool_call|>", "<|/tool_call|>"), PHI_FORM),
        ("[TOOL_CALLS][{{ calls }}]", (), MISTRAL_FORM),
        ("[TOOL_CALLS]{{ name }}[ARGS]{{ arguments }}", (), MISTRAL_NAMED_FORM),
        ("<|python_tag|>{{ call }}", (), LLAMA_FORM),
    ],
)
def test_a_template_tells_its_form(template, markers, form):
    assert form_of(template, lambda text: text in markers) == form


@pytest.mark.parametrize(
    ("form", "written"),
    [
        (
            XML_FORM,
            "<function=f>\n<parameter=a>\nx\n</parameter>\n"
            "<parameter=b>\n[1]\n</parameter>\n</function>",
        ),
        (PYTHON_FORM, 'f(a="x", b=[1])'),
        (GEMMA_FORM, "call:f{a:<escape>x<escape>,b:[1]}"),
        (GEMMA4_FORM, 'call:f{a:<|"|>x<|"|>,b:[1]}'),
        (MISTRAL_NAMED_FORM, 'f[ARGS]{"a": "x", "b": [1]}'),
        (LLAMA_FORM, '{"name": "f", "parameters": {"a": "x", "b": [1]}}'),
    ],
)
def test_a_call_in_its_notation(form, written):
    assert form.write_call("f", {"a": "x", "b": [1]}) == written
    assert form.write_call("f", '{"a": "x", "b": [1]}') == written


def test_python_says_its_own_words():
    call = PYTHON_FORM.write_call("f", {"a": True, "b": None, "c": {"d": [False, 'say "é"']}})
    assert call == 'f(a=True, b=None, c={"d": [False, "say \\"é\\""]})'


@pytest.mark.parametrize("form", [XML_FORM, PYTHON_FORM, GEMMA_FORM])
def test_names_without_a_place_in_the_notation_go_into_json(form):
    written = form.write_call("f", {"a b<>": 1, "from:": 2})
    assert written == '{"name": "f", "arguments": {"a b<>": 1, "from:": 2}}'
    assert parse_calls(form.write([written])) == ("", [ParsedCall("f", {"a b<>": 1, "from:": 2})])


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(
    ["\n", " x ", "{", "'", '"', "\\", "a, b", "<b>", "🙂", "1", "true"]
)
keys = st.sampled_from(["a", "city", "b2", "snake_case"])
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.dictionaries(keys, values, max_size=3), min_size=1, max_size=2))
@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.open)
def test_what_is_written_is_read_back(form, arguments):
    if form.notation == "xml":  # there a value is text, and what it is its schema says
        arguments = [{key: f"{value}" for key, value in one.items()} for one in arguments]
    arguments = arguments if form.again else arguments[:1]
    raw = form.write([form.write_call("f", one) for one in arguments])
    assert parse_calls(raw) == ("", [ParsedCall("f", one) for one in arguments])


@pytest.mark.parametrize(
    "raw",
    [
        "<|tool_call>call:f{a:",
        '<|tool_call>call:f{a:<|"|>x',
        "<|tool_call>call:f{" + "a:{" * 200,
        "<|tool_call>call:f{a:" + "[" * 5000,
        "[TOOL_CALLS]f[ARGS]{",
        "<|tool_call_start|>[f(a=NaN)]",
        "<|tool_call>call:f{a:NaN",
    ],
)
def test_what_does_not_end_is_no_call(raw):
    assert parse_calls(raw) == (raw, [])


def test_bare_words_of_gemma_are_what_they_look_like():
    raw = "<start_function_call>call:f{a:true,b:null,c:-1.5,d:two words,e:[x]}"
    assert parse_calls(raw)[1] == [
        ParsedCall("f", {"a": True, "b": None, "c": -1.5, "d": "two words", "e": ["x"]})
    ]
