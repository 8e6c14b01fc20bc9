"""Grammars over a SentencePiece vocabulary, where a text of its own begins with a space that a text
in the middle must not have.
"""

from __future__ import annotations

import json

import pytest

import understudy
from understudy.text.grammar import Grammar, _Words

SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 8}},
    "required": ["name"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def stories():
    with understudy.load("tests/data/stories-nemotron", num_threads=1, context=128) as model:
        yield model


@pytest.mark.parametrize("text", ['{"name": "', "{", " {", "a b", "  two", "\n{", "né 😀", ""])
def test_words_in_the_middle_are_their_own_bytes(stories, text):
    words = _Words(stories.tokenizer)
    assert b"".join(words.tokens[token] for token in words(text)) == text.encode()


def test_forced_beginnings_hold_on_sentencepiece(stories):
    reply = stories.generate(
        "Once",
        make_mask=Grammar(stories.tokenizer).json_schema(SCHEMA),
        max_tokens=60,
        temperature=0,
    )
    assert set(json.loads(reply.text)) == {"name"}


def test_a_grammar_that_grows_too_large_is_an_error_and_no_end(stories):
    """llguidance stops such a matcher as if the text were finished; no answer may end so."""
    names = "|".join(["Hilde", "Traveller", "User", "Assistant", "System", "Player"])
    lark = (
        'start: SAY\nSAY: /[^\\n\\r{}<>|\\[\\]#]{6,240}[.!?…。！？]["”’*)]{0,1}/ '
        f"& ~/(.|\\n)*({names}):(.|\\n)*/"
    )
    mask = Grammar(stories.tokenizer).lark(lark)()
    tokens = stories.tokenizer.encode("Hilde, welcome to the light. You are wet.")

    def follow():
        for count in range(len(tokens)):
            mask.allowed(tokens[:count])

    with pytest.raises(ValueError, match="cannot be followed"):
        follow()
