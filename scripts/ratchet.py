"""Measures that may only fall: long classes and functions, fan-out, import cycles, names used
twice, long lines.

    scripts/ratchet.py            says what exceeds a limit and is not in scripts/ratchet.json, or
                                  has grown beyond it
    scripts/ratchet.py --tighten  lowers the entries of scripts/ratchet.json to what is true, and
                                  drops those that are mended

`scripts/check` runs it. No tool raises an entry: what is new is to be mended, not listed. The lines
of a function are counted from its first statement on: a documented signature is no complexity.
"""

from __future__ import annotations

import ast
import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ALLOWED = ROOT / "scripts" / "ratchet.json"
FOLDERS = ("src", "bench", "experiments", "examples", "scripts", "tests")
SHAPED = ("src", "bench", "experiments", "examples", "scripts")  # where shape is measured
LINE_LENGTH = 100
PACKAGE = "understudy"
SKIP = "fmt: " + "skip"
LIMITS = {
    "class lines": 200,
    "function lines": 40,
    "fan-out": 15,
    "import cycles": 0,
    "class names": 1,
    "long lines": 0,
    SKIP: 0,
}
Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef

Found = dict[str, dict[str, int]]  # measure -> place -> value above the limit


def main(arguments: list[str]) -> int:
    found = measured()
    allowed: Found = json.loads(ALLOWED.read_text()) if ALLOWED.exists() else {}
    if arguments == ["--tighten"]:
        return _tighten(found, allowed)
    problems = list(_problems(found, allowed))
    for problem in problems:
        print(f"ratchet: {problem}")
    return 1 if problems else 0


def _problems(found: Found, allowed: Found) -> Iterator[str]:
    for measure, places in found.items():
        for place, value in places.items():
            most = allowed.get(measure, {}).get(place, LIMITS[measure])
            if value > most:
                yield f"{place}: {measure} {value}, at most {most}"


def _tighten(found: Found, allowed: Found) -> int:
    kept = {
        measure: {
            place: min(value, found[measure][place])
            for place, value in sorted(places.items())
            if place in found.get(measure, {})
        }
        for measure, places in allowed.items()
    }
    ALLOWED.write_text(json.dumps(kept, indent=1) + "\n")
    return 0


def measured() -> Found:
    """Everything above its limit."""
    trees = {path: ast.parse(path.read_text("utf-8")) for path in _files(SHAPED)}
    imports = dict(_imports(trees))
    values: Found = {
        "class lines": dict(_lengths(trees, (ast.ClassDef,))),
        "function lines": dict(_lengths(trees, (ast.FunctionDef, ast.AsyncFunctionDef))),
        "fan-out": {_shown(path): len(names) for path, names in imports.items()},
        "import cycles": _cycles({_module(path): names for path, names in imports.items()}),
        "class names": _class_names(trees),
        "long lines": {folder: sum(map(_num_long, _files([folder]))) for folder in FOLDERS},
        SKIP: {_shown(path): path.read_text("utf-8").count(SKIP) for path in _files(FOLDERS)},
    }
    return {
        measure: {
            place: value for place, value in sorted(places.items()) if value > LIMITS[measure]
        }
        for measure, places in values.items()
    }


def _files(folders: Iterable[str]) -> Iterator[Path]:
    for folder in folders:
        yield from sorted((ROOT / folder).rglob("*.py"))


def _shown(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _num_long(path: Path) -> int:
    return sum(len(line) > LINE_LENGTH for line in path.read_text("utf-8").splitlines())


def _lengths(
    trees: Mapping[Path, ast.Module], kinds: tuple[type[ast.AST], ...]
) -> Iterator[tuple[str, int]]:
    for path, tree in trees.items():
        for name, node in _named(tree):
            if isinstance(node, kinds):
                yield f"{_shown(path)}:{name}", (node.end_lineno or 0) - _first_line(node) + 1


def _first_line(node: Definition) -> int:
    """Of a class its head, of a function what comes after its signature and docstring."""
    if isinstance(node, ast.ClassDef):
        return node.lineno
    has_text = ast.get_docstring(node) is not None and len(node.body) > 1
    return node.body[1 if has_text else 0].lineno


def _named(tree: ast.AST, prefix: str = "") -> Iterator[tuple[str, Definition]]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, Definition):
            yield prefix + node.name, node
            yield from _named(node, f"{prefix}{node.name}.")
        else:
            yield from _named(node, prefix)


def _class_names(trees: Mapping[Path, ast.Module]) -> dict[str, int]:
    """How often a public class name is used in the package."""
    count: dict[str, int] = {}
    for path, tree in trees.items():
        if _shown(path).startswith("src/"):
            for node in tree.body:
                if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                    count[node.name] = count.get(node.name, 0) + 1
    return count


# ---- imports ----


def _module(path: Path) -> str:
    parts = path.relative_to(ROOT / "src").with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imports(trees: Mapping[Path, ast.Module]) -> Iterator[tuple[Path, set[str]]]:
    """The package's modules that each of its files names, late and TYPE_CHECKING imports too.

    The package's face, `__init__.py` at the root, is left out: naming everything is what it is for.
    """
    ours = {path: tree for path, tree in trees.items() if _shown(path).startswith("src/")}
    modules = {_module(path) for path in ours} - {PACKAGE}
    for path, tree in ours.items():
        if _module(path) == PACKAGE:
            continue
        names = {name for node in ast.walk(tree) for name in _targets(node, modules)}
        yield path, names - {_module(path)}


def _targets(node: ast.AST, modules: set[str]) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names if alias.name in modules)
    elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
        for alias in node.names:
            inner = f"{node.module}.{alias.name}"
            if inner in modules:
                yield inner
            elif node.module in modules:
                yield node.module


def _cycles(graph: Mapping[str, set[str]]) -> dict[str, int]:
    """Groups of modules that reach each other, with how many they are."""
    reached = {name: _reached(graph, name) for name in graph}
    groups = {
        frozenset(other for other in reached[name] if name in reached.get(other, ()))
        for name in graph
        if name in reached[name]
    }
    return {" ".join(sorted(group)): len(group) for group in groups}


def _reached(graph: Mapping[str, set[str]], start: str) -> set[str]:
    found: set[str] = set()
    waiting = [start]
    while waiting:
        for other in graph.get(waiting.pop(), ()):
            if other not in found:
                found.add(other)
                waiting.append(other)
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
