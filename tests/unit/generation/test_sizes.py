"""Prompts that no context can hold are refused before they are encoded."""

from __future__ import annotations

import pytest

from understudy.checkpoint.checkpoint import open_checkpoint
from understudy.errors import ContextError, SchemaError
from understudy.generation.schemas.contract import contract_of
from understudy.generation.sizes import (
    MAX_SUBSCHEMAS,
    check_num_messages,
    check_size,
    num_characters,
    num_subschemas,
)
from understudy.text import open_tokenizer


def test_characters_of_nested_values_count():
    given = [{"role": "user", "content": [{"type": "text", "text": "abc"}]}, "de", None, 7]
    assert num_characters(given) == len("role user content type text text abc de".replace(" ", ""))


def test_more_text_than_any_tokens_stand_for_is_refused():
    source = open_checkpoint("tests/data/stories-nemotron").tokenizer_source
    tokenizer = open_tokenizer(source)
    longest = tokenizer.longest_token
    assert longest == max(len(tokenizer.token_bytes(i)) for i in range(tokenizer.vocab_size))
    check_size("a" * (100 * max(16, longest)), tokenizer, 100)
    with pytest.raises(
        ContextError, match=r"prompt is too long: at least \d+ tokens > 100 maximum"
    ):
        check_size(["a" * (100 * max(16, longest) + longest)], tokenizer, 100)


def test_more_messages_than_tokens_are_refused():
    check_num_messages(100, 100)
    with pytest.raises(ContextError, match="101 messages"):
        check_num_messages(101, 100)


def test_parts_of_a_schema_count_at_any_depth():
    deep = {"type": "object", "properties": {"a": {"items": [{"enum": [1, 2]}, True]}}}
    assert num_subschemas(deep) == 4
    wide = {"properties": {f"p{i}": {"type": "string"} for i in range(MAX_SUBSCHEMAS - 2)}}
    assert num_subschemas(wide) == MAX_SUBSCHEMAS
    wide["properties"]["more"] = {}
    with pytest.raises(SchemaError, match="too large; expected at most 5,000 objects in it"):
        contract_of(wide)
    assert contract_of({"enum": list(range(3 * MAX_SUBSCHEMAS))}).fault(7) is None
