#!/usr/bin/env bash
# llguidance 1.9.1: under {"type": "number", "multipleOf": 0.01} a model may write 19.99. Where a schema
# names that very number (`const`, `enum`) beside the same multipleOf, nothing satisfies it: the range is
# said to be [19.990000000000002, 19.98], since a lone value is rounded to multiples in binary. 0.2 of 0.1
# passes, 0.3 of 0.1 does not.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" --quiet --disable-pip-version-check install llguidance==1.9.1 numpy
"$folder/venv/bin/python" - <<'PYTHON'
import json
from llguidance import LLMatcher, LLTokenizer, TokenizerWrapper


class Bytes:
    eos_token_id, bos_token_id, special_token_ids = 256, None, [256]
    tokens = [bytes([i]) for i in range(256)] + [b""]

    def __call__(self, text):
        return list(text if isinstance(text, bytes) else text.encode())


tokenizer = LLTokenizer(TokenizerWrapper(Bytes()), n_vocab=257, eos_token=[256])
found = {}
for value, step in ((0.2, 0.1), (0.3, 0.1), (0.07, 0.01), (19.99, 0.01)):
    for name, rule in (("any", {"type": "number"}), ("constant", {"const": value})):
        grammar = LLMatcher.grammar_from_json_schema(json.dumps({**rule, "multipleOf": step}))
        fault = LLMatcher.validate_grammar(grammar)
        text = list(json.dumps(value).encode())
        matcher = None if fault else LLMatcher(tokenizer, grammar, log_level=0)
        found[value, name] = matcher is not None and matcher.validate_tokens(text) == len(text)
        print(f"{value}, {name} multiple of {step}: {fault or 'written'}")
assert [value for value, name in found if name == "any" and not found[value, name]] == []
assert [value for value, name in found if name == "constant" and found[value, name]] == [0.2]
PYTHON
