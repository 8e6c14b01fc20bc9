"""Macros: each of the format's, nested, seeded, and safe against names that look like macros."""

from __future__ import annotations

import gc
import time
from datetime import UTC, datetime

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
        ("{{roll:nonsense}}", ""),
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


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("{{{char}}}", "{Hilde}"),
        ("{{user's}}", "Ada"),
        ("{{user::x}}", "{{user::x}}"),
        ("{{outer {{user}} text", "{{outer Ada text"),
        ("{{foo {{user}}}}", "{{foo Ada}}"),
        ("{{foo}}{{char}}{{/foo}}", "{{foo}}Hilde{{/foo}}"),
        ("{{char}}a{{/char}}", "{{char}}a{{/char}}"),
        ("a\n\n{{trim}}\r\nb", "ab"),
        ("\\{\\{char\\}\\}", "{{char}}"),
        ("{{//}}a {{user}}{{///}}b", "b"),
        ("{{if user}}yes{{else}}no{{/if}}", "yes"),
        ("{{if !persona}}yes{{else}}no{{/if}}", "yes"),
        ("{{if 1}}\n  # x\n    y\n{{/if}}", "# x\n  y"),
        ("{{#if 1}} a {{/if}}", " a "),
        ("{{if 1}}{{if 0}}a{{else}}b{{/if}}{{else}}c{{/if}}", "b"),
        ("{{setvar::x::1.5}}{{addvar::x::1}}{{getvar::x}}", "2.5"),
        ("{{setvar::x::0.1}}{{addvar::x::0.2}}{{getvar::x}}", "0.30000000000000004"),
        ("{{setvar::a}}  hi {{/setvar}}[{{getvar::a}}]", "[hi]"),
        ("{{setvarkey::r::2::v}}{{getvar::r}}", '[null,null,"v"]'),
        ("{{.x=5}}{{.x++}}{{.x}}", "66"),
        ("{{.y ||= w}}{{.y}}", "ww"),
        ("{{.x = 5}}{{.x >= 5}}{{.x == 4}}", "truefalse"),
        ("{{time::UTC+2}} {{date}} {{weekday}}", "5:06 PM March 4, 2026 Wednesday"),
        ("{{datetimeformat::DDDo [of] YYYY}}", "63rd of 2026"),
        ("{{timeDiff::2023-01-01 12:00:00::2023-01-01 15:00:00}}", "3 hours ago"),
        ("{{lastMessage}}/{{lastCharMessage}}/{{lastMessageId}}", "Hey./Hello./1"),
        ("{{greeting::1}}{{greeting::9}}", "Hi."),
        ("{{outlet::hall}}", "OUT"),
        ("<GROUP> {{charIfNotGroup}} {{notChar}}", "Hilde Hilde Ada"),
        ("{{reverse::{{reverse::{{reverse::abc}}}}}}", "cba"),
    ],
)
def test_as_sillytavern_has_it(text, result):
    more = {
        "values": {"description": "A miller."},
        "messages": [("assistant", "Hello."), ("user", "Hey.")],
        "greetings": ["Hello.", "Hi."],
        "outlets": {"hall": "OUT"},
        "now": datetime(2026, 3, 4, 15, 6, 7, tzinfo=UTC),
    }
    assert expand(text, context(**more)) == result


def test_dice_are_rolled_and_too_many_are_not():
    assert expand("{{roll:2d6+1}}", context(draw=lambda: 0.99)) == "13"
    many = context()
    assert expand("{{roll::999999d6}}{{newline::99999999}}", many).startswith("{{roll::999999d6}}")
    assert len(many.warnings) == 2


def test_what_nobody_knows_is_said_once():
    told = context()
    expand("{{wizard}}{{wizard}}{{banned::x}}", told)
    assert [line.split()[0] for line in told.warnings] == ["{{wizard}}", "{{banned}}"]


@pytest.mark.parametrize(
    "piece",
    [
        "<",
        "{",
        "{{",
        "}}",
        "\n",
        "{{if a}}",
        "{{/if}}",
        "{{char}}",
        "{{a::",
        "{{trim}}\n",
        "::",
        "{{.x",
        "<user",
    ],
)
def test_time_is_linear_in_the_text(piece):
    def seconds(number: int) -> float:
        gc.disable()  # its passes grow with all that other tests have left behind
        started = time.process_time()
        expand(piece * number, context())
        spent = time.process_time() - started
        gc.enable()
        return spent

    seconds(2_000)
    assert seconds(40_000) < 40 * max(seconds(4_000), 0.01)


def test_deep_nesting_ends():
    assert len(expand("{{" * 5000 + "user" + "}}" * 5000, context())) < 40_000
