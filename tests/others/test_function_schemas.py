"""Functions as tools: the schema that transformers 5.24 shows a chat template, and ours."""

from __future__ import annotations

import json
import random
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.others.support import python_of
from tests.others.test_tokenizer_folders import PACKAGES
from understudy.compat.function_schema import function_tool

pytestmark = pytest.mark.others
NUM_FUNCTIONS = 200
HINTS = ["int", "str", "float", "bool", "list", "dict", "tuple", "Any", "list[int]", "int | None"]
HINTS += ["dict[str, list[str]]", "tuple[int, str]", "Literal['a', 1, None]", "Union[int, str]"]
HINTS += ["Optional[list[int]]", "list[dict[str, Any]]", "Colour", "int | list[str] | None"]
TEXTS = ["what it is", "a: b (c)", "of these (choices: ['x'])", 'of (choices: ["x", "y "])']
TEXTS += ["two\n            lines: of it"]
PRELUDE = """
import enum
from typing import *
class Colour(enum.Enum):
    RED = "red"
    TWO = 2
"""
SCRIPT = """
import json, sys
from transformers.utils.chat_template_utils import get_json_schema
prelude, sources = json.load(sys.stdin)
found = []
for source in sources:
    names = {}
    exec(prelude + source, names)
    try:
        found.append(get_json_schema(names["f"]))
    except Exception:
        found.append(None)
print(json.dumps(found))
"""


def function_at_random(source: random.Random) -> str:
    names = [f"p{i}" for i in range(source.randint(0, 4))]
    num_plain = source.randint(0, len(names))
    given = [
        f"{name}: {source.choice(HINTS)}" + (" = None" if place >= num_plain else "")
        for place, name in enumerate(names)
    ]
    lines = ["Does it.", *(["", "And more."] if source.random() < 0.3 else []), ""]
    if names:
        lines += ["Args:", *(f"    {name}: {source.choice(TEXTS)}" for name in names)]
    if source.random() < 0.4:
        lines += ["", "Returns:", "    What came of it."]
    if source.random() < 0.3:
        lines += ["", "Raises:", "    ValueError: never"]
    returns = source.choice(["", " -> int", " -> None", " -> set", " -> list[str]"])
    doc = "\n".join("    " + line if line else "" for line in lines)
    return f'def f({", ".join(given)}){returns}:\n    """{doc.strip()}\n    """\n'


def test_schemas_are_equal(tmp_path: Path) -> None:
    source = random.Random(5)
    sources = [function_at_random(source) for _ in range(NUM_FUNCTIONS)]
    done = subprocess.run(
        [str(python_of("transformers-5.24", PACKAGES)), "-c", SCRIPT],
        input=json.dumps([PRELUDE, sources]),
        capture_output=True,
        text=True,
        check=True,
    )
    right = json.loads(done.stdout.splitlines()[-1])
    differ = []
    for written, theirs in zip(sources, right, strict=True):
        names: dict[str, Any] = {}
        exec(PRELUDE + written, names)
        ours = json.loads(json.dumps(function_tool(names["f"])))
        if theirs is not None and ours != theirs:
            differ.append((written, ours, theirs))
    assert sum(answer is not None for answer in right) > NUM_FUNCTIONS / 2
    assert not differ, differ[:3]
