"""Functions as tools in the API shaped like transformers: what `get_json_schema` of transformers
5.24.0 gave for them (`tests/others/test_function_schemas.py`).
"""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Any, Literal

import pytest

from tests.support.byte_level_folder import write_byte_level_folder
from understudy import AutoTokenizer
from understudy.compat.function_schema import function_tool
from understudy.errors import UsageError


class Colour(enum.Enum):
    RED = "red"
    TWO = 2


def shaped(
    either: int | str,
    maybe: float | None,
    many: list[str],
    named: dict[str, int],
    both: tuple[int, str],
    word: Literal["a", 1],
    colour: Colour,
    anything: Any,
    mixed: list[int] | str = "x",
) -> None:
    """Shapes.

    Args:
        either: one
        maybe (float): some of it
            on a second: line
        many: a choice (choices: ["x ", "y"])
        named: n
        both: b
        word: w
        colour: c
        anything: a
        mixed: m
    """


PROPERTIES = {
    "either": {"type": ["integer", "string"], "description": "one"},
    "maybe": {
        "type": "number",
        "nullable": True,
        "description": "some of it on a second: line",
    },
    "many": {
        "type": "array",
        "items": {"type": "string"},
        "enum": ["x", "y"],
        "description": "a choice",
    },
    "named": {
        "type": "object",
        "additionalProperties": {"type": "integer"},
        "description": "n",
    },
    "both": {
        "type": "array",
        "prefixItems": [{"type": "integer"}, {"type": "string"}],
        "description": "b",
    },
    "word": {"type": ["string", "integer"], "enum": ["a", 1], "description": "w"},
    "colour": {"type": ["string", "integer"], "enum": ["red", 2], "description": "c"},
    "anything": {"description": "a"},
    "mixed": {
        "anyOf": [{"type": "array", "items": {"type": "integer"}}, {"type": "string"}],
        "description": "m",
    },
}


def test_a_function_is_what_transformers_shows() -> None:
    described = function_tool(shaped)["function"]
    assert described == {
        "name": "shaped",
        "description": "Shapes.",
        "parameters": {
            "type": "object",
            "properties": PROPERTIES,
            "required": [name for name in PROPERTIES if name != "mixed"],
        },
        "return": {"type": "null"},
    }


def test_what_is_returned_and_raised() -> None:
    def add(x: int, y: int = 2) -> int:
        """Adds.

        In two paragraphs.

        Args:
            x: first
            y: second

        Returns:
            The sum.

        Raises:
            ValueError: never
        """
        return x + y

    found = function_tool(add)["function"]
    assert found["description"] == "Adds.\n\nIn two paragraphs."
    assert found["return"] == {"type": "integer", "description": "The sum."}
    assert found["parameters"]["properties"]["y"] == {"type": "integer", "description": "second"}
    assert found["parameters"]["required"] == ["x"]


def test_without_a_docstring_the_schema_is_our_own() -> None:
    def look(place: str) -> str:
        return place

    assert function_tool(look)["function"]["parameters"]["additionalProperties"] is False


def test_what_a_tokenizer_shows_of_added_tokens(tmp_path: Path) -> None:
    settings = {"pad_token": "<pad>", "extra_special_tokens": ["<x>"]}
    write_byte_level_folder(tmp_path, settings, is_json=True)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    assert tokenizer.extra_special_tokens == ["<x>"]
    assert tokenizer.vocab == tokenizer.get_vocab()
    token = tokenizer.added_tokens_decoder[tokenizer.pad_token_id]
    assert (token.content, token.special, token.normalized) == ("<pad>", True, False)


def test_nothing_to_encode_is_said(tmp_path: Path) -> None:
    write_byte_level_folder(tmp_path, {"chat_template": "x"}, is_json=True)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    with pytest.raises(UsageError, match="text_target"):
        tokenizer(text_target="x")
    with pytest.raises(UsageError, match="there is no text"):
        tokenizer()
    with pytest.raises(UsageError, match="empty conversation"):
        tokenizer.apply_chat_template([])
