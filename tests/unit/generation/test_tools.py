"""Tools: what a signature says as JSON Schema, and what is no tool."""

from __future__ import annotations

import dataclasses
import datetime
import enum
from typing import Annotated, Any, Literal, NotRequired, TypedDict

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.chat.choose import choose
from understudy.errors import SchemaError, UsageError
from understudy.generation.schemas.schema import schema_of, value_of
from understudy.generation.tools import Tool, as_tools, find_fault, read_docstring
from understudy.text.toolcalls import ParsedCall


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclasses.dataclass
class Point:
    x: int
    y: float = 0.0


class Options(TypedDict):
    depth: int
    name: NotRequired[str]


def travel(
    to: str,
    via: list[Point],
    mode: Literal["foot", "horse"] = "foot",
    colour: Colour | None = None,
    **_: Any,
) -> None: ...


def go(
    to: str,
    via: list[Point],
    pair: tuple[int, str] = (1, "a"),
    mode: Literal["foot", "horse"] = "foot",
    colour: Colour | None = None,
    extra: dict[str, float] | None = None,
    options: Annotated[Options | None, "how to go"] = None,
    tags: set[str] = frozenset(),
) -> str:
    """Goes somewhere,
    quickly.

    Args:
        to: where it ends,
            in words.
        via (list): places between.

    Returns:
        to: not an argument.
    """
    return f"{to} {via} {mode} {colour} {pair} {tags}"


def test_a_function_becomes_a_schema():
    tool = Tool.from_function(go)
    assert (tool.name, tool.description) == ("go", "Goes somewhere, quickly.")
    properties = tool.parameters["properties"]
    point = {
        "type": "object",
        "properties": {"x": {"type": "integer"}, "y": {"type": "number"}},
        "required": ["x"],
        "additionalProperties": False,
    }
    assert properties["to"] == {"type": "string", "description": "where it ends, in words."}
    assert properties["via"] == {"type": "array", "items": point, "description": "places between."}
    assert properties["mode"] == {"type": "string", "enum": ["foot", "horse"], "default": "foot"}
    assert properties["colour"] == {
        "anyOf": [{"type": "string", "enum": ["red", "blue"]}, {"type": "null"}],
        "default": None,
    }
    assert properties["options"]["description"] == "how to go"
    assert properties["options"]["anyOf"][0]["required"] == ["depth"]
    assert tool.parameters["required"] == ["to", "via"]
    jsonschema.Draft202012Validator.check_schema(dict(tool.parameters))
    assert Tool.from_openai(tool.to_openai()).parameters == tool.parameters


def test_the_function_gets_what_it_was_promised():
    said = Tool.from_function(go).run(
        to="Ada", via=[{"x": 1}], colour="blue", pair=[2, "b"], tags=["t"]
    )
    assert said == f"Ada {[Point(1)]} foot {Colour.BLUE} {(2, 'b')} {{'t'}}"


@given(st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.sampled_from(Colour))
def test_values_come_back(x, y, colour):
    value = {"x": x, "y": y}
    assert value_of(Point, value) == Point(x, y)
    assert jsonschema.Draft202012Validator(schema_of(Point)).is_valid(value)
    assert value_of(Colour | int, colour.value) is colour


@pytest.mark.parametrize(
    ("docstring", "head", "arguments"),
    [
        (
            "Adds.\n\n    :param int a: the first\n    :param b: the second\n    :returns: c",
            "Adds.",
            {"a": "the first", "b": "the second"},
        ),
        (
            "Adds.\n\nParameters\n----------\na : int\n    The first.\nb : int\n    The second\n    one.\n",
            "Adds.",
            {"a": "The first.", "b": "The second one."},
        ),
        ("", "", {}),
    ],
)
def test_docstrings(docstring, head, arguments):
    import inspect

    assert read_docstring(inspect.cleandoc(docstring)) == (head, arguments)


class Node:
    pass


Tree = list["Tree"]


def positional(a, /): ...
def star(*a): ...
def foreign(a: Node): ...
def keys(a: dict[int, str]): ...


@pytest.mark.parametrize("function", [positional, star, travel, foreign, keys])
def test_what_is_no_tool(function):
    with pytest.raises(SchemaError):
        Tool.from_function(function)


