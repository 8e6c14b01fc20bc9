"""Decisions about functions, and functions made strange: what is asked for is what is called."""

from __future__ import annotations

import random
from collections import Counter

from understudy.data.decisions import ToolDecisions, messages_of
from understudy.data.near import likeness, neighbour
from understudy.data.records import record_of
from understudy.data.requests import read_phrased, read_values
from understudy.data.variation import vary
from understudy.data.words import declined, wish_of
from understudy.generation.tools import Tool

LINES = "\n".join(
    f"do_{name} | Does {name} things. | what:str@thing:What; count:int?:How many | "
    f"Do {name} with {{what}}[ {{count}} times]."
    for name in ("red", "blue", "green", "grey", "pink", "gold", "black")
)


def decisions(tmp_path, **more) -> ToolDecisions:
    (tmp_path / "t.txt").write_text(LINES)
    (tmp_path / "v.txt").write_text("thing: wool; rope; glass\n")
    return ToolDecisions(
        read_values(tmp_path / "v.txt"), read_phrased(tmp_path / "t.txt"), branches=6, **more
    )


def test_calls_satisfy_the_functions_that_are_offered(tmp_path):
    chance, kinds = random.Random(3), Counter()
    made = decisions(tmp_path, foreign=["sing a song"], smalltalk=[("hi", "Hello!")])
    for _ in range(80):
        for conversation in made.conversations(chance):
            offered = {t["function"]["name"]: Tool.from_openai(t) for t in conversation.tools}
            answer = conversation.messages[-1]
            calls = [call["function"] for call in answer.get("tool_calls", ())]
            kinds[conversation.kind, len(calls)] += 1
            assert bool(calls) != bool(answer["content"])
            for call in calls:
                tool = offered[call["name"]]
                assert tool.fault(call["arguments"]) is None
                order = [n for n in tool.parameters["properties"] if n in call["arguments"]]
                assert list(call["arguments"]) == order  # a grammar writes them so
                assert call["arguments"]["what"] in conversation.messages[0]["content"]
    assert kinds["no_call", 0] > 40
    assert kinds["calls", 1] > 100
    assert kinds["calls", 2] > 20


def test_one_set_of_functions_is_announced_alike_to_all_its_messages(tmp_path):
    for conversation in [c := decisions(tmp_path).conversations(random.Random(5)), c][0]:
        assert conversation.tools == c[0].tools
    assert len({conversation.messages[0]["content"] for conversation in c}) == len(c)


def test_variations_carry_calls_over():
    tools = [
        {
            "name": f"get_{word}",
            "description": f"Get the {word} of a place.",
            "parameters": {
                "type": "object",
                "properties": {"a": {"type": "string"}, "b": {"type": "integer"}},
                "required": ["a"],
            },
        }
        for word in ("height", "weather", "name", "age")
    ]
    seen = set()
    for seed in range(40):
        varied = vary(tools, random.Random(seed), renamed=1.0)
        names = {tool["name"] for tool in varied.tools}
        assert len(names) == 4
        for tool in tools:
            call = varied.call({"name": tool["name"], "arguments": {"b": 1, "a": "x"}})
            assert call["name"] in names
            assert call["arguments"] == {"a": "x", "b": 1}
        seen |= names
    assert len(seen) > 12


def test_records_with_one_call_become_messages_by_function():
    record = record_of(
        {
            "kind": "calls",
            "tools": [
                {
                    "name": "f",
                    "parameters": {"properties": {"a": {}, "b": {}}},
                }
            ],
            "messages": [
                {"role": "user", "content": "q"},
                {
                    "role": "assistant",
                    "tool_calls": [{"name": "f", "arguments": {"b": 1, "a": 2}}],
                },
            ],
        },
        "x",
    )
    messages, tools = messages_of([record])
    assert list(messages["f"][0].arguments) == ["a", "b"]
    assert tools["f"][0]["name"] == "f"


def test_words_that_decline_are_many_and_speak_of_what_there_is():
    tools = [{"name": "f", "description": "Fetches the paper."}]
    said = {declined(tools, random.Random(seed)) for seed in range(60)}
    assert len(said) > 20
    assert any("fetch the paper" in text for text in said)
    assert wish_of({"description": "Gets it. And more."}) == ""


def described(name: str, text: str) -> dict:
    return {"name": name, "description": text}


def test_a_near_miss_is_a_neighbour_and_neither_offered_nor_a_twin():
    offered = [described("find_hotel", "Finds a hotel in a city.")]
    others = [
        *offered,
        described("search_hotels", "Find a hotel in a city"),  # a twin: it may serve as well
        described("rate_hotel", "Gives a hotel stars and a comment for later guests."),
        *(described(f"do_{n}", f"Mixes paint number {n}") for n in ("one", "two", "three", "four")),
    ]
    assert likeness(offered[0], others[1]) > 0.7
    found = [neighbour(offered, others, random.Random(seed))["name"] for seed in range(60)]
    assert "rate_hotel" in found
    assert not {"find_hotel", "search_hotels"} & set(found)
    assert neighbour(offered, offered, random.Random(1)) is None


def test_a_share_of_near_misses_is_declined(tmp_path):
    chance, asked, declines = random.Random(4), [], 0
    made = decisions(tmp_path, foreign=["sing a song"], declined=0.5, near=1.0)
    for phrased in made.phrased:  # else all of them were twins
        phrased.tool["description"] = phrased.tool["name"][3:] + "ish"
    for _ in range(60):
        for conversation in made.conversations(chance):
            asked.append(conversation.messages[0]["content"])
            is_call = bool(conversation.messages[-1].get("tool_calls"))
            declines += not is_call and asked[-1].startswith("Do ")
    assert 0.5 < declines / len(asked) < 0.7  # messages that come twice count once
    assert "sing a song" not in asked


def test_a_description_that_names_a_thing_is_no_wish():
    assert wish_of({"description": "Statistics of a player in a season."}) == ""
    assert wish_of({"description": "Gets the weather of a city."}) == "get the weather of a city"
    assert (
        wish_of({"description": "Retrieve details of an order"}) == "retrieve details of an order"
    )
