"""Calls in the notations of other families under a grammar: they parse and satisfy their schema."""

from __future__ import annotations

import json

import jsonschema
import pytest

from tests.support.random_model import babbler
from understudy.generation.calls import call_mask, read_calls
from understudy.generation.reader import CallPiece, CallStart, StreamParser, read_reply
from understudy.generation.schemas.plain_objects import properties_of
from understudy.generation.tools import Tool
from understudy.text.call_forms import (
    GEMMA4_FORM,
    GEMMA_FORM,
    MISTRAL_NAMED_FORM,
    NEMOTRON_LIST_FORM,
    PYTHON_FORM,
    XML_FORM,
)
from understudy.text.templates import CHAT_TEMPLATES

QUESTION = [{"role": "user", "content": "Go."}]
PLACE = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 8}, "floor": {"enum": [0, 1, 2]}},
    "required": ["name"],
}
SAY = {
    "type": "object",
    "properties": {
        "text": {"type": "string", "minLength": 1, "maxLength": 12},
        "code": {"type": "string", "pattern": "^[A-Z]{2}\\d+$", "maxLength": 5},
        "day": {"type": "string", "format": "date"},
        "note": {"type": ["string", "null"], "maxLength": 5},
        "unit": {"anyOf": [{"enum": ["C", "F"]}, {"type": "integer", "minimum": 0, "maximum": 5}]},
        "loud": {"type": "boolean"},
        "to": {"type": "array", "items": {"$ref": "#/$defs/place"}, "maxItems": 2},
        "odd": {"enum": ["a b", "null", 3, None]},
    },
    "required": ["text", "code"],
    "$defs": {"place": PLACE},
}
MANY = {"type": "object", "additionalProperties": {"enum": [1, 2]}, "maxProperties": 2}
TOOLS = [
    Tool("say", "", SAY),
    Tool(
        "odd-name",
        "",
        {"type": "object", "properties": {"from": {"type": "integer", "maximum": 9}}},
    ),
    Tool("count", "", MANY),
    Tool("stop", "", {"type": "object", "properties": {}}),
]
FORMS = [XML_FORM, PYTHON_FORM, GEMMA_FORM, GEMMA4_FORM, MISTRAL_NAMED_FORM, NEMOTRON_LIST_FORM]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    with babbler(tmp_path_factory.mktemp("model")) as loaded:
        yield loaded


def template_of(model, form):
    made = CHAT_TEMPLATES["chatml"](model.tokenizer)
    made.call_form = form
    return made


def follows(model, form, text, choice="auto") -> bool:
    """Whether the grammar lets a text pass, token by token, to an end."""
    mask = call_mask(model.tokenizer, template_of(model, form), TOOLS, choice)()
    seen: list[int] = []
    for token in model.tokenizer.encode("." + text)[1:]:
        bits = mask.allowed(seen)
        if not bits[token // 32] >> (token % 32) & 1:
            return False
        seen.append(token)
    return True


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.open)
@pytest.mark.parametrize("name", ["say", "count", "required"])
def test_every_call_satisfies_its_schema(model, form, name):
    template = template_of(model, form)
    mask = call_mask(model.tokenizer, template, TOOLS, name)
    finished = 0
    for seed in range(4):
        reply = model.generate(QUESTION, make_mask=mask, max_tokens=700, temperature=1.2, seed=seed)
        if reply.finish_reason == "length":
            continue
        finished += 1
        found = read_calls(template, reply.raw_text, TOOLS)
        assert found.calls, reply.raw_text
        assert (found.text, found.refused) == ("", ())
        for call in found.calls:
            tool = next(tool for tool in TOOLS if tool.name == call.name)
            jsonschema.validate(call.arguments, dict(tool.parameters))
        streamed = read_reply(template, reply.raw_text, TOOLS, is_strict=True)
        assert streamed.calls == list(found.calls)
    assert finished


XML = (
    "<tool_call>\n<function=say>\n<parameter=text>\n{}\n</parameter>\n"
    "<parameter=code>\nAB1\n</parameter>\n</function>\n</tool_call>"
)
SAID = 'text:<|"|>a<|"|>,code:<|"|>AB1<|"|>'