@pytest.mark.parametrize(
    "tool",
    [
        {},
        {"type": "function"},
        {"type": "retrieval", "name": "a"},
        {"name": ""},
        {"name": "a b"},
        {"name": 3},
        {"name": "a", "parameters": []},
        {"name": "a", "parameters": {"type": "array"}},
        {"name": "a", "parameters": {"properties": {"x": {"type": "strnig"}}}},
        {"name": "a", "description": 3},
        None,
        [],
    ],
)
def test_a_wrong_schema_is_said(tool):
    with pytest.raises(SchemaError) as caught:
        Tool.from_openai(tool)
    assert "\n" not in str(caught.value)


def test_names_are_told_apart():
    with pytest.raises(UsageError, match="same name"):
        as_tools([{"name": "a"}, {"name": "a"}])


def test_arguments_are_held_against_the_schema():
    tools = [
        Tool.from_openai(
            {
                "name": "f",
                "parameters": {
                    "type": "object",
                    "properties": {"x": {"type": "integer"}},
                    "required": ["x"],
                },
            }
        )
    ]
    assert find_fault(tools, ParsedCall("f", {"x": 1})) is None
    assert "there is no tool" in find_fault(tools, ParsedCall("g", {}))
    assert "required" in find_fault(tools, ParsedCall("f", {}))
    assert find_fault(tools, ParsedCall("f", {"x": "1"})).startswith("x:")
    assert find_fault(tools, ParsedCall("f", {"x": 1, "y": 2})) is not None


class Words:
    def encode(self, text):
        return text.split()


def test_ten_thousand_tools_fit_their_budget():
    tools = [
        Tool(f"tool_{i}", f"does thing number {i}", {"type": "object", "properties": {}})
        for i in range(10_000)
    ]
    tools.insert(
        7000, Tool("weather_report", "the weather of a city", {"type": "object", "properties": {}})
    )
    shown, left_out = choose(
        tools, "What is the weather in Paris?", Words(), 200, keep=["tool_9000"]
    )
    names = [tool.name for tool in shown]
    assert "weather_report" in names
    assert "tool_9000" in names
    assert len(shown) + left_out == 10_001
    assert sum(len(Words().encode(str(tool.to_openai()))) for tool in shown) <= 220
    assert choose(tools[:3], "x", Words(), 10_000) == (tuple(tools[:3]), 0)


def test_pydantic_models_inside_others_point_where_they_should():
    pydantic = pytest.importorskip("pydantic")

    class Town(pydantic.BaseModel):
        name: str

    class Person(pydantic.BaseModel):
        town: Town

    class Tree(pydantic.BaseModel):
        child: Tree | None = None

    other = pydantic.create_model("Town", mayor=(Person, ...))
    Tree.model_rebuild(_types_namespace={"Tree": Tree})

    def call(a, b, c, d): ...

    call.__annotations__ = {"a": Person, "b": list[Person] | None, "c": Tree, "d": other}
    tool = Tool.from_function(call)
    assert set(tool.parameters["$defs"]) == {"Town", "Person", "Tree"}
    ada = {"town": {"name": "Ely"}}
    good = {"a": ada, "b": [ada], "c": {"child": {"child": None}}, "d": {"mayor": ada}}
    assert tool.fault(good) is None
    assert tool.fault({**good, "c": {"child": {"child": 1}}}).startswith("c.child.child: ")
    assert tool.fault({**good, "d": {"mayor": {"town": {}}}}).startswith("d.mayor.town: ")


def test_what_pydantic_knows_can_be_an_argument():
    pydantic = pytest.importorskip("pydantic")

    def book(on, seats):
        return on, seats

    seats = Annotated[int, pydantic.Field(ge=1, description="how many")]
    book.__annotations__ = {"on": datetime.date, "seats": seats}
    tool = Tool.from_function(book)
    assert tool.parameters["properties"]["on"] == {"format": "date", "type": "string"}
    assert tool.parameters["properties"]["seats"]["minimum"] == 1
    assert tool.run(on="2026-11-28", seats=2) == (datetime.date(2026, 11, 28), 2)


@pytest.mark.parametrize("name", ["3d_render", "a-b", "files/read.v2", "x" * 128])
def test_names_that_openai_and_mcp_allow(name):
    assert Tool.from_openai({"name": name}).name == name
