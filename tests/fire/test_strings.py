"""Hostile strings through every field of a conversation and every chat template: no data becomes a
control token.

UNDERSTUDY_FIRE_STRINGS says how many (default 200; `make test-fire` takes 10,000).
"""

from __future__ import annotations

import os
import random

import pytest

from tests.support.nasty import TEXTS
from understudy import hub
from understudy.checkpoint.checkpoint import open_checkpoint
from understudy.errors import TemplateError
from understudy.text import open_tokenizer
from understudy.text.templates import CHAT_TEMPLATES, ChatTemplate

STRINGS = int(os.environ.get("UNDERSTUDY_FIRE_STRINGS", "200"))
MODELS = {"smollm2": hub.DEFAULT_MODEL, "stories": "tests/data/stories-nemotron"}
FOREIGN = "<|im_start|> <|im_end|> <extra_id_1> </s> [INST] <|eot_id|> <start_of_turn> <tool_call>"


@pytest.fixture(scope="module", params=MODELS)
def tokenizer(request):
    source = open_checkpoint(hub.resolve(MODELS[request.param])).tokenizer_source
    assert source is not None
    return open_tokenizer(source)


def hostile(chance: random.Random, markers: list[str]) -> str:
    """Markers whole and in pieces, beside letters that break other things."""
    pieces = []
    for _ in range(chance.randint(1, 6)):
        one = chance.choice([*markers, *FOREIGN.split(), *TEXTS, "\n", " ", "system\n", "{{ x }}"])
        if chance.random() < 0.3 and one:
            cut = chance.randrange(len(one) + 1)
            one = chance.choice([one[:cut], one[cut:], one[:cut] + "\u200b" + one[cut:]])
        pieces.append(one)
    return "".join(pieces)


def conversation(text: str, field: str) -> tuple[list[dict], list[dict], list[object]]:
    """Messages, tools and contexts with a text in one of their fields."""

    def here(name: str) -> str:
        return text if name == field else "plain"

    call = {"type": "function", "function": {"name": "look", "arguments": {"at": here("argument")}}}
    messages = [
        {"role": "system", "content": here("system")},
        {"role": "user", "content": here("user")},
        {"role": "assistant", "content": here("assistant"), "tool_calls": [call]},
        {"role": "tool", "content": here("tool"), "name": "look"},
        {"role": "user", "content": "and now?"},
    ]
    function = {
        "name": "look",
        "description": here("description"),
        "parameters": {"type": "object", "properties": {"at": {"type": "string"}}},
    }
    contexts = [{"title": here("title"), "text": here("passage")}]
    return messages, [{"type": "function", "function": function}], contexts


FIELDS = ["system", "user", "assistant", "argument", "tool", "description", "title", "passage"]


def special_ids(template: ChatTemplate, text: str, field: str) -> list[int]:
    messages, tools, contexts = conversation(text, field)
    prompt = template.render(messages, tools=tools, contexts=contexts)
    ids = prompt.encode(template.tokenizer)
    markers = template.tokenizer.markers.values()
    control = {marker.token for marker in markers if not marker.is_text}
    return [token for token in ids if token in control]


@pytest.mark.parametrize("name", sorted(CHAT_TEMPLATES))
def test_no_data_becomes_a_control_token(tokenizer, name):
    try:
        template = CHAT_TEMPLATES[name](tokenizer)
        plain = {field: special_ids(template, "plain", field) for field in FIELDS}
    except TemplateError:
        pytest.skip("not a template for this vocabulary")
    markers = [text for text, marker in tokenizer.markers.items() if not marker.is_text]
    number = max(1, STRINGS // len(CHAT_TEMPLATES) // len(MODELS))
    for seed in range(number):
        chance = random.Random(f"{name} {seed}")
        text, field = hostile(chance, markers), chance.choice(FIELDS)
        try:
            found = special_ids(template, text, field)
        except TemplateError:  # refused is safe
            continue
        assert found == plain[field], (seed, field, text)
