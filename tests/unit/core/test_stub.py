"""The stub of the compiled module against the module: names, arguments, defaults."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path

import pytest

from understudy import core
from understudy.core import _core

STUB = Path(core.__file__).with_name("_core.pyi")
TREE = ast.parse(STUB.read_text(encoding="utf-8"))


def arguments_of(function: ast.FunctionDef) -> list[tuple[str, bool]]:
    """(name, has a default) of each argument but self."""
    arguments = function.args.args
    num_plain = len(arguments) - len(function.args.defaults)
    pairs = [(argument.arg, i >= num_plain) for i, argument in enumerate(arguments)]
    return [pair for pair in pairs if pair[0] != "self"]


def stub_functions() -> dict[str, ast.FunctionDef]:
    """Functions and methods by name, methods as `Class.method`."""
    found = {node.name: node for node in TREE.body if isinstance(node, ast.FunctionDef)}
    for node in TREE.body:
        if isinstance(node, ast.ClassDef):
            for item in node.body:
                if isinstance(item, ast.FunctionDef):
                    found[f"{node.name}.{item.name}"] = item
    return found


def compiled_arguments(signature: str) -> list[tuple[str, bool]]:
    """As `arguments_of`, of nanobind's `def name(a: type, b: type = 1) -> type`."""
    plain = re.sub(r"\\\d+", "1", signature.removeprefix("def "))  # defaults are numbered
    while plain != (plain := re.sub(r"\[[^\[\]]*\]", "", plain)):  # what is inside of types
        pass
    node = ast.parse(f"def {plain}: ...").body[0]
    assert isinstance(node, ast.FunctionDef)
    return arguments_of(node)


def public_names(owner: object) -> set[str]:
    return {name for name in vars(owner) if not name.startswith("_")}


def test_the_stub_names_what_the_module_has() -> None:
    constants = {
        node.target.id
        for node in TREE.body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }
    classes = {node.name: node for node in TREE.body if isinstance(node, ast.ClassDef)}
    functions = {name for name in stub_functions() if "." not in name}
    assert constants | set(classes) | functions == public_names(_core)
    for name, node in classes.items():
        methods = {item.name for item in node.body if isinstance(item, ast.FunctionDef)}
        assert methods - {"__init__"} == public_names(getattr(_core, name)), name


@pytest.mark.parametrize("name", stub_functions())
def test_arguments_are_those_of_the_module(name: str) -> None:
    owner: object = _core
    for part in name.split("."):
        owner = inspect.getattr_static(owner, part)
    if isinstance(owner, property):
        assert any(isinstance(d, ast.Name) for d in stub_functions()[name].decorator_list)
        return
    (signature, *_), *others = owner.__nb_signature__  # type: ignore[attr-defined]
    assert not others, "one overload each"
    assert compiled_arguments(signature) == arguments_of(stub_functions()[name])


@pytest.mark.parametrize("name", stub_functions())
def test_every_function_says_what_it_does(name: str) -> None:
    assert ast.get_docstring(stub_functions()[name])