@pytest.mark.parametrize(
    ("form", "text", "fits"),
    [
        (XML_FORM, "Well. " + XML.format("hi <b>"), True),
        (XML_FORM, XML.format("two\nlines"), True),
        (XML_FORM, XML.format("")[:60], False),  # too short
        (XML_FORM, XML.format("a</parameter>b"), False),
        (XML_FORM, XML.format("a<parameter="), False),
        (XML_FORM, XML.format("x").replace("AB1", "ab1"), False),
        (XML_FORM, XML.format("x").replace("code", "kode"), False),
        (XML_FORM, "<tool_call>\n<function=fly>", False),
        (XML_FORM, '<tool_call>\n{"name": "count", "arguments": {"a": 1}}\n</tool_call>', True),
        (
            PYTHON_FORM,
            '<|tool_call_start|>[say(text="a", code="AB1", loud=True), stop()]<|tool_call_end|>',
            True,
        ),
        (PYTHON_FORM, '<|tool_call_start|>[say(text="a", loud=True', False),
        (PYTHON_FORM, "<|tool_call_start|>[stop(", True),
        (PYTHON_FORM, "<|tool_call_start|>[fly(", False),
        (
            GEMMA4_FORM,
            '<|tool_call>call:say{text:<|"|>a<|"|>,code:<|"|>AB1<|"|>}<tool_call|>',
            True,
        ),
        (
            GEMMA4_FORM,
            "<|tool_call>call:say{" + SAID + ',to:[{name:<|"|>x<|"|>,floor:2}]}',
            True,
        ),
        (GEMMA4_FORM, '<|tool_call>call:say{text:"', False),
        (MISTRAL_NAMED_FORM, '[TOOL_CALLS]stop[ARGS]{}[TOOL_CALLS]count[ARGS]{"x": 1}', True),
        (MISTRAL_NAMED_FORM, "[TOOL_CALLS]stop{", False),
        (
            NEMOTRON_LIST_FORM,
            NEMOTRON_LIST_FORM.write(['{"name": "stop", "arguments": {}}'] * 2),
            True,
        ),
    ],
)
def test_the_grammar_writes_the_family_s_form(model, form, text, fits):
    assert follows(model, form, text) == fits


def test_values_of_xml_are_what_their_schema_says(model):
    raw = (
        "<tool_call>\n<function=say>\n<parameter=text>\n 5\n\n</parameter>\n"
        "<parameter=code>\nAB1\n</parameter>\n<parameter=note>\n5\n</parameter>\n"
        "<parameter=unit>\n5\n</parameter>\n<parameter=loud>\nTrue\n</parameter>\n"
        '<parameter=to>\n[{"name": "x"}]\n</parameter>\n<parameter=odd>\nnull\n</parameter>\n'
        "</function>\n</tool_call>"
    )
    (call,) = read_calls(template_of(model, XML_FORM), raw, TOOLS).calls
    assert call.arguments == {
        "text": " 5\n",
        "code": "AB1",
        "note": "5",
        "unit": 5,
        "loud": True,
        "to": [{"name": "x"}],
        "odd": None,
    }


@pytest.mark.parametrize(
    ("form", "raw"),
    [
        (XML_FORM, "Hm. " + XML.format("x")),
        (PYTHON_FORM, 'Hm. <|tool_call_start|>[say(text="x", code="AB1")]<|tool_call_end|>'),
        (
            GEMMA_FORM,
            "Hm. <start_function_call>call:say{text:<escape>x<escape>,code:<escape>AB1<escape>}"
            "<end_function_call>",
        ),
        (MISTRAL_NAMED_FORM, 'Hm. [TOOL_CALLS]say[ARGS]{"text": "x", "code": "AB1"}'),
    ],
)
@pytest.mark.parametrize("step", [1, 3, 1000])
def test_pieces_joined_are_the_call(model, form, raw, step):
    parser = StreamParser(template_of(model, form), TOOLS, is_strict=True)
    pieces = [p for at in range(0, len(raw), step) for p in parser.push(raw[at : at + step])]
    pieces += parser.finish()
    assert parser.text == "Hm."
    assert [piece.name for piece in pieces if isinstance(piece, CallStart)] == ["say"]
    joined = "".join(piece.text for piece in pieces if isinstance(piece, CallPiece))
    assert json.loads(joined) == {"text": "x", "code": "AB1"}


@pytest.mark.parametrize("cut", [-12, -40, -60])
def test_a_call_that_was_cut_is_json_all_the_same(model, cut):
    raw = XML.format("x")[:cut]
    parser = StreamParser(template_of(model, XML_FORM), TOOLS, is_strict=True)
    pieces = parser.push(raw) + parser.finish()
    joined = "".join(piece.text for piece in pieces if isinstance(piece, CallPiece))
    assert parser.text == ""
    assert isinstance(json.loads(joined or "{}"), dict)


@pytest.mark.parametrize(
    "schema",
    [
        MANY,
        {"type": "object"},
        {"type": "object", "properties": {"a": {}}, "required": ["b"]},
        {"type": "object", "properties": {"a": {}}, "minProperties": 1},
        {"type": "object", "properties": {"a": {"$ref": "#/properties/b"}, "b": {}}},
        {"type": "object", "properties": {"a": False}},
    ],
)
def test_what_is_more_than_a_list_of_properties(schema):
    assert properties_of(schema) is None
