"""The public face: what `__all__` names is there, is listed for type checkers, and has words."""

import ast
import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import understudy

SOURCE = Path(understudy.__file__)
EXTRAS = ("understudy.serve", "understudy.compress")  # need a package of an extra


def test_the_names_are_sorted_and_each_once():
    assert understudy.__all__ == sorted(set(understudy.__all__))
    assert set(understudy._PLACES) == set(understudy.__all__) - {"__version__"}
    assert dir(understudy) == understudy.__all__


def test_type_checkers_see_the_same_names_in_the_same_places():
    tree = ast.parse(SOURCE.read_text("utf-8"))
    checking = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {}
    for node in checking.body:
        assert isinstance(node, ast.ImportFrom)
        for alias in node.names:
            place = f"{node.module}:{alias.name}" if alias.asname else node.module
            seen[alias.asname or alias.name] = place
    assert seen == understudy._PLACES
    assert (SOURCE.parent / "py.typed").exists()


@pytest.mark.parametrize("name", sorted(understudy._PLACES))
def test_a_name_is_there_and_says_what_it_is(name):
    if understudy._PLACES[name].startswith(EXTRAS):
        pytest.importorskip("torch" if "compress" in understudy._PLACES[name] else "starlette")
    value = getattr(understudy, name)
    assert getattr(understudy, name) is value
    if not issubclass(value, Exception) if inspect.isclass(value) else True:
        assert inspect.getdoc(value)


def test_another_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        understudy.nothing  # noqa: B018


def test_importing_the_package_imports_nothing_else_of_it():
    code = (
        "import sys, understudy; "
        "print(sorted(name for name in sys.modules if name.startswith('understudy.')))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def documented(value):
    """The words of a class or function; those of `__init__` belong to its class."""
    made_by = vars(value).get("__init__") if inspect.isclass(value) else None
    return f"{value.__doc__ or ''}\n{getattr(made_by, '__doc__', None) or ''}"


@pytest.mark.parametrize("name", sorted(set(understudy._PLACES) - {"ModelSpec"}))
def test_every_parameter_of_the_face_is_documented(name):
    if understudy._PLACES[name].startswith(EXTRAS):
        pytest.importorskip("torch" if "compress" in understudy._PLACES[name] else "starlette")
    value = getattr(understudy, name)
    if inspect.isclass(value) and issubclass(value, BaseException | Warning):
        return
    words = documented(value)
    names = set(inspect.signature(value).parameters) - {"self"}
    assert {one for one in names if not re.search(rf"(?<!\w){one}(?!\w)", words)} == set()


@pytest.mark.parametrize("name", sorted(understudy._PLACES))
def test_every_method_of_the_face_says_what_it_does_and_takes(name):
    """What several methods take alike is said once, at their class."""
    if understudy._PLACES[name].startswith(EXTRAS):
        pytest.importorskip("torch" if "compress" in understudy._PLACES[name] else "starlette")
    value = getattr(understudy, name)
    if not inspect.isclass(value) or issubclass(value, BaseException | Warning):
        return
    wordless = [
        member
        for member, found in vars(value).items()
        if not member.startswith("_") and isinstance(found, property) and not found.__doc__
    ]
    for member, found in vars(value).items():
        method = found.__func__ if isinstance(found, classmethod | staticmethod) else found
        if member.startswith("_") or not inspect.isfunction(method):
            continue
        words = f"{value.__doc__}\n{method.__doc__ or ''}" if method.__doc__ else ""
        names = set(inspect.signature(method).parameters) - {"self", "cls"}
        missing = {one for one in names if not re.search(rf"(?<!\w){one}(?!\w)", words)}
        if not words or missing:
            wordless.append((member, missing))
    assert wordless == []


@pytest.mark.parametrize("package", ["chat", "compress", "rag", "roleplay", "serve"])
def test_a_package_shows_those_names_that_lie_in_it(package):
    shown = importlib.import_module(f"understudy.{package}")
    begins = f"understudy.{package}."
    ours = {name for name, place in understudy._PLACES.items() if place.startswith(begins)}
    assert sorted(shown.__all__) == sorted(ours)
    extra = {"compress": "torch", "serve": "starlette"}.get(package)
    if extra is not None:
        pytest.importorskip(extra)
    for name in ours:
        assert getattr(shown, name) is getattr(understudy, name)
    with pytest.raises(AttributeError, match=f"understudy.{package}.*nothing"):
        shown.nothing  # noqa: B018
