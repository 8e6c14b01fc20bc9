"""One beginning token, whatever template, post-processor and route say; closing tokens behind texts
alone.
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest
from tokenizers import AddedToken

from tests.support.byte_chat import byte_level
from understudy.formats.tokenizer_source import TokenizerSource
from understudy.text import Tokenizer, open_tokenizer
from understudy.text.templates import chat_template_for

BEGIN, END, USER = 256, 257, 258
WRITES = "{{ bos_token }}{% for m in messages %}<|user|>{{ m.content }}<|end|>{% endfor %}"


def tokenizer(**settings: Any) -> Tokenizer:
    fast = byte_level(
        [AddedToken(text, special=True) for text in ("<|begin|>", "<|end|>", "<|user|>")]
    )
    source = TokenizerSource("tokenizer.json", fast.to_str().encode(), bos_id=BEGIN, eos_ids=(END,))
    return open_tokenizer(replace(source, **settings))


@pytest.mark.parametrize("blanks", [" ", "\n", "\n  "])
def test_blanks_before_the_beginning_do_not_make_it_two(blanks: str) -> None:
    ours = tokenizer(opening_ids=(BEGIN,), chat_template=f"{{{{ '{blanks}' }}}}{WRITES}")
    prompt = chat_template_for("llama", ours).render([{"role": "user", "content": "x"}])
    assert prompt.encode(ours) == [*ours.encode(blanks), BEGIN, USER, *ours.encode("x"), END]


@pytest.mark.parametrize("template", [WRITES, WRITES.removeprefix("{{ bos_token }}")])
def test_a_chat_begins_with_one(template: str) -> None:
    ours = tokenizer(opening_ids=(BEGIN,), chat_template=template)
    ids = chat_template_for("llama", ours).render([{"role": "user", "content": "<|begin|>x"}])
    assert ids.encode(ours)[:2] == [BEGIN, USER]
    assert ids.encode(ours).count(BEGIN) == 1


def test_without_a_rule_the_template_decides() -> None:
    for template, count in ((WRITES, 1), (WRITES.removeprefix("{{ bos_token }}"), 0)):
        ours = tokenizer(chat_template=template)
        prompt = chat_template_for("llama", ours).render([{"role": "user", "content": "x"}])
        assert prompt.encode(ours).count(BEGIN) == count


def test_a_text_begins_with_one() -> None:
    ours = tokenizer(opening_ids=(BEGIN,))
    for text in ("x", "<|begin|>x"):
        assert ours.encode(text, markers=True, add_special=True) == [BEGIN, *ours.encode("x")]
    assert ours.encode("<|begin|>x", add_special=True)[0] == BEGIN
    assert ours.encode("<|begin|>x", add_special=True).count(BEGIN) == 1
    assert ours.encode("x<|begin|>", markers=True, add_special=True).count(BEGIN) == 2


def test_openings_of_several_tokens_are_completed() -> None:
    """Of the opening, what the text does not begin with already is put in front."""
    opening = (BEGIN, USER)
    ours = tokenizer(opening_ids=opening)
    texts = {BEGIN: "<|begin|>", USER: "<|user|>", END: "<|end|>"}
    for length in range(4):
        for written in itertools.product(texts, repeat=length):
            ids = ours.encode("".join(texts[i] for i in written), markers=True, add_special=True)
            shared = next(n for n in (2, 1, 0) if written[:n] == opening[2 - n :])
            assert ids == [*opening[: 2 - shared], *written]


def test_closing_ids_end_texts_but_no_chat() -> None:
    ours = tokenizer(closing_ids=(END,), chat_template=WRITES + "<|user|>")
    assert ours.encode("x", add_special=True) == [*ours.encode("x"), END]
    assert ours.encode("x") == ours.encode("x", add_special=True)[:-1]
    prompt = chat_template_for("llama", ours).render([{"role": "user", "content": "x"}])
    assert prompt.encode(ours)[-1] == USER
