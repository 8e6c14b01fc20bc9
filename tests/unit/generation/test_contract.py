"""Schemas as people bring them: what they allow can be written, what they refuse is refused at the
latest by the check."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from llguidance import LLMatcher, LLTokenizer, TokenizerWrapper

from understudy.errors import SchemaError
from understudy.generation.schemas.contract import Contract, contract_of

DRAFT_4, DRAFT_7 = (f"http://json-schema.org/draft-0{n}/schema#" for n in (4, 7))
KINDS = [
    {"properties": {"kind": {"const": "a"}, "x": {"type": "integer"}}, "required": ["x"]},
    {"properties": {"kind": {"const": "b"}, "y": {"type": "string"}}, "required": ["y"]},
]
NODE = {
    "type": "object",
    "properties": {
        "v": {"type": "integer"},
        "next": {"anyOf": [{"$ref": "#/$defs/Node"}, {"type": "null"}]},
    },
    "required": ["v"],
}
XY = [
    {"type": "object", "properties": {"x": {"type": "integer"}}, "required": ["x"]},
    {"type": "object", "properties": {"y": {"type": "string"}}, "required": ["y"]},
]
NUMBERED = {"enum": ["a", "b"]}
TUPLE = [{"type": "integer"}, {"type": "string"}]


class Bytes:
    """A vocabulary of 256 bytes and an end."""

    eos_token_id, bos_token_id, special_token_ids = 256, None, (256,)
    tokens = (*(bytes([i]) for i in range(256)), b"")

    def __call__(self, text: str | bytes) -> list[int]:
        return list(text if isinstance(text, bytes) else text.encode())


BYTES = LLTokenizer(TokenizerWrapper(Bytes()), n_vocab=257, eos_token=[256])


def can_write(contract: Contract, value: object) -> bool:
    grammar = LLMatcher.grammar_from_lark(f"start: {contract.rule}")
    matcher = LLMatcher(BYTES, grammar, log_level=0)
    text = list(json.dumps(value, ensure_ascii=False).encode())
    return matcher.validate_tokens(text) == len(text) and matcher.consume_tokens(text) is not False


# schema, what it allows, what it refuses, keywords that are left to the check
TABLE = [
    (
        {
            "type": "object",
            "properties": {"kind": {"type": "string"}},
            "required": ["kind"],
            "oneOf": KINDS,
        },
        [{"kind": "a", "x": 1}, {"kind": "b", "y": "s"}],
        [{"kind": "a", "y": "s"}, {"kind": "c"}],
        "",
    ),
    (
        {
            "allOf": [
                {"properties": {"city": {"type": "string"}}, "required": ["city"]},
                {"properties": {"unit": {"enum": ["C", "F"]}}},
            ]
        },
        [{"city": "x", "unit": "C"}, {"city": "x"}],
        [{"unit": "C"}, {"city": "x", "z": 1}],
        "",
    ),
    (
        {
            "$ref": "#/$defs/B",
            "properties": {"c": {"type": "integer"}},
            "$defs": {
                "B": {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
            },
        },
        [{"c": 1, "a": "x"}, {"a": "x"}],
        [{"c": 1}, {"a": "x", "d": 1}],
        "",
    ),
    (
        {
            "type": "object",
            "properties": {"a": {"type": "string"}},
            "anyOf": [{"required": ["a"]}, {"required": ["b"]}],
        },
        [{"a": "s"}, {"b": 1}],
        [{}],
        "",
    ),
    (
        {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a", "b"]},
        [{"a": 1, "b": 2}],
        [{"a": 1}, {"a": 1, "b": 1, "c": 1}],
        "",
    ),
    (
        {"$ref": "#/$defs/Node", "$defs": {"Node": NODE}},
        [{"v": 1, "next": {"v": 2, "next": None}}],
        [{"v": 1, "next": {"v": 2, "q": 1}}],
        "",
    ),
    (
        {
            "allOf": [
                {"$ref": "#/$defs/A"},
                {"properties": {"q": {"properties": {"y": {"type": "integer"}}}}},
            ],
            "$defs": {
                "A": {
                    "properties": {
                        "q": {"type": "object", "properties": {"x": {"type": "integer"}}}
                    }
                }
            },
        },
        [{"q": {"x": 1, "y": 2}}],
        [{"q": {"x": "s"}}, {"z": 1}],
        "",
    ),
    (
        {
            "oneOf": [{"$ref": "#/$defs/A"}, {"$ref": "#/$defs/B"}],
            "$defs": {
                "A": {"type": "object", "properties": {"t": {"const": "a"}}, "required": ["t"]},
                "B": {
                    "type": "object",
                    "properties": {"t": {"const": "b"}, "z": {"type": "integer"}},
                    "required": ["t"],
                },
            },
        },
        [{"t": "a"}, {"t": "b", "z": 1}],
        [{"t": "a", "z": 1}],
        "",
    ),
    (
        {"$schema": DRAFT_7, "type": "array", "items": TUPLE, "additionalItems": False},
        [[1, "a"], [1]],
        [["a"], [1, "a", 2]],
        "",
    ),
    ({"type": "array", "items": TUPLE}, [[1, "a"]], [["a"]], ""),
    ({"$schema": DRAFT_4, "type": "integer", "minimum": 0, "exclusiveMinimum": True}, [1], [0], ""),
    (
        {
            "$schema": DRAFT_7,
            "type": "object",
            "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
            "dependencies": {"a": ["b"]},
        },
        [{"a": 1, "b": 2}, {"b": 2}],
        [{"a": 1}],
        "",
    ),
    (
        {
            "$schema": DRAFT_7,
            "$ref": "#/definitions/A",
            "minLength": 9,
            "definitions": {"A": {"type": "string"}},
        },
        ["a"],
        [1],
        "",
    ),
    (
        {"type": "array", "items": {"type": "integer"}, "uniqueItems": True},
        [[1, 2]],
        [[1, 1]],
        "uniqueItems",
    ),
    ({"type": "array", "items": {"type": "integer"}, "uniqueItems": False}, [[1, 1]], [["a"]], ""),
    (
        {
            "type": "object",
            "propertyNames": {"type": "string"},
            "additionalProperties": {"type": "number"},
        },
        [{"a": 1.5}],
        [{"a": "x"}],
        "",
    ),
    (
        {
            "type": "object",
            "propertyNames": {"enum": ["a", "b.c"]},
            "additionalProperties": {"type": "integer"},
        },
        [{"a": 1, "b.c": 2}],
        [{"c": 1}, {"bxc": 1}],
        "",
    ),
    (
        {
            "type": "object",
            "properties": {"kind": NUMBERED, "n": {"type": "integer"}},
            "required": ["kind"],
            "if": {"properties": {"kind": {"const": "a"}}},
            "then": {"required": ["n"]},
        },
        [{"kind": "a", "n": 1}, {"kind": "b"}, {"kind": "b", "n": 2}],
        [{"kind": "a"}],
        "",
    ),
    (
        {
            "type": "object",
            "properties": {"k": {"type": "string"}, "n": {}},
            "if": {"properties": {"k": {"const": "a"}}},
            "then": {"required": ["n"]},
        },
        [{"k": "b"}, {"k": "a", "n": 1}],
        [{"k": "a"}],
        "if",
    ),
    ({"not": {"type": "null"}}, [1, "a"], [None], ""),
    (
        {"type": "object", "properties": {"a": {}, "b": {}}, "not": {"required": ["a", "b"]}},
        [{"a": 1}, {"b": 1}, {}],
        [{"a": 1, "b": 1}],
        "",
    ),
    ({"type": "string", "not": {"enum": ["x"]}}, ["y"], ["x"], "not"),
    (
        {"type": "array", "items": {"type": "integer"}, "contains": {"const": 5}},
        [[1, 5]],
        [[], [1]],
        "contains",
    ),
    (
        {
            "type": "object",
            "properties": {
                "a": {"type": "string"},
                "b": {"type": "string"},
                "c": {"type": "string"},
            },
            "minProperties": 2,
        },
        [{"a": "x", "b": "y"}],
        [{"a": "x"}],
        "minProperties",
    ),
    ({"type": "integer"}, [1, -3, 1234567890123456789], [1.5, "x"], ""),
    ({"type": "integer", "minimum": 0, "maximum": 2**64 - 1}, [2**64 - 1], [-1], "maximum"),
    ({"enum": [1234567890123456789, 5, "a"]}, [1234567890123456789, 5, "a"], [6], "enum"),
    ({"type": "number"}, [1, 1.5, -0.07, 123456789012345], ["x"], ""),
    (
        {"type": "number", "multipleOf": 0.01, "minimum": 0.06, "maximum": 0.08},
        [0.07, 0.06],
        [0.065],
        "",
    ),
    ({"type": "number", "enum": [0.25, 0.3, 7], "multipleOf": 0.1}, [0.3, 7], [0.25, 0.4], ""),
    ({"enum": ["ab", "xb", 5], "pattern": r"^(?!x)", "maximum": 4}, ["ab"], ["xb", 5], ""),
    ({"const": "a", "enum": ["a", "b"]}, ["a"], ["b"], ""),
    ({"type": "number", "minimum": 0.7, "maximum": 0.7}, [0.7], [0.6], ""),
    ({"type": "number", "minimum": 0, "maximum": 0}, [0], [0.1], ""),
    (
        {"type": "number", "minimum": 0.3, "exclusiveMaximum": 0.5, "multipleOf": 0.1},
        [0.3, 0.4],
        [0.5, 0.2],
        "",
    ),
    (
        {"type": "number", "exclusiveMinimum": -0.2, "maximum": 0.1, "multipleOf": 0.1},
        [-0.1, 0, 0.1],
        [-0.2, 0.2],
        "",
    ),
    ({"type": "string", "format": "cuid"}, ["abc"], [1], ""),
    (
        {"type": "string", "format": "date", "pattern": r"^\d{2}\.\d{2}\.\d{4}$"},
        ["01.02.2024"],
        ["2024-02-01"],
        "",
    ),
    ({"type": "string", "format": "uuid", "enum": ["none"]}, ["none"], ["x"], ""),
    ({"type": "string", "format": "uuid", "maxLength": 8}, ["abc"], ["a" * 9], ""),
    (
        {
            "type": "object",
            "properties": {"k": NUMBERED},
            "if": {"properties": {"k": {"const": "a"}}},
            "then": {"properties": {"v": {"type": "integer"}}},
            "unevaluatedProperties": False,
        },
        [{"k": "a", "v": 1}, {"k": "b"}],
        [{"k": "b", "v": 1}],
        "unevaluatedProperties",
    ),
    (
        {"allOf": [{"anyOf": XY}], "unevaluatedProperties": False},
        [{"x": 1}, {"y": "s"}, {"x": 1, "y": "s"}],
        [{"x": 1, "y": 5}],
        "unevaluatedProperties",
    ),
    (
        {"anyOf": [{**XY[0], "additionalProperties": True}, XY[1]], "unevaluatedProperties": False},
        [{"x": 1, "z": 1}, {"y": "s"}],
        [{"y": "s", "z": 1}],
        "unevaluatedProperties",
    ),
    ({"type": "string", "pattern": r"^\p{L}+$"}, ["Größe"], ["1"], ""),
    ({"type": "string", "pattern": r"^(?<y>\d{4})$"}, ["2024"], ["24"], ""),
    ({"type": "string", "pattern": r"^(?!x)\w+$"}, ["ab"], ["xb"], "pattern"),
    ({"type": "object"}, [{"a": {"b": [1, 2.5, None]}}], [1], ""),
    ({"type": "object", "properties": {}}, [{}], [{"a": 1}], ""),
]


@pytest.mark.parametrize(("schema", "good", "bad", "checked"), TABLE)
def test_what_a_schema_allows(schema, good, bad, checked):
    contract = contract_of(schema)
    assert [loosened.keyword for loosened in contract.loosened] == ([checked] if checked else [])
    for value in good:
        assert contract.fault(value) is None, value
        assert can_write(contract, value), value
    for value in bad:
        assert contract.fault(value) is not None, value
        assert checked or not can_write(contract, value), value


@given(st.integers(0, 1000))
def test_a_multiple_is_counted_in_decimals(hundredths):
    assert contract_of({"multipleOf": 0.01}).fault(hundredths / 100) is None
    fault = contract_of({"multipleOf": 0.1}).fault(hundredths / 100)
    assert (fault is None) == (hundredths % 10 == 0)


@given(
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=8),
    st.integers(-(2**63) + 1024, 2**63 - 1025),
)
def test_any_text_and_any_64_bit_number_can_be_written(text, number):
    contract = contract_of(
        {"type": "array", "prefixItems": [{"type": "string"}, {"type": "integer"}]}
    )
    assert can_write(contract, [text, number])


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"type": "strnig"}, "type: not a JSON Schema"),
        ({"properties": {"a": {"pattern": "("}}}, "a.pattern: not a pattern"),
        ({"properties": {"a": {"$ref": "#/$defs/B"}}}, "a: a $ref points at nothing"),
        ({"$ref": "https://example.org/a.json"}, "nothing is fetched"),
        ([], "not a JSON Schema"),
    ],
)
def test_what_is_no_schema(schema, said):
    with pytest.raises(SchemaError) as caught:
        contract_of(schema)
    assert said in str(caught.value)


def test_what_nothing_satisfies_is_said_when_it_is_to_be_written():
    contract = contract_of({"properties": {"x": False}, "required": ["x"], "type": "object"})
    with pytest.raises(SchemaError, match=r"no value satisfies the schema.*'x'"):
        _ = contract.rule


def test_depth_is_an_error_and_not_the_end():
    schema: dict = {}
    for _ in range(2000):
        schema = {"properties": {"a": schema}}
    with pytest.raises(SchemaError, match="too deep"):
        contract_of(schema)


def test_a_fault_names_place_and_keyword():
    schema = {
        "properties": {"stops": {"type": "array", "items": {"properties": {"n": {"maximum": 3}}}}}
    }
    assert str(contract_of(schema).fault({"stops": [{"n": 1}, {"n": 4}]})).startswith(
        "stops[1].n: 4"
    )
    assert contract_of(schema).fault({"stops": [{"n": 4}]}).keyword == "maximum"


def test_no_comma_waits_for_a_name_that_is_not_left():
    names = {"enum": ["a", "b"]}
    schema = {"type": "object", "propertyNames": names, "required": ["a", "b"]}
    matcher = LLMatcher(BYTES, f"start: {contract_of(schema).rule}", log_level=0)
    written = list(b'{"a": 1, "b": 2')
    assert matcher.validate_tokens([*written, ord(",")]) == len(written)
    assert matcher.validate_tokens([*written, ord("}")]) == len(written) + 1
