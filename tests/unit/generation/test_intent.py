"""What calls a message leads to: the gate, the splitting, the narrowing of arguments, with and
without vectors.
"""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest

from tests.support.random_model import babbler
from understudy.generation.chat_request import ChatRequest
from understudy.generation.contract import contract_of
from understudy.generation.intent import CallPolicy, CallSettings, read_intent
from understudy.generation.prepare import RequestLimits, prepare_chat
from understudy.generation.relevance import SURE, Gate, Relevance
from understudy.generation.requests import split_requests
from understudy.generation.support import copied, numbers_of, spans_of, supported
from understudy.generation.tools import Tool
from understudy.generation.words import content_words
from understudy.text.embed import open_embedder


def tool(name: str, description: str, required: list[str] | None = None, **properties) -> Tool:
    schema = {"type": "object", "properties": properties, "required": required or list(properties)}
    return Tool(name, description, schema)


TEXT, NUMBER = {"type": "string"}, {"type": "number"}
UNIT = "#/properties/unit"
WEATHER = tool(
    "get_weather",
    "The current weather of a city.",
    ["city"],
    city={"type": "string", "description": "Name of the city"},
    unit={"type": "string", "enum": ["celsius", "fahrenheit"]},
)
TIMER = tool("set_timer", "Set a timer for some minutes.", minutes={"type": "integer"})
MAIL = tool("send_email", "Send an email to somebody.", to=TEXT, subject=TEXT)
SUM = tool("add_numbers", "Add two numbers.", a=NUMBER, b=NUMBER)
TOOLS = [WEATHER, TIMER, MAIL]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    with babbler(tmp_path_factory.mktemp("model")) as loaded:
        yield loaded


@pytest.fixture(scope="module", params=["words", "vectors"])
def gate(request):
    return Gate(open_embedder("wordllama") if request.param == "vectors" else None)


@pytest.mark.parametrize(
    ("message", "name"),
    [
        ("What is the weather in Paris right now?", "get_weather"),
        ("Please set a timer for 12 minutes.", "set_timer"),
        ('Send an email to Ada with the subject "Lunch".', "send_email"),
    ],
)
def test_a_message_that_wants_a_tool_gets_a_call_of_it(gate, message, name):
    relevance = gate.relevance(message, TOOLS)
    assert relevance.verdict == "call"
    assert TOOLS[relevance.scores.index(relevance.best)].name == name


@pytest.mark.parametrize(
    "message",
    [
        "Hello there!",
        "I love to bake cookies with my sister.",
        "Who wrote Hamlet?",
        "That sounds like a lot of fun!",
        "",
    ],
)
def test_small_talk_and_questions_of_no_tool_get_words(gate, message):
    assert gate.relevance(message, TOOLS).verdict == "words"


def test_without_tools_nothing_is_wanted(gate):
    assert gate.relevance("What is the weather?", []).verdict == "words"
    assert split_requests("What is the weather?", [], gate) == ()


def test_names_are_read_in_every_case():
    assert content_words("getWeatherForecast") == content_words("get_weather_forecast")
    assert content_words("the city's 42 inns") >= {"city", "inn"}


@pytest.mark.parametrize(
    ("message", "calls"),
    [
        ("What is the weather in Paris?", ["Paris"]),
        ("What is the weather in Paris, Oslo and Rome?", ["Paris", "Oslo", "Rome"]),
        ("Get the weather in Paris and Rome.", ["Paris", "Rome"]),
    ],
)
def test_a_list_of_values_is_a_request_each(gate, message, calls):
    found = split_requests(message, TOOLS, gate)
    assert len(found) == len(calls)
    for request, value in zip(found, calls, strict=True):
        assert value in request.text
        assert TOOLS[request.tools[0]].name == "get_weather"


def test_clauses_of_several_tools_are_requests_in_their_order(gate):
    message = (
        "Tell me the current weather in Paris, then set a timer for 5 minutes. "
        'Finally, send an email to Bob with the subject "Dinner and wine".'
    )
    found = split_requests(message, TOOLS, gate)
    names = [TOOLS[request.tools[0]].name for request in found]
    assert names == ["get_weather", "set_timer", "send_email"]
    assert "Dinner and wine" in found[2].text


def test_clauses_of_one_tool_that_bring_all_its_values_are_requests(gate):
    price = tool(
        "price",
        "The price of an item.",
        item={"enum": ["apple", "bread", "rope"]},
        count={"type": "integer"},
    )
    asked = "Get the price of 2 ropes, then get the price of 3 breads."
    assert len(split_requests(asked, [price], gate)) == 2
    assert (
        len(split_requests("Get the price of 2 ropes, then tell me the price.", [price], gate)) == 1
    )


def test_a_request_that_is_repeated_is_one(gate):
    found = split_requests("Get the weather in Rome, Paris and Rome.", TOOLS, gate)
    assert ["Paris" in one.text for one in found] == [False, True]


def test_one_request_stays_one(gate):
    for message in (
        "Add the numbers 4 and 5.",
        "Set a timer for 5 minutes, I am cooking rice and beans.",
        "What is the weather in Berkeley, CA?",
    ):
        assert len(split_requests(message, [*TOOLS, SUM], gate)) == 1, message


