"""Calls under a grammar: whatever a model babbles, what it calls parses and satisfies the schema."""

from __future__ import annotations

import json

import jsonschema
import pytest

from tests.support.random_model import babbler
from understudy.errors import SchemaError, TemplateError, UsageError
from understudy.generation.calls import (
    call_grammar,
    call_mask,
    callable_tools,
    choice_of,
    read_calls,
)
from understudy.generation.tools import Tool
from understudy.text.call_forms import LLAMA_FORM, MISTRAL_FORM
from understudy.text.grammar import Grammar
from understudy.text.templates import CHAT_TEMPLATES

PLACE = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 8},
        "floor": {"type": "integer", "minimum": 0, "maximum": 9},
    },
    "required": ["name"],
}
TOOLS = [
    Tool.from_openai(
        {
            "name": "go",
            "parameters": {
                "type": "object",
                "properties": {
                    "to": {"$ref": "#/$defs/place"},
                    "mode": {"enum": ["foot", "horse"]},
                },
                "required": ["to", "mode"],
                "$defs": {"place": PLACE},
            },
        }
    ),
    Tool.from_openai(
        {
            "name": "wait.here",
            "parameters": {
                "type": "object",
                "properties": {"for": {"anyOf": [{"type": "boolean"}, {"type": "null"}]}},
            },
        }
    ),
    Tool.from_openai({"name": "stop"}),
]
QUESTION = [{"role": "user", "content": "Go."}]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    with babbler(tmp_path_factory.mktemp("model")) as loaded:
        yield loaded


@pytest.mark.parametrize("chat_template", ["nemotron", "chatml"])
@pytest.mark.parametrize("choice", ["required", "go", "wait.here"])
@pytest.mark.parametrize("is_parallel", [True, False])
def test_every_call_satisfies_its_schema(model, chat_template, choice, is_parallel):
    made = CHAT_TEMPLATES[chat_template](model.tokenizer)
    mask = call_mask(model.tokenizer, made, TOOLS, choice, is_parallel=is_parallel)
    finished = 0
    for seed in range(6):
        reply = model.generate(QUESTION, make_mask=mask, max_tokens=800, temperature=1.2, seed=seed)
        if reply.finish_reason == "length":
            continue
        finished += 1
        found = read_calls(made, reply.raw_text, TOOLS)
        assert found.calls, reply.raw_text
        assert not found.refused
        assert not found.text
        assert is_parallel or len(found.calls) == 1
        for call in found.calls:
            tool = next(tool for tool in TOOLS if tool.name == call.name)
            assert choice in ("required", call.name)
            jsonschema.validate(call.arguments, dict(tool.parameters))
    assert finished


def test_without_choice_no_call_opens(model):
    mask = call_mask(model.tokenizer, model.chat_template, TOOLS, "none")
    for seed in range(5):
        text = model.generate(
            QUESTION, make_mask=mask, max_tokens=60, temperature=1.5, seed=seed
        ).raw_text
        assert "<toolcall>" not in text
    assert not follows(model, model.chat_template, "none", "Well <toolcall> {")


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ("Just words.", True),
        ('<toolcall> {"name": "stop", "arguments": {}} </toolcall>', True),
        (
            'I shall. <toolcall> {"name": "go", "arguments": {"to": {"name": "mill"}, "mode": "foot"}} </toolcall>',
            True,
        ),
        (
            '<toolcall> {"name": "stop", "arguments": {}} </toolcall>\n<toolcall> {"name": "stop", "arguments": {}} </toolcall>',
            True,
        ),
        ('<toolcall> {"name": "run", ', False),
        ('<toolcall> {"name": "stop", "arguments": {"a"', False),
        ('<toolcall> {"name": "go", "arguments": {"mode"', False),
        ('<toolcall> {"name": "go", "arguments": {"to": {"name": "mill"}, "mode": "boat"', False),
        ('<toolcall> {"name": "stop", "arguments": {}} </toolcall> and', False),
    ],
)
def test_text_is_free_until_a_call_opens(model, text, fits):
    assert follows(model, model.chat_template, "auto", text) == fits


