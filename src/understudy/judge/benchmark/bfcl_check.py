"""Whether calls are right, by the rules of BFCL's AST checker; the official checker is the oracle
of the tests.

Names must match, every required parameter be there and none unknown, types be the declared ones (an
int passes for a float in Python), values be among the allowed. Texts are compared without case,
blanks and `,./-_*^`. Parallel calls may stand in any order.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from understudy.judge.benchmark.bfcl import RELEVANCE_CATEGORIES, BfclCase, Language, call_name
from understudy.judge.benchmark.bfcl_source import (
    JAVA_TYPES,
    JAVASCRIPT_TYPES,
    java_value,
    javascript_value,
)
from understudy.text.toolcalls import ParsedCall

_PYTHON_TYPES: dict[str, type] = {
    "string": str,
    "integer": int,
    "float": float,
    "boolean": bool,
    "array": list,
    "tuple": list,
    "dict": dict,
    "any": str,
}
_TYPES: dict[Language, dict[str, type]] = {
    "python": _PYTHON_TYPES,
    "java": JAVA_TYPES,
    "javascript": JAVASCRIPT_TYPES,
}
_WITH_ELEMENTS = {
    "python": ("array", "tuple"),
    "java": ("Array", "ArrayList"),
    "javascript": ("array",),
}
_UNHEARD = re.compile(r"[ ,./\-_*^]")


@dataclass(frozen=True, slots=True)
class CallVerdict:
    """`fault` says why calls are wrong, empty when they are right."""

    is_right: bool
    fault: str = ""


@dataclass(frozen=True, slots=True)
class _Declared:
    """The Python type that a parameter's value must have, and that of its elements where they are
    checked."""

    kind: type
    element: type | None = None


def check(case: BfclCase, calls: Sequence[ParsedCall]) -> CallVerdict:
    """Judges the calls of one answer.

    Irrelevance cases ask for no call, relevance cases for any call at all.
    """
    if case.category in RELEVANCE_CATEGORIES:
        wants_call = "irrelevance" not in case.category
        if bool(calls) == wants_call:
            return CallVerdict(True)
        return CallVerdict(False, "no call" if wants_call else "a call where none fits")
    if len(calls) != len(case.answers):
        return CallVerdict(False, f"{len(calls)} calls instead of {len(case.answers)}")
    fault = (
        _fault_of_parallel(case, calls)
        if "parallel" in case.category
        else _fault_of_call(case, case.answers[0], calls[0])
    )
    return CallVerdict(not fault, fault)


def _fault_of_parallel(case: BfclCase, calls: Sequence[ParsedCall]) -> str:
    """Answers take, one after the other, the first call left that satisfies them."""
    left = list(calls)
    for answer in case.answers:
        faults = []
        for i, call in enumerate(left):
            fault = _fault_of_call(case, answer, call)
            if not fault:
                del left[i]
                break
            faults.append(fault)
        else:
            return f"no call for {next(iter(answer))}: " + "; ".join(faults)[:300]
    return ""


def _fault_of_call(case: BfclCase, answer: Mapping[str, Any], call: ParsedCall) -> str:
    name, allowed = next(iter(answer.items()))
    function = _function(case, name)
    if call.name != call_name(function["name"]):
        return f"{call.name} called instead of {call_name(function['name'])}"
    parameters = function["parameters"]
    for parameter in parameters["required"]:
        if parameter not in call.arguments:
            return f"required {parameter} missing"
    for parameter, value in call.arguments.items():
        if parameter not in parameters["properties"] or parameter not in allowed:
            return f"unexpected {parameter}"
        fault = _fault_of_value(
            value, parameters["properties"][parameter], allowed[parameter], case.language
        )
        if fault:
            return f"{parameter}: {fault}"
    missing = [
        parameter
        for parameter, values in allowed.items()
        if parameter not in call.arguments and "" not in values
    ]
    return f"expected {missing[0]} missing" if missing else ""


def _function(case: BfclCase, name: str) -> Mapping[str, Any]:
    """The document of the function that an answer calls; a simple case has only one, whatever the
    answer names it."""
    if "parallel" not in case.category and "multiple" not in case.category:
        return case.functions[0]
    return next(function for function in case.functions if function["name"] == name)


def _fault_of_value(
    value: Any, document: Mapping[str, Any], allowed: Sequence[Any], language: Language
) -> str:
    kind = document["type"]
    types = _TYPES[language]
    element = document["items"]["type"] if kind in _WITH_ELEMENTS[language] else None
    declared = _Declared(types[kind], types[element] if element else None)
    if language != "python":
        if not isinstance(value, str):
            return f"source text expected, found {value!r}"
        value = (java_value if language == "java" else javascript_value)(value, kind, element)
    elif kind == "float" and type(value) is int:
        value = float(value)
    is_right, is_variable = _has_type(value, allowed, declared)
    if not is_right:
        return f"type {kind} expected, found {value!r}"
    is_right = value in allowed if is_variable else _is_allowed(value, allowed, declared)
    return "" if is_right else f"{value!r} is not among {list(allowed)!r}"[:300]


def _has_type(value: Any, allowed: Sequence[Any], declared: _Declared) -> tuple[bool, bool]:
    """Whether the type is right, and whether the value is the name of a variable, which stands for
    one of any type."""
    given = next((type(answer) for answer in allowed if answer != ""), None)
    if type(value) is declared.kind:
        is_variable = given is not None and given is not declared.kind
        if declared.element is None:
            return True, is_variable
        return _have_type(value, allowed, _Declared(declared.element)), is_variable
    return given is not None and type(value) is given, True


def _have_type(values: Any, allowed: Sequence[Any], element: _Declared) -> bool:
    """Whether the elements of a list have the types that one of the answers lets them have."""
    return any(
        not isinstance(answer, list)
        or all(_has_type(value, answer, element)[0] for value in values)
        for answer in allowed
    )


def _is_allowed(value: Any, allowed: Sequence[Any], declared: _Declared) -> bool:
    if declared.kind is dict:
        return any(_is_same_object(value, answer) for answer in allowed if answer != "")
    if declared.kind is list and declared.element is dict:
        return any(_are_same_objects(value, answer) for answer in allowed)
    if declared.kind is str:
        return _heard(value) in [_heard(answer) for answer in allowed if isinstance(answer, str)]
    if declared.kind is list:
        heard = [_heard(entry) for entry in value]
        return any(heard == [_heard(entry) for entry in answer] for answer in allowed)
    return value in allowed


def _is_same_object(value: Any, answer: Any) -> bool:
    """Objects one level deep: each key of the answer has its allowed values."""
    if not isinstance(value, Mapping) or not isinstance(answer, Mapping):
        return False
    for key, entry in value.items():
        if key not in answer or _heard(entry) not in [_heard(one) for one in answer[key]]:
            return False
    return all(key in value or "" in values for key, values in answer.items())


def _are_same_objects(value: Sequence[Any], answer: Sequence[Any]) -> bool:
    return len(value) == len(answer) and all(
        _is_same_object(one, other) for one, other in zip(value, answer, strict=True)
    )


def _heard(value: Any) -> Any:
    """A text as it is compared; anything else as it is."""
    return _UNHEARD.sub("", value).lower().replace("'", '"') if isinstance(value, str) else value
