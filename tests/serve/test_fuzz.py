"""Bodies of chance on every route: whatever comes, the answer is one of ours and never a fault of
the server.
"""

from __future__ import annotations

import copy
import json
import random

import httpx
import pytest

VALUES = [
    None,
    True,
    False,
    0,
    -1,
    1,
    2**70,
    0.5,
    -1e300,
    "",
    "x",
    "\u0000",
    "😀",
    "<|im_end|>",
    [],
    {},
    [[]],
    [None],
    {"": {}},
    ["a"] * 40,
    "x" * 5000,
]
SEEDS = {
    "/v1/chat/completions": {
        "messages": [{"role": "user", "content": "Hi"}],
        "max_tokens": 2,
        "tools": [
            {
                "type": "function",
                "function": {
                    "name": "f",
                    "parameters": {"type": "object", "properties": {"a": {"type": "string"}}},
                },
            }
        ],
        "tool_choice": "auto",
        "stop": ["x"],
        "logit_bias": {"5": 1},
        "response_format": {"type": "json_object"},
        "temperature": 1,
        "n": 1,
        "seed": 1,
    },
    "/v1/completions": {
        "prompt": [[1, 2]],
        "max_tokens": 2,
        "logprobs": 1,
        "echo": True,
        "stop": "x",
        "grammar": 'start: "a"',
    },
    "/v1/messages": {
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}],
        "max_tokens": 2,
        "tools": [{"name": "f", "input_schema": {"type": "object"}}],
        "tool_choice": {"type": "auto"},
    },
    "/v1/messages/count_tokens": {"messages": [{"role": "user", "content": "Hi"}], "system": "x"},
    "/v1/responses": {
        "input": [
            {"role": "user", "content": "Hi"},
            {"type": "function_call", "call_id": "1", "name": "f", "arguments": "{}"},
        ],
        "max_output_tokens": 2,
        "text": {"format": {"type": "json_schema", "schema": {"type": "integer"}}},
    },
    "/completion": {
        "prompt": "Hi",
        "n_predict": 2,
        "logit_bias": [[5, 1]],
        "stop": ["x"],
        "n_probs": 1,
        "json_schema": {"type": "boolean"},
    },
    "/tokenize": {"content": "Hi", "with_pieces": True},
    "/detokenize": {"tokens": [1, 2]},
    "/v1/embeddings": {"input": ["a"], "dimensions": 4},
    "/slots/0?action=save": {"filename": "f", "prompt": "Hi"},
    "/v1/characters": {"name": "A", "description": "b"},
    "/v1/sessions": {"character": "x"},
    "/v1/collections": {"name": "a"},
    "/v1/collections/none/search": {"query": "x", "k": 1},
}


def mutate(chance: random.Random, value):
    """The value with one place in it replaced, left out or added."""
    if isinstance(value, dict) and value and chance.random() < 0.9:
        value, key = copy.deepcopy(value), chance.choice(list(value))
        roll = chance.random()
        if roll < 0.1:
            del value[key]
        elif roll < 0.2:
            value[chance.choice(["extra", "", "model", "stream", "type"])] = chance.choice(VALUES)
        else:
            value[key] = mutate(chance, value[key])
        return value
    if isinstance(value, list) and value and chance.random() < 0.7:
        value = copy.deepcopy(value)
        value[0] = mutate(chance, value[0])
        return value
    return chance.choice(VALUES)


@pytest.mark.parametrize("path", SEEDS)
def test_no_body_is_a_fault_of_ours(served, path):
    chance = random.Random(path)
    with httpx.Client(base_url=served.url, timeout=60) as client:
        for _ in range(12):
            body = mutate(chance, SEEDS[path])
            data = json.dumps(body)
            answer = client.post(path, content=data)
            assert answer.status_code < 500, (data[:500], answer.text)
            if "text/event-stream" in answer.headers["content-type"]:
                assert "internal_error" not in answer.text, data[:500]
            elif answer.status_code >= 400:
                assert answer.json()["error"]["message"], data[:500]
