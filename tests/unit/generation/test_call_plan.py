"""Calls that are planned: how many, of which tools, with which values left for them; and the masks
that hold an answer to them.
"""

from __future__ import annotations

import pytest

from tests.support.random_model import babbler
from understudy.generation.call_masks import CallsMask
from understudy.generation.call_plan import CallPlan, CallRequest, plan_mask, written_calls
from understudy.generation.calls import read_calls
from understudy.generation.message.more_calls import another_call, unused_values
from understudy.generation.message.values import are_joined, find_values, used_by
from understudy.generation.tools import Tool
from understudy.text.call_forms import (
    GEMMA_FORM,
    NEMOTRON_LIST_FORM,
    PYTHON_FORM,
    TOOL_CALL_FORM,
    TOOLCALL_FORM,
    XML_FORM,
)
from understudy.text.grammar import Grammar
from understudy.text.templates import CHAT_TEMPLATES
from understudy.text.toolcalls import ParsedCall

TEXT, NUMBER = {"type": "string"}, {"type": "number"}
QUESTION = [{"role": "user", "content": "Go on."}]


def tool(name: str, **properties) -> Tool:
    schema = {"type": "object", "properties": properties, "required": list(properties)}
    return Tool(name, "", {**schema, "additionalProperties": False})


WEATHER = tool("weather", city=TEXT)
TAX = tool("sales_tax", amount=NUMBER, city=TEXT)
POWER = tool("power", base=NUMBER, exponent=NUMBER)
RETURN = tool("future_value", principal=NUMBER, rate=NUMBER, years={"type": "integer"})
LAMP, DOOR = tool("lamp", is_on={"type": "boolean"}), tool("door")
TIMER = tool("timer", minutes={"enum": [5, 7]})


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    with babbler(tmp_path_factory.mktemp("model")) as loaded:
        yield loaded


def planned(message: str, tool: Tool, *arguments) -> int:
    """How many of these calls a plan asks for, one after the other, before it ends."""
    plan = CallPlan([CallRequest(message, (tool,))], lambda schema, text: schema)
    calls: list[ParsedCall] = []
    for one in arguments:
        if not plan.next_tools(calls):
            break
        calls.append(ParsedCall(tool.name, one))
    else:
        assert not plan.next_tools(calls), "another call is wanted behind the last"
    return len(calls)


@pytest.mark.parametrize(
    ("message", "called", "arguments"),
    [
        ("What is the weather in Paris?", WEATHER, [{"city": "Paris"}]),
        ("What is the weather in Berkeley, CA?", WEATHER, [{"city": "Berkeley"}]),
        (
            "What is the weather in Paris, Oslo and Rome?",
            WEATHER,
            [{"city": "Paris"}, {"city": "Oslo"}, {"city": "Rome"}],
        ),
        ("Weather in Paris and Rome please.", WEATHER, [{"city": "Paris"}, {"city": "Rome"}]),
        (
            "Calculate the sales tax on $30.45 in Chicago, Illinois, $52.33 in Sacramento, "
            "California and $11.23 in Portland, Oregon.",
            TAX,
            [
                {"amount": 30.45, "city": "Chicago"},
                {"amount": 52.33, "city": "Sacramento"},
                {"amount": 11.23, "city": "Portland"},
            ],
        ),
        (
            "What is 3 to the power of 5, and then 2 to the power of 7?",
            POWER,
            [{"base": 3, "exponent": 5}, {"base": 2, "exponent": 7}],
        ),
        ("What is 3 to the power of 5?", POWER, [{"base": 3, "exponent": 5}]),
    ],
)
def test_a_message_gets_as_many_calls_as_its_values_make(message, called, arguments):
    assert planned(message, called, *arguments) == len(arguments)


def test_the_next_call_is_held_to_the_values_that_are_left():
    message = "What is the weather in Paris, Oslo and Rome?"
    plan = CallPlan([CallRequest(message, (WEATHER, TIMER))], lambda schema, text: schema)
    assert plan.next_tools([]) == (WEATHER, TIMER)
    (weather,) = plan.next_tools([ParsedCall("weather", {"city": "Oslo"})])
    assert weather.parameters["properties"]["city"]["enum"] == ["Rome"]


def test_shares_are_said_as_the_first_call_said_them():
    message = "The future value of $1000 at 5% and then at 7% for 10 years."
    first = {"principal": 1000, "rate": 0.05, "years": 10}
    assert unused_values(message, RETURN.parameters, [first]) == {"rate": [0.07]}
    assert unused_values(message, RETURN.parameters, [{**first, "rate": 5}]) == {"rate": [7]}


