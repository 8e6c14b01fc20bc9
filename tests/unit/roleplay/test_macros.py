"""Macros: each of the format's, nested, seeded, and safe against names that look like macros."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.roleplay.macros import MacroContext, expand


def context(**more) -> MacroContext:
    return MacroContext(**{"char": "Hilde", "user": "Ada", "seed": 7, **more})


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("{{char}} and {{ USER }}", "Hilde and Ada"),
        ("<BOT> <user> <Char>", "Hilde Ada Hilde"),
        ("a{{// secret}}b", "ab"),
        ("a{{comment: secret}}b{{hidden_key:dragon}}", "ab"),
        ("{{reverse:Hello}}", "olleH"),
        ("{{random:x}}", "x"),
        (r"{{pick:a\,b}}", "a,b"),
        ("{{reverse:{{user}}}}", "adA"),
        ("{{unknown}} {{foo:bar}}", "{{unknown}} {{foo:bar}}"),
        ("{{char", "{{char"),
        ("a}}b{c}", "a}}b{c}"),
        ("{{roll:nonsense}}", "{{roll:nonsense}}"),
        ("{{newline}}", "\n"),
        ("{{setvar::n::2}}{{addvar::n::3}}{{getvar::n}}", "5"),
        ("{{scenario}}", "At the mill."),
        ("<START>", "<START>"),
    ],
)
def test_macros(text, result):
    assert expand(text, context(values={"scenario": "At the mill."})) == result


def test_what_a_macro_gives_is_not_read_again():
    assert expand("{{user}}", context(user="{{random:a,b}}")) == "{{random:a,b}}"
    assert (
        expand("{{scenario}}", context(values={"scenario": "{{scenario}}{{scenario}}"}))
        == "{{scenario}}{{scenario}}"
    )


def test_chance_comes_from_the_seed():
    text = "{{random:a,b,c,d,e,f,g,h}}{{random:a,b,c,d,e,f,g,h}} {{roll:d1000}} {{pick:a,b,c,d,e,f,g,h}}"
    assert expand(text, context()) == expand(text, context())
    assert len({expand(text, context(seed=seed)) for seed in range(20)}) > 15
    picks = {expand("{{pick:a,b,c,d,e,f,g,h}}", context(turn=turn)) for turn in range(20)}
    assert len(picks) == 1
    assert len({expand("{{random:a,b,c,d,e,f,g,h}}", context(turn=turn)) for turn in range(20)}) > 3
    rolls = {int(expand("{{roll:6}}", context(turn=turn))) for turn in range(80)}
    assert rolls == {1, 2, 3, 4, 5, 6}


def test_hidden_keys_are_read_while_scanning():
    assert expand("{{hidden_key:dragon}}{{// no}}", context(is_scan=True)) == "dragon"


def test_original_stands_only_where_there_is_one():
    assert expand("{{original}}!", context(original="Be kind.")) == "Be kind.!"
    assert expand("{{original}}!", context()) == "{{original}}!"


@given(st.text(alphabet="{}:a,<>/\\ruserandomchar", max_size=80))
def test_any_text_expands(text):
    expand(text, context())


def test_deep_nesting_ends():
    assert len(expand("{{" * 5000 + "user" + "}}" * 5000, context())) < 40_000