def follows(model, chat_template, choice, text) -> bool:
    mask = call_mask(model.tokenizer, chat_template, TOOLS, choice)()
    seen = []
    for token in model.tokenizer.encode("." + text)[2:]:  # without a blank, and the full stop
        bits = mask.allowed(seen)
        if not bits[token // 32] >> (token % 32) & 1:
            return False
        seen.append(token)
    return True


@pytest.mark.parametrize("form", [MISTRAL_FORM, LLAMA_FORM])
def test_other_forms_compile_and_are_read_back(model, form):
    chat_template = CHAT_TEMPLATES["chatml"](model.tokenizer)
    chat_template.call_form = form
    mask = call_mask(model.tokenizer, chat_template, TOOLS[2:], "required")
    reply = model.generate(QUESTION, make_mask=mask, max_tokens=400, temperature=1.0, seed=1)
    assert reply.raw_text.startswith(form.open)
    assert {call.name for call in read_calls(chat_template, reply.raw_text, TOOLS).calls} == {
        "stop"
    }
    assert form.again or len(read_calls(chat_template, reply.raw_text, TOOLS).calls) == 1


def test_a_wrong_call_is_text(model):
    raw = '<toolcall> {"name": "fly", "arguments": {}} </toolcall>'
    found = read_calls(model.chat_template, raw, TOOLS)
    assert (found.calls, found.text) == ((), raw)
    assert found.refused[0][1].startswith("there is no tool")
    mixed = read_calls(
        model.chat_template,
        f'Hm. {raw}\n<toolcall> {{"name": "stop", "arguments": {{}}}} </toolcall>',
        TOOLS,
    )
    assert [call.name for call in mixed.calls] == ["stop"]
    assert len(mixed.refused) == 1


def test_choices():
    named = {"type": "function", "function": {"name": "go"}}
    assert [choice_of(choice, TOOLS) for choice in (None, "none", "required", "go", named)] == [
        "auto",
        "none",
        "required",
        "go",
        "go",
    ]
    for wrong in ("fly", {"type": "function"}, 3):
        with pytest.raises(UsageError):
            choice_of(wrong, TOOLS)
    with pytest.raises(UsageError, match="no tools"):
        choice_of("required", [])


def test_what_cannot_be_held(model):
    with pytest.raises(TemplateError):
        call_grammar(model.tokenizer, CHAT_TEMPLATES["plain"](model.tokenizer), TOOLS)
    impossible = {"type": "object", "properties": {"x": False}, "required": ["x"]}
    tool = Tool("f", "", impossible)
    with pytest.raises(SchemaError, match=r"^f: no value satisfies the schema.*'x'"):
        call_grammar(model.tokenizer, model.chat_template, [tool], "required")
    assert json.loads(json.dumps(tool.to_openai()))


def test_one_bad_tool_leaves_the_others():
    bad = {"name": "bad", "parameters": {"type": "object", "properties": {"x": {"$ref": "#/y"}}}}
    tools, choice, notes = callable_tools([TOOLS[0], bad], None)
    assert (tools, choice) == ((TOOLS[0],), "auto")
    assert notes[0].startswith("tool left out: bad: x: a $ref points at nothing")
    assert callable_tools([TOOLS[0], bad], "required")[0] == (TOOLS[0],)
    for choice in ("bad", {"type": "function", "function": {"name": "bad"}}):
        with pytest.raises(SchemaError, match="bad: x"):
            callable_tools([TOOLS[0], bad], choice)
    with pytest.raises(SchemaError, match="bad: x"):
        callable_tools([bad], "required")
    assert callable_tools([bad], "auto")[:2] == ((), "auto")


def test_json_is_a_call_only_where_there_are_tools(model):
    person = '{"name": "stop", "arguments": {}}'
    options = {"make_mask": Grammar(model.tokenizer).lark(f"start: {json.dumps(person)}")}
    answer = model.generate(QUESTION, **options)
    assert (answer.text, answer.tool_calls) == (person, ())
    called = model.generate(QUESTION, tools=[tool.to_openai() for tool in TOOLS], **options)
    assert [call.name for call in called.tool_calls] == ["stop"]
    assert called.text == ""


GO = '{"name": "go", "arguments": {"to": {"name": "mill"}, "mode": "foot"}}'


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        (f"```json\n{GO}\n```", True),
        (f"I shall.\n```json\n{GO}\n```\n", True),
        (f"```\n[{GO},\n {GO}]\n```", True),
        (GO, True),
        (GO.replace("arguments", "parameters"), True),
        (f"[{GO}, {GO}]", True),
        (f"<tool_call>\n{GO}\n</tool_call>", True),
        (f"So: <function_calls>[{GO}]</function_calls>", True),
        ('{\n  "name": "stop",\n  "arguments": {}\n}', True),
        ("stop()", True),
        ("[stop(), stop()]", True),
        ("```tool_code\nstop()\n```", True),
        ("<function=stop>\n</function>", True),
        ("Well: <function=stop>\n</function>", True),
        # held from the name on
        ('```json\n{"name": "go", "arguments": {"to": {"name": "mill"}, "mode": "boat"', False),
        ('{"name": "go", "arguments": {"mode"', False),
        ('[{"name": "stop", "arguments": {"a"', False),
        ('{"name": "stop"} is what', False),
        ("stop(1", False),
        ("<function=stop>\n<parameter=x>", False),
        (GO + " and", False),
        # text
        ('{"name": "Bob", "age": 3}', True),
        ('```json\n{"name": "Bob", "age": 3}\n```', True),
        ('Its {"name": "stop"} is said in passing.', True),
        ("```python\ndef stop(): pass\n```", True),
        ("stopping (now)", True),
        ("<function=fly>", True),
    ],
)
@pytest.mark.parametrize("chat_template", ["nemotron", "chatml"])
def test_foreign_beginnings_of_calls_are_held_too(model, chat_template, text, fits):
    made = CHAT_TEMPLATES[chat_template](model.tokenizer)
    assert follows(model, made, "auto", text) == fits