def test_the_same_call_again_ends_a_request():
    message = "What is the weather in Paris, Oslo and Rome?"
    same = ParsedCall("weather", {"city": "Paris"})
    plan = CallPlan([CallRequest(message, (WEATHER,))], lambda schema, text: schema)
    assert plan.next_tools([same])
    assert not plan.next_tools([same, same])
    once = CallPlan([CallRequest(message, (WEATHER,))], lambda schema, text: schema, repeats=False)
    assert not once.next_tools([same])


def test_several_requests_come_in_their_order():
    requests = [CallRequest("in Paris and Rome", (WEATHER,)), CallRequest("5 minutes", (TIMER,))]
    plan = CallPlan(requests, lambda schema, text: {**schema, "description": text})
    calls = [ParsedCall("weather", {"city": "Paris"}), ParsedCall("weather", {"city": "Rome"})]
    assert plan.next_tools(calls[:1])[0].name == "weather"
    (timer,) = plan.next_tools(calls)
    assert (timer.name, timer.parameters["description"]) == ("timer", "5 minutes")
    assert plan.next_tools([*calls, ParsedCall("timer", {"minutes": 5})]) == ()


def test_values_of_a_message():
    message = 'Send "Hi there" to Ada Stone in Miami, Florida at 5% for three days and 1,500 Euro.'
    found = find_values(message)
    assert [(v.text, v.kind) for v in found] == [
        ("Hi there", "quoted"),
        ("Ada Stone", "name"),
        ("Miami, Florida", "name"),
        ("5%", "number"),
        ("three", "number"),
        ("1,500", "number"),
        ("Euro", "name"),
    ]
    assert [v.number for v in found if v.kind == "number"] == [5, 3, 1500]
    used = used_by({"rate": 0.05, "to": "ada stone", "days": 3, "x": ["Miami", True]}, found)
    assert used == [("rate", (3,)), ("to", (1,)), ("days", (4,)), ("x", (2,)), ("x", ())]


def test_names_are_listed_with_a_word_between():
    message = "Trains from Paris, Oslo and Rome to Miami, Florida."
    found = find_values(message)
    assert [v.text for v in found] == ["Paris", "Oslo", "Rome", "Miami, Florida"]
    assert are_joined(message, found, 0, 2)
    assert not are_joined(message, found, 2, 3)


def test_nothing_left_wants_no_other_call():
    said = "What is the weather in Paris?"
    assert another_call(said, WEATHER.parameters, [{"city": "Paris"}]) < 0


FORMS = [TOOL_CALL_FORM, TOOLCALL_FORM, NEMOTRON_LIST_FORM, XML_FORM, PYTHON_FORM, GEMMA_FORM]


@pytest.mark.parametrize("form", FORMS)
def test_just_the_planned_calls_are_written(model, form):
    """Whatever a model babbles, and in every template's form."""
    made = CHAT_TEMPLATES["chatml"](model.tokenizer)
    made.call_form = form
    requests = [CallRequest("?", (TIMER,)), CallRequest("?", (LAMP, DOOR))]
    plan = CallPlan(requests, lambda schema, text: schema)
    for seed in range(3):
        mask = plan_mask(model.tokenizer, made, plan, is_parallel=True)
        reply = model.generate(QUESTION, make_mask=mask, max_tokens=400, seed=seed)
        assert reply.finish_reason == "stop"
        calls = read_calls(made, reply.raw_text, [TIMER, LAMP, DOOR]).calls
        assert [call.name == "timer" for call in calls] == [True, False]
    alone = plan_mask(model.tokenizer, made, plan, is_parallel=False)
    reply = model.generate(QUESTION, make_mask=alone, max_tokens=400)
    assert [call.name for call in read_calls(made, reply.raw_text, [TIMER]).calls] == ["timer"]


@pytest.mark.parametrize("form", FORMS)
def test_calls_are_read_out_of_what_was_written(form):
    calls = [
        ParsedCall("power", {"base": 2, "exponent": 3.5}),
        ParsedCall("weather", {"city": "}{"}),
    ]
    text = form.write([form.write_call(call.name, call.arguments) for call in calls])
    assert written_calls(text, form, [WEATHER, POWER]) == calls


def test_a_mask_of_segments_goes_back(model):
    """Guessed tokens that were not taken are forgotten, even across the end of a segment."""
    grammar = Grammar(model.tokenizer)
    parts = {"": "ab", "ab": "cd"}

    def next_call(text):
        return grammar.lark(f'start: "{parts[text]}"') if text in parts else None

    mask = CallsMask(model.tokenizer.decode, next_call)
    forced = mask.forced([])
    assert model.tokenizer.decode(forced) == "abcd"
    assert mask.is_finished
    allowed = mask.allowed(forced[:-1])
    assert not mask.is_finished
    assert allowed[forced[-1] // 32] >> (forced[-1] % 32) & 1
    assert mask.forced(forced) == []
    assert mask.is_finished
