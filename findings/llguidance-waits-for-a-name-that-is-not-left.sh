#!/usr/bin/env bash
# llguidance 1.9.1: an object whose names come from a pattern that knows two, both required, may go on
# with a comma when both are written. Behind it nothing can follow: the mask allows no token at all, and
# the matcher stops with "NoExtensionBias". Listed under `properties` the same names end in a brace.
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
number = {"type": "integer"}
closed = {"type": "object", "additionalProperties": False, "required": ["a", "b"]}
found = {}
for name, rule in (
    ("patternProperties", {"patternProperties": {"^(a|b)$": number}}),
    ("properties", {"properties": {"a": number, "b": number}}),
):
    options = {"whitespace_flexible": False}
    grammar = LLMatcher.grammar_from_json_schema(json.dumps({**closed, **rule}), overrides=options)
    matcher = LLMatcher(tokenizer, grammar, log_level=0)
    written = list(b'{"a":1,"b":2,')
    length = matcher.validate_tokens(written)
    while length == len(written) and not matcher.is_error():  # whatever the mask allows, byte by byte
        matcher.consume_tokens(written)
        mask = matcher.compute_bitmask()
        allowed = [i for i in range(257) if mask[i >> 3] >> (i & 7) & 1]
        if not allowed:
            break
        written, length = [allowed[0]], 1
    found[name] = "comma, then nothing" if length == len(written) else "no comma"
    print(f"{name}: {found[name]}")
assert found == {"patternProperties": "comma, then nothing", "properties": "no comma"}, found
PYTHON
