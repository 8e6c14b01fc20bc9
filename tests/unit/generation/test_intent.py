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
from understudy.generation.intent import CallPolicy, CallSettings, read_intent
from understudy.generation.message.relevance import SURE, SURE_ALONE, Gate
from understudy.generation.message.requests import Reading, split_requests
from understudy.generation.message.support import copied, supported
from understudy.generation.message.words import content_words
from understudy.generation.prepare import RequestLimits, prepare_chat
from understudy.generation.schemas.contract import contract_of
from understudy.generation.tools import Tool
from understudy.text.embed import open_embedder
from understudy.text.toolcalls import ParsedCall


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


def names_of(found):
    return [TOOLS[request.tools[0]].name for request in found]


def test_clauses_of_several_tools_are_requests_in_their_order(gate):
    message = (
        "Tell me the current weather in Paris, then set a timer for 5 minutes. "
        'Finally, send an email to Bob with the subject "Dinner and wine".'
    )
    found = split_requests(message, TOOLS, gate)
    assert names_of(found) == ["get_weather", "set_timer", "send_email"]
    assert "Dinner and wine" in found[2].text
    assert "Dinner" not in found[0].text


def test_what_stands_between_belongs_to_the_tool_before_it():
    gate = Gate(open_embedder("wordllama"))
    message = (
        "I am planning a day in Oslo. What is the weather there? It should be in celsius. "
        "Second, please set a timer for 20 minutes. The kitchen is far away."
    )
    weather, timer = split_requests(message, TOOLS, gate)
    assert weather.text.startswith("I am planning")
    assert "celsius" in weather.text
    assert timer.text == "Second, please set a timer for 20 minutes. The kitchen is far away."


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
    loud = "What is the weather in Paris in celsius?"
    assert list(supported(WEATHER.parameters, loud)["properties"]) == ["city", "unit"]
    assert supported(WEATHER.parameters, loud)["required"] == ["city"]


def test_optional_numbers_need_a_number_to_spare():
    schema = {
        "type": "object",
        "properties": {"x": NUMBER, "tolerance": {"type": "number", "description": "Step size"}},
        "required": ["x"],
    }
    assert list(supported(schema, "the root of 16")["properties"]) == ["x"]
    assert "tolerance" in supported(schema, "the root of 16 with a tolerance of 0.1")["properties"]


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
    held = copied(MAIL.parameters, said)["properties"]["to"]["enum"]
    assert {"Ada Stone", "lunch", "Send an email"} <= set(held)
    assert not {"Bob", 'email to "Ada', "to", "about lunch at 12. "} & set(held)
    assert copied(TIMER.parameters, said)["properties"]["minutes"]["enum"] == [12]
    assert copied(TIMER.parameters, "a timer please")["properties"]["minutes"] == {
        "type": "integer"
    }
    unit = WEATHER.parameters["properties"]["unit"]
    assert copied(WEATHER.parameters, said)["properties"]["unit"] == unit


@pytest.mark.parametrize(
    ("said", "schema", "numbers"),
    [
        ("440Hz for 5s, and v1.2", {"type": "integer"}, [440, 5]),
        ("a loan of $15,000 at 5%", {"type": "number"}, [15000, 0.05]),
        ("a loan of $15,000 at 5%", {"type": "integer"}, [15000, 5]),
        ("5 % of it", {"type": "number", "description": "in percent"}, [5]),
        ("5 % of it", {"type": "number", "description": "as a decimal, 5% is 0.05"}, [0.05]),
        ("1.5 million people and three dogs", {"type": "number"}, [1500000, 3]),
        ("29DXtd3K", {"type": "number"}, None),
        ("买10个汉堡，50杯可乐", {"type": "integer"}, [10, 50]),
        ("2 moles at 300 K for $50K", {"type": "number"}, [2, 300, 50000, 50]),
        ("a speed of 19.0, 1e3 times", {"type": "number"}, [19.0, 1000]),
        ("8.5 million people", {"type": "integer"}, [8500000]),
        ("4 of them", {"type": "number", "description": "Speed. Default is 0.0"}, [4, 0.0]),
        (
            "ironing in Bangkok",
            {"type": "integer", "description": "'1' to cleaning service, '2' to ironing service"},
            [2],
        ),
        (
            "cleaning in Bangkok",
            {"type": "integer", "description": "e.g. 1 for Bangkok, 2 for Chiang Mai"},
            [1],
        ),
    ],
)
def test_numbers_are_said_as_the_parameter_wants_them(said, schema, numbers):
    held = copied({"type": "object", "properties": {"x": schema}}, said)["properties"]["x"]
    assert held.get("enum") == numbers


