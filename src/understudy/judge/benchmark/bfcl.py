"""BFCL's single-turn cases, read from the data folder of the wheel `bfcl-eval`.

cases = load_cases("bfcl-eval/", ["simple_python"]); tools = tools_of(cases[0]); verdict =
bfcl_check.check(cases[0], calls)

The data are Apache-2.0 and stay outside this package: unzip the wheel (version 2026.3.23 was read)
and give its folder.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from understudy.errors import InputError, UsageError

Language = Literal["python", "java", "javascript"]

AST_CATEGORIES = (
    "simple_python",
    "simple_java",
    "simple_javascript",
    "multiple",
    "parallel",
    "parallel_multiple",
    "live_simple",
    "live_multiple",
    "live_parallel",
    "live_parallel_multiple",
)
RELEVANCE_CATEGORIES = ("irrelevance", "live_irrelevance", "live_relevance")
CATEGORIES = (*AST_CATEGORIES, *RELEVANCE_CATEGORIES)

_FILE = "BFCL_v4_{}.json"
_JSON_TYPES = {
    "dict": "object",
    "float": "number",
    "tuple": "array",
    "list": "array",
    "bool": "boolean",
    "string": "string",
    "integer": "integer",
    "number": "number",
    "boolean": "boolean",
    "array": "array",
    "object": "object",
}
_KEPT = ("description", "enum", "default", "minimum", "maximum", "minItems", "maxItems")
_PYTHON_OF = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "array": list,
    "object": dict,
}
_TITLES = {"java": "Java", "javascript": "JavaScript"}
_HINTS = {"python": "Python 3", "java": "Java 8 SDK", "javascript": "JavaScript"}


@dataclass(frozen=True, slots=True)
class BfclCase:
    """One question. `functions` are BFCL's own function documents; `answers` is empty where no call
    is compared.

    Each answer is `{function: {parameter: [allowed value, …]}}`, `""` among the values meaning that
    it may be left out.
    """

    id: str
    category: str
    messages: tuple[Mapping[str, Any], ...]
    functions: tuple[Mapping[str, Any], ...]
    answers: tuple[Mapping[str, Any], ...] = ()

    @property
    def language(self) -> Language:
        return language_of(self.category)


def language_of(category: str) -> Language:
    if "javascript" in category:
        return "javascript"
    return "java" if "java" in category else "python"


def call_name(function: str) -> str:
    """The name under which a model is offered a function: no dots, as in OpenAI's tools."""
    return function.replace(".", "_")


def load_cases(folder: str | Path, categories: Iterable[str] = CATEGORIES) -> list[BfclCase]:
    """The cases of some categories, in the order of the files.

    Args:
        folder: the unzipped wheel, its `bfcl_eval`, or the `data` in it.

    Raises:
        InputError: no such data there, or a line that is no case.
        UsageError: an unknown category.
    """
    data = _data_folder(Path(folder))
    cases: list[BfclCase] = []
    for category in categories:
        if category not in CATEGORIES:
            raise UsageError(
                "no such category of BFCL",
                where="categories",
                expected=" ".join(CATEGORIES),
                found=category,
            )
        name = _FILE.format(category)
        answers: list[Any] = []
        if category in AST_CATEGORIES:
            answers = [row["ground_truth"] for row in _rows(data / "possible_answer" / name)]
        for i, row in enumerate(_rows(data / name)):
            cases.append(_case(row, category, answers[i] if answers else ()))
    return cases


def _data_folder(folder: Path) -> Path:
    for place in (folder, folder / "data", folder / "bfcl_eval" / "data"):
        if (place / _FILE.format("simple_python")).is_file():
            return place
    raise InputError(
        "no BFCL data",
        where=str(folder),
        expected=_FILE.format("simple_python"),
        do="unzip the wheel bfcl-eval and name its folder",
    )


def _rows(path: Path) -> list[dict[str, Any]]:
    try:
        return [json.loads(line) for line in path.read_text("utf-8").splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise InputError("not a file of BFCL cases", where=str(path), found=str(error)) from error


def _case(row: Mapping[str, Any], category: str, answers: Sequence[Mapping[str, Any]]) -> BfclCase:
    try:
        messages = [message for turn in row["question"] for message in turn]
        return BfclCase(
            str(row["id"]), category, tuple(messages), tuple(row["function"]), tuple(answers)
        )
    except (KeyError, TypeError) as error:
        raise InputError("not a BFCL case", where=category, found=f"no {error}") from error


def tools_of(case: BfclCase) -> list[dict[str, Any]]:
    """The functions as OpenAI tool dicts, their parameters valid JSON Schema.

    As BFCL's handlers for OpenAI's interface do: dots in names become underscores, a hint of the
    language ends the description, and every parameter of Java and JavaScript is a string that holds
    source text. Unlike there, `any` stays any JSON value.
    """
    return [_tool(function, case.language) for function in case.functions]


def _tool(function: Mapping[str, Any], language: Language) -> dict[str, Any]:
    described = (
        f"{function['description']} Note that the provided function is in {_HINTS[language]} "
        "syntax."
    )
    parameters = function["parameters"]
    properties = parameters.get("properties") or {}
    if language == "python":
        schema = _schema(parameters)
    else:
        schema = {
            "type": "object",
            "properties": {key: _source_text(value, language) for key, value in properties.items()},
        }
        schema["required"] = [key for key in parameters.get("required") or [] if key in properties]
    return {
        "type": "function",
        "function": {
            "name": call_name(function["name"]),
            "description": described,
            "parameters": schema,
        },
    }


def _schema(document: Mapping[str, Any]) -> dict[str, Any]:
    """JSON Schema of one of BFCL's types; what is no JSON Schema (`optional`, a lone `required`) is
    left out."""
    kind = _JSON_TYPES.get(str(document.get("type", "any")))
    schema: dict[str, Any] = {"type": kind} if kind else {}
    schema.update({key: document[key] for key in _KEPT if key in document})
    if "enum" in schema:
        fitting = [value for value in schema["enum"] if _fits(value, kind)]
        schema["enum"] = [value for i, value in enumerate(fitting) if value not in fitting[:i]]
        if not fitting:
            del schema["enum"]
    if kind == "array" and isinstance(document.get("items"), Mapping):
        schema["items"] = _schema(document["items"])
    properties = document.get("properties")
    if kind == "object" and isinstance(properties, Mapping):
        schema["properties"] = {key: _schema(value) for key, value in properties.items()}
        required = document.get("required")
        if isinstance(required, list):
            schema["required"] = [key for key in dict.fromkeys(required) if key in properties]
    return schema


def _fits(value: Any, kind: str | None) -> bool:
    if kind is None:
        return True
    if isinstance(value, bool):
        return kind == "boolean"
    return isinstance(value, _PYTHON_OF[kind])  # type: ignore[arg-type]


def _source_text(document: Mapping[str, Any], language: Language) -> dict[str, Any]:
    kind, title = document.get("type"), _TITLES[language]
    if kind == "any":
        hint = f" This parameter can be of any type of {title} object in string representation."
    else:
        hint = f" This is {title} {kind} type parameter in string representation."
    if kind in ("Array", "ArrayList", "array"):
        of_type = document["items"]["type"]
        hint += f" The list elements are of type {of_type}; they are not in string representation."
    if kind == "dict" and "properties" in document:
        entries = json.dumps(document["properties"])
        hint += (
            " The dictionary entries have the following schema; they are not in string "
            f"representation. {entries}"
        )
    return {"type": "string", "description": document.get("description", "") + hint}