def test_optional_parameters_need_something_said():
    quiet = supported(WEATHER.parameters, "What is the weather in Paris?")
    assert list(quiet["properties"]) == ["city"]
    for said in ("the weather in Paris in Celsius", "which unit? the weather in Paris"):
        assert list(supported(WEATHER.parameters, said)["properties"]) == ["city", "unit"]


def test_optional_numbers_need_a_number_to_spare():
    schema = {
        "type": "object",
        "properties": {"x": NUMBER, "tolerance": {"type": "number", "description": "Step size"}},
        "required": ["x"],
    }
    assert list(supported(schema, "the root of 16")["properties"]) == ["x"]
    assert "tolerance" in supported(schema, "the root of 16 with a step of 0.1")["properties"]


@pytest.mark.parametrize(
    "more",
    [
        {"minProperties": 1},
        {"anyOf": [{"required": ["unit"]}, {"required": ["days"]}]},
        {"dependentRequired": {"city": ["unit"]}},
        {"additionalProperties": True},
        {"patternProperties": {"^x-": {}}},
        {"required": ["twin"]},
    ],
)
def test_no_parameter_is_left_out_that_the_schema_speaks_of_elsewhere(more):
    city, unit = TEXT, {"type": "string", "enum": ["kelvin"]}
    properties = {"city": city, "unit": unit, "days": NUMBER, "twin": {"$ref": UNIT}}
    schema = {"type": "object", "properties": properties, "required": ["city", "twin"], **more}
    assert supported(schema, "the weather in Paris") == schema


@pytest.mark.parametrize(
    ("inner", "said", "enum"),
    [
        ({"type": "string", "minLength": 5}, "Hi", None),
        ({"type": "integer", "minimum": 1024}, "use 8080 for 5 of them", [8080]),
        ({"type": "integer", "minimum": 1024}, "5 of them", None),
        ({"type": "number", "exclusiveMaximum": 1, "multipleOf": 0.1}, "0.25, 0.3 and 1", [0.3]),
    ],
)
def test_only_what_the_limits_take_is_copied(inner, said, enum):
    schema = copied({"type": "object", "properties": {"x": inner}, "required": ["x"]}, said)
    assert schema["properties"]["x"] == (inner if enum is None else {**inner, "enum": enum})
    assert contract_of(schema).rule


def test_a_list_of_different_copies_needs_enough_of_them():
    ports = {"type": "array", "items": {"type": "integer"}, "minItems": 2, "uniqueItems": True}
    schema = {"type": "object", "properties": {"ports": ports}}
    assert copied(schema, "port 80") == schema
    assert copied(schema, "80 and 443") != schema


def test_copied_values_stand_in_what_was_said():
    said = 'Send an email to "Ada Stone" about lunch at 12.'
    schema = copied(MAIL.parameters, said)
    pattern = re.compile(schema["properties"]["to"]["pattern"])
    assert pattern.search("Ada Stone")
    assert pattern.search("lunch")
    assert not pattern.search("Bob")
    assert copied(TIMER.parameters, said)["properties"]["minutes"]["enum"] == [12]
    assert copied(TIMER.parameters, "a timer please")["properties"]["minutes"] == {
        "type": "integer"
    }
    unit = WEATHER.parameters["properties"]["unit"]
    assert copied(WEATHER.parameters, said)["properties"]["unit"] == unit


def test_numbers_and_spans():
    assert numbers_of("three of 5.5, -2 and v1.2") == ["5.5", "-2", "3"]
    assert "Ada Stone" in spans_of('"Ada Stone", hello')
    assert len(spans_of("word " * 5000)) <= 1500


@pytest.mark.parametrize(
    ("message", "choice", "num_requests"),
    [
        ("What is the weather in Paris?", "required", 0),
        ("What is the weather in Paris and Rome?", "required", 2),
        ("Hello there!", "none", 0),
    ],
)
def test_the_intent_joins_them(gate, message, choice, num_requests):
    options = {"settings": CallSettings(), "num_parameters": 5e8}
    intent = read_intent(gate, message, message, TOOLS, **options)
    assert (intent.choice, len(intent.requests)) == (choice, num_requests)


def test_what_the_caller_demands_is_not_decided_anew(gate):
    options = {"settings": CallSettings(), "num_parameters": 1e8}
    for choice in ("none", "required", "set_timer"):
        assert read_intent(gate, "Hello!", "Hello!", TOOLS, choice, **options).choice == choice
    off = {"settings": CallSettings(gate=False), "num_parameters": 1e8}
    assert read_intent(gate, "Hello!", "Hello!", TOOLS, **off).choice == "auto"


def test_values_are_copied_by_small_models_only(gate):
    message = "What is the weather in Paris?"
    for size, is_copied in ((135e6, True), (5e8, False)):
        intent = read_intent(
            gate, message, message, TOOLS, settings=CallSettings(), num_parameters=size
        )
        assert ("pattern" in intent.tools[0].parameters["properties"]["city"]) is is_copied