@pytest.mark.parametrize(
    ("said", "description", "days"),
    [
        ("on May 3rd 2022", "in the format YYYY-MM-DD", ["2022-05-03"]),
        ("May 3 to June 4, 2022", "The day (e.g., 2021-01-31)", ["2022-05-03", "2022-06-04"]),
        ("tomorrow, today is 2023.10.1", "the date, mm-dd-yyyy", ["10-02-2023"]),
        ("on May 3rd", "in the format YYYY-MM-DD", None),
        ("from 2023.10.1 to 2023.10.7", "as 'YYYY-MM-DD to YYYY-MM-DD'", None),
    ],
)
def test_dates_are_written_as_the_parameter_wants_them(said, description, days):
    schema = {"type": "string", "description": description}
    held = copied({"type": "object", "properties": {"x": schema}}, said)["properties"]["x"]
    assert held.get("enum") == days


def text_of(said: str, description: str, name: str = "x") -> dict:
    """What a text of this description may be."""
    schema = {"type": "string", "description": description}
    return copied({"type": "object", "properties": {name: schema}}, said)["properties"][name]


def test_a_time_of_day_follows_the_day():
    held = text_of("on 20 June 2022 at 5", "in the format 'YYYY-MM-DD HH:mm:ss'")
    assert re.search(held["pattern"], "2022-06-20 17:00:00")
    assert not re.search(held["pattern"], "2022-06-20")


def test_dates_are_copied_whole():
    said = "cases filed on January 1, 2021 in Oslo"
    held = text_of(said, "when it was filed", "filing_date")["enum"]
    assert {"January 1, 2021", "2021-01-01", "Oslo"} <= set(held)
    assert not {"2021", "January", "January 1"} & set(held)
    assert "2021" in text_of(said, "The year of it")["enum"]


def test_values_that_a_description_lists_are_all_there_are():
    units = "The units, 'metric' or 'imperial'. Default is 'metric'."
    assert text_of("180 cm", units)["enum"] == ["metric", "imperial"]
    assert text_of("in imperial units", units)["enum"] == ["imperial"]
    between = "To choose between 'metric' and 'imperial' systems"
    assert text_of("180 cm", between)["enum"] == ["metric", "imperial"]
    assert "all" in text_of("for Oslo", "Which genre. Default is 'all'.")["enum"]
    assert "language" not in text_of("for Oslo", "The default language")["enum"]
    in_passing = "A drink that people from 'Oslo' or 'Rome' like"
    assert "amber" in text_of("an amber ale", in_passing)["enum"]
    for open_list in ("such as 'pale' or 'dark'", "can be 'pale', 'dark', etc", "Like 'a', 'b'"):
        assert "amber" in text_of("an amber ale", open_list)["enum"]


def test_what_was_said_is_found_in_other_endings():
    assert "Albert Einstein" in text_of("What was Albert Einstein's work?", "Whose work")["enum"]
    assert "sculpture" in text_of("famous sculptures", "E.g., painting, sculpture")["enum"]
    held = text_of("a therapist in san jose", "The city and state, e.g. Berkeley, CA")
    assert re.search(held["pattern"], "San Jose, CA")


def test_a_country_may_be_another_word_than_was_said():
    held = text_of("German history", "The country", "country")
    assert re.search(held["pattern"], "Germany")
    assert re.search(held["pattern"], "Österreich")
    assert "enum" not in text_of("US dollars", "to convert from", "base_currency")


def test_nothing_is_copied_out_of_scripts_without_blanks():
    for said in ("我想在肯德基买汉堡", "ฉันต้องการรหัสบริการ", "東京の天気は"):
        for description in ("The restaurant", "The city and state, e.g. Berkeley, CA"):
            assert text_of(said, description).keys() == {"type", "description"}
    assert "enum" in text_of("köp 10 äpplen i Malmö", "The city")


def test_places_may_be_completed_and_forms_are_free():
    schema = {"city": {"type": "string", "description": "City and state, e.g. San Jose, CA"}}
    held = copied({"type": "object", "properties": schema}, "weather in Oslo")["properties"]["city"]
    pattern = re.compile(held["pattern"])
    assert pattern.search("Oslo, NO")
    assert pattern.search("Oslo")
    assert not pattern.search("weather")
    assert not pattern.search("San Jose, CA")
    code = {"x": {"type": "string", "description": "A lambda expression"}}
    assert copied({"type": "object", "properties": code}, "x squared")["properties"] == code


def test_much_that_was_said_is_not_too_much():
    held = copied(MAIL.parameters, "word " * 5000)["properties"]["to"]["enum"]
    assert len(held) < 1500


