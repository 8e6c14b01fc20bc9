"""Tools shown briefly: what a call needs stays, what only explains it goes."""

from __future__ import annotations

import json

import pytest

from tests.support.random_model import babbler
from understudy.chat.choose import shown
from understudy.errors import ContextError
from understudy.generation.chat_request import ChatRequest
from understudy.generation.prepare import RequestLimits, prepare_chat
from understudy.generation.signatures import SHORTENED, first_sentence, signature
from understudy.generation.tools import Tool

PARAMETERS = {
    "type": "object",
    "description": "all of it",
    "properties": {
        "city": {"type": "string", "description": "Name of the city. " * 20},
        "unit": {"enum": ["celsius", "kelvin"], "title": "Unit"},
        "days": {"type": "array", "items": {"type": "integer", "description": "day"}},
        "where": {"anyOf": [{"$ref": "#/$defs/place"}, {"type": "null", "description": "none"}]},
    },
    "required": ["city"],
    "$defs": {"place": {"type": "object", "properties": {"x": {"type": "number", "title": "X"}}}},
}
WEATHER = Tool("weather", "The weather of a city, e.g. of Oslo. Asks a service.", PARAMETERS)
MESSAGES = ({"role": "user", "content": "What is the weather in Paris?"},)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    with babbler(tmp_path_factory.mktemp("model")) as loaded:
        yield loaded


def test_what_a_call_needs_stays():
    brief = signature(WEATHER)["function"]
    assert brief["name"] == "weather"
    parameters = brief["parameters"]
    assert list(parameters["properties"]) == ["city", "unit", "days", "where"]
    assert parameters["required"] == ["city"]
    assert parameters["properties"]["unit"] == {"enum": ["celsius", "kelvin"]}
    assert parameters["properties"]["days"] == {"type": "array", "items": {"type": "integer"}}
    assert parameters["properties"]["where"]["anyOf"][1] == {"type": "null"}
    assert "description" not in json.dumps(parameters)
    assert "title" not in json.dumps(parameters)


def test_descriptions_end_with_a_sentence_or_are_cut():
    assert first_sentence("Opens a door. Then closes it.") == "Opens a door."
    assert first_sentence("Opens 1.5 doors\nslowly") == "Opens 1.5 doors\nslowly"
    assert first_sentence("word " * 60).endswith("word …")
    assert len(first_sentence("word " * 60)) < 130


def test_a_session_shows_all_briefly_before_it_leaves_one_out(model):
    tools = [Tool(f"weather_{i}", WEATHER.description, PARAMETERS) for i in range(4)]
    options = {"keep": ()}
    whole = len(model.tokenizer.encode(json.dumps([tool.to_openai() for tool in tools])))
    usable, written, said = shown(tools, "weather", model.tokenizer, whole * 2, **options)
    assert (list(usable), said) == (tools, [])
    assert written == [tool.to_openai() for tool in tools]
    usable, written, said = shown(tools, "weather", model.tokenizer, whole * 2 // 3, **options)
    assert (list(usable), said) == (tools, [SHORTENED])
    assert written == [signature(tool) for tool in tools]
    usable, written, said = shown(tools, "weather", model.tokenizer, whole // 8, **options)
    assert said == [SHORTENED, f"tools: {4 - len(usable)} of 4 not shown"]
    assert 0 < len(usable) < 4


def test_a_server_shows_tools_briefly_where_the_context_has_no_room(model):
    chat = ChatRequest(MESSAGES, (WEATHER,))

    def prepared(context: int):
        limits = RequestLimits(context, model.spec.vocab_size, caps_answers=True)
        return prepare_chat(model.chat_template, model.tokenizer, limits, chat)

    whole = prepared(model.context)
    assert SHORTENED not in whole.notes
    brief = prepared(whole.num_prompt)
    assert SHORTENED in brief.notes
    assert brief.num_prompt < whole.num_prompt
    with pytest.raises(ContextError):
        prepared(brief.num_prompt)
