"""The ratchet finds what it is there for, and lets no entry grow."""

import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def ratchet(tmp_path, monkeypatch):
    spec = importlib.util.spec_from_file_location("ratchet", ROOT / "scripts" / "ratchet.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "ratchet", module)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module, "ALLOWED", tmp_path / "scripts" / "ratchet.json")
    (tmp_path / "src" / "understudy").mkdir(parents=True)
    (tmp_path / "scripts").mkdir()
    return module


def write(ratchet, name, text):
    path = ratchet.ROOT / "src" / "understudy" / name
    path.write_text(text)
    return f"src/understudy/{name}"


def test_long_functions_and_classes_are_found_without_their_docstrings(ratchet):
    body = "".join(f"    x{i} = {i}\n" for i in range(41))
    name = write(ratchet, "a.py", f'def f():\n    """Says\n    much."""\n{body}')
    assert ratchet.measured()["function lines"] == {f"{name}:f": 41}
    write(ratchet, "a.py", "class C:\n" + "    x = 1\n" * 200)
    assert ratchet.measured()["class lines"] == {f"{name}:C": 201}


@pytest.mark.parametrize("late", [False, True])
def test_cycles_are_found_with_late_imports_too(ratchet, late):
    write(ratchet, "a.py", "from understudy.b import y\nx = 1\n")
    line = "from understudy import a"
    write(ratchet, "b.py", f"def f():\n    {line}\ny = 1\n" if late else f"{line}\ny = 1\n")
    assert ratchet.measured()["import cycles"] == {"understudy.a understudy.b": 2}
    write(ratchet, "b.py", "y = 1\n")
    assert ratchet.measured()["import cycles"] == {}


def test_names_used_twice_and_long_lines_are_found(ratchet):
    write(ratchet, "a.py", "class Guard: ...\nclass _Own: ...\n")
    write(ratchet, "b.py", "class Guard: ...\nclass _Own: ...\n" + "x = 1  # " + "y" * 100 + "\n")
    found = ratchet.measured()
    assert found["class names"] == {"Guard": 2}
    assert found["long lines"] == {"src": 1}


def test_an_entry_may_shrink_and_never_grow(ratchet, capsys):
    write(ratchet, "a.py", "class Guard: ...\n")
    write(ratchet, "b.py", "class Guard: ...\n")
    assert ratchet.main([]) == 1
    assert "Guard: class names 2, at most 1" in capsys.readouterr().out
    ratchet.ALLOWED.write_text('{"class names": {"Guard": 3, "Gone": 2}}')
    assert ratchet.main([]) == 0
    assert ratchet.main(["--tighten"]) == 0
    assert '"Guard": 2' in ratchet.ALLOWED.read_text()
    assert "Gone" not in ratchet.ALLOWED.read_text()
    write(ratchet, "c.py", "class Guard: ...\n")
    assert ratchet.main(["--tighten"]) == 0
    assert ratchet.main([]) == 1