def test_the_only_tool_needs_less(gate, monkeypatch):
    between = (SURE + SURE_ALONE) / 2
    monkeypatch.setattr(gate, "scores", lambda rows: np.full(rows.shape[:-1], between))
    for tools, wants_call in ((TOOLS[:1], True), (TOOLS[:2], False)):
        assert Reading("the weather", tools, gate).wants_call is wants_call


def test_small_models_see_no_tools_where_words_are_wanted(model):
    chat = ChatRequest(({"role": "user", "content": "Good night!"},), tuple(TOOLS))
    for size, is_hidden in ((135e6, True), (5e8, False)):
        limits = RequestLimits(model.context, model.spec.vocab_size, calls=CallPolicy(size))
        prepared = prepare_chat(model.chat_template, model.tokenizer, limits, chat)
        text = model.tokenizer.decode(prepared.request.prompt)
        assert (TOOLS[0].name not in text) is is_hidden
        noted = "tools: 3 not shown, the message asks for none"
        assert (noted in prepared.notes) is is_hidden
        assert prepared.request.make_mask is not None  # no call is written either way
        assert prepared.request.params.dry_multiplier == (0.8 if is_hidden else 0.0)
        set_already = dataclasses.replace(chat, sampling={"frequency_penalty": 0.0})
        prepared = prepare_chat(model.chat_template, model.tokenizer, limits, set_already)
        assert prepared.request.params.dry_multiplier == 0.0
    wanted = ChatRequest(({"role": "user", "content": "The weather in Paris?"},), tuple(TOOLS))
    limits = RequestLimits(model.context, model.spec.vocab_size, calls=CallPolicy(135e6))
    prepared = prepare_chat(model.chat_template, model.tokenizer, limits, wanted)
    assert TOOLS[0].name in model.tokenizer.decode(prepared.request.prompt)


@pytest.mark.parametrize(
    ("message", "choice", "num_requests"),
    [
        ("What is the weather in Paris?", "required", 1),
        ("What is the weather in Paris? Also set a timer for 3 minutes.", "required", 2),
        ("Hello there!", "none", 0),
    ],
)
def test_the_intent_joins_them(gate, message, choice, num_requests):
    options = {"settings": CallSettings(), "num_parameters": 5e8}
    intent = read_intent(gate, message, message, TOOLS, **options)
    assert intent.choice == choice
    assert len(intent.plan.requests if intent.plan else ()) == num_requests


def test_what_the_caller_demands_is_not_decided_anew(gate):
    options = {"settings": CallSettings(), "num_parameters": 1e8}
    for choice in ("none", "required", "set_timer"):
        assert read_intent(gate, "Hello!", "Hello!", TOOLS, choice, **options).choice == choice
    off = {"settings": CallSettings(gate=False), "num_parameters": 1e8}
    assert read_intent(gate, "Hello!", "Hello!", TOOLS, **off).choice == "auto"


def test_values_are_copied_by_small_models_only(gate):
    message = "What is the weather in Paris?"
    for size, is_copied in ((135e6, True), (5e8, True), (2e9, False)):
        intent = read_intent(
            gate, message, message, TOOLS, settings=CallSettings(), num_parameters=size
        )
        called = intent.plan.next_tools([])[0] if intent.plan else intent.tools[0]
        assert ("enum" in called.parameters["properties"]["city"]) is is_copied


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
    asked = "What is the weather in Paris? Then set a timer for 7 minutes."
    intent = read_intent(gate, asked, asked, TOOLS, settings=CallSettings(), num_parameters=1e8)
    (weather,) = intent.plan.next_tools([])
    assert "Paris" in weather.parameters["properties"]["city"]["enum"]
    assert "timer" not in weather.parameters["properties"]["city"]["enum"]
    (timer,) = intent.plan.next_tools([ParsedCall("get_weather", {"city": "Paris"})])
    assert timer.parameters["properties"]["minutes"]["enum"] == [7]


def test_a_clause_must_be_surer_where_the_whole_message_wants_no_tool():
    """Of many clauses one looks like a request by chance."""
    message = "My sister likes bread and rope, and then she buys one of them."
    price = tool("price", "The price of an item.", item=TEXT)
    for whole, clause, is_wanted in (
        (SURE + 0.1, -5.0, True),
        (SURE - 0.5, SURE + 0.5, False),
        (SURE - 0.5, SURE + 1.1, True),
        (SURE - 1.5, SURE + 5.0, False),
    ):
        reading = Reading(message, [price], Gate())
        reading.whole, reading.scores = np.array([whole]), np.array([[clause]])
        assert reading.wants_call is is_wanted, (whole, clause)


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
