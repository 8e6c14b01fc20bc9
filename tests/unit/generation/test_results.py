"""Answers held against results of tools: figures, omissions, errors."""

from __future__ import annotations

import pytest

from understudy.generation.results import ResultCheck

ROPES = ("price", "2 ropes cost 14 silver coins.")
BREADS = ("price", "3 breads cost 9 silver coins.")
ASKED = "Get the price of 2 ropes, then get the price of 3 breads."


@pytest.mark.parametrize(
    ("result", "asked", "answer"),
    [
        ("4 apples cost 8 silver coins.", "What do 4 apples cost?", "They cost 8 silver coins."),
        ("15.27", "How warm is it?", "It is about 15 degrees, or 15.3."),
        ("1234567", "How many?", "There are 1,234,567 of them."),
        ('{"share": 0.25}', "What share?", "That is 25 percent."),
        ('{"a": 3, "b": 4}', "How many in all?", "Together there are 7."),
        ("10 and 4", "What is the difference?", "1. The difference is 6."),
        ("sunny", "How is the weather?", "It is sunny."),
        ('{"error": "no such city"}', "The weather in Xyz?", "Sorry, there is no such city."),
        ("On 2026-11-28 it rains.", "When?", "On 2026-11-28."),
        ("", "Do it.", "Done."),
        ("42 Grad", "Wie warm ist es heute in Wien?", "In Wien sind es 42 Grad."),
    ],
)
def test_what_a_result_says_is_right(result, asked, answer):
    check = ResultCheck([("tool", result)], asked)
    assert check.fault(answer) is None
    assert check.mended(answer) == answer


@pytest.mark.parametrize(
    ("result", "asked", "answer", "fault"),
    [
        ("4 apples cost 8 coins.", "What do 4 apples cost?", "They cost 9 coins.", "9 stands in"),
        ("15.27", "How warm is it?", "It is 15.9 degrees.", "15.9 stands in"),
        ("8 coins", "The price?", "I looked it up for you.", "does not tell what tool gave"),
        ('{"error": "no such city"}', "The weather?", "It is lovely today.", "does not tell"),
        ("sunny", "How is the weather?", "Thank you for asking.", "does not tell"),
        ("Oslo: 8", "Where is it?", "In Oslo, near Bergen, it is 8.", "Bergen stands in no"),
    ],
)
def test_what_a_result_does_not_say_is_a_fault(result, asked, answer, fault):
    assert fault in str(ResultCheck([("tool", result)], asked).fault(answer))


def test_every_result_is_told():
    check = ResultCheck([ROPES, BREADS], ASKED)
    assert check.fault("The ropes cost 14 and the breads 9 silver coins.") is None
    assert check.fault("The ropes cost 14 silver coins.") is not None
    assert check.mended("The ropes cost 14 silver coins.") == (
        "The ropes cost 14 silver coins.\n3 breads cost 9 silver coins."
    )


@pytest.mark.parametrize("answer", ["The answer is 14.", "14", "It is 14."])
def test_a_bare_figure_gives_way_to_all_results(answer):
    assert ResultCheck([ROPES, BREADS], ASKED).mended(answer) == f"{ROPES[1]}\n{BREADS[1]}"
    assert ResultCheck([ROPES], ASKED).mended(answer) == answer


def test_results_stand_alone_where_the_figures_are_not_theirs():
    check = ResultCheck([ROPES, BREADS], ASKED)
    assert check.mended("They cost 77 silver coins.") == f"{ROPES[1]}\n{BREADS[1]}"


def test_errors_and_objects_are_said_in_words():
    error = ResultCheck([("weather", '{"error": "KeyError: \'Xyz\'"}')], "The weather in Xyz?")
    assert error.mended("It is sunny.") == "It is sunny.\nweather failed: KeyError: 'Xyz'"
    price = ResultCheck([("price", '{"item": "rope", "coins": 14}')], "And ropes?")
    assert price.mended("Fine.") == "Fine.\nprice: item: rope, coins: 14"
    long = ResultCheck([("read", "word " * 500 + "7")], "Read it.")
    assert len(long.mended("Here.")) < 500


def test_results_at_the_end_of_a_conversation_are_found():
    call = {"id": "c1", "type": "function", "function": {"name": "price", "arguments": "{}"}}
    messages = [
        {"role": "user", "content": "The price of 2 ropes?"},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "14 coins"},
    ]
    check = ResultCheck.of_messages(messages)
    assert check is not None
    assert check.results == [("price", "14 coins")]
    assert check.said.strip() == "The price of 2 ropes?"
    assert ResultCheck.of_messages(messages[:2]) is None
    assert ResultCheck.of_messages([]) is None