def test_behind_results_small_models_answer_and_large_ones_may_go_on():
    options = {"tools": TOOLS, "choice": "auto", "after_results": True}
    assert CallPolicy(5e8).intent("the weather in Paris", "", **options).choice == "none"
    assert CallPolicy(4e9).intent("the weather in Paris", "", **options).choice == "auto"
    chained = CallPolicy(5e8, CallSettings(chain=True))
    assert chained.intent("the weather in Paris", "", **options).choice == "auto"


@pytest.mark.parametrize(
    "message",
    [
        "Qual é a temperatura atual em Lisboa?",
        "上海现在的天气怎么样？",
        "Wie ist das Wetter in Wien?",
    ],
)
def test_what_the_gate_cannot_read_is_left_to_the_model(gate, message):
    options = {"settings": CallSettings(), "num_parameters": 5e8}
    assert read_intent(gate, message, message, TOOLS, **options).choice in ("auto", "required")


def test_small_models_are_not_asked_in_doubt(gate):
    message = "How long does a letter to Paris take?"
    assert gate.relevance(message, TOOLS).verdict != "call"
    for size, choice in ((5e8, {"none"}), (4e9, {"auto", "none"})):
        options = {"settings": CallSettings(), "num_parameters": size}
        assert read_intent(gate, message, message, TOOLS, **options).choice in choice


def test_words_that_the_gate_decided_for_begin_with_a_word(model):
    """A small model would write its call without a tag; then it would be shown as text."""
    limits = RequestLimits(model.context, model.spec.vocab_size, calls=CallPolicy(5e8))
    chat = ChatRequest([{"role": "user", "content": "Hello there!"}], tuple(TOOLS))
    prepared = prepare_chat(model.chat_template, model.tokenizer, limits, chat)
    assert prepared.tools == ()
    mask = prepared.request.make_mask()
    allowed = np.unpackbits(mask.allowed([]).view(np.uint8), bitorder="little")
    pieces = {model.tokenizer.decode([token])[:1] for token in np.flatnonzero(allowed)}
    assert not pieces & set("{[<`")
    wanted = dataclasses.replace(
        chat, messages=[{"role": "user", "content": "Set a timer for 5 minutes."}]
    )
    assert prepare_chat(model.chat_template, model.tokenizer, limits, wanted).tools == tuple(TOOLS)


def test_each_request_is_held_to_its_own_words(gate):
    price = tool(
        "price",
        "The price of an item.",
        item={"enum": ["apple", "bread", "rope"]},
        count={"type": "integer"},
    )
    asked = "Get the price of 2 ropes, then get the price of 3 breads."
    intent = read_intent(gate, asked, asked, [price], settings=CallSettings(), num_parameters=1e8)
    held = [request[0].parameters["properties"] for request in intent.requests]
    assert [(p["item"]["enum"], p["count"]["enum"]) for p in held] == [
        (["rope"], [2]),
        (["bread"], [3]),
    ]


def test_a_clause_must_be_surer_where_the_whole_message_wants_no_tool():
    """Of many clauses one looks like a request by chance."""

    class Scored:
        def __init__(self, whole: float, clause: float) -> None:
            self.whole, self.clause = whole, clause

        def relevance(self, message, tools):
            return Relevance((self.whole if message == MESSAGE else self.clause,))

    price = tool("price", "The price of an item.", item=TEXT)
    for whole, clause, is_wanted in (
        (SURE + 0.1, -5.0, True),
        (SURE - 0.5, SURE + 0.5, False),
        (SURE - 0.5, SURE + 1.1, True),
        (SURE - 1.5, SURE + 5.0, False),
    ):
        found = split_requests(MESSAGE, [price], Scored(whole, clause))
        assert bool(found) is is_wanted, (whole, clause)


MESSAGE = "My sister likes bread and rope, and then she buys one of them."


@pytest.mark.parametrize(
    "message", ["weather in london please", "set a timer", "send bob an email about lunch"]
)
def test_orders_in_few_words_are_requests(gate, message):
    assert gate.relevance(message, TOOLS).verdict == "call"


def test_a_question_about_the_same_subject_is_no_request():
    gate = Gate(open_embedder("wordllama"))
    mass = tool(
        "determine_body_mass_index",
        "Calculate the body mass index from weight and height.",
        weight=NUMBER,
        height=NUMBER,
    )
    asked = "Calculate the area of a triangle with a base of 6 and a height of 10."
    assert gate.relevance(asked, [mass]).verdict != "call"


def test_a_request_without_tools_is_not_held_against_results(model):
    """A client that announces none leads the conversation itself: the model's words are its own."""
    call = {"id": "a", "type": "function", "function": {"name": "find", "arguments": "{}"}}
    messages = [
        {"role": "user", "content": "Which inn?"},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "a", "content": "Swan"},
    ]
    limits = RequestLimits(model.context, model.spec.vocab_size, calls=CallPolicy(5e8))
    for tools, is_checked in (((), False), (tuple(TOOLS), True)):
        chat = ChatRequest(messages, tools)
        prepared = prepare_chat(model.chat_template, model.tokenizer, limits, chat)
        assert (prepared.check is not None) == is_checked
