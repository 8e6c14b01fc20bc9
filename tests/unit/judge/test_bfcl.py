"""BFCL's cases and our AST checker, held to verdicts that the official checker gave."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from understudy.errors import InputError, UsageError
from understudy.generation.tools import Tool
from understudy.judge.benchmark.bfcl import AST_CATEGORIES, BfclCase, load_cases, tools_of
from understudy.judge.benchmark.bfcl_check import check
from understudy.judge.benchmark.bfcl_source import java_value, javascript_value
from understudy.text.toolcalls import ParsedCall

RECORDED = json.loads(
    gzip.decompress((Path(__file__).parents[2] / "data" / "bfcl-verdicts.json.gz").read_bytes())
)


def recorded_case(id: str) -> BfclCase:
    entry = RECORDED["cases"][id]
    return BfclCase(id, entry["category"], (), tuple(entry["functions"]), tuple(entry["answers"]))


def verdict_rows(category: str) -> list[dict[str, Any]]:
    return [
        row
        for row in RECORDED["verdicts"]
        if RECORDED["cases"][row["case"]]["category"] == category
    ]


@pytest.mark.parametrize("category", AST_CATEGORIES)
def test_every_verdict_is_that_of_the_official_checker(category: str) -> None:
    rows = verdict_rows(category)
    assert {row["right"] for row in rows} == {True, False}
    for row in rows:
        verdict = check(
            recorded_case(row["case"]),
            [ParsedCall(name, arguments) for name, arguments in row["calls"]],
        )
        assert verdict.is_right == row["right"], (row, verdict)
        assert bool(verdict.fault) != verdict.is_right


def test_enough_verdicts_are_recorded() -> None:
    assert len(RECORDED["verdicts"]) >= 500


def one_call_case(
    properties: dict[str, Any],
    required: list[str],
    allowed: dict[str, Any],
    category: str = "simple_python",
) -> BfclCase:
    function = {
        "name": "a.f",
        "description": "F.",
        "parameters": {"type": "dict", "properties": properties, "required": required},
    }
    return BfclCase(
        "x", category, ({"role": "user", "content": "?"},), (function,), ({"a.f": allowed},)
    )


@pytest.mark.parametrize(
    ("kind", "allowed", "value", "is_right"),
    [
        ("float", [2.0], 2, True),  # an int passes for a float
        ("integer", [2], 2.0, False),
        ("integer", [1], True, False),
        ("boolean", [True], 1, False),
        ("string", ["New York, NY"], "new york ny", True),
        ("string", ["it's"], 'it"s', True),
        ("string", ["a+b"], "ab", False),
        ("dict", [{"k": ["V", ""]}], {}, True),
        ("dict", [{"k": ["V"]}], {}, False),
        ("dict", [{"k": ["V"]}], {"k": "v", "z": 1}, False),
        ("integer", ["n"], "n", True),  # a variable stands for a number
        ("integer", ["n"], "N", False),
        ("any", [3], 3, True),
        ("integer", ["", 5], "", False),  # what marks a parameter as optional is no value of it
        ("array", [""], [], True),
    ],
)
def test_values_are_compared_by_type_then_content(
    kind: str, allowed: list[Any], value: Any, is_right: bool
) -> None:
    case = one_call_case({"p": {"type": kind, "items": {"type": "string"}}}, ["p"], {"p": allowed})
    assert check(case, [ParsedCall("a_f", {"p": value})]).is_right == is_right


def test_what_may_be_left_out_is_marked_by_an_empty_text() -> None:
    properties = {"p": {"type": "string"}, "q": {"type": "integer"}}
    optional, expected = ({"p": ["x"], "q": [1, *extra]} for extra in ([""], []))
    assert check(
        one_call_case(properties, ["p"], optional), [ParsedCall("a_f", {"p": "x"})]
    ).is_right
    assert (
        check(one_call_case(properties, ["p"], expected), [ParsedCall("a_f", {"p": "x"})]).fault
        == "expected q missing"
    )
    assert (
        check(one_call_case(properties, ["p"], optional), [ParsedCall("a_f", {})]).fault
        == "required p missing"
    )
    assert (
        check(one_call_case(properties, ["p"], optional), [ParsedCall("a.f", {"p": "x"})]).fault
        == "a.f called instead of a_f"
    )


def test_a_parameter_that_no_answer_gives_is_unexpected() -> None:
    case = one_call_case({"p": {"type": "string"}, "q": {"type": "integer"}}, ["p"], {"p": ["x"]})
    assert check(case, [ParsedCall("a_f", {"p": "x", "q": 1})]).fault == "unexpected q"


@pytest.mark.parametrize(
    ("category", "wants"),
    [("irrelevance", False), ("live_irrelevance", False), ("live_relevance", True)],
)
def test_relevance_asks_only_whether_anything_is_called(category: str, wants: bool) -> None:
    case = BfclCase("x", category, (), ())
    assert check(case, [ParsedCall("anything", {})]).is_right == wants
    assert check(case, []).is_right != wants


@pytest.mark.parametrize(
    ("text", "kind", "element", "value"),
    [
        ("-5", "integer", None, -5),
        ("5L", "long", None, 5),
        ("5", "long", None, "5"),
        ("1.5f", "float", None, 1.5),
        ("1e3", "double", None, 1000.0),
        ("true", "boolean", None, True),
        ("True", "boolean", None, "True"),
        ('new ArrayList<String>(Arrays.asList("a", "b"))', "ArrayList", "String", ["a", "b"]),
        ("new ArrayList<Integer>() {{ add(1); add(2); }}", "ArrayList", "integer", [1, 2]),
        ("new ArrayList<>()", "ArrayList", "any", []),
        ("new int[]{1, 2}", "Array", "integer", [1, 2]),
        ("xs", "Array", "any", "xs"),
        (
            'new HashMap<String, Object>() {{ put("k", 1L); put("on", true); }}',
            "HashMap",
            None,
            {"k": 1, "on": True},
        ),
    ],
)
def test_java_literals(text: str, kind: str, element: str | None, value: Any) -> None:
    assert java_value(text, kind, element) == value


@pytest.mark.parametrize(
    ("text", "kind", "element", "value"),
    [
        ("12n", "Bigint", None, 12),
        ("1.5", "float", None, 1.5),
        ("'a'", "String", None, "a"),
        ("true", "Boolean", None, True),
        ("[1, 2]", "array", "integer", [1, 2]),
        ("new Array('a', 'b')", "array", "String", ["a", "b"]),
        ("[]", "array", "any", []),
        ("[[1, 2], [3]]", "array", "array", [[1, 2], [3]]),
        ("{}", "dict", None, {}),
        ("state", "dict", None, "state"),
        ("{'a': 1, b: [true, 'x'], c: d}", "dict", None, {"a": 1, "b": [True, "x"], "c": "d"}),
    ],
)
def test_javascript_literals(text: str, kind: str, element: str | None, value: Any) -> None:
    assert javascript_value(text, kind, element) == value


@pytest.mark.parametrize("id", sorted(RECORDED["cases"])[::7])
def test_functions_become_tools_with_valid_schemas(id: str) -> None:
    case = recorded_case(id)
    functions = [{**function, "description": "What it does."} for function in case.functions]
    tools = tools_of(BfclCase(case.id, case.category, (), tuple(functions)))
    for tool, function in zip(tools, functions, strict=True):
        assert Tool.from_openai(tool).name == function["name"].replace(".", "_")
        kinds = {
            schema.get("type") for schema in tool["function"]["parameters"]["properties"].values()
        }
        assert (
            kinds <= {"string"}
            if case.language != "python"
            else kinds
            <= {
                "string",
                "integer",
                "number",
                "boolean",
                "array",
                "object",
                None,
            }
        )


def test_schemas_leave_out_what_is_no_json_schema() -> None:
    inner = {"type": "dict", "properties": {"z": {"type": "float"}}, "required": ["z", "gone"]}
    properties = {
        "t": {"type": "tuple", "items": {"type": "float"}, "optional": True},
        "e": {"type": "integer", "enum": ["1", 2, 2]},
        "a": {"type": "any", "description": "A."},
        "type": inner,
    }
    (tool,) = tools_of(one_call_case(properties, ["t"], {}))
    assert tool["function"]["name"] == "a_f"
    assert tool["function"]["parameters"] == {
        "type": "object",
        "required": ["t"],
        "properties": {
            "t": {"type": "array", "items": {"type": "number"}},
            "e": {"type": "integer", "enum": [2]},
            "a": {"description": "A."},
            "type": {"type": "object", "properties": {"z": {"type": "number"}}, "required": ["z"]},
        },
    }


def test_cases_are_read_from_the_folder_of_the_wheel(tmp_path: Path) -> None:
    data = tmp_path / "bfcl_eval" / "data"
    (data / "possible_answer").mkdir(parents=True)
    row = {
        "id": "simple_python_0",
        "question": [[{"role": "user", "content": "2+2?"}]],
        "function": [{"name": "add"}],
    }
    (data / "BFCL_v4_simple_python.json").write_text(json.dumps(row) + "\n")
    answer = {"id": "simple_python_0", "ground_truth": [{"add": {"a": [2]}}]}
    (data / "possible_answer" / "BFCL_v4_simple_python.json").write_text(json.dumps(answer) + "\n")
    (case,) = load_cases(tmp_path, ["simple_python"])
    assert (case.id, case.answers, case.messages[0]["content"]) == (
        "simple_python_0",
        ({"add": {"a": [2]}},),
        "2+2?",
    )
    with pytest.raises(UsageError, match="no such category"):
        load_cases(tmp_path, ["cooking"])
    with pytest.raises(InputError, match="BFCL"):
        load_cases(tmp_path / "possible_answer")
    (data / "BFCL_v4_simple_python.json").write_text('{"id": "x"}\n')
    with pytest.raises(InputError, match="not a BFCL case"):
        load_cases(tmp_path, ["simple_python"])
